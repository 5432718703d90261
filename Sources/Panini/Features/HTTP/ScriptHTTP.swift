// Owns: what a version of a script has of the web server: its routes, the types of requests and responses in its state, the
// requests that are looked for by a number. Loop-bound.

import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

/// Routes and requests of one version of a script.
final class ScriptHTTP: ScriptFeature {
    @exclusivity(unchecked) var routes = HTTPRoutes()
    /// Registry references of the metatables of requests and responses.
    let requestType: CInt
    let responseType: CInt
    /// What request objects call; freed after the state is closed.
    let requestHost: UnsafeMutablePointer<panini_request_host>
    /// What the guards of routes with a validator call.
    let guardHost: UnsafeMutablePointer<panini_guard_host>
    /// Folders that files are served from; the first one is the script's.
    lazy var folders: [HTTPFolder?] = [HTTPFolder(script.directory)]
    /// Answers OPTIONS of paths that have no such route, behind the middlewares.
    private(set) lazy var optionsRoute = script.makeOptionsRoute()
    /// Requests that are looked for by the number in their objects: those with middlewares, and those whose responses are
    /// being written.
    private(set) var openRequests: [UInt64: HTTPRequest] = [:]
    private var lastOpenRequest: UInt64 = 0
    /// Coroutines that wait until a stream's client reads on.
    let writers = StreamWriters()

    required init(_ script: Script) {
        let context = Unmanaged.passUnretained(script).toOpaque()
        let vm = script.vm
        let L = vm.state
        requestHost = .allocate(capacity: 1)
        requestHost.initialize(
            to: panini_request_host(context: context, make: makeRequestField, call: callRequestFunction)
        )
        guardHost = .allocate(capacity: 1)
        guardHost.initialize(
            to: panini_guard_host(
                push_value: panini_request_push_json,
                push_context: requestHost,
                failed: requestFailedValidation,
                covered: logCoveredOfRequest,
                context: context,
                error_metatable: script.tables.errorType
            )
        )
        panini_request_push_metatable(L, requestHost)
        requestType = vm.makeReference(L).index
        lua_createtable(L, 0, 2)
        for key in ["__name", "__metatable"] {
            vm.pushString(L, key)
            vm.pushString(L, "panini.response" as StaticString)
            lua_rawset(L, -3)
        }
        responseType = vm.makeReference(L).index
        super.init(script)
    }

    deinit {
        requestHost.deallocate()
        guardHost.deallocate()
    }

    override var registered: [(name: String, form: String)] {
        routes.all.map { route in
            (name: "\(route.method) \(route.path)", form: "\(route.maximumBody ?? -1) \(route.timeoutNanoseconds)")
        }
    }

    override func close() { openRequests = [:] }

    /// Lets a request be found by a number, until it has ended.
    func open(_ request: HTTPRequest) -> UInt64 {
        lastOpenRequest += 1
        request.openNumber = lastOpenRequest
        openRequests[lastOpenRequest] = request
        return lastOpenRequest
    }

    /// Nobody looks for a request by its number any more.
    func close(_ request: HTTPRequest) {
        guard request.openNumber != 0 else { return }
        openRequests[request.openNumber] = nil
        request.openNumber = 0
    }
}

extension Script {
    var http: ScriptHTTP { features[ScriptHTTP.self] }
}
