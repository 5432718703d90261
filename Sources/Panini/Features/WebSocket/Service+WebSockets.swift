// Owns: the way from an upgrade to a session, what follows when a function of a session has ended, and the moves of
// sessions between scripts. Loop-bound.

import Bytes
import Logging
import LuaVM
import NATSProtocol
import NIOCore
import NIOHTTP1
import PaniniHTTP
import ScriptRuntime

extension Service {
    /// Checks the head of a request to a route that upgrades.
    ///
    /// - Returns: The response that refuses it; nil to go on, first to the middlewares.
    func refusal(of request: HTTPRequest, by route: WebSocketRoute) -> HTTPResponse? {
        guard lifecycle.isServing else { return .failure(503, "the service is stopping") }
        guard request.canUpgrade else {
            return .failure(
                426,
                "a WebSocket needs a connection to the service's own port",
                headers: [("upgrade", "websocket")]
            )
        }
        switch WebSocketHandshake.check(request.head, route.terms, isSecure: options.webCertificateFile != nil) {
        case .success(let handshake):
            request.handshake = handshake
            return nil
        case .failure(let refusal): return refusal.response
        }
    }

    /// The shortest time that connections of a script's routes have to keep.
    static func shortestWebSocketTime(_ script: Script) -> Double {
        script.http.routes.all.compactMap { $0.webSocket?.settings.shortestTime }.min() ?? .infinity
    }

    // MARK: - Turns

    func webSocketTurnEnded(_ session: WebSocketSession, _ turn: WebSocketTurns.Turn) {
        let script = session.script
        session.turns.end()
        if turn == .handler { session.connection.close(WebSocketCode.normal, keepsMessages: false) }
        if session.turns.isFinished {
            script.finish(session)
        } else if let successor = session.successor {
            session.successor = nil
            move(session, to: successor)
        } else if session.hasEnded || session.connection.hasMessages {
            script.schedule(session)
        }
        if sync.isOn { return syncEnded(script) }
        if script.isEnding { endIfIdle(script) }
    }

    func webSocketTurnFailed(_ session: WebSocketSession, _ turn: WebSocketTurns.Turn, _ error: LuaError) {
        let place = "\(turn.name) of WEBSOCKET \(session.route.path) (\(session.webSocket.origin))"
        if error.isTable, case .integer(let code) = error.code {
            // `assert(ws.send(...))` when the client has gone is no fault, and no news.
            if let end = session.connection.end, Int64(end.code) == code {
                return logger.debug("\(place) ended with its connection: \(error.message)")
            }
            // What the client has sent is nothing to be worked with; no fault of the service's.
            if code == 400 {
                logger.debug("\(place): \(error.message)")
                return session.connection.close(WebSocketCode.policy, error.message)
            }
            // A code of the application is what the script wants to close with.
            if (3000...4999).contains(code) { return session.connection.close(UInt16(code), error.message) }
        }
        session.webSocket.failed &+= 1
        logger.error("\(place) failed: \(error.message)", metadata: traceback(error))
        session.connection.close(WebSocketCode.internalError, debug ? error.message : "internal error")
    }

    /// A function of a table has taken longer than its time.
    func webSocketTurnExpired(_ session: WebSocketSession, _ turn: WebSocketTurns.Turn, seconds: Double) {
        session.webSocket.failed &+= 1
        let text = "took longer than \(formatted(seconds)) s"
        logger.error(
            "\(turn.name) of WEBSOCKET \(session.route.path) (\(session.webSocket.origin)) \(text) and was ended"
        )
        session.connection.close(WebSocketCode.internalError, debug ? "the handler \(text)" : "internal error")
    }

    // MARK: - Reload

    /// Gives connections to the functions of a newer script: those of a route with a table of functions, where the newer one
    /// has such a route under the same path. A function that runs ends on the old script first; what comes after it goes to
    /// the new one. Connections of a bridge go over in the same way. All others stay.
    func webSocketsMove(from old: Script, to new: Script) {
        for session in Array(old.webSockets.sessions.values) {
            guard session.webSocket.handlers != nil, session.connection.isOpen,
                Self.successor(of: session.route, in: new)?.webSocket?.handlers != nil
            else { continue }
            if session.turns.running == nil { move(session, to: new) } else { session.successor = new }
        }
        // A function that still runs on an older version was to be followed by one of the version that goes now.
        for script in scripts where script !== old && script !== new {
            for session in script.webSockets.sessions.values where session.successor === old {
                let isServed = Self.successor(of: session.route, in: new)?.webSocket?.handlers != nil
                session.successor = isServed ? new : nil
            }
        }
        bridge.move(from: old, to: new)
    }

    /// Closes the connections that a script still has; its functions are told, and may end.
    func webSocketsClose(of script: Script, code: UInt16 = WebSocketCode.restart) {
        for session in Array(script.webSockets.sessions.values) {
            session.connection.close(code, "the service was reloaded")
        }
        bridge.close(of: script, code, "the service was reloaded")
    }

    static func successor(of route: HTTPRoute, in script: Script) -> HTTPRoute? {
        script.http.routes.all.first { $0.path == route.path && $0.webSocket != nil }
    }

    private func move(_ session: WebSocketSession, to new: Script) {
        guard let route = Self.successor(of: session.route, in: new), let webSocket = route.webSocket,
            webSocket.handlers != nil, let request = session.request
        else { return session.script.schedule(session) }
        request.route = new.http.routes.all.firstIndex { $0 === route } ?? -1
        let connection = session.connection
        let first: WebSocketTurns.Turn = session.turns.first == .open ? .open : .reload
        let next = WebSocketSession(
            connection,
            script: new,
            route: route,
            webSocket: webSocket,
            subprotocol: session.subprotocol,
            request: request,
            first: first
        )
        if let object = session.requestObject { session.script.vm.release(object) }
        session.requestObject = nil
        connection.apply(webSocket.settings)
        connection.delegate = next
        session.turns.leave()
        session.script.webSockets.leave(session)
        session.wakeSenders(.success)
        new.webSockets.add(next)
        new.schedule(next)
    }
}

extension Script {
    /// Accepts an upgrade: the middlewares, if there are any, have let it pass.
    ///
    /// - Parameter object: The request's object in Lua, where there is one already; released here or later.
    func accept(
        _ route: HTTPRoute,
        _ request: HTTPRequest,
        headers: HTTPFields = [],
        object: LuaReference? = nil
    ) {
        func giveUp(_ response: HTTPResponse) {
            if let object { vm.release(object) }
            request.respond(response)
        }
        guard let webSocket = route.webSocket, let handshake = request.handshake, let service,
            let connection = request.connection as? HTTP1Connection
        else { return giveUp(.failure(500, "internal error")) }
        // What belongs to the handshake is not the middlewares' to change.
        var own = headers
        own.removeAll { $0.begins(with: "sec-websocket-") || $0 == "upgrade" }
        guard
            let socket = connection.upgrade(
                request.number,
                headers: handshake.headers.adding(own),
                settings: webSocket.settings
            )
        else { return giveUp(.failure(503, "the connection cannot be upgraded any more")) }
        webSocket.opened &+= 1
        if webSocket.bridge != nil {
            if let object { vm.release(object) }
            service.bridge.join(socket, route: route, script: self, address: request.remoteAddress)
            goOver()
            return socket.begin()
        }
        let isFunction = webSocket.handlers == nil
        let session = WebSocketSession(
            socket,
            script: self,
            route: route,
            webSocket: webSocket,
            subprotocol: handshake.subprotocol,
            request: request,
            first: isFunction ? .handler : .open
        )
        session.requestObject = object
        socket.delegate = session
        webSockets.add(session)
        schedule(session)
        goOver()
        socket.begin()
    }

    /// A middleware may have taken so long that another script serves by now.
    private func goOver() {
        guard let service, lifecycle.isDraining else { return }
        service.webSocketsMove(from: self, to: service.script)
    }
}
