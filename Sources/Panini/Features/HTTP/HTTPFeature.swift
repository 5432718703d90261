// Owns: what the web server says of itself: the table `app.http` with its routes, and `panini.response`. A constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.http`; other features add to it.
    static let http = Feature(
        ScriptHTTP.self,
        ServiceHTTP.self,
        middlewareKinds: [.httpRequest],
        tables: [
            Table(
                "app.http",
                type: "panini.HTTP",
                annotation: "Routes of the web server, for an app with `web_server = true`.",
                summary: "routes of the web server",
                hint: "routes are made by calls, as in app.http.get(path, handler)"
            )
        ],
        functions: methodFunctions + routeFunctions,
        types: HTTPTypes.all
    )

    /// A function for each method.
    private static let methodFunctions: [Function] = [
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "get", signature: "app.http.get(path, [options,] handler)") {
                hostCall($0, $1, "app.http.get", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "GET")
                }
            },
            annotation: routeAnnotation("GET")
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "post", signature: "app.http.post(path, [options,] handler)") {
                hostCall($0, $1, "app.http.post", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "POST")
                }
            },
            annotation: routeAnnotation("POST")
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "put", signature: "app.http.put(path, [options,] handler)") {
                hostCall($0, $1, "app.http.put", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "PUT")
                }
            },
            annotation: routeAnnotation("PUT")
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "patch", signature: "app.http.patch(path, [options,] handler)") {
                hostCall($0, $1, "app.http.patch", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "PATCH")
                }
            },
            annotation: routeAnnotation("PATCH")
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "delete", signature: "app.http.delete(path, [options,] handler)") {
                hostCall($0, $1, "app.http.delete", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "DELETE")
                }
            },
            annotation: routeAnnotation("DELETE")
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "head", signature: "app.http.head(path, [options,] handler)") {
                hostCall($0, $1, "app.http.head", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "HEAD")
                }
            },
            annotation: routeAnnotation("HEAD")
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "options", signature: "app.http.options(path, [options,] handler)") {
                hostCall($0, $1, "app.http.options", takes: 3) { call throws(UsageError) in
                    try call.script.route(call, "OPTIONS")
                }
            },
            annotation: routeAnnotation("OPTIONS")
        ),
    ]

    /// What editors know of such a function.
    private static func routeAnnotation(_ method: String) -> String {
        """
        A route for \(method).
        @param path string `/users/{id}`, `/files/{path...}`
        @param options panini.RouteOptions
        @param handler panini.RouteHandler
        @overload fun(path: string, handler: panini.RouteHandler)
        """
    }

    /// Other routes, and what they answer.
    private static let routeFunctions: [Function] = [
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "route", signature: "app.http.route(method, path, [options,] handler)") {
                hostCall($0, $1, "app.http.route", takes: 4) { call throws(UsageError) in try call.script.anyRoute(call)
                }
            },
            annotation: """
                A route for any method; `"*"` is all of them.
                @param method string
                @param path string `/users/{id}`, `/files/{path...}`
                @param options panini.RouteOptions
                @param handler panini.RouteHandler
                @overload fun(method: string, path: string, handler: panini.RouteHandler)
                """
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(
                name: "view",
                signature: "app.http.view(path, [options,] { get = fn, post = fn, ... })"
            ) {
                hostCall($0, $1, "app.http.view", takes: 3) { call throws(UsageError) in try call.script.view(call) }
            },
            annotation: """
                Several methods of one path; others are 405.
                @param path string
                @param options panini.RouteOptions
                @param handlers table<string, panini.RouteHandler> by lower case method
                @overload fun(path: string, handlers: table<string, panini.RouteHandler>)
                """
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(name: "static", signature: "app.http.static(prefix, folder [, options])") {
                hostCall($0, $1, "app.http.static", takes: 3) { call throws(UsageError) in
                    try call.script.serveFolder(call)
                }
            },
            annotation: """
                Serves a folder: beside the script, or by its absolute path.
                @param prefix string
                @param folder string
                @param options? panini.StaticOptions
                """
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(
                name: "response",
                signature:
                    "panini.response{ status =, headers =, text = | json = | html = | body = | file = | stream = | events = }"
            ) {
                hostCall($0, $1, "panini.response", takes: 1) { call throws(UsageError) in
                    try call.script.response(call)
                }
            },
            annotation: """
                What a route answers, when it is more than a value: one of `text`, `json`, `html`, `body`, `file`, `stream` and
                `events`, with a status and headers.
                @param response panini.ResponseOptions
                @return panini.Response response
                """
        ),
    ]
}
