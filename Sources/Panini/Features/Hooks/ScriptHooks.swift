// Owns: the functions that a version of a script runs at its start, its end and beside everything else. Loop-bound.

import LuaVM
import ScriptRuntime

/// Hooks and tasks of one version of a script.
final class ScriptHooks: ScriptFeature {
    var tasks: [BackgroundTask] = []
    var startTasks: [RegisteredFunction] = []
    var stopHooks: [RegisteredFunction] = []
    /// `app.on_reload`: what it returns is given to the next version.
    var reloadHook: RegisteredFunction?
    /// Runs them.
    private(set) lazy var runner = HookRunner(script: script)

    override var isBusy: Bool { runner.isRunning }
}

extension Script {
    var hooks: ScriptHooks { features[ScriptHooks.self] }
}
