// Owns: the messages of one subscription as an async sequence, which is what a reader holds. The messages wait in a
// MessageQueue, which the loop fills through a MessageFeeder. Safe on any thread; may not know the connection.

import NIOCore

/// The messages of a subscription, see ``NATSClient/subscribe(_:queue:bufferLimit:byteLimit:)``, or the replies to
/// `NATSClient.requestMany`.
///
/// Each message goes to one reader. The sequence ends when the subscription does, or when the reading task is cancelled;
/// it throws ``NATSError`` when the server denied it or the connection broke while it was draining. Dropping the
/// sequence and its iterators unsubscribes.
public struct NATSMessageStream: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = NATSMessage
    /// What a step of the iteration may throw.
    public typealias Failure = NATSError

    let source: NATSMessageSource

    /// How many messages were dropped because the buffer was full.
    public var droppedMessages: Int { source.queue.dropped }

    /// Ends the subscription at once; what is buffered is still delivered.
    public func unsubscribe() {
        source.handle.unsubscribe()
    }

    /// Ends the subscription after `maximum` messages in all since it was made, dropped ones included. The last call
    /// wins; a maximum that is reached already ends it at once.
    ///
    /// - Throws: ``NATSError`` with code `invalidArgument` when `maximum` is not positive.
    public func unsubscribe(after maximum: Int) throws(NATSError) {
        try source.handle.unsubscribe(after: maximum)
    }

    /// Ends the subscription without loss: the server stops sending, everything it had sent is delivered, then the
    /// sequence ends. Returns when all is in the sequence's buffer; its readers may still work on it, and
    /// ``NATSClient/drain(timeout:)`` waits for them.
    ///
    /// - Throws: ``NATSError`` when the connection breaks meanwhile.
    public func drain() async throws(NATSError) {
        try await source.handle.drain()
    }

    /// Begins the iteration.
    public func makeAsyncIterator() -> Iterator {
        Iterator(source: source)
    }

    /// Takes messages out of the subscription's buffer, a batch at a time.
    public struct Iterator: AsyncIteratorProtocol {
        let source: NATSMessageSource
        private let reader: MessageReader
        private var batch: [NATSMessage] = []
        private var index = 0

        init(source: NATSMessageSource) {
            self.source = source
            reader = MessageReader(source.queue)
        }

        /// The next message, nil when the subscription has ended or the task is cancelled.
        ///
        /// - Throws: ``NATSError`` when the subscription ended by an error; after all messages before it.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(NATSError) -> NATSMessage? {
            if index == batch.count {
                batch.removeAll(keepingCapacity: true)
                index = 0
                guard try await source.queue.takeBatch(into: &batch, for: reader, isolation: actor) else { return nil }
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

/// A subscription whose messages go to a function, see ``NATSClient/subscribe(_:queue:handler:)``.
public struct NATSCallbackSubscription: Sendable {
    let handle: SubscriptionHandle

    /// Ends the subscription at once.
    public func unsubscribe() {
        handle.unsubscribe()
    }

    /// Ends the subscription after `maximum` messages in all since it was made. The last call wins; a maximum that is
    /// reached already ends it at once.
    ///
    /// - Throws: ``NATSError`` with code `invalidArgument` when `maximum` is not positive.
    public func unsubscribe(after maximum: Int) throws(NATSError) {
        try handle.unsubscribe(after: maximum)
    }

    /// Ends the subscription without loss: the server stops sending, and returns when everything it had sent was
    /// handled.
    ///
    /// - Throws: ``NATSError`` when the connection breaks meanwhile.
    public func drain() async throws(NATSError) {
        try await handle.drain()
    }
}

/// What readers of one subscription share; the last one to go unsubscribes.
final class NATSMessageSource: Sendable {
    let queue: MessageQueue
    let handle: SubscriptionHandle

    init(queue: MessageQueue, handle: SubscriptionHandle) {
        self.queue = queue
        self.handle = handle
    }

    deinit {
        handle.forget(queue)
    }
}

/// Names a subscription on the loop, for other threads. Keeps the client alive.
struct SubscriptionHandle: Sendable {
    let client: NATSClient
    let subscription: NIOLoopBoundBox<NATSSubscription?>

    init(client: NATSClient) {
        self.client = client
        subscription = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: client.eventLoop)
    }

    func unsubscribe() {
        end(after: nil)
    }

    func unsubscribe(after maximum: Int) throws(NATSError) {
        try NATSError.checkMaximum(maximum)
        end(after: maximum)
    }

    /// The last reader is gone.
    func forget(_ queue: MessageQueue) {
        client.eventLoop.execute { [client, subscription] in
            client.bound.value.forget(queue)
            if let subscription = subscription.value {
                client.bound.value.connection.unsubscribe(subscription)
            }
        }
    }

    private func end(after maximum: Int?) {
        client.eventLoop.execute { [client, subscription] in
            if let subscription = subscription.value {
                client.bound.value.connection.unsubscribe(subscription, after: maximum)
            }
        }
    }

    func drain() async throws(NATSError) {
        try await client.onLoop { [subscription] core in
            guard let subscription = subscription.value else {
                return core.connection.eventLoop.makeSucceededVoidFuture()
            }
            return core.connection.drain(subscription)
        }
    }
}

extension NATSError {
    /// Refuses what cannot be a number of messages.
    static func checkMaximum(_ maximum: Int) throws(NATSError) {
        guard maximum > 0 else {
            throw NATSError(.invalidArgument, "a number of messages must be positive, not \(maximum)")
        }
    }
}
