// Owns: the messages of a consumer as an async sequence, and its side on the loop. The reader there pulls as messages
// are taken; what nobody has taken at the end is given back (J28).

import Logging
import NATSProtocol
public import NIOCore

/// How a consumer is read.
public struct JetStreamConsumeOptions: Sendable {
    /// How many messages may be asked for and wait here, together. Default 100. All of them are this client's: where
    /// several share a consumer, or messages take long, fewer are better (J3).
    public var messages = 100
    /// The same in bytes of subjects, headers and payloads; nil for no limit. A message that is larger raises it.
    public var bytes: Int?
    /// How long a pull waits at the server. Default 30 s.
    public var expires = TimeAmount.seconds(30)
    /// How often the server says that it is there; twice this time without a word, and it is asked anew. Default 5 s,
    /// at most half of ``expires``.
    public var heartbeat = TimeAmount.seconds(5)
    /// For how long, from its delivery, more time is asked for a message that is not settled (J23), so that it is not
    /// delivered again while it is handled or waits here. Nil for never. Default 2 min.
    public var extends: TimeAmount? = .minutes(2)
    /// What follows when the consumer is gone. Default: the sequence ends with `noConsumer`.
    public var onDeleted = Deleted.stop
    /// How it shares a consumer that has a group (ADR-42).
    public var group: Group?

    /// The defaults.
    public init() {}

    /// What follows when the consumer, or its stream, is gone (J12).
    public enum Deleted: Sendable {
        /// The sequence throws `noConsumer`.
        case stop
        /// It waits for another consumer of this name.
        case wait
        /// The consumer is created again, with these settings, from behind the last message that was settled with all
        /// before it. What was not settled is delivered again.
        case recreate(JetStreamConsumer.Configuration)
    }

    /// What pulls say in a group of clients (ADR-42).
    public struct Group: Sendable, Hashable {
        /// The group's name.
        public var name: String
        /// With the policy `overflow`: only when so many messages wait.
        public var minPending: UInt64?
        /// With the policy `overflow`: only when so many deliveries are unacknowledged.
        public var minAckPending: UInt64?
        /// With the policy `prioritized`: 0 to 9, the lowest first.
        public var priority: Int?

        /// A member of a group.
        ///
        /// - Parameter name: the group's name.
        public init(_ name: String) { self.name = name }
    }

    func check() throws(JetStreamError) {
        guard messages > 0 else {
            throw JetStreamError(.invalidArgument, "at least one message is asked for, not \(messages)")
        }
        if let bytes, bytes <= 0 {
            throw JetStreamError(.invalidArgument, "at least one byte is asked for, not \(bytes)")
        }
        guard expires >= .milliseconds(10), heartbeat > .zero, heartbeat * 2 <= expires else {
            throw JetStreamError(.invalidArgument, "expires must be 10 ms at least, and a heartbeat at most half of it")
        }
        if let priority = group?.priority, !(0...9).contains(priority) {
            throw JetStreamError(.invalidArgument, "a priority is 0 to 9, not \(priority)")
        }
    }

    func reader(_ configuration: JetStreamConsumer.Configuration) -> JetStreamReaderOptions {
        var options = JetStreamReaderOptions()
        options.pull.messages = messages
        options.pull.bytes = bytes
        options.pull.expires = expires
        options.pull.heartbeat = heartbeat
        if configuration.acks.policy != .none {
            let waits = configuration.acks.backoff + [configuration.acks.wait ?? .seconds(30)]
            options.ackWait = waits.min()
            options.extends = extends
        }
        switch onDeleted {
        case .stop: options.pull.onDeleted = .stop
        case .wait: options.pull.onDeleted = .wait
        case .recreate(let configuration):
            options.pull.onDeleted = .recreate
            options.recreation = configuration
        }
        if let group {
            options.group.name = group.name
            options.group.minPending = group.minPending
            options.group.minAckPending = group.minAckPending
            options.group.priority = group.priority
        }
        return options
    }
}

/// The messages of a consumer, see ``JetStreamConsumer/messages(_:)``.
///
/// Each message goes to one reader. The sequence goes on over lost connections, and ends when it is stopped, when the
/// client closes or drains, or when the reading task is cancelled. Dropping the sequence and its iterators stops it;
/// what was not taken by then is given back to the server at once.
public struct JetStreamMessages: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = JetStreamMessage
    /// What a step of the iteration may throw.
    public typealias Failure = JetStreamError

    let source: JetStreamMessageSource

    /// Stops: what was not taken is given back to the server at once (J28), and the sequence ends. What was taken can
    /// still be settled.
    public func stop() { source.stop() }

    /// Begins the iteration.
    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// Takes messages one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let source: JetStreamMessageSource
        private let reader: DeliveryReader<JetStreamMessage>

        init(source: JetStreamMessageSource) {
            self.source = source
            reader = DeliveryReader(source.queue)
        }

        /// The next message, nil when the sequence has ended or the task is cancelled.
        ///
        /// - Throws: ``JetStreamError``: `noConsumer`, `permission`, or why the server refuses the pulls.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JetStreamError) -> JetStreamMessage? {
            try await source.queue.next(for: reader, isolation: actor, source.hop)
        }

        /// The next message, nil when the sequence has ended or the task is cancelled.
        public mutating func next() async throws(JetStreamError) -> JetStreamMessage? {
            try await next(isolation: nil)
        }
    }
}

/// What the readers of one sequence share; the last one to go stops it.
final class JetStreamMessageSource: Sendable {
    let client: NATSClient
    let queue: DeliveryQueue<JetStreamMessage>
    private let reader: NIOLoopBoundBox<JetStreamReader?>

    init(client: NATSClient, queue: DeliveryQueue<JetStreamMessage>) {
        self.client = client
        self.queue = queue
        reader = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: client.eventLoop)
    }

    deinit { stop() }

    func stop() {
        queue.stop()
        client.eventLoop.execute { [client, reader, queue] in
            reader.value?.stop()
            client.bound.value.forget(queue)
        }
    }

    /// Has the loop look at what was taken.
    func hop() {
        client.eventLoop.execute { [reader, queue] in
            if let reader = reader.value { reader.note(queue.collect()) }
        }
    }

    /// Begins to read; on the loop.
    func start(
        _ consumer: JetStreamConsumer,
        _ options: JetStreamReaderOptions,
        _ rules: JetStreamSettler.Rules
    ) async throws(JetStreamError) {
        try await consumer.context.onLoop { [client, reader, queue] core -> EventLoopFuture<Void> in
            let feeder = DeliveryFeeder(consumer: consumer, rules: rules, queue: queue, box: reader)
            let made = JetStreamReader(
                connection: core.connection,
                apiPrefix: consumer.context.place.apiPrefix,
                stream: consumer.stream.name,
                consumer: consumer.name,
                options: options,
                delegate: feeder
            )
            do throws(NATSError) {
                try made.start()
            } catch {
                return client.eventLoop.makeFailedFuture(JetStreamError(error))
            }
            reader.value = made
            core.jetStreamReaders.add(made)
            core.remember(queue)
            return client.eventLoop.makeSucceededVoidFuture()
        }
    }
}

/// Feeds the queue of a sequence. Loop-bound.
final class DeliveryFeeder: JetStreamReaderDelegate {
    private let consumer: JetStreamConsumer
    private let rules: JetStreamSettler.Rules
    private let queue: DeliveryQueue<JetStreamMessage>
    private let box: NIOLoopBoundBox<JetStreamReader?>

    init(
        consumer: JetStreamConsumer,
        rules: JetStreamSettler.Rules,
        queue: DeliveryQueue<JetStreamMessage>,
        box: NIOLoopBoundBox<JetStreamReader?>
    ) {
        self.consumer = consumer
        self.rules = rules
        self.queue = queue
        self.box = box
    }

    func reader(
        _ reader: JetStreamReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    ) {
        guard let metadata = JetStreamMetadata(ackSubject: delivery.reply) else { return }
        let id = delivery.id
        let settler = JetStreamSettler(context: consumer.context, reply: delivery.reply, rules: rules) { [queue] in
            queue.settled(id)
        }
        let copy = JetStreamMessage(message: NATSMessage(copying: message), metadata: metadata, settler: settler)
        queue.append(copy, size: delivery.size)
    }

    func readerTicked(_ reader: JetStreamReader) {
        reader.note(queue.collect())
    }

    func reader(_ reader: JetStreamReader, warns warning: PullMachine.Warning) {
        consumer.context.client.log(warning, consumer.stream.name, consumer.name)
    }

    func readerRestarted(_ reader: JetStreamReader) {
        // The consumer that delivered them is gone, and they come again.
        let (messages, bytes) = queue.takeBack()
        if !messages.isEmpty { reader.taken(messages.count, bytes: bytes) }
    }

    func readerEnded(_ reader: JetStreamReader, error: JetStreamError?) {
        // A bare NAK, so that others have them at once (J28).
        for message in queue.takeBack().messages where rules.isAcknowledged {
            reader.publish(JetStreamSettlement.nak(delay: nil).body(), to: message.settler.reply)
        }
        queue.end(error)
        consumer.context.client.bound.value.jetStreamReaders.remove(reader)
        box.value = nil
    }
}

@available(*, unavailable)
extension DeliveryFeeder: Sendable {}

extension NATSClient {
    /// Says what a reader warns of.
    func log(_ warning: PullMachine.Warning, _ stream: String, _ consumer: String) {
        let text =
            switch warning {
            case .bytesRaised(let bytes): "a message is larger than the limit in bytes, which is now \(bytes)"
            case .clamped: "the consumer allows less than was asked for"
            case .gone: "the consumer is gone"
            case .silent: "nothing comes from the consumer, not even heartbeats"
            case .status(let text): "the server refuses a pull: \(text)"
            }
        bound.value.logger.warning("\(text)", metadata: ["stream": "\(stream)", "consumer": "\(consumer)"])
    }
}
