// Owns: what the kernel says of itself as features do: the tables `app` and `panini`, the functions of the runtime, errors, and
// which worker a script is on. A constant; any thread.

import CLuaVM
import LuaVM
import ScriptRuntime

extension Feature {
    /// `app` and `panini`, to which all others add, and what belongs to no feature.
    static let kernel = Feature(
        tables: [
            Table(
                "app",
                type: "panini.App",
                annotation: """
                    The script's one app, from `panini.app{...}`. Its functions are called with a dot; a colon works as well.
                    """,
                hint: """
                    options are given to panini.app{...}, functions by calls, as in app.on_stop(fn); \(Table.ownVariables)
                    """
            ),
            Table(
                "panini",
                type: "panini",
                annotation: "Everything the host offers. A global, and what `require \"panini\"` returns."
            ),
        ],
        functions: kernelFunctions,
        values: kernelValues,
        types: kernelTypes
    )

    /// Those of the runtime, and what makes the app.
    private static let kernelFunctions: [Function] = [
        Function(
            entry: HostFunctionEntry(name: "sleep", signature: "app.sleep(seconds)") {
                hostCall($0, $1, "app.sleep", takes: 1) { call throws(UsageError) in try call.script.sleep(call) }
            },
            annotation: """
                Waits; only the calling coroutine does.
                @param seconds number
                """
        ),
        Function(
            entry: HostFunctionEntry(name: "spawn", signature: "app.spawn(fn) -> handle with .wait()") {
                hostCall($0, $1, "app.spawn", takes: 1) { call throws(UsageError) in try call.script.spawn(call) }
            },
            annotation: """
                Runs a function beside the current one; it starts when the caller next waits or ends.
                @param fn fun(): ...
                @return panini.Spawned handle
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "wait_all",
                signature: "app.wait_all{ fn | handle, ... } -> results, errors"
            ) {
                hostCall($0, $1, "app.wait_all", takes: 1) { call throws(UsageError) in try call.script.waitAll(call) }
            },
            annotation: """
                Runs all functions at once and waits for them, and for those that handles of `app.spawn` stand for.
                @param members ((fun(): ...)|panini.Spawned)[]
                @return any[] results by position, the first result of each
                @return table<integer, panini.Error>? errors by position; nil when there are none
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "start",
                signature: "app.start(): accepted as the last statement; does nothing"
            ) {
                hostCall($0, $1, "app.start", takes: 0) { _ in 0 }
            },
            annotation: """
                Accepted as the last statement; the host starts the service once the file has run.
                """
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(name: "app", signature: "panini.app{ service_name = ..., ... } -> app") {
                hostCall($0, $1, "panini.app", takes: 1) { call throws(UsageError) in try call.script.makeApp(call) }
            },
            annotation: """
                Makes the script's one app.
                @param options panini.AppOptions
                @return panini.App app
                """
        ),
    ]

    /// Where a script is.
    private static let kernelValues: [Value] = [
        Value("panini.worker", type: "integer the number of the worker this state runs on, from 0") { script, L, _ in
            lua_pushinteger(L, lua_Integer(script.place.worker))
        },
        Value("panini.workers", type: "integer how many workers there are") { script, L, _ in
            lua_pushinteger(L, lua_Integer(script.place.workers))
        },
    ]

    /// What calls return.
    private static let kernelTypes = [
        """
        What a call that failed returns beside nil; `tostring(err)` is the message.
        @class panini.Error
        @field code integer|string such as "timeout", "no_responders", "disconnected", or the number a service answered with
        @field message string the text for people
        @field data? any the body of the answer, when a service answered with an error
        @field errors? panini.Violation[] what is wrong with a message that failed its validator
        """,
        """
        @class panini.Spawned
        @field wait fun(): ... waits for the function: its results, or nil and an error
        """,
    ]
}
