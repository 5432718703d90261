// Owns: the calls that wait for the first connection. What is asked of the server before there is one waits for it within its
// own time. The owner bounds their number. Loop-bound; may not know the connection.

import NIOCore

/// Waits that end with the first connection, with the connection's end, or when their time is over.
final class FirstConnection {
    private let eventLoop: any EventLoop
    private var waiters: [UInt64: (promise: EventLoopPromise<Void>, alarm: Scheduled<Void>)] = [:]
    /// Whether there was a connection, or will never be one: nobody waits any more.
    private(set) var isOver = false

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// How many wait.
    var count: Int { waiters.count }

    /// Waits for the first connection.
    ///
    /// - Parameter id: not in use by another waiter.
    /// - Returns: fails with a `NATSError`: `timeout` at `deadline`, `cancelled`, or why there will be no connection.
    func wait(_ id: UInt64, until deadline: NIODeadline) -> EventLoopFuture<Void> {
        guard !isOver else { return eventLoop.makeSucceededVoidFuture() }
        let promise = eventLoop.makePromise(of: Void.self)
        let alarm = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            _ = self?.fail(id, NATSError(.timeout, "there was no connection to a server in time"))
        }
        waiters[id] = (promise, alarm)
        return promise.futureResult
    }

    /// Ends one wait; false when there is none of that number.
    func fail(_ id: UInt64, _ error: NATSError) -> Bool {
        guard let waiter = waiters.removeValue(forKey: id) else { return false }
        waiter.alarm.cancel()
        waiter.promise.fail(error)
        return true
    }

    /// Ends all waits, in the order in which they began.
    func end(_ result: Result<Void, NATSError>) {
        guard !isOver else { return }
        isOver = true
        let ended = waiters.sorted { $0.key < $1.key }
        waiters = [:]
        for (_, waiter) in ended {
            waiter.alarm.cancel()
            waiter.promise.completeWith(result.mapError { $0 as any Error })
        }
    }
}

@available(*, unavailable)
extension FirstConnection: Sendable {}
