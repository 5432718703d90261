// The bounded buffer between the connection's loop and the tasks that read a subscription: the loop appends a burst at a
// time, a task takes a whole batch at a time, so neither a task nor a continuation is made per message. Safe on any
// thread; nobody's code runs under its lock.

import NIOConcurrencyHelpers

final class MessageQueue: Sendable {
    /// What a subscription may keep waiting for a slow reader.
    struct Limits: Sendable {
        var messages: Int
        var bytes: Int
    }

    /// What became of appended messages.
    struct Outcome {
        /// Whether a reader waits and must be woken.
        var mustWake = false
        /// How many were dropped.
        var dropped = 0
        /// Whether the first of a row of drops is among them.
        var becameSlow = false
    }

    private struct State {
        var buffer: [NATSMessage] = []
        var bytes = 0
        var isEnded = false
        var error: NATSError?
        var dropped = 0
        /// From the first drop until a message is taken again.
        var isSlow = false
        var lastWaiter = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = NIOLockedValueBox(State())
    private let limits: Limits

    init(_ limits: Limits) {
        self.limits = limits
    }

    var dropped: Int { state.withLockedValue { $0.dropped } }

    // MARK: - Writing

    /// Appends what there is room for; empties `messages` but keeps its memory.
    func append(_ messages: inout [NATSMessage]) -> Outcome {
        let outcome = state.withLockedValue { state -> Outcome in
            var outcome = Outcome()
            guard !state.isEnded else { return outcome }
            for message in messages {
                let size = message.size
                guard state.buffer.count < limits.messages, state.bytes + size <= limits.bytes else {
                    outcome.dropped += 1
                    if !state.isSlow {
                        state.isSlow = true
                        outcome.becameSlow = true
                    }
                    continue
                }
                state.isSlow = false
                state.bytes += size
                state.buffer.append(message)
            }
            state.dropped += outcome.dropped
            outcome.mustWake = !state.waiters.isEmpty && !state.buffer.isEmpty
            return outcome
        }
        messages.removeAll(keepingCapacity: true)
        return outcome
    }

    func wake() {
        let waiters = state.withLockedValue { state in
            defer { state.waiters.removeAll(keepingCapacity: true) }
            return state.waiters
        }
        for waiter in waiters.values {
            waiter.resume()
        }
    }

    /// Nothing comes any more; what waits is still delivered, then the error.
    func end(_ error: NATSError?) {
        state.withLockedValue { state in
            guard !state.isEnded else { return }
            state.isEnded = true
            state.error = error
        }
        wake()
    }

    // MARK: - Reading

    /// Waits for messages and takes all there are; false at the end, and for a cancelled task.
    func takeBatch(
        into batch: inout [NATSMessage],
        isolation actor: isolated (any Actor)?
    ) async throws(NATSError) -> Bool {
        while true {
            if Task.isCancelled { return false }
            let (isEnded, error) = state.withLockedValue { state -> (Bool, NATSError?) in
                swap(&batch, &state.buffer)
                state.bytes = 0
                guard batch.isEmpty else { return (false, nil) }
                defer { state.error = nil }
                return (state.isEnded, state.error)
            }
            if !batch.isEmpty { return true }
            if let error { throw error }
            if isEnded { return false }
            await wait(isolation: actor)
        }
    }

    /// Returns when there may be something to take, or the task is cancelled. Any number of tasks may wait.
    private func wait(isolation actor: isolated (any Actor)?) async {
        let id = state.withLockedValue { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: actor) { (continuation: CheckedContinuation<Void, Never>) in
                let isReady = state.withLockedValue { state in
                    // Something may have come since the look above; a cancelled task must not wait either.
                    if !state.buffer.isEmpty || state.isEnded || Task.isCancelled { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }
}
