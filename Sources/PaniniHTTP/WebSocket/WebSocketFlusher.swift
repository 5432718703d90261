// Owns: when connections that were written to outside of their own reads are flushed: all together, once per turn of the
// loop. Loop-bound.

import NIOCore

/// Collects connections with something to send.
final class WebSocketFlusher {
    private let eventLoop: any EventLoop
    private var waiting: [WebSocketConnection] = []
    private var running: [WebSocketConnection] = []
    private var isScheduled = false
    /// Made once: nothing is allocated per message.
    private var task: (@Sendable () -> Void)?

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// The connection is flushed at the end of this turn.
    func add(_ connection: WebSocketConnection) {
        waiting.append(connection)
        guard !isScheduled else { return }
        isScheduled = true
        if task == nil {
            let box = NIOLoopBound(self, eventLoop: eventLoop)
            task = { box.value.run() }
        }
        if let task { eventLoop.execute(task) }
    }

    private func run() {
        isScheduled = false
        swap(&waiting, &running)
        for connection in running { connection.flushWaiting() }
        running.removeAll(keepingCapacity: true)
    }
}

@available(*, unavailable)
extension WebSocketFlusher: Sendable {}
