// Owns: the beginning of what a version runs beside everything else. Loop-bound.

import ScriptRuntime

/// Tasks of a service on one worker.
final class ServiceHooks: ServiceFeature {
    /// Of several workers the first runs them.
    override func begin(_ version: Script, after old: Script?) {
        guard service.worker.isFirst else { return }
        // It keeps its version alive, which may be replaced before its turn.
        for task in version.hooks.tasks { service.admit(Activity(task, object: version), in: version) }
    }
}
