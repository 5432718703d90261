// Owns: the table of every function a script can call on `app` and `panini`: names, texts and the Swift code behind. The
// registration and the documentation come from this one table.

import LuaVM
import ScriptRuntime

extension HostFunctionEntry {
    /// Registered by itself, as it calls functions that make middlewares.
    static let addMiddleware = HostFunctionEntry(
        name: "add_middleware",
        signature: "app.add_middleware(middleware | function [, arguments...]) -> handle with .remove()"
    ) {
        hostCall($0, $1, "app.add_middleware", takes: 1) { call throws(Misuse) in try call.script.addMiddleware(call) }
    }

    /// Functions of the table that `panini.app{...}` returns.
    static let app: [HostFunctionEntry] = [
        .init(name: "listen", signature: "app.listen(subject | {subjects}, [options,] handler) -> handle") {
            hostCall($0, $1, "app.listen", takes: 3) { call throws(Misuse) in try call.script.listen(call) }
        },
        .init(name: "unsubscribe", signature: "app.unsubscribe(subject) -> number of listeners ended") {
            hostCall($0, $1, "app.unsubscribe", takes: 1) { call throws(Misuse) in try call.script.unsubscribe(call) }
        },
        .init(name: "publish", signature: "app.publish(subject, message [, options]) -> true | nil, err") {
            hostCall($0, $1, "app.publish", takes: 3) { call throws(Misuse) in
                try call.script.publish(call, force: false)
            }
        },
        .init(name: "publish_sync", signature: "app.publish_sync(subject, message [, options]) -> true | nil, err") {
            hostCall($0, $1, "app.publish_sync", takes: 3) { call throws(Misuse) in
                try call.script.publish(call, force: true)
            }
        },
        .init(name: "request", signature: "app.request(subject, message [, options]) -> data, nil, msg | nil, err") {
            hostCall($0, $1, "app.request", takes: 3) { call throws(Misuse) in try call.script.request(call) }
        },
        .init(name: "request_sync", signature: "app.request_sync: the same call as app.request") {
            hostCall($0, $1, "app.request_sync", takes: 3) { call throws(Misuse) in try call.script.request(call) }
        },
        .init(name: "flush", signature: "app.flush([timeout]) -> true | nil, err") {
            hostCall($0, $1, "app.flush", takes: 1) { call throws(Misuse) in try call.script.flush(call) }
        },
        .init(name: "sleep", signature: "app.sleep(seconds)") {
            hostCall($0, $1, "app.sleep", takes: 1) { call throws(Misuse) in try call.script.sleep(call) }
        },
        .init(name: "spawn", signature: "app.spawn(fn) -> handle with .wait()") {
            hostCall($0, $1, "app.spawn", takes: 1) { call throws(Misuse) in try call.script.spawn(call) }
        },
        .init(name: "wait_all", signature: "app.wait_all{ fn | handle, ... } -> results, errors") {
            hostCall($0, $1, "app.wait_all", takes: 1) { call throws(Misuse) in try call.script.waitAll(call) }
        },
        .init(name: "task", signature: "app.task(fn)") {
            hostCall($0, $1, "app.task", takes: 1) { call throws(Misuse) in try call.script.task(call) }
        },
        .init(name: "timer_task", signature: "app.timer_task(interval, [options,] fn)") {
            hostCall($0, $1, "app.timer_task", takes: 3) { call throws(Misuse) in try call.script.timerTask(call) }
        },
        .init(name: "on_start_task", signature: "app.on_start_task(fn)") {
            hostCall($0, $1, "app.on_start_task", takes: 1) { call throws(Misuse) in try call.script.onStartTask(call) }
        },
        .init(name: "on_stop", signature: "app.on_stop(fn)") {
            hostCall($0, $1, "app.on_stop", takes: 1) { call throws(Misuse) in try call.script.onStop(call) }
        },
        .init(name: "on_reload", signature: "app.on_reload(fn): what fn returns is given to the next version") {
            hostCall($0, $1, "app.on_reload", takes: 1) { call throws(Misuse) in try call.script.onReload(call) }
        },
        .init(name: "add_filters", signature: "app.add_filters{ include = {...}, exclude = {...} }") {
            hostCall($0, $1, "app.add_filters", takes: 1) { call throws(Misuse) in try call.script.addFilters(call) }
        },
        addMiddleware,
        .init(name: "remove_middleware", signature: "app.remove_middleware(handle) -> true | false") {
            hostCall($0, $1, "app.remove_middleware", takes: 1) { call throws(Misuse) in
                try call.script.removeMiddleware(call)
            }
        },
        .init(name: "start", signature: "app.start(): accepted as the last statement; does nothing") {
            hostCall($0, $1, "app.start", takes: 0) { _ in 0 }
        },
    ]

    /// Functions of the global `panini`.
    static let panini: [HostFunctionEntry] = [
        .init(name: "app", signature: "panini.app{ service_name = ..., ... } -> app") {
            hostCall($0, $1, "panini.app", takes: 1) { call throws(Misuse) in try call.script.makeApp(call) }
        },
        .init(name: "env", signature: "panini.env(name [, default]) -> text | default") {
            hostCall($0, $1, "panini.env", takes: 2) { call throws(Misuse) in try call.script.environment(call) }
        },
        .init(name: "array", signature: "panini.array(t) -> t, marked as a JSON array") {
            hostCall($0, $1, "panini.array", takes: 1) { call throws(Misuse) in try call.script.array(call) }
        },
        .init(name: "validator", signature: "panini.validator(fields [, options]) -> validator") {
            hostCall($0, $1, "panini.validator", takes: 2) { call throws(Misuse) in try call.script.validator(call) }
        },
        .init(name: "field", signature: "panini.field{ type = ..., ... } -> the same table, checked") {
            hostCall($0, $1, "panini.field", takes: 1) { call throws(Misuse) in try call.script.field(call) }
        },
        .init(name: "uuid", signature: "panini.uuid() -> a random UUID (version 4)") {
            hostCall($0, $1, "panini.uuid", takes: 0) { call in call.script.uuid(call) }
        },
        .init(name: "now", signature: "panini.now() -> seconds since 1970, wall clock") {
            hostCall($0, $1, "panini.now", takes: 0) { call in call.script.now(call) }
        },
        .init(name: "monotonic", signature: "panini.monotonic() -> seconds of a clock that never goes back") {
            hostCall($0, $1, "panini.monotonic", takes: 0) { call in call.script.monotonic(call) }
        },
        .init(name: "get_logger", signature: "panini.get_logger(name) -> logger") {
            hostCall($0, $1, "panini.get_logger", takes: 1) { call throws(Misuse) in try call.script.getLogger(call) }
        },
    ]

    /// Functions of `panini.json`.
    static let json: [HostFunctionEntry] = [
        .init(name: "encode", signature: "panini.json.encode(value) -> text") {
            hostCall($0, $1, "panini.json.encode", takes: 1) { call throws(Misuse) in try call.script.jsonEncode(call) }
        },
        .init(name: "decode", signature: "panini.json.decode(text) -> value | nil, err") {
            hostCall($0, $1, "panini.json.decode", takes: 1) { call throws(Misuse) in try call.script.jsonDecode(call) }
        },
    ]

    /// Functions of `panini.base64`.
    static let base64: [HostFunctionEntry] = [
        .init(name: "encode", signature: "panini.base64.encode(bytes) -> text") {
            hostCall($0, $1, "panini.base64.encode", takes: 1) { call throws(Misuse) in
                try call.script.base64Encode(call)
            }
        },
        .init(name: "decode", signature: "panini.base64.decode(text) -> bytes | nil, err") {
            hostCall($0, $1, "panini.base64.decode", takes: 1) { call throws(Misuse) in
                try call.script.base64Decode(call)
            }
        },
    ]

    /// Functions of `panini.hash`.
    static let hash: [HostFunctionEntry] = [
        .init(name: "sha256", signature: "panini.hash.sha256(text) -> hexadecimal digits") {
            hostCall($0, $1, "panini.hash.sha256", takes: 1) { call throws(Misuse) in try call.script.sha256(call) }
        },
        .init(name: "hmac_sha256", signature: "panini.hash.hmac_sha256(key, text) -> hexadecimal digits") {
            hostCall($0, $1, "panini.hash.hmac_sha256", takes: 2) { call throws(Misuse) in
                try call.script.hmacSHA256(call)
            }
        },
    ]
}
