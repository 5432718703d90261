// Owns: the annotations of `app.http` for panini.d.lua. Constants. A function of the table in HTTPFunctions.swift has its
// entry here, under the same name.

extension ScriptTypes {
    static let http: [String: String] = {
        var result: [String: String] = [
            "route": """
            A route for any method; `"*"` is all of them.
            @param method string
            @param path string `/users/{id}`, `/files/{path...}`
            @param options panini.RouteOptions
            @param handler panini.RouteHandler
            @overload fun(method: string, path: string, handler: panini.RouteHandler)
            """,
            "view": """
            Several methods of one path; others are 405.
            @param path string
            @param options panini.RouteOptions
            @param handlers table<string, panini.RouteHandler> by lower case method
            @overload fun(path: string, handlers: table<string, panini.RouteHandler>)
            """,
            "fetch": """
            Gets something from another server; waits. Every status is an answer.
            @param url string
            @param options? panini.FetchOptions
            @return panini.Fetched? response
            @return panini.Error? err "dns", "connect", "tls", "timeout", "too_large", "redirects", "protocol", "closed", "denied"
            """,
            "websocket": """
            A route that upgrades to a WebSocket: one function for the life of a connection, or one per event.
            @param path string
            @param options panini.WebSocketOptions
            @param handler panini.WebSocketHandler
            @overload fun(path: string, handler: panini.WebSocketHandler)
            """,
            "nats_bridge": """
            Lets browsers subscribe to subjects of NATS over a WebSocket, without any Lua.
            @param path string
            @param options panini.BridgeOptions
            """,
            "static": """
            Serves a folder: beside the script, or by its absolute path.
            @param prefix string
            @param folder string
            @param options? panini.StaticOptions
            """,
        ]
        for (name, method) in [
            ("get", "GET"), ("post", "POST"), ("put", "PUT"), ("patch", "PATCH"), ("delete", "DELETE"),
            ("head", "HEAD"), ("options", "OPTIONS"),
        ] {
            result[name] = """
                A route for \(method).
                @param path string `/users/{id}`, `/files/{path...}`
                @param options panini.RouteOptions
                @param handler panini.RouteHandler
                @overload fun(path: string, handler: panini.RouteHandler)
                """
        }
        result.merge(webSocket) { own, _ in own }
        return result
    }()
}
