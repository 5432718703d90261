// Owns: what a script has of a connection: the object in Lua, who waits for what, whose turn it is. Loop-bound, of one
// script; the connection may outlive it.

import CLuaVM
import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

/// One connection of a route with a handler in Lua.
final class WebSocketSession: ActivityOwner {
    let connection: WebSocketConnection
    let route: HTTPRoute
    let webSocket: WebSocketRoute
    let subprotocol: String?
    /// What asked for the upgrade; nil once nobody can want it any more.
    var request: HTTPRequest?
    /// The object of the request, where middlewares have seen it already.
    var requestObject: LuaReference?
    /// `ws`, in the registry.
    let object: LuaReference
    let block: UnsafeMutablePointer<panini_websocket>
    var turns: WebSocketTurns
    /// The coroutine in `ws.receive()`.
    var receiver: UInt64?
    /// Coroutines in `ws.send(...)`, until the client reads on.
    var senders: [UInt64] = []
    /// A look at what is next is in line already.
    var isScheduled = false
    /// The loop that looks at what is next is running.
    var isAdvancing = false
    /// Where it moves to when its turn has ended.
    unowned(unsafe) var successor: Script?

    init(
        _ connection: WebSocketConnection,
        script: Script,
        route: HTTPRoute,
        webSocket: WebSocketRoute,
        subprotocol: String?,
        request: HTTPRequest,
        first: WebSocketTurns.Turn
    ) {
        self.connection = connection
        self.route = route
        self.webSocket = webSocket
        self.subprotocol = subprotocol
        self.request = request
        turns = WebSocketTurns(first: first)
        let sockets = script.webSockets.objects
        let L = script.vm.state
        lua_checkstack(L, 4)
        block = panini_websocket_push(L, sockets.type, nil, Int64(connection.id)).unsafelyUnwrapped
        object = script.vm.makeReference(L)
        super.init(script: script)
        block.pointee.session = Unmanaged.passUnretained(self).toOpaque()
    }

    // MARK: - Its runs: one of the route's functions each

    /// - Parameter turn: The function that runs.
    func activity(_ turn: WebSocketTurns.Turn) -> Activity { Activity(self, token: turn.rawValue) }

    static func turn(of activity: Activity) -> WebSocketTurns.Turn {
        WebSocketTurns.Turn(rawValue: activity.token).unsafelyUnwrapped
    }

    override func traits(of activity: Activity) -> ActivityTraits {
        Self.turn(of: activity) == .handler ? [.holdsStop, .takesTurn, .hasOpenEnd] : [.holdsStop, .takesTurn]
    }

    override func timeLimit(of activity: Activity) -> Int64? {
        Self.turn(of: activity) == .handler ? nil : webSocket.timeoutNanoseconds
    }

    override func beginTurn(_ activity: Activity) -> Bool {
        isScheduled = false
        return script.takeTurn(self)
    }

    override func failed(_ activity: Activity, _ error: LuaError) {
        script.service?.webSocketTurnFailed(self, Self.turn(of: activity), error)
    }

    override func expired(_ activity: Activity, seconds: Double) -> ReplyError {
        script.service?.webSocketTurnExpired(self, Self.turn(of: activity), seconds: seconds)
        return super.expired(activity, seconds: seconds)
    }

    override func ended(_ activity: Activity) {
        script.endActivity()
        script.service?.webSocketTurnEnded(self, Self.turn(of: activity))
    }

    var isFunction: Bool { webSocket.handlers == nil }

    /// Whether nothing more can be sent or received.
    var hasEnded: Bool { connection.end != nil }
}

extension WebSocketSession: Resumable {
    /// A look at what is next.
    func goOn(_ token: UInt64) { script.advance(self) }
}

extension WebSocketSession: WaitOwner {
    func cancel(_ wait: Wait, of coroutine: UInt64) {
        if receiver == coroutine { receiver = nil }
        senders.removeAll { $0 == coroutine }
    }
}

extension WebSocketSession: WebSocketDelegate {
    func webSocket(
        _ connection: WebSocketConnection,
        received kind: WebSocketKind,
        _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        guard script.phase == .live, let service = script.service else { return true }
        guard !script.mustDefer else {
            script.schedule(self)
            return false
        }
        if let id = receiver {
            receiver = nil
            script.enter { script.resume(id) { script.pushReceived(kind, bytes, onto: $0) } }
            return true
        }
        guard !isFunction else { return false }
        guard webSocket.handlers?.message != nil else { return true }
        guard turns.takesMessages, !service.sync.isBusy else {
            script.schedule(self)
            return false
        }
        if service.sync.isOn { service.sync.isBusy = true }
        _ = turns.begin(hasMessage: true, hasEnded: false)
        script.enter { script.startTurn(self, .message, kind, bytes) }
        return true
    }

    func webSocketIsWritable(_ connection: WebSocketConnection) { wakeSenders(.success) }

    func webSocketEnded(_ connection: WebSocketConnection) {
        guard script.phase == .live else { return }
        wakeSenders(.failure(closedError))
        script.schedule(self)
    }

    func webSocketReadBurstEnded(_ connection: WebSocketConnection) { script.service?.noteWork() }

    func wakeSenders(_ completion: Completion) {
        guard !senders.isEmpty else { return }
        let waiting = senders
        senders = []
        for id in waiting { script.wake(id, completion) }
    }

    /// What calls return once the connection has ended.
    var closedError: CallError { Self.closedError(connection.end ?? WebSocketEnd(WebSocketCode.lost)) }

    static func closedError(_ end: WebSocketEnd) -> CallError {
        let text = end.reason.isEmpty ? "the connection is closed (\(end.code))" : end.reason
        return CallError(.number(Int64(end.code)), text)
    }
}
