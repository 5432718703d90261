// Owns: the order of starts under `app_strategy = "sync"`: one handler, task or tick at a time, each to its end. Value of
// a Service; loop-bound.

/// A start that waits for its turn.
enum SyncStart {
    /// The oldest message in the listener's queue.
    case message(Listener)
    case tick(ServiceTimer)
    case task(Int)
}

struct SyncStrategy {
    var isOn = false
    /// True while something runs or waits in the middle.
    var isBusy = false
    private var queue: [SyncStart] = []
    private var head = 0

    mutating func append(_ start: SyncStart) { queue.append(start) }

    mutating func popFirst() -> SyncStart? {
        guard head < queue.count else { return nil }
        let start = queue[head]
        head += 1
        if head == queue.count {
            queue.removeAll(keepingCapacity: queue.capacity <= 1024)
            head = 0
        } else if head >= 512, head * 2 >= queue.count {
            queue.removeFirst(head)
            head = 0
        }
        return start
    }

    var isEmpty: Bool { head == queue.count }
}
