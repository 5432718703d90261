// Owns: what waits for an answer of a worker, so that it hears when there will be none. Calls of the host's loop live there;
// those of other threads are behind a lock.

import NIOCore
import Synchronization

/// What the host's loop has asked a worker, and has no answer to.
final class WorkerCalls {
    private let loop: any EventLoop
    private var waiting: [UInt64: (any Error) -> Void] = [:]
    private var next: UInt64 = 0
    private var loss: (any Error)?

    init(loop: any EventLoop) { self.loop = loop }

    /// Asks, and hears of the answer or of the loss of the worker, whichever is first.
    func track<Result: Sendable>(_ ask: () -> EventLoopFuture<Result>) -> EventLoopFuture<Result> {
        if let loss { return loop.makeFailedFuture(loss) }
        let promise = loop.makePromise(of: Result.self)
        next += 1
        let number = next
        waiting[number] = { promise.fail($0) }
        let box = NIOLoopBound(self, eventLoop: loop)
        ask().hop(to: loop).whenComplete { result in
            if box.value.waiting.removeValue(forKey: number) != nil { promise.completeWith(result) }
        }
        return promise.futureResult
    }

    /// The worker will not answer any more.
    func fail(_ error: any Error) {
        loss = error
        let failures = waiting
        waiting = [:]
        for number in failures.keys.sorted() { failures[number]?(error) }
    }
}

@available(*, unavailable)
extension WorkerCalls: Sendable {}

/// What other threads have asked a worker, and have no answer to.
final class OpenCalls: Sendable {
    private struct State {
        var waiting: [UInt64: @Sendable () -> Void] = [:]
        var next: UInt64 = 0
        var isLost = false
    }

    private let state = Mutex(State())

    /// - Parameter lost: Called once if the worker is lost before ``remove(_:)``.
    /// - Returns: What ``remove(_:)`` takes; nil when the worker is lost already.
    func add(_ lost: @escaping @Sendable () -> Void) -> UInt64? {
        state.withLock { state in
            guard !state.isLost else { return nil }
            state.next += 1
            state.waiting[state.next] = lost
            return state.next
        }
    }

    func remove(_ number: UInt64) { state.withLock { _ = $0.waiting.removeValue(forKey: number) } }

    func fail() {
        let calls = state.withLock { state in
            state.isLost = true
            defer { state.waiting = [:] }
            return state.waiting
        }
        for number in calls.keys.sorted() { calls[number]?() }
    }
}
