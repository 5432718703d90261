// Owns: when connections that were written to outside of their own reads are flushed: all together, once per turn of the
// loop. Loop-bound.

import NIOCore

/// What has something to send.
protocol HTTPFlushing: AnyObject {
    /// Called at the end of the loop's turn.
    func flushWaiting()
}

/// Collects connections with something to send.
final class HTTPFlusher {
    private let eventLoop: any EventLoop
    private var waiting: [any HTTPFlushing] = []
    private var running: [any HTTPFlushing] = []
    private var isScheduled = false
    private var isRunning = false
    /// How much was sent since the last flush.
    private var bytes = 0

    /// With more the connections are flushed at once: it is the system's work to copy what is flushed, and that counts to the
    /// turn of whoever sends. Hundreds of megabytes in one go would hold the loop for half a second (measured).
    private static let most = 1 << 20
    /// Made once: nothing is allocated per message.
    private var task: (@Sendable () -> Void)?

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// The connection is flushed at the end of this turn.
    func add(_ connection: any HTTPFlushing) {
        waiting.append(connection)
        schedule()
    }

    private func schedule() {
        guard !isScheduled else { return }
        isScheduled = true
        if task == nil {
            let box = NIOLoopBound(self, eventLoop: eventLoop)
            task = { box.value.run() }
        }
        if let task { eventLoop.execute(task) }
    }

    /// So many bytes more are sent, by any connection.
    @inline(__always)
    func sent(_ count: Int) {
        bytes &+= count
        if bytes > Self.most { flush() }
    }

    private func run() {
        isScheduled = false
        flush()
    }

    private func flush() {
        // A flush may lead to a message to others.
        guard !isRunning else { return }
        isRunning = true
        bytes = 0
        swap(&waiting, &running)
        for connection in running { connection.flushWaiting() }
        running.removeAll(keepingCapacity: true)
        isRunning = false
        // What was sent meanwhile.
        if !waiting.isEmpty { schedule() }
    }
}

@available(*, unavailable)
extension HTTPFlusher: Sendable {}
