// Owns: the beginning and the end of the timers of a service's versions. Loop-bound.

import ScriptRuntime

/// Timers of a service on one worker.
final class ServiceTimers: ServiceFeature {
    override func begin(_ version: Script, after old: Script?) {
        let before = old?.timers.all ?? []
        service.startTimers(of: version, before: before)
        for timer in before { timer.isOn = false }
    }
}
