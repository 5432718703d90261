// Owns: the async face of reading a stream in order.

public import NATSProtocol
public import NIOCore

/// What of a stream is read, and from where.
public struct JetStreamReadOptions: Sendable {
    /// Which subjects, with wildcards; empty for all.
    public var filters: [String] = []
    /// Where to begin.
    public var start = JetStreamConsumer.DeliverPolicy.all
    /// Where to end.
    public var end = End.never
    /// Whether messages come without their payloads.
    public var headersOnly = false
    /// How many messages may be asked for and wait here, together. Default 500.
    public var messages = 500
    /// The same in bytes; nil for no limit. A message that is larger raises it.
    public var bytes: Int?
    /// Called, on the connection's loop, when the stream is another one of its name (J19): the messages behind begin
    /// anew, with the first of that stream.
    public var onRestart: (@Sendable () -> Void)?

    /// All messages from the first one, and on.
    public init() {}

    /// Where reading ends.
    public enum End: Sendable {
        /// Not by itself.
        case never
        /// With the last message that is there.
        case last
    }
}

/// A message that was read in order.
public struct JetStreamOrderedMessage: Sendable {
    /// The message.
    public let message: NATSMessage
    /// What the server says about it.
    public let metadata: JetStreamMetadata

    /// The subject it was published to.
    public var subject: String { message.subject }
    /// Its headers.
    public var headers: NATSHeaders { message.headers }
    /// Its payload.
    public var payload: ByteBuffer { message.payload }
    /// The payload as text; what is not UTF-8 is replaced by U+FFFD.
    public var text: String { message.text }
    /// Its number in the stream.
    public var sequence: UInt64 { metadata.streamSequence }
}

extension JetStreamStream {
    /// The messages of the stream, in order and each once, without anything to acknowledge (ADR-17).
    ///
    /// The consumer behind it is made anew whenever it is lost, or something is missing: the sequence goes on behind
    /// the last message, over lost connections and servers, and ends only when it is stopped, when the client closes,
    /// when the task is cancelled, or with ``JetStreamReadOptions/End/last``. Behind such a loss, a start at the last
    /// message of each subject shows values that later ones have superseded (J18).
    ///
    /// - Parameter options: what is read, and from where.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, `invalidArgument`, `filters`, and what every call
    ///   throws.
    public func read(
        _ options: JetStreamReadOptions = JetStreamReadOptions()
    ) async throws(JetStreamError) -> JetStreamOrderedMessages {
        var ordered = JetStreamOrderedOptions()
        ordered.filters = options.filters
        ordered.start = options.start
        ordered.headersOnly = options.headersOnly
        ordered.pull.messages = options.messages
        ordered.pull.bytes = options.bytes
        for filter in options.filters { try JetStreamNames.checkFilter(filter) }
        guard options.messages > 0, options.bytes ?? 1 > 0 else {
            throw JetStreamError(.invalidArgument, "messages and bytes must be positive")
        }
        let source = OrderedSource<JetStreamOrderedMessage>(
            client: context.client,
            limit: options.messages,
            bytes: options.bytes
        )
        let (end, onRestart) = (options.end, options.onRestart)
        try await source.start(self, ordered) { queue, box, began in
            OrderedFeeder(queue: queue, box: box, began: began, end: end, onRestart: onRestart)
        }
        return JetStreamOrderedMessages(source: source)
    }
}

/// The messages of a stream in order, see ``JetStreamStream/read(_:)``.
///
/// Each message goes to one reader. Dropping the sequence and its iterators stops it.
public struct JetStreamOrderedMessages: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = JetStreamOrderedMessage
    /// What a step of the iteration may throw.
    public typealias Failure = JetStreamError

    let source: OrderedSource<JetStreamOrderedMessage>

    /// Stops; what waits here is still delivered.
    public func stop() { source.stop() }

    /// Begins the iteration.
    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// Takes messages one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let source: OrderedSource<JetStreamOrderedMessage>
        private let reader: DeliveryReader<JetStreamOrderedMessage>

        init(source: OrderedSource<JetStreamOrderedMessage>) {
            self.source = source
            reader = DeliveryReader(source.queue)
        }

        /// The next message, nil when the sequence has ended or the task is cancelled.
        ///
        /// - Throws: ``JetStreamError``: `permission`, `connection`.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JetStreamError) -> JetStreamOrderedMessage? {
            try await source.queue.next(for: reader, isolation: actor, source.hop)
        }

        /// The next message, nil when the sequence has ended or the task is cancelled.
        public mutating func next() async throws(JetStreamError) -> JetStreamOrderedMessage? {
            try await next(isolation: nil)
        }
    }
}

/// What the readers of one ordered sequence share; the last one to go stops it.
final class OrderedSource<Element: Sendable>: Sendable {
    typealias Box = NIOLoopBoundBox<JetStreamOrderedReader?>

    let client: NATSClient
    let queue: DeliveryQueue<Element>
    private let reader: Box

    init(client: NATSClient, limit: Int, bytes: Int?) {
        self.client = client
        queue = DeliveryQueue(limit: limit, bytes: bytes)
        reader = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: client.eventLoop)
    }

    deinit { stop() }

    func stop() {
        client.eventLoop.execute { [client, reader, queue] in
            reader.value?.stop()
            client.bound.value.forget(queue)
        }
    }

    /// Has the loop look at what was taken.
    func hop() {
        client.eventLoop.execute { [reader, queue] in
            let done = queue.collect()
            reader.value?.taken(done.taken, bytes: done.bytes)
        }
    }

    /// Begins to read; returns when the first consumer is there.
    ///
    /// - Parameter makeFeeder: called on the loop; what it makes tells the promise of the begin.
    func start(
        _ stream: JetStreamStream,
        _ options: JetStreamOrderedOptions,
        _ makeFeeder:
            @escaping @Sendable (DeliveryQueue<Element>, Box, EventLoopPromise<Void>) -> any JetStreamOrderedDelegate
    ) async throws(JetStreamError) {
        try await stream.context.onLoop { [client, reader, queue] core -> EventLoopFuture<Void> in
            let began = client.eventLoop.makePromise(of: Void.self)
            let made = JetStreamOrderedReader(
                connection: core.connection,
                apiPrefix: stream.context.place.apiPrefix,
                stream: stream.name,
                options: options,
                readers: core.jetStreamReaders,
                delegate: makeFeeder(queue, reader, began)
            )
            reader.value = made
            core.remember(queue)
            made.start()
            return began.futureResult
        }
    }
}

/// Feeds the queue of an ordered sequence. Loop-bound.
final class OrderedFeeder: JetStreamOrderedDelegate {
    private let queue: DeliveryQueue<JetStreamOrderedMessage>
    private let box: NIOLoopBoundBox<JetStreamOrderedReader?>
    private var began: EventLoopPromise<Void>?
    private let end: JetStreamReadOptions.End
    private let onRestart: (@Sendable () -> Void)?

    init(
        queue: DeliveryQueue<JetStreamOrderedMessage>,
        box: NIOLoopBoundBox<JetStreamOrderedReader?>,
        began: EventLoopPromise<Void>,
        end: JetStreamReadOptions.End,
        onRestart: (@Sendable () -> Void)?
    ) {
        self.queue = queue
        self.box = box
        self.began = began
        self.end = end
        self.onRestart = onRestart
    }

    func ordered(
        _ reader: JetStreamOrderedReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    ) {
        guard let metadata = JetStreamMetadata(ackSubject: delivery.reply) else { return }
        queue.append(
            JetStreamOrderedMessage(message: NATSMessage(copying: message), metadata: metadata),
            size: delivery.size
        )
        if delivery.numbers.pending == 0 { caughtUp(reader) }
    }

    func ordered(_ reader: JetStreamOrderedReader, created pending: UInt64) {
        began?.succeed()
        began = nil
        if pending == 0 { caughtUp(reader) }
    }

    private func caughtUp(_ reader: JetStreamOrderedReader) {
        if case .last = end { reader.stop() }
    }

    func orderedStreamChanged(_ reader: JetStreamOrderedReader) { onRestart?() }

    func orderedTicked(_ reader: JetStreamOrderedReader) {
        let done = queue.collect()
        if done.taken > 0 { reader.taken(done.taken, bytes: done.bytes) }
    }

    func ordered(_ reader: JetStreamOrderedReader, failed error: JetStreamError) {
        began?.fail(error)
        began = nil
        finish(error)
    }

    func orderedEnded(_ reader: JetStreamOrderedReader, error: JetStreamError?) {
        began?.fail(error ?? JetStreamError(NATSError.closed))
        began = nil
        finish(error)
    }

    private func finish(_ error: JetStreamError?) {
        queue.end(error)
        box.value = nil
    }
}

@available(*, unavailable)
extension OrderedFeeder: Sendable {}
