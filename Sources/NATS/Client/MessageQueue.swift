// Owns: the bounded buffer between the connection's loop and the tasks that read a subscription. The loop appends a burst at a
// time, a task takes a whole batch at a time, so neither a task nor a continuation is made per message. Safe on any
// thread; nobody's code runs under its lock. May not know the connection.

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
        /// Who reads: the identity of the task each of them was in when it came last, nil for a place that is free.
        var readers: [Int?] = []
        /// Called when a reader has left; set once the client drains.
        var onLeave: (@Sendable () -> Void)?

        mutating func enter(_ reader: MessageReader, _ task: Int) {
            if reader.place < 0 {
                reader.place = readers.firstIndex(of: nil) ?? readers.count
                if reader.place == readers.count { readers.append(nil) }
            }
            readers[reader.place] = task
        }

        /// - Returns: what to call without the lock.
        mutating func leave(_ reader: MessageReader) -> (@Sendable () -> Void)? {
            guard reader.place >= 0 else { return nil }
            readers[reader.place] = nil
            reader.place = -1
            return onLeave
        }
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

    /// Waits for messages and takes all there are; false at the end, and for a cancelled task. Whoever got messages
    /// counts as working on them until it comes again, or is gone.
    func takeBatch(
        into batch: inout [NATSMessage],
        for reader: MessageReader,
        isolation actor: isolated (any Actor)?
    ) async throws(NATSError) -> Bool {
        let task = MessageReader.currentTask ?? 0
        while true {
            if Task.isCancelled {
                leave(reader)
                return false
            }
            let (isEnded, error, left) = state.withValue { state -> (Bool, NATSError?, (@Sendable () -> Void)?) in
                swap(&batch, &state.buffer)
                state.bytes = 0
                guard batch.isEmpty, state.isEnded else {
                    state.enter(reader, task)
                    return (false, nil, nil)
                }
                defer { state.error = nil }
                return (true, state.error, state.leave(reader))
            }
            if !batch.isEmpty { return true }
            left?()
            if let error { throw error }
            if isEnded { return false }
            // Something may have come since the look above.
            await state.wait(isolation: actor) { !$0.buffer.isEmpty || $0.isEnded }
        }
    }

    /// `reader` does not work on messages any more.
    func leave(_ reader: MessageReader) {
        state.withValue { $0.leave(reader) }?()
    }

    // MARK: - Draining

    /// Has `onLeave` called, on any thread, whenever a reader has left; nil for no longer.
    func watch(_ onLeave: (@Sendable () -> Void)?) {
        state.withValue { $0.onLeave = onLeave }
    }

    /// Whether nobody works on messages but, maybe, readers in `tasks`.
    func isSettled(except tasks: Set<Int>) -> Bool {
        state.withValue { state in
            state.readers.allSatisfy { reader in reader.map(tasks.contains) ?? true }
        }
    }
}

/// One iterator of a queue, to know whether it works on messages. It leaves when it is dropped.
final class MessageReader {
    private let queue: MessageQueue
    /// Where it stands among the queue's readers, negative when it does not. Under the queue's lock.
    fileprivate(set) var place = -1

    init(_ queue: MessageQueue) {
        self.queue = queue
    }

    deinit {
        queue.leave(self)
    }

    /// Tells the task that runs this from others.
    static var currentTask: Int? {
        withUnsafeCurrentTask { $0?.hashValue }
    }
}

@available(*, unavailable)
extension MessageReader: Sendable {}
