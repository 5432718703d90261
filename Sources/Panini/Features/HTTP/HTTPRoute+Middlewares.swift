// Owns: how middlewares stand around a route. Worker's thread.

import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

extension HTTPRoute: MiddlewareSubject {
    func source(of activity: Activity, for kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source? {
        kind == .httpRequest ? .requested(Self.request(of: activity)) : nil
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
