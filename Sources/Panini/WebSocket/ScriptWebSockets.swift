// Owns: a script's sessions, and the type of `ws` in its Lua state. Loop-bound; made with the script's first route that
// upgrades.

import CLuaShim
import LuaVM
import PaniniHTTP

/// What a script has of WebSocket.
final class ScriptWebSockets {
    /// What objects in Lua call; lives as long as the state.
    private let host: UnsafeMutablePointer<panini_websocket_host>
    /// The registry reference of the metatable.
    let type: CInt
    /// Stands where other routes have their handler, behind the middlewares: its value says that the upgrade is accepted.
    let acceptor: LuaReference
    private(set) var sessions: [ObjectIdentifier: WebSocketSession] = [:]
    /// Sessions whose connection went to a newer script: functions that still run may send.
    private var left: [WebSocketSession] = []

    init(_ script: Script) {
        let context = Unmanaged.passUnretained(script).toOpaque()
        host = .allocate(capacity: 1)
        host.initialize(
            to: panini_websocket_host(context: context, call: callWebSocketFunction, protocol: pushWebSocketProtocol)
        )
        let L = script.vm.state
        panini_websocket_push_metatable(L, host)
        type = script.vm.makeReference(L).index
        script.vm.pushHostFunction(acceptUpgrade, context: context, onto: L)
        acceptor = script.vm.makeReference(L)
    }

    deinit { host.deallocate() }

    func add(_ session: WebSocketSession) { sessions[ObjectIdentifier(session)] = session }

    func remove(_ session: WebSocketSession) { sessions[ObjectIdentifier(session)] = nil }

    /// The connection is a newer script's.
    func leave(_ session: WebSocketSession) {
        remove(session)
        left.append(session)
    }

    /// The state is about to be closed: nobody looks at the connections any more.
    func scriptClosed() {
        for session in sessions.values {
            session.connection.delegate = nil
            session.connection.close(WebSocketCode.goingAway, keepsMessages: false)
        }
        sessions = [:]
        left = []
    }
}

@available(*, unavailable)
extension ScriptWebSockets: Sendable {}

/// Returns what says that an upgrade is accepted: a response of status 101, to which middlewares may add headers.
private let acceptUpgrade: LuaVM.HostFunction = { L, context in
    let script = Script.from(context)
    let L = L.unsafelyUnwrapped
    lua_createtable(L, 0, 2)
    script.vm.pushString(L, "status" as StaticString)
    lua_pushinteger(L, 101)
    lua_rawset(L, -3)
    lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(script.responseType))
    lua_setmetatable(L, -2)
    return 1
}
