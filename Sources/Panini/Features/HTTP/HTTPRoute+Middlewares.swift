// Owns: how middlewares stand around a route. Worker's thread.

import CLuaVM
import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

extension HTTPRoute: MiddlewareSubject {
    func source(of activity: Activity, for kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source? {
        kind == .httpRequest ? .requested(Self.request(of: activity)) : nil
    }
}

extension PaniniMiddlewareKind {
    /// A request has arrived at the web server.
    public static let httpRequest = received("http_request", 4, fallback: nil)
}

extension ScriptHTTP: MiddlewareComposer {
    var middlewareKinds: [PaniniMiddlewareKind] { [.httpRequest] }

    func source(_ L: OpaquePointer, _ kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source {
        guard let object = panini_userdata_at(L, 1, requestType) else { return .past(subject: []) }
        return script.requestSource(object.assumingMemoryBound(to: panini_request.self))
    }

    func recompose() {
        for route in routes.all { script.compose(route) }
        if script.options?.webServer == true { script.compose(optionsRoute) }
    }
}

extension Script {
    /// What a middleware sees of a request, whose object in Lua is given.
    func requestSource(_ object: UnsafeMutablePointer<panini_request>) -> PaniniMiddlewareMessage.Source {
        let request = RequestBytes(object)
        // A chain that goes on after the request was given up sees nothing of it.
        return http.openRequests[request.number].map { .requested($0) } ?? .past(subject: Array(request.path))
    }

    /// The route of a request; nil for one that is answered without.
    func route(of request: HTTPRequest) -> HTTPRoute? {
        http.routes.all.indices.contains(request.route) ? http.routes.all[request.route] : nil
    }
}
