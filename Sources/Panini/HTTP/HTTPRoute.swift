// Owns: one route as a script registered it, and the table of all of them. Loop-bound values; knows nothing of connections.

import LuaVM
import PaniniHTTP

/// One `app.http.get` and the like.
final class HTTPRoute {
    /// The generation it belongs to, which lives longer.
    unowned(unsafe) let script: Script
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
    @exclusivity(unchecked) var webSocket: WebSocketRoute?
    /// Its handler takes what is no text as it is; otherwise the client is answered 400.
    var takesBytes = false
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
        self.script = script
        self.method = method
        self.path = path
        self.parameters = parameters
        self.handler = handler.function
        self.origin = handler.origin
        self.middlewares = middlewares
        self.entry = handler.function
        self.maximumBody = maximumBody
        self.timeoutNanoseconds = timeoutNanoseconds
    }
}

extension HTTPRoute {
    /// Whether something stands before the handler.
    var hasMiddlewares: Bool { entry != handler }
}

@available(*, unavailable)
extension HTTPRoute: Sendable {}

/// A script's routes.
struct HTTPRoutes {
    private(set) var all: [HTTPRoute] = []
    private(set) var table = HTTPRouteTable()

    mutating func add(_ route: HTTPRoute) throws(HTTPRouteProblem) {
        try table.add(route.method, route.path, route: all.count)
        all.append(route)
    }
}
