// Owns: one `app.task` of a script: a function that runs once, for as long as it likes, on the first worker. Loop-bound.

import Logging
import LuaVM
import ScriptRuntime

/// A function that runs beside everything else.
final class BackgroundTask: ActivityOwner {
    let function: RegisteredFunction

    init(script: Script, function: RegisteredFunction) {
        self.function = function
        super.init(script: script)
    }

    override func traits(of activity: Activity) -> ActivityTraits { [.takesTurn, .hasOpenEnd] }

    override func begin(_ activity: Activity) {
        guard script.phase != .closed else { return }
        script.enter { script.start(function.function, activity) }
    }

    override func beginTurn(_ activity: Activity) -> Bool {
        guard script.phase != .closed else { return false }
        begin(activity)
        return true
    }

    override func failed(_ activity: Activity, _ error: LuaError) {
        script.service?.taskFailed("task (\(function.origin))", error)
    }

    override func ended(_ activity: Activity) {
        script.service?.runDidEnd(of: script)
    }
}

extension Service {
    func taskFailed(_ what: String, _ error: LuaError) {
        counters.taskFailed()
        logger.error("\(what) failed: \(error.message)", metadata: traceback(error))
        guard !options.ignoreTaskExceptions else { return }
        fail(
            PaniniError(
                code: .taskFailed,
                message: "\(options.serviceName): \(what) failed: \(error.message) (ignore_task_exceptions is false)",
                traceback: error.traceback
            )
        )
    }

    func traceback(_ error: LuaError) -> Logger.Metadata? {
        error.traceback.map { ["lua.traceback": "\($0)"] }
    }
}
