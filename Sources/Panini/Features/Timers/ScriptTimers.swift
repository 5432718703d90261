// Owns: the timers that a version of a script has registered. Loop-bound.

import ScriptRuntime

/// `app.timer_task` of one version of a script.
final class ScriptTimers: ScriptFeature {
    var all: [ServiceTimer] = []

    /// An alarm may be set still; it looks at no script when the timer is off.
    override func close() { for timer in all { timer.isOn = false } }

    override var registered: [(name: String, form: String)] {
        all.map { timer in
            (name: timer.title, form: "\(timer.intervalNanoseconds) \(timer.mode) \(timer.jitterNanoseconds)")
        }
    }
}

extension Script {
    var timers: ScriptTimers { features[ScriptTimers.self] }
}
