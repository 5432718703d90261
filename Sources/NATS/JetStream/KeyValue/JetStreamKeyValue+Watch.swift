// Owns: watching keys, and listing them (J41, J42): the ordered reader of the bucket's stream, with changes instead of
// messages. A watch never ends by itself. Any thread.

import NATSProtocol
import NIOCore

/// What a watch tells.
public enum JetStreamKeyValueEvent: Sendable {
    /// A key has another value, or none any more.
    case entry(JetStreamKeyValueEntry)
    /// All that was there when the watch began has been told; comes once, for an empty bucket, too.
    case ready
}

/// What is watched.
public struct JetStreamWatchOptions: Sendable {
    /// Whether all kept values are told, not the last one alone.
    public var history = false
    /// Whether only what changes from now on is told.
    public var updatesOnly = false
    /// Whether deletions are left out.
    public var ignoresDeletes = false
    /// Whether values are left behind.
    public var keysOnly = false
    /// Only changes of this number or behind; nil for all. To go on where another watch has ended, give its last
    /// revision + 1.
    public var fromRevision: UInt64?

    /// The last value of each key, and all changes behind.
    public init() {}
}

/// The changes of keys, see `JetStreamKeyValue.watch(_:_:)`.
public struct JetStreamKeyValueWatch: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = JetStreamKeyValueEvent
    /// What a step of the iteration may throw.
    public typealias Failure = JetStreamError

    let source: OrderedSource<JetStreamKeyValueEvent>

    /// Stops; what waits here is still told.
    public func stop() { source.stop() }

    /// Begins the iteration; each event goes to one iterator.
    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// Takes events one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let source: OrderedSource<JetStreamKeyValueEvent>
        private let reader: DeliveryReader<JetStreamKeyValueEvent>

        init(source: OrderedSource<JetStreamKeyValueEvent>) {
            self.source = source
            reader = DeliveryReader(source.queue)
        }

        /// The next event, nil when the watch was stopped or the task is cancelled.
        ///
        /// - Throws: ``JetStreamError``: `permission`, `connection`.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JetStreamError) -> JetStreamKeyValueEvent? {
            try await source.queue.next(for: reader, isolation: actor, source.hop)
        }

        /// The next event, nil when the watch was stopped or the task is cancelled.
        public mutating func next() async throws(JetStreamError) -> JetStreamKeyValueEvent? {
            try await next(isolation: nil)
        }
    }
}

/// Entries of a bucket, as far as they are there; see ``JetStreamKeyValue/history(_:)`` and
/// ``JetStreamKeyValue/entries(_:)``.
public struct JetStreamKeyValueEntries: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = JetStreamKeyValueEntry
    /// What a step of the iteration may throw.
    public typealias Failure = JetStreamError

    let watch: JetStreamKeyValueWatch

    /// Begins the iteration; each entry goes to one iterator.
    public func makeAsyncIterator() -> Iterator { Iterator(iterator: watch.makeAsyncIterator()) }

    /// Takes entries one by one.
    public struct Iterator: AsyncIteratorProtocol {
        var iterator: JetStreamKeyValueWatch.Iterator

        /// The next entry, nil behind the last one or when the task is cancelled.
        ///
        /// - Throws: ``JetStreamError``: `permission`, `connection`.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JetStreamError) -> JetStreamKeyValueEntry? {
            while let event = try await iterator.next(isolation: actor) {
                if case .entry(let entry) = event { return entry }
            }
            return nil
        }

        /// The next entry, nil behind the last one or when the task is cancelled.
        public mutating func next() async throws(JetStreamError) -> JetStreamKeyValueEntry? {
            try await next(isolation: nil)
        }
    }
}

extension JetStreamKeyValue {
    /// Watches keys: tells their values, says once that these were all, and tells every change behind.
    ///
    /// It goes on over lost connections and servers, and tells revisions in rising order, each once; a value that was
    /// superseded while the connection was lost may be left out. When the bucket was deleted and created again, it
    /// begins anew.
    ///
    /// - Parameters:
    ///   - pattern: which keys, with the wildcards `*` for one token and `>` for the rest.
    ///   - options: what is told of them.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func watch(
        _ pattern: String = ">",
        _ options: JetStreamWatchOptions = JetStreamWatchOptions()
    ) async throws(JetStreamError) -> JetStreamKeyValueWatch {
        try await watch([pattern], options)
    }

    /// Watches the keys of several patterns. Works as `watch(_:_:)`.
    public func watch(
        _ patterns: [String],
        _ options: JetStreamWatchOptions = JetStreamWatchOptions()
    ) async throws(JetStreamError) -> JetStreamKeyValueWatch {
        try await watch(patterns, options, endsWhenReady: false)
    }

    /// The keys that have a value, as they are found.
    ///
    /// - Parameter pattern: which keys, with wildcards.
    /// - Returns: ends behind the last one that is there.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func keys(_ pattern: String = ">") async throws(JetStreamError) -> JetStreamKeyValueEntries {
        var options = JetStreamWatchOptions()
        options.ignoresDeletes = true
        options.keysOnly = true
        return JetStreamKeyValueEntries(watch: try await watch([pattern], options, endsWhenReady: true))
    }

    /// The last change of each key, deletions included, as they are found.
    ///
    /// - Parameter pattern: which keys, with wildcards.
    /// - Returns: ends behind the last one that is there.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func entries(_ pattern: String = ">") async throws(JetStreamError) -> JetStreamKeyValueEntries {
        try await entries(pattern, valuesToo: true)
    }

    func entries(_ pattern: String, valuesToo: Bool) async throws(JetStreamError) -> JetStreamKeyValueEntries {
        var options = JetStreamWatchOptions()
        options.keysOnly = !valuesToo
        return JetStreamKeyValueEntries(watch: try await watch([pattern], options, endsWhenReady: true))
    }

    /// What is kept of a key, from the oldest change on.
    ///
    /// - Parameter key: the key; may hold wildcards.
    /// - Returns: ends behind the last change that is there.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func history(_ key: String) async throws(JetStreamError) -> JetStreamKeyValueEntries {
        var options = JetStreamWatchOptions()
        options.history = true
        return JetStreamKeyValueEntries(watch: try await watch([key], options, endsWhenReady: true))
    }

    private func watch(
        _ patterns: [String],
        _ options: JetStreamWatchOptions,
        endsWhenReady: Bool
    ) async throws(JetStreamError) -> JetStreamKeyValueWatch {
        guard !patterns.isEmpty else { throw JetStreamError(.invalidArgument, "at least one pattern is watched") }
        for pattern in patterns { try Self.checkPattern(pattern) }
        guard !options.updatesOnly || options.fromRevision == nil, !options.history || !options.updatesOnly else {
            throw JetStreamError(
                .invalidArgument,
                "updates only cannot be asked for together with history or a revision"
            )
        }
        var ordered = JetStreamOrderedOptions()
        ordered.filters = patterns.map { subjectPrefix + $0 }
        ordered.headersOnly = options.keysOnly
        ordered.start =
            if let revision = options.fromRevision { .fromSequence(revision) } else if options.updatesOnly {
                .new
            } else if options.history {
                .all
            } else {
                .lastPerSubject
            }
        let source = OrderedSource<JetStreamKeyValueEvent>(
            client: context.client,
            limit: ordered.pull.messages,
            bytes: nil
        )
        let bucket = self
        let ignoresDeletes = options.ignoresDeletes
        try await source.start(stream, ordered) { queue, box, began in
            WatchFeeder(
                bucket: bucket,
                queue: queue,
                box: box,
                began: began,
                ignoresDeletes: ignoresDeletes,
                endsWhenReady: endsWhenReady
            )
        }
        return JetStreamKeyValueWatch(source: source)
    }
}

/// Feeds the queue of a watch. Loop-bound.
final class WatchFeeder: JetStreamOrderedDelegate {
    private let bucket: JetStreamKeyValue
    private let queue: DeliveryQueue<JetStreamKeyValueEvent>
    private let box: NIOLoopBoundBox<JetStreamOrderedReader?>
    private var began: EventLoopPromise<Void>?
    private let ignoresDeletes: Bool
    private let endsWhenReady: Bool
    private var isReady = false

    init(
        bucket: JetStreamKeyValue,
        queue: DeliveryQueue<JetStreamKeyValueEvent>,
        box: NIOLoopBoundBox<JetStreamOrderedReader?>,
        began: EventLoopPromise<Void>,
        ignoresDeletes: Bool,
        endsWhenReady: Bool
    ) {
        self.bucket = bucket
        self.queue = queue
        self.box = box
        self.began = began
        self.ignoresDeletes = ignoresDeletes
        self.endsWhenReady = endsWhenReady
    }

    func ordered(
        _ reader: JetStreamOrderedReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    ) {
        let copy = NATSMessage(copying: message)
        let entry = JetStreamKeyValueEntry(
            bucket,
            subject: copy.subject,
            headers: copy.headers,
            value: copy.payload,
            revision: delivery.numbers.streamSequence,
            time: delivery.numbers.time,
            delta: delivery.numbers.pending
        )
        if let entry, entry.isPresent || !ignoresDeletes {
            queue.append(.entry(entry), size: delivery.size)
        } else {
            reader.taken(1, bytes: delivery.size)
        }
        if delivery.numbers.pending == 0 { ready(reader) }
    }

    func ordered(_ reader: JetStreamOrderedReader, created pending: UInt64) {
        began?.succeed()
        began = nil
        if pending == 0 { ready(reader) }
    }

    private func ready(_ reader: JetStreamOrderedReader) {
        guard !isReady else { return }
        isReady = true
        queue.append(.ready, size: 0)
        if endsWhenReady { reader.stop() }
    }

    func orderedStreamChanged(_ reader: JetStreamOrderedReader) {}

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
extension WatchFeeder: Sendable {}
