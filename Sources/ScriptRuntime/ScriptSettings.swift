// Owns: what is decided about a script before it is loaded: the limits of its runs, whether it is trusted, where its modules
// are. Values; any thread. Knows no option and no permission by name.

package import LuaVM

/// What the runs of a script may take.
package struct ScriptLimits: Sendable {
    /// Seconds of CPU time of one run.
    package var cpu = 1.0
    /// Seconds of CPU time for each second of a run without an end.
    package var rate = 0.5
    /// Bytes of the Lua state.
    package var memory = 256 << 20
    /// Keys of one weak table.
    package var weakKeys = 4000
    /// Seconds of CPU time of the script's file.
    package var load = 5.0

    package init() {}
}

/// What is settled about a script before its file runs.
package struct ScriptSettings: Sendable {
    /// The limits that apply until `panini.app{...}` sets others. A script may never call it.
    package var limits = ScriptLimits()
    package var modules: ModuleSettings

    package init(limits: ScriptLimits = ScriptLimits(), modules: ModuleSettings) {
        self.limits = limits
        self.modules = modules
    }

    package var configuration: LuaVM.Configuration {
        var configuration = LuaVM.Configuration()
        configuration.isTrusted = modules.isTrusted
        configuration.cpuLimit = limits.load
        configuration.memoryLimit = limits.memory
        configuration.weakKeyLimit = limits.weakKeys
        return configuration
    }
}

/// Why there is no script.
public struct ScriptError: Error {
    package enum Reason {
        /// There is no memory for a Lua state.
        case noState
        /// A feature cannot do what it was asked for.
        case refusedByFeature
    }

    package let reason: Reason
    /// One line.
    package let message: String

    package init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }
}
