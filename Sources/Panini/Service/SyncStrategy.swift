// Owns: the order of starts under `app_strategy = "sync"`: one handler, task or tick at a time, each to its end. Value of
// a Service; loop-bound.

import LoopTools
import ScriptRuntime

struct SyncStrategy {
    var isOn = false
    /// True while something runs or waits in the middle.
    var isBusy = false
    /// The next one waits until the broker takes more.
    var isHeldByBroker = false
    private var queue = FIFO<Activity>()

    var isEmpty: Bool { queue.isEmpty }

    mutating func append(_ start: Activity) { queue.append(start) }

    /// Keeps what `change` gives for each, in order.
    mutating func replace(_ change: (Activity) -> Activity?) {
        guard !queue.isEmpty else { return }
        var rest = FIFO<Activity>()
        while let start = queue.popFirst() {
            if let start = change(start) { rest.append(start) }
        }
        queue = rest
    }

    mutating func popFirst() -> Activity? { queue.popFirst() }
}
