// Owns: what hooks say of themselves: the functions that are run at a service's start, its end and beside it, and what editors
// know of them. A constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.task`, `app.on_start_task`, `app.on_stop` and `app.on_reload`.
    static let hooks = Feature(ScriptHooks.self, ServiceHooks.self, functions: hookFunctions)

    /// In the table `app`.
    private static let hookFunctions: [Function] = [
        Function(
            entry: HostFunctionEntry(name: "task", signature: "app.task(fn)") {
                hostCall($0, $1, "app.task", takes: 1) { call throws(UsageError) in try call.script.task(call) }
            },
            annotation: """
                Runs a function once, when all listeners are in place.
                @param fn fun()
                """
        ),
        Function(
            entry: HostFunctionEntry(name: "on_start_task", signature: "app.on_start_task(fn)") {
                hostCall($0, $1, "app.on_start_task", takes: 1) { call throws(UsageError) in
                    try call.script.onStartTask(call)
                }
            },
            annotation: """
                Runs a function when the connection is there and nothing is subscribed yet; an error in it ends the start, or keeps
                the version before. At a reload it gets what that version's `on_reload` returned.
                @param fn fun(state?: any): ...
                """
        ),
        Function(
            entry: HostFunctionEntry(name: "on_stop", signature: "app.on_stop(fn)") {
                hostCall($0, $1, "app.on_stop", takes: 1) { call throws(UsageError) in try call.script.onStop(call) }
            },
            annotation: """
                Runs a function at the stop, or when the script has been replaced ("reload"): running handlers have ended.
                @param fn fun(reason: "stop"|"reload"): ...
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "on_reload",
                signature: "app.on_reload(fn): what fn returns is given to the next version"
            ) {
                hostCall($0, $1, "app.on_reload", takes: 1) { call throws(UsageError) in try call.script.onReload(call)
                }
            },
            annotation: """
                What the function returns, plain data, is given to the next version's `on_start_task`.
                @param fn fun(): any
                """
        ),
    ]
}
