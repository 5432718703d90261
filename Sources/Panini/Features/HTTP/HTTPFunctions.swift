// Owns: the table of functions of `app.http`. The registration and the documentation come from it.

import LuaVM
import ScriptRuntime

extension HostFunctionEntry {
    /// Functions of `app.http`.
    static let http: [HostFunctionEntry] = [
        .init(name: "get", signature: "app.http.get(path, [options,] handler)") {
            hostCall($0, $1, "app.http.get", takes: 3) { call throws(Misuse) in try call.script.route(call, "GET") }
        },
        .init(name: "post", signature: "app.http.post(path, [options,] handler)") {
            hostCall($0, $1, "app.http.post", takes: 3) { call throws(Misuse) in try call.script.route(call, "POST") }
        },
        .init(name: "put", signature: "app.http.put(path, [options,] handler)") {
            hostCall($0, $1, "app.http.put", takes: 3) { call throws(Misuse) in try call.script.route(call, "PUT") }
        },
        .init(name: "patch", signature: "app.http.patch(path, [options,] handler)") {
            hostCall($0, $1, "app.http.patch", takes: 3) { call throws(Misuse) in try call.script.route(call, "PATCH") }
        },
        .init(name: "delete", signature: "app.http.delete(path, [options,] handler)") {
            hostCall($0, $1, "app.http.delete", takes: 3) { call throws(Misuse) in try call.script.route(call, "DELETE")
            }
        },
        .init(name: "head", signature: "app.http.head(path, [options,] handler)") {
            hostCall($0, $1, "app.http.head", takes: 3) { call throws(Misuse) in try call.script.route(call, "HEAD") }
        },
        .init(name: "options", signature: "app.http.options(path, [options,] handler)") {
            hostCall($0, $1, "app.http.options", takes: 3) { call throws(Misuse) in
                try call.script.route(call, "OPTIONS")
            }
        },
        .init(name: "route", signature: "app.http.route(method, path, [options,] handler)") {
            hostCall($0, $1, "app.http.route", takes: 4) { call throws(Misuse) in try call.script.anyRoute(call) }
        },
        .init(name: "view", signature: "app.http.view(path, [options,] { get = fn, post = fn, ... })") {
            hostCall($0, $1, "app.http.view", takes: 3) { call throws(Misuse) in try call.script.view(call) }
        },
        .init(
            name: "websocket",
            signature: "app.http.websocket(path, [options,] handler | { open =, message =, close =, reload = })"
        ) {
            hostCall($0, $1, "app.http.websocket", takes: 3) { call throws(Misuse) in try call.script.webSocket(call) }
        },
        .init(name: "nats_bridge", signature: "app.http.nats_bridge(path, { allow = {...}, ... })") {
            hostCall($0, $1, "app.http.nats_bridge", takes: 2) { call throws(Misuse) in try call.script.natsBridge(call)
            }
        },
        .init(name: "static", signature: "app.http.static(prefix, folder [, options])") {
            hostCall($0, $1, "app.http.static", takes: 3) { call throws(Misuse) in try call.script.serveFolder(call) }
        },
        fetch,
    ]

    /// What stands in the table is the function in C that goes on with streams; this one it calls.
    private static let fetch = HostFunctionEntry(
        name: "fetch",
        signature: "app.http.fetch(url [, options]) -> response | nil, err"
    ) {
        startFetch($0, $1, nil)
    }

    /// `panini.response{...}`.
    static let response = HostFunctionEntry(
        name: "response",
        signature:
            "panini.response{ status =, headers =, text = | json = | html = | body = | file = | stream = | events = }"
    ) {
        hostCall($0, $1, "panini.response", takes: 1) { call throws(Misuse) in try call.script.response(call) }
    }
}
