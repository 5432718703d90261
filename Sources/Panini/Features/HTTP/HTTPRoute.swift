// Owns: one route as a script registered it, and the table of all of them. Loop-bound values; knows nothing of connections.

import Logging
import LuaVM
import PaniniHTTP
import ScriptRuntime

/// What stands behind a route that upgrades its connections.
class HTTPUpgrade {}

@available(*, unavailable)
extension HTTPUpgrade: Sendable {}

/// One `app.http.get` and the like.
final class HTTPRoute: ActivityOwner {
    /// At hand, since each request asks for them.
    unowned(unsafe) let http: ScriptHTTP
    unowned(unsafe) var web: ServiceHTTP?
    let method: String
    let path: String
    /// The names of the path's parameters, in order.
    let parameters: [String]
    let handler: LuaReference
    let origin: String
    let middlewares: [MiddlewareLayer]
    /// What a request goes to: the handler, or the outermost middleware.
    @exclusivity(unchecked) var entry: LuaReference
    /// Set for a route that upgrades; its handler is what accepts then.
    @exclusivity(unchecked) var upgrade: HTTPUpgrade?
    /// Its handler takes what is no text as it is; otherwise the client gets a 400.
    var takesBytes = false
    private(set) lazy var streams = HTTPStreams(self)
    /// Bytes; nil: the app's `web_max_body`.
    let maximumBody: Int?
    let timeoutNanoseconds: Int64

    // Counters.
    @exclusivity(unchecked) var received: UInt64 = 0
    var failed: UInt64 = 0
    var invalid: UInt64 = 0
    /// Made when somebody wants them.
    var metrics: MessageMetrics?

    init(
        script: Script,
        method: String,
        path: String,
        parameters: [String],
        handler: RegisteredFunction,
        middlewares: [MiddlewareLayer],
        maximumBody: Int?,
        timeoutNanoseconds: Int64
    ) {
        self.http = script.http
        self.method = method
        self.path = path
        self.parameters = parameters
        self.handler = handler.function
        self.origin = handler.origin
        self.middlewares = middlewares
        self.entry = handler.function
        self.maximumBody = maximumBody
        self.timeoutNanoseconds = timeoutNanoseconds
        super.init(script: script)
    }

    // MARK: - Its runs: a handler on a request each

    static func request(of activity: Activity) -> HTTPRequest {
        unsafeDowncast(activity.object.unsafelyUnwrapped, to: HTTPRequest.self)
    }

    override func traits(of activity: Activity) -> ActivityTraits { [.holdsStop, .takesTurn] }

    override func timeLimit(of activity: Activity) -> Int64? { timeoutNanoseconds }

    override func begin(_ activity: Activity) { start(Self.request(of: activity)) }

    override func beginTurn(_ activity: Activity) -> Bool {
        script.enter { begin(activity) }
        return true
    }

    override func handOver(_ activity: Activity, to next: Script) -> Activity? {
        script.endActivity()
        return next.service?.handOver(Self.request(of: activity), to: next)
    }

    override func refuse(_ activity: Activity, _ reason: ReplyError) -> Bool {
        script.endActivity()
        script.service?.web.endRequest()
        script.refuse(Self.request(of: activity), reason)
        return true
    }

    override func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        // The request at index 1 is counted among the results.
        withScript { script in script.respond(L, count - 1, self, Self.request(of: activity)) }
    }

    override func failed(_ activity: Activity, _ error: LuaError) {
        script.service?.requestFailed(self, Self.request(of: activity), error)
    }

    override func expired(_ activity: Activity, seconds: Double) -> ReplyError {
        failed &+= 1
        script.service?.logger.error(
            "handler of \(method) \(path) (\(origin)) took longer than \(formatted(seconds)) s and was ended"
        )
        let error = super.expired(activity, seconds: seconds)
        script.refuse(Self.request(of: activity), error)
        return error
    }

    override func givenUp(_ activity: Activity, _ reason: ReplyError) -> Bool {
        script.refuse(Self.request(of: activity), reason)
        script.service?.web.endRequest()
        return true
    }

    override func ended(_ activity: Activity) {
        http.close(Self.request(of: activity))
        withScript { script in
            script.endActivity()
            guard let service = script.service else { return }
            (web ?? service.web).endRequest()
            if service.sync.isOn { return service.syncEnded(script) }
            service.endIfAwaited(script)
        }
    }
}

extension HTTPRoute {
    /// Whether something stands before the handler.
    var hasMiddlewares: Bool { entry != handler }
}

/// A script's routes.
struct HTTPRoutes {
    private(set) var all: [HTTPRoute] = []
    private(set) var table = HTTPRouteTable()

    mutating func add(_ route: HTTPRoute) throws(HTTPRouteError) {
        try table.add(route.method, route.path, route: all.count)
        all.append(route)
    }
}
