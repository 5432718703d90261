// The bounded buffer between the connection's loop and the tasks that read a subscription: the loop appends a burst at a
// time, a task takes a whole batch at a time, so neither a task nor a continuation is made per message. Safe on any
// thread; nobody's code runs under its lock.

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
    }

    private let state = WaitableBox(State())
    private let limits: Limits

    init(_ limits: Limits) {
        self.limits = limits
    }

    var dropped: Int { state.withValue { $0.dropped } }

    // MARK: - Writing

    /// Appends what there is room for; empties `messages` but keeps its memory.
    func append(_ messages: inout [NATSMessage]) -> Outcome {
        let outcome = state.withValueAndWaiters { state, hasWaiters -> Outcome in
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
            outcome.mustWake = hasWaiters && !state.buffer.isEmpty
            return outcome
        }
        messages.removeAll(keepingCapacity: true)
        return outcome
    }

    func wake() {
        state.wake()
    }

    /// Nothing comes any more; what waits is still delivered, then the error.
    func end(_ error: NATSError?) {
        state.withValue { state in
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
            let (isEnded, error) = state.withValue { state -> (Bool, NATSError?) in
                swap(&batch, &state.buffer)
                state.bytes = 0
                guard batch.isEmpty else { return (false, nil) }
                defer { state.error = nil }
                return (state.isEnded, state.error)
            }
            if !batch.isEmpty { return true }
            if let error { throw error }
            if isEnded { return false }
            // Something may have come since the look above.
            await state.wait(isolation: actor) { !$0.buffer.isEmpty || $0.isEnded }
        }
    }
}
