// Owns: a script's sessions, and the type of `ws` in its Lua state. Loop-bound; made with the script's first route that
// upgrades.

import CLuaVM
import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

/// The sockets of one version of a script.
final class ScriptWebSockets: ScriptFeature {
    /// Made with the script's first route that upgrades.
    private(set) lazy var objects = WebSocketObjects(script)
    private(set) var sessions: [ObjectIdentifier: WebSocketSession] = [:]
    /// Sessions whose connection went to a newer script: functions that still run may send.
    private var left: [WebSocketSession] = []

    /// Connections with a function that still runs among them.
    override var isBusy: Bool {
        !sessions.isEmpty || script.service.map { $0.bridge.clientCount(of: script) > 0 } ?? false
    }

    func add(_ session: WebSocketSession) { sessions[ObjectIdentifier(session)] = session }

    func remove(_ session: WebSocketSession) { sessions[ObjectIdentifier(session)] = nil }

    /// The connection is a newer script's.
    func leave(_ session: WebSocketSession) {
        remove(session)
        left.append(session)
    }

    /// Nobody looks at the connections any more.
    override func close() {
        for session in sessions.values {
            session.connection.delegate = nil
            session.connection.close(WebSocketCode.goingAway, keepsMessages: false)
        }
        sessions = [:]
        left = []
    }
}

/// What the state has of sockets.
final class WebSocketObjects {
    /// What objects in Lua call; lives as long as the state.
    private let host: UnsafeMutablePointer<panini_websocket_host>
    /// The registry reference of the metatable.
    let type: CInt
    /// Stands where other routes have their handler, behind the middlewares: its value says that the upgrade is accepted.
    let acceptor: LuaReference

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
}

@available(*, unavailable)
extension WebSocketObjects: Sendable {}

extension Script {
    var webSockets: ScriptWebSockets { features[ScriptWebSockets.self] }
}

/// Returns what says that an upgrade is accepted: a response of status 101, to which middlewares may add headers.
private let acceptUpgrade: LuaVM.HostFunction = { L, context in
    let script = Script.from(context)
    let L = L.unsafelyUnwrapped
    lua_createtable(L, 0, 2)
    script.vm.pushString(L, "status" as StaticString)
    lua_pushinteger(L, 101)
    lua_rawset(L, -3)
    lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(script.http.responseType))
    lua_setmetatable(L, -2)
    return 1
}
