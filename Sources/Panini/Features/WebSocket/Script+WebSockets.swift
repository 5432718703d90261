// Owns: running a route's functions for a connection, and what `ws` does. Worker's thread.

import Bytes
import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import NIOCore
import PaniniHTTP
import ScriptRuntime

extension Script {
    // MARK: - Turns

    /// Puts a look at what is next for the session in line.
    func schedule(_ session: WebSocketSession) {
        guard !session.isScheduled, !session.isAdvancing, let service else { return }
        session.isScheduled = true
        if service.sync.isOn, session.receiver == nil {
            service.sync.append(Activity(session))
            if !service.sync.isBusy { service.deferTurn(on: self) }
        } else {
            self.defer(.goOn(session, 0))
        }
    }

    /// Does what is next for the session, as far as it goes without waiting.
    func advance(_ session: WebSocketSession) {
        session.isScheduled = false
        guard phase == .live, session.successor == nil else { return }
        session.isAdvancing = true
        if let id = session.receiver {
            if let message = session.connection.popMessage() {
                session.receiver = nil
                message.bytes.withUnsafeReadableBytes { bytes in
                    _ = resume(id) { pushReceived(message.kind, bytes, onto: $0) }
                }
            } else if session.hasEnded {
                session.receiver = nil
                resume(id) { pushFailure(session.closedError, onto: $0) }
            }
        }
        while service?.turn.isOver != true, beginTurn(session) {}
        session.isAdvancing = false
        if service?.turn.isOver == true { schedule(session) }
    }

    /// The session's turn under `app_strategy = "sync"`; false when it has nothing to do.
    func takeTurn(_ session: WebSocketSession) -> Bool {
        guard phase == .live else { return false }
        var hasBegun = false
        enter { hasBegun = beginTurn(session) }
        return hasBegun
    }

    /// Begins the next turn; false when there is none, or one is under way.
    func beginTurn(_ session: WebSocketSession) -> Bool {
        let connection = session.connection
        // A function that nobody wrote is a turn that has ended.
        while let turn = session.turns.begin(hasMessage: connection.hasMessages, hasEnded: session.hasEnded) {
            let message = turn == .message ? connection.popMessage() : nil
            guard turn == .handler || session.webSocket.handlers?[turn] != nil else {
                session.turns.end()
                if session.turns.isFinished { finish(session) }
                continue
            }
            if let message {
                message.bytes.withUnsafeReadableBytes { startTurn(session, turn, message.kind, $0) }
            } else {
                startTurn(session, turn)
            }
            return true
        }
        return false
    }

    /// Runs one of the route's functions.
    func startTurn(
        _ session: WebSocketSession,
        _ turn: WebSocketTurns.Turn,
        _ kind: WebSocketKind = .text,
        _ bytes: UnsafeRawBufferPointer = emptyBytes
    ) {
        beginActivity()
        guard vm.hasRoom(for: bytes.count + Self.coroutineBytes) else {
            return failBeforeStart(session.activity(turn))
        }
        let co = vm.acquireCoroutine()
        let L = co.thread
        var count: CInt = 1
        if case .function(let handler) = session.webSocket.form {
            vm.push(handler, onto: L)
        } else if let function = session.webSocket.handlers?[turn] {
            vm.push(function, onto: L)
        }
        vm.push(session.object, onto: L)
        switch turn {
        case .handler, .open, .reload: count += pushRequest(session, onto: L)
        case .message: count += pushMessage(kind, bytes, onto: L)
        case .close:
            let end = session.connection.end ?? WebSocketEnd(WebSocketCode.lost)
            lua_pushinteger(L, lua_Integer(end.code))
            vm.pushString(L, end.reason)
            count += 2
        }
        current = RunningActivity(holdsStop: true)
        if turn == .handler { beginAccount(.outside) }
        settle(co, vm.resume(co, argumentCount: count), session.activity(turn))
    }

    /// Pushes the request that asked for the upgrade, for the last time where no reload can ask for it again.
    private func pushRequest(_ session: WebSocketSession, onto L: OpaquePointer) -> CInt {
        if let object = session.requestObject {
            vm.push(object, onto: L)
            vm.release(object)
            session.requestObject = nil
        } else if let request = session.request {
            push(request, onto: L)
        } else {
            lua_pushnil(L)
        }
        if session.isFunction { session.request = nil }
        return 1
    }

    func pushMessage(_ kind: WebSocketKind, _ bytes: UnsafeRawBufferPointer, onto L: OpaquePointer) -> CInt {
        vm.pushString(L, bytes)
        vm.pushString(L, kind == .text ? "text" : "binary" as StaticString)
        return 2
    }

    /// What `ws.receive()` gives a coroutine that waits in it: the message, or the error that there is no memory for it.
    func pushReceived(_ kind: WebSocketKind, _ bytes: UnsafeRawBufferPointer, onto L: OpaquePointer) -> CInt {
        guard vm.hasRoom(for: bytes.count) else {
            vm.pushString(L, "ws.receive: \(LuaVM.memoryText)")
            return LuaVM.raise
        }
        return pushMessage(kind, bytes, onto: L)
    }

    private func pushFailure(_ error: CallError, onto L: OpaquePointer) -> CInt {
        lua_pushnil(L)
        push(error, onto: L)
        return 2
    }

    /// Gives back what a session holds; the connection goes its way to the end alone.
    func finish(_ session: WebSocketSession) {
        session.connection.delegate = nil
        // Functions that were spawned may still hold the object, and wait.
        let error = session.closedError
        session.wakeSenders(.failure(error))
        if let id = session.receiver {
            session.receiver = nil
            wake(id, .failure(error))
        }
        session.block.pointee.session = nil
        session.block.pointee.code = Int32(session.connection.end?.code ?? WebSocketCode.normal)
        vm.release(session.object)
        if let object = session.requestObject { vm.release(object) }
        session.requestObject = nil
        webSockets.remove(session)
        if isEnding { service?.endIfIdle(self) }
    }

    // MARK: - Functions of ws

    fileprivate func callFunction(
        _ call: HostCall,
        _ block: UnsafeMutablePointer<panini_websocket>,
        _ function: CInt
    ) throws(UsageError) -> CInt {
        guard let pointer = block.pointee.session else {
            let code = UInt16(clamping: block.pointee.code)
            if Int(function) == PANINI_WEBSOCKET_CLOSE {
                lua_pushboolean(call.L, 0)
                return 1
            }
            return call.failure(WebSocketSession.closedError(WebSocketEnd(code)))
        }
        let session = Unmanaged<WebSocketSession>.fromOpaque(pointer).takeUnretainedValue()
        switch Int(function) {
        case PANINI_WEBSOCKET_RECEIVE: return try receive(call, session)
        case PANINI_WEBSOCKET_SEND:
            let text = try webSocketBytes(call)
            guard UTF8Text.isValid(text) else {
                throw UsageError("ws.send: the text is not valid UTF-8; ws.send_binary sends any bytes")
            }
            return try send(call, session, .text, text)
        case PANINI_WEBSOCKET_SEND_BINARY: return try send(call, session, .binary, webSocketBytes(call))
        default: return try close(call, session)
        }
    }

    private func webSocketBytes(_ call: HostCall) throws(UsageError) -> UnsafeRawBufferPointer {
        guard let bytes = vm.stringBytes(call.L, 1) else {
            let hint = call.type(1) == LUA_TTABLE ? "; panini.json.encode makes a text of a table" : ""
            throw UsageError("\(call.name): the message must be a string, not \(call.typeName(1))\(hint)")
        }
        return bytes
    }

    private func receive(_ call: HostCall, _ session: WebSocketSession) throws(UsageError) -> CInt {
        guard session.isFunction else {
            throw UsageError("ws.receive: the handler of this route is a table; its function message gets the messages")
        }
        // When the service's slice is used up others have their turn first, and this handler goes on with a whole budget: it is
        // not to be ended because its client has sent much.
        let waits = service?.turn.isOver == true && session.receiver == nil && vm.canSuspend(call.L)
        if !waits, let message = session.connection.popMessage() {
            guard vm.hasRoom(for: message.bytes.readableBytes) else {
                throw UsageError("ws.receive: \(LuaVM.memoryText)")
            }
            return message.bytes.withUnsafeReadableBytes { pushMessage(message.kind, $0, onto: call.L) }
        }
        if session.hasEnded, !session.connection.hasMessages { return call.failure(session.closedError) }
        guard session.receiver == nil else {
            throw UsageError("ws.receive: another coroutine is waiting in it already")
        }
        try requireSuspendable(call)
        guard let id = vm.running?.id else { return 0 }
        session.receiver = id
        nextWait = Wait(session)
        if session.connection.hasMessages { schedule(session) }
        return LuaVM.suspend
    }

    private func send(
        _ call: HostCall,
        _ session: WebSocketSession,
        _ kind: WebSocketKind,
        _ bytes: UnsafeRawBufferPointer
    ) throws(UsageError) -> CInt {
        var waits = true
        if !call.isNone(2) {
            waits = try LuaOptions(call, 2, known: ["wait"]).flag("wait") ?? true
        }
        switch session.connection.send(kind, bytes) {
        case .sent: return call.success()
        case .closed: return call.failure(session.closedError)
        case .full:
            return call.failure(
                CallError(
                    "too_slow",
                    "the client reads too slowly: more than \(session.webSocket.settings.maximumUnsent) bytes wait for it"
                )
            )
        case .slow:
            // Where Lua cannot wait, and after a move, the limit of what may be unsent is all there is.
            guard waits, vm.canSuspend(call.L), session.connection.delegate === session, let id = vm.running?.id else {
                return call.success()
            }
            session.senders.append(id)
            nextWait = Wait(session)
            return LuaVM.suspend
        }
    }

    private func close(_ call: HostCall, _ session: WebSocketSession) throws(UsageError) -> CInt {
        var code = WebSocketCode.normal
        if !call.isNone(1) {
            guard lua_isinteger(call.L, 1) != 0, WebSocketCode.mayBeSent(lua_tointegerx(call.L, 1, nil)) else {
                throw UsageError("ws.close: the code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999")
            }
            code = UInt16(lua_tointegerx(call.L, 1, nil))
        }
        var reason = ""
        if !call.isNone(2) {
            let bytes = try call.bytes(2, "the reason")
            guard bytes.count <= WebSocketCode.maximumReason, UTF8Text.isValid(bytes) else {
                throw UsageError("ws.close: the reason must be UTF-8 of at most \(WebSocketCode.maximumReason) bytes")
            }
            reason = String(decoding: bytes, as: UTF8.self)
        }
        let wasOpen = session.connection.isOpen
        if wasOpen { session.connection.close(code, reason, keepsMessages: false) }
        lua_pushboolean(call.L, wasOpen ? 1 : 0)
        return 1
    }

    fileprivate func pushProtocol(_ L: OpaquePointer, _ block: UnsafeMutablePointer<panini_websocket>) {
        guard let pointer = block.pointee.session,
            let name = Unmanaged<WebSocketSession>.fromOpaque(pointer).takeUnretainedValue().subprotocol
        else { return lua_pushnil(L) }
        vm.pushString(L, name)
    }
}

/// Called by C for a function of `ws`.
let callWebSocketFunction:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<panini_websocket>?, CInt) -> CInt = {
        L,
        context,
        block,
        function in
        guard let L, let block else { return 0 }
        let name: StaticString =
            switch Int(function) {
            case PANINI_WEBSOCKET_RECEIVE: "ws.receive"
            case PANINI_WEBSOCKET_SEND: "ws.send"
            case PANINI_WEBSOCKET_SEND_BINARY: "ws.send_binary"
            default: "ws.close"
            }
        let call = HostCall(L: L, script: Script.from(context), name: name)
        do throws(UsageError) {
            return try call.script.callFunction(call, block, function)
        } catch {
            return call.raise(error)
        }
    }

/// Called by C for `ws.protocol`.
let pushWebSocketProtocol:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<panini_websocket>?) -> CInt = {
        L,
        context,
        block in
        guard let L, let block else { return 0 }
        Script.from(context).pushProtocol(L, block)
        return 1
    }
