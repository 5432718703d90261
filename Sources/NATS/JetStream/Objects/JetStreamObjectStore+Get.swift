// Owns: getting objects (J44): chunks in order, as fast as they are read, with their number, size and digest checked
// before the end is said to be good. Any thread.

import Bytes
import NATSProtocol
public import NIOCore

extension JetStreamObjectStore {
    /// How many chunks may be asked for and wait here, together.
    static let chunksAhead = 32
    /// How long nothing may come before a get fails (J44).
    public static let defaultStall = TimeAmount.seconds(10)

    /// Gets an object piece by piece.
    ///
    /// - Parameters:
    ///   - name: its name; a link is followed.
    ///   - range: which bytes, cut to those that are there; nil for all. Chunks before it are passed over without being
    ///     read, where they lie one behind the other. Of a part the digest cannot be checked.
    ///   - stall: how long nothing may come before it fails.
    /// - Returns: what is told about it, and its bytes.
    /// - Throws: ``JetStreamError``: `noMessage` when there is no such object, `corrupt`, `noStream`, and what every
    ///   call throws.
    public func get(
        _ name: String,
        range: Range<UInt64>? = nil,
        stall: TimeAmount = JetStreamObjectStore.defaultStall
    ) async throws(JetStreamError) -> JetStreamObject {
        guard let info = try await info(name) else { throw JetStreamError(.noMessage, "there is no object \(name)") }
        if let link = info.link {
            guard let target = link.name else {
                throw JetStreamError(.invalidArgument, "the object \(name) stands for the store \(link.bucket)")
            }
            let store = try context.objectStore(link.bucket)
            guard let found = try await store.info(target), found.link == nil else {
                throw JetStreamError(.noMessage, "the object \(name) stands for \(target), which is not there")
            }
            return try await store.open(found, range, stall)
        }
        return try await open(info, range, stall)
    }

    /// Gets the bytes of an object at once.
    ///
    /// - Parameters:
    ///   - name: its name; a link is followed.
    ///   - maximum: how many bytes it may have.
    /// - Throws: ``JetStreamError``: `noMessage` when there is no such object, `messageTooLarge` when it has more
    ///   bytes, `corrupt`, `timeout`, `noStream`, and what every call throws.
    public func bytes(_ name: String, upTo maximum: Int) async throws(JetStreamError) -> ByteBuffer {
        let object = try await get(name)
        guard object.info.size <= UInt64(max(0, maximum)) else {
            throw JetStreamError(
                .messageTooLarge,
                "the object \(name) has \(object.info.size) bytes, more than \(maximum)"
            )
        }
        var bytes = ByteBuffer()
        bytes.reserveCapacity(Int(object.info.size))
        for try await var piece in object { bytes.writeBuffer(&piece) }
        return bytes
    }

    private func open(
        _ info: Info,
        _ range: Range<UInt64>?,
        _ stall: TimeAmount
    ) async throws(JetStreamError) -> JetStreamObject {
        let wanted = range.map { $0.clamped(to: 0..<info.size) } ?? 0..<info.size
        guard !wanted.isEmpty else {
            // Of an object without bytes nothing is stored but its description.
            if info.size == 0, info.chunks > 0 {
                throw JetStreamError(.corrupt, "the object \(info.name) has chunks and no bytes")
            }
            return JetStreamObject(info: info, range: wanted, start: 0, source: nil)
        }
        guard info.chunks > 0, NATSSubject.isValidForPublish(chunkSubject(info.id)) else {
            throw JetStreamError(.corrupt, "the object \(info.name) has no chunks")
        }
        var options = JetStreamOrderedOptions()
        options.filters = [chunkSubject(info.id)]
        options.pull.messages = Self.chunksAhead
        var start: UInt64 = 0
        if wanted.lowerBound > 0, let place = try await place(of: wanted.lowerBound, in: info) {
            options.start = .fromSequence(place.sequence)
            start = place.offset
        }
        let source = OrderedSource<ByteBuffer>(client: context.client, limit: Self.chunksAhead, bytes: nil)
        // How many bytes come until the last one that is wanted.
        let missing = wanted.upperBound - start
        try await source.start(stream, options) { queue, box, began in
            ChunkFeeder(queue: queue, box: box, began: began, missing: missing, stall: stall)
        }
        return JetStreamObject(info: info, range: wanted, start: start, source: source)
    }

    /// Where the chunk with a byte lies, when all chunks but the last have one size and lie one behind the other.
    private func place(
        of byte: UInt64,
        in info: Info
    ) async throws(JetStreamError) -> (sequence: UInt64, offset: UInt64)? {
        let size = UInt64(max(0, info.chunkSize))
        guard size > 0, (info.size + size - 1) / size == UInt64(info.chunks) else { return nil }
        let index = byte / size
        guard index > 0 else { return nil }
        let subject = chunkSubject(info.id)
        let first: JetStreamStoredMessage
        let last: JetStreamStoredMessage
        do throws(JetStreamError) {
            first = try await stream.nextMessage(of: subject, behind: 1, from: .any)
            last = try await stream.lastMessage(of: subject, from: .any)
        } catch {
            if error.code == .noMessage { throw JetStreamError(.corrupt, "the object \(info.name) has no chunks") }
            throw error
        }
        guard last.sequence - first.sequence + 1 == UInt64(info.chunks) else { return nil }
        return (first.sequence + index, index * size)
    }
}

/// An object that is being read: its bytes, piece by piece. Can be iterated once.
///
/// The sequence throws ``JetStreamError``: `corrupt` when a part is missing or the digest differs, and `timeout` when
/// nothing comes; only when it ends without an error is what was read the object.
public struct JetStreamObject: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = ByteBuffer
    /// What a step of the iteration may throw.
    public typealias Failure = JetStreamError

    /// What is told about it.
    public let info: JetStreamObjectStore.Info
    /// Which bytes come.
    public let range: Range<UInt64>
    let start: UInt64
    let source: OrderedSource<ByteBuffer>?

    /// Begins the iteration.
    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    /// Takes pieces one by one.
    public struct Iterator: AsyncIteratorProtocol {
        private let object: JetStreamObject
        private let reader: DeliveryReader<ByteBuffer>?
        /// The place of the next byte that comes.
        private var position: UInt64
        private var chunks = 0
        private var digest = RunningDigest()
        private var isDone = false

        init(_ object: JetStreamObject) {
            self.object = object
            reader = object.source.map { DeliveryReader($0.queue) }
            position = object.start
        }

        /// The next piece, nil behind the last one or when the task is cancelled.
        ///
        /// - Throws: ``JetStreamError``: `corrupt`, `timeout`, `noStream`, `permission`, `connection`.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(JetStreamError) -> ByteBuffer? {
            guard let source = object.source, let reader else {
                try checkEmpty()
                return nil
            }
            while !isDone {
                guard var chunk = try await source.queue.next(for: reader, isolation: actor, source.hop) else {
                    if Task.isCancelled { return nil }
                    isDone = true
                    throw corrupt("chunks are missing: it has \(position) of \(object.range.upperBound) bytes")
                }
                chunks += 1
                let begin = position
                position += UInt64(chunk.readableBytes)
                chunk.withUnsafeReadableBytes { digest.update($0) }
                if position >= object.range.upperBound {
                    isDone = true
                    try checkEnd()
                }
                // What is outside of the range is left out.
                let front = object.range.lowerBound > begin ? object.range.lowerBound - begin : 0
                let end = Swift.min(UInt64(chunk.readableBytes), object.range.upperBound - begin)
                guard front < end,
                    let piece = chunk.getSlice(at: chunk.readerIndex + Int(front), length: Int(end - front))
                else {
                    continue
                }
                chunk = piece
                return chunk
            }
            return nil
        }

        /// The next piece, nil behind the last one or when the task is cancelled.
        public mutating func next() async throws(JetStreamError) -> ByteBuffer? {
            try await next(isolation: nil)
        }

        private func checkEnd() throws(JetStreamError) {
            let info = object.info
            guard object.range == 0..<info.size else { return }
            guard position == info.size, chunks == info.chunks else {
                throw corrupt("it has \(position) bytes in \(chunks) chunks, not \(info.size) in \(info.chunks)")
            }
            let found = "SHA-256=" + JetStreamObjectStore.base64URL(digest.bytes)
            guard found.isExactly(info.digest) else { throw corrupt("its digest is \(found), not \(info.digest)") }
        }

        private func checkEmpty() throws(JetStreamError) {
            guard object.info.size == 0, !object.info.digest.isEmpty else { return }
            try checkEnd()
        }

        private func corrupt(_ text: String) -> JetStreamError {
            JetStreamError(.corrupt, "the object \(object.info.name) is damaged: \(text)")
        }
    }
}

/// Feeds the chunks of an object. Ends with the last one, or when nothing comes. Loop-bound.
final class ChunkFeeder: JetStreamOrderedDelegate {
    private let queue: DeliveryQueue<ByteBuffer>
    private let box: NIOLoopBoundBox<JetStreamOrderedReader?>
    private var began: EventLoopPromise<Void>?
    private var missing: UInt64
    private let stall: TimeAmount
    private var lastArrival = NIODeadline.now()
    private let eventLoop: any EventLoop

    init(
        queue: DeliveryQueue<ByteBuffer>,
        box: NIOLoopBoundBox<JetStreamOrderedReader?>,
        began: EventLoopPromise<Void>,
        missing: UInt64,
        stall: TimeAmount
    ) {
        eventLoop = began.futureResult.eventLoop
        self.queue = queue
        self.box = box
        self.began = began
        self.missing = missing
        self.stall = stall
    }

    func ordered(
        _ reader: JetStreamOrderedReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    ) {
        lastArrival = .now()
        let chunk = ByteBuffer(bytes: message.payload)
        queue.append(chunk, size: delivery.size)
        missing -= min(missing, UInt64(chunk.readableBytes))
        // No chunk is behind it, or none that is wanted.
        if missing == 0 || delivery.numbers.pending == 0 { reader.stop() }
    }

    func ordered(_ reader: JetStreamOrderedReader, created pending: UInt64) {
        lastArrival = .now()
        if let began {
            began.succeed()
            self.began = nil
            watchForStall()
        }
        if pending == 0 { reader.stop() }
    }

    private func watchForStall() {
        eventLoop.assumeIsolated().scheduleTask(deadline: lastArrival + stall) { [weak self] in
            guard let self, let reader = box.value else { return }
            let done = queue.collect()
            if done.taken > 0 {
                lastArrival = .now()
                reader.taken(done.taken, bytes: done.bytes)
            }
            // Whoever does not read is not waited for.
            if !queue.isEmpty { lastArrival = .now() }
            guard .now() >= lastArrival + stall else { return watchForStall() }
            queue.end(JetStreamError(.timeout, "no chunk came in \(stall.nanoseconds / 1_000_000) ms"))
            reader.stop()
        }
    }

    func orderedStreamChanged(_ reader: JetStreamOrderedReader) {
        queue.end(JetStreamError(.noStream, "the store was deleted and created again"))
        reader.stop()
    }

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
extension ChunkFeeder: Sendable {}
