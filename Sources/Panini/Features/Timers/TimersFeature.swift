// Owns: what timers say of themselves: `app.timer_task`, and what editors know of it. A constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.timer_task`.
    static let timers = Feature(
        ScriptTimers.self,
        ServiceTimers.self,
        functions: [
            Function(
                entry: HostFunctionEntry(name: "timer_task", signature: "app.timer_task(interval, [options,] fn)") {
                    hostCall($0, $1, "app.timer_task", takes: 3) { call throws(UsageError) in
                        try call.script.timerTask(call)
                    }
                },
                annotation: """
                    Runs a function at once and then every so many seconds; never beside itself.
                    @param interval number seconds
                    @param options panini.TimerOptions
                    @param fn fun()
                    @overload fun(interval: number, fn: fun())
                    """
            )
        ],
        types: [
            """
            @class panini.TimerOptions
            @field name? string for logs and listings
            @field immediate? boolean false: the first run comes after one interval (true)
            @field jitter? number each tick comes later by a random part of so many seconds (0)
            @field mode? "rate"|"delay" "delay": the interval counts from the end of a run
            @field each_worker? boolean runs on every worker (false)
            """
        ]
    )
}
