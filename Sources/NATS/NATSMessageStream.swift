// Messages of one subscription as an async sequence. Between the connection's loop and the reading task stands one
// bounded buffer under a lock: the loop appends, the task takes a whole batch at a time, so neither a task nor a
// continuation is made per message. Safe on any thread.

import NIOConcurrencyHelpers
import NIOCore

/// The messages of a subscription, see ``NATSClient/subscribe(_:queue:bufferLimit:)``.
///
/// One task at a time may iterate. The sequence ends when the subscription does; it throws ``NATSError`` when the
/// server denied it or the connection was closed by an error. Dropping the sequence and its iterator unsubscribes.
public struct NATSMessageStream: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = NATSMessage
    /// What a step of the iteration may throw.
    public typealias Failure = NATSError

    let source: NATSMessageSource

    /// How many messages were dropped because the buffer was full.
    public var droppedMessages: Int { source.dropped }

    /// Ends the subscription. With `maximum`, after that many messages in all since it was made; without, at once, and
    /// what is buffered is still delivered.
    public func unsubscribe(after maximum: Int? = nil) {
        source.unsubscribe(after: maximum)
    }

    /// Ends the subscription without loss: the server stops sending, everything it had sent is delivered, then the
    /// sequence ends.
    ///
    /// - Throws: ``NATSError`` when the connection breaks meanwhile.
    public func drain() async throws(NATSError) {
        try await source.drain()
    }

    /// Begins the iteration; only one at a time makes sense, since each message goes to one reader.
    public func makeAsyncIterator() -> Iterator {
        Iterator(source: source)
    }

    /// Takes messages out of the subscription's buffer, a batch at a time.
    public struct Iterator: AsyncIteratorProtocol {
        let source: NATSMessageSource
        private var batch: [NATSMessage] = []
        private var index = 0

        init(source: NATSMessageSource) {
            self.source = source
        }

        /// The next message, nil when the subscription has ended or the task is cancelled.
        ///
        /// - Throws: ``NATSError`` when the subscription ended by an error; after all messages before it.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(NATSError) -> NATSMessage? {
            if index == batch.count {
                batch.removeAll(keepingCapacity: true)
                index = 0
                guard try await source.takeBatch(into: &batch, isolation: actor) else { return nil }
            }
            defer { index += 1 }
            return batch[index]
        }

        /// The next message, nil when the subscription has ended or the task is cancelled.
        public mutating func next() async throws(NATSError) -> NATSMessage? {
            try await next(isolation: nil)
        }
    }
}

/// The buffer between loop and reader.
final class NATSMessageSource: Sendable {
    private struct State {
        var buffer: [NATSMessage] = []
        var isEnded = false
        var error: NATSError?
        var dropped = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = NIOLockedValueBox(State())
    private let limit: Int
    private let client: NATSClient
    /// Names the subscription on the loop.
    private let token: NIOLoopBoundBox<NATSSubscription?>

    init(limit: Int, client: NATSClient) {
        self.limit = limit
        self.client = client
        token = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: client.eventLoop)
    }

    deinit {
        let token = token
        let client = client
        client.eventLoop.execute {
            if let subscription = token.value {
                client.bound.value.connection.unsubscribe(subscription)
            }
        }
    }

    var dropped: Int { state.withLockedValue { $0.dropped } }

    // MARK: On the loop

    func attach(_ subscription: NATSSubscription) {
        token.value = subscription
    }

    /// Appends a message; true when a reader waits and must be woken at the end of the burst.
    func append(_ message: NATSMessage) -> Bool {
        state.withLockedValue { state in
            guard state.buffer.count < limit else {
                state.dropped += 1
                return false
            }
            state.buffer.append(message)
            return state.waiter != nil
        }
    }

    func wake() {
        let waiter = state.withLockedValue { state in
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    func end(_ error: NATSError?) {
        token.value = nil
        state.withLockedValue { state in
            state.isEnded = true
            state.error = error
        }
        wake()
    }

    // MARK: On any thread

    func unsubscribe(after maximum: Int?) {
        client.eventLoop.execute {
            if let subscription = self.token.value {
                self.client.bound.value.connection.unsubscribe(subscription, after: maximum)
            }
        }
    }

    func drain() async throws(NATSError) {
        try await client.onLoop { core in
            guard let subscription = self.token.value else {
                return core.connection.eventLoop.makeSucceededVoidFuture()
            }
            return core.connection.drain(subscription)
        }
    }

    /// Waits for messages and takes all there are; false at the end.
    func takeBatch(
        into batch: inout [NATSMessage],
        isolation actor: isolated (any Actor)?
    ) async throws(NATSError) -> Bool {
        while true {
            let ended = state.withLockedValue { state -> (ended: Bool, error: NATSError?) in
                swap(&batch, &state.buffer)
                let error = batch.isEmpty ? state.error : nil
                if error != nil { state.error = nil }
                return (state.isEnded, error)
            }
            if !batch.isEmpty { return true }
            if let error = ended.error { throw error }
            if ended.ended || Task.isCancelled { return false }
            await withTaskCancellationHandler {
                await withCheckedContinuation(isolation: actor) { (continuation: CheckedContinuation<Void, Never>) in
                    let previous = state.withLockedValue { state -> CheckedContinuation<Void, Never>? in
                        // Something may have come since the look above; a cancelled task must not wait either.
                        if !state.buffer.isEmpty || state.isEnded || Task.isCancelled { return continuation }
                        defer { state.waiter = continuation }
                        return state.waiter
                    }
                    previous?.resume()
                }
            } onCancel: {
                wake()
            }
        }
    }
}
