// Owns: the order of starts under `app_strategy = "sync"`: one handler, task or tick at a time, each to its end. Value of
// a Service; loop-bound.

import PaniniHTTP

/// A start that waits for its turn.
enum SyncStart {
    /// The oldest message in the listener's queue.
    case message(Listener)
    case tick(ServiceTimer)
    case task(Script, Int)
    case request(HTTPRoute, HTTPRequest)
    case webSocket(WebSocketSession)
}

struct SyncStrategy {
    var isOn = false
    /// True while something runs or waits in the middle.
    var isBusy = false
    private var queue = FIFO<SyncStart>()

    var isEmpty: Bool { queue.isEmpty }

    mutating func append(_ start: SyncStart) { queue.append(start) }

    /// Keeps what `change` gives for each, in order.
    mutating func replace(_ change: (SyncStart) -> SyncStart?) {
        guard !queue.isEmpty else { return }
        var rest = FIFO<SyncStart>()
        while let start = queue.popFirst() {
            if let start = change(start) { rest.append(start) }
        }
        queue = rest
    }

    mutating func popFirst() -> SyncStart? { queue.popFirst() }
}
