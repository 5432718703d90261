// Owns: the messages of a consumer between the connection's loop and the tasks that read them, and what the tasks have
// done since the loop looked: how many were taken, which were settled. Safe on any thread; nobody's code runs under its
// lock.

import NIOCore

/// What tasks have done with the messages of a queue.
struct DeliveriesDone {
    var taken = 0
    var bytes = 0
    var settled: [JetStreamDeliveryID] = []
}

final class DeliveryQueue<Element: Sendable>: DrainedQueue {
    private struct Item {
        let message: Element
        let size: Int
    }

    private struct State {
        var buffer = CircularBuffer<Item>(initialCapacity: 16)
        var isEnded = false
        /// Nothing more is handed out.
        var isStopped = false
        var error: JetStreamError?
        var taken = 0
        var takenBytes = 0
        var settled: [JetStreamDeliveryID] = []
        /// Whether the loop was asked to look, and has not looked since.
        var isRequested = false
        /// The tasks that work on a message, by the reader that took it.
        var working: [ObjectIdentifier: Int] = [:]
        var onLeave: (@Sendable () -> Void)?
    }

    private let state = WaitableBox(State())
    /// After how many taken messages the loop is asked to look.
    private let batch: Int
    private let byteBatch: Int

    init(limit: Int, bytes: Int?) {
        batch = max(1, limit / 2)
        byteBatch = max(1, (bytes ?? .max) / 2)
    }

    // MARK: - The loop

    func append(_ message: Element, size: Int) {
        let mustWake = state.withValueAndWaiters { state, hasWaiters in
            guard !state.isEnded else { return false }
            state.buffer.append(Item(message: message, size: size))
            return hasWaiters
        }
        if mustWake { state.wake() }
    }

    /// Whether nothing waits to be taken.
    var isEmpty: Bool { state.withValue { $0.buffer.isEmpty } }

    /// What was done since the last call.
    func collect() -> DeliveriesDone {
        state.withValue { state in
            let done = DeliveriesDone(taken: state.taken, bytes: state.takenBytes, settled: state.settled)
            state.taken = 0
            state.takenBytes = 0
            state.settled.removeAll(keepingCapacity: true)
            state.isRequested = false
            return done
        }
    }

    /// Takes back what nobody has taken.
    func takeBack() -> (messages: [Element], bytes: Int) {
        state.withValue { state in
            defer { state.buffer.removeAll() }
            return (state.buffer.map(\.message), state.buffer.reduce(0) { $0 + $1.size })
        }
    }

    /// Nothing comes any more; what waits is still delivered, then the error.
    func end(_ error: JetStreamError?) {
        state.withValue { state in
            guard !state.isEnded else { return }
            state.isEnded = true
            state.error = error
        }
        state.wake()
    }

    /// Nothing more is handed out; what waits is taken back with ``takeBack()``.
    func stop() {
        state.withValue { $0.isStopped = true }
        state.wake()
    }

    // MARK: - Tasks

    /// A delivery was settled.
    func settled(_ id: JetStreamDeliveryID) {
        state.withValue { if !$0.isEnded { $0.settled.append(id) } }
    }

    /// Waits for the next message; nil at the end, and for a cancelled task.
    ///
    /// - Parameters:
    ///   - reader: counts as working on the message until it comes again, or leaves.
    ///   - hop: called when the loop should look at what was taken.
    func next(
        for reader: DeliveryReader<Element>,
        isolation actor: isolated (any Actor)?,
        _ hop: () -> Void
    ) async throws(JetStreamError) -> Element? {
        let key = ObjectIdentifier(reader)
        while true {
            if Task.isCancelled {
                leave(key)
                return nil
            }
            let (message, isEnded, error, mustHop) = state.withValue {
                state -> (Element?, Bool, JetStreamError?, Bool) in
                guard !state.isStopped, let item = state.buffer.popFirst() else {
                    defer { state.error = nil }
                    return (nil, state.isEnded || state.isStopped, state.error, request(&state, if: state.taken > 0))
                }
                state.taken += 1
                state.takenBytes += item.size
                state.working[key] = MessageReader.currentTask ?? 0
                return (
                    item.message, false, nil, request(&state, if: state.taken >= batch || state.takenBytes >= byteBatch)
                )
            }
            if mustHop { hop() }
            if let message { return message }
            leave(key)
            if let error { throw error }
            if isEnded { return nil }
            await state.wait(isolation: actor) { !$0.buffer.isEmpty || $0.isEnded || $0.isStopped }
        }
    }

    private func request(_ state: inout State, if isNeeded: Bool) -> Bool {
        guard isNeeded, !state.isRequested, !state.isEnded else { return false }
        state.isRequested = true
        return true
    }

    func leave(_ reader: ObjectIdentifier) {
        let onLeave = state.withValue { $0.working.removeValue(forKey: reader) == nil ? nil : $0.onLeave }
        onLeave?()
    }

    // MARK: - Draining

    func watch(_ onLeave: (@Sendable () -> Void)?) {
        state.withValue { $0.onLeave = onLeave }
    }

    func isSettled(except tasks: Set<Int>) -> Bool {
        state.withValue { $0.working.values.allSatisfy { tasks.contains($0) } }
    }
}

/// One iterator of a queue. It leaves when it is dropped.
final class DeliveryReader<Element: Sendable> {
    private let queue: DeliveryQueue<Element>

    init(_ queue: DeliveryQueue<Element>) { self.queue = queue }

    deinit { queue.leave(ObjectIdentifier(self)) }
}

@available(*, unavailable)
extension DeliveryReader: Sendable {}
