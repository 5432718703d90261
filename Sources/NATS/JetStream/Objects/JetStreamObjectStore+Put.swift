// Owns: putting objects, and what changes their descriptions (J43). Chunks go out under a new id, a few at a time; the
// description comes last, so that nobody sees half an object; then the chunks before are purged. Any thread.

import Bytes
import NATSProtocol
public import NIOCore

extension JetStreamObjectStore {
    /// The largest chunk: 128 KiB.
    public static let largestChunk = 128 << 10
    /// How many chunks are unacknowledged at once (J43).
    static let chunksInFlight = 8

    /// What is said about an object when it is put.
    public struct Description: Sendable, Hashable {
        /// Text for people.
        public var text = ""
        /// Its headers, for whoever serves it.
        public var headers: [String: [String]] = [:]
        /// Anything else.
        public var metadata: [String: String] = [:]
        /// How large chunks are, in bytes; nil for the largest that the servers take, 128 KiB at most.
        public var chunkSize: Int?

        /// Nothing is said.
        public init() {}
    }

    /// Puts an object, in the place of one of this name. Until all of it is stored the old one is there; when it fails,
    /// nothing of the new one stays.
    ///
    /// Chunks are not tried again, which would change their order: while a leader is chosen it fails with
    /// `unavailable`.
    ///
    /// - Parameters:
    ///   - name: any text but an empty one.
    ///   - pieces: its bytes in pieces of any size, which are read as fast as they are stored.
    ///   - description: what is said about it.
    /// - Returns: what is told about it.
    /// - Throws: what `pieces` throws; ``JetStreamError``: `noStream`, `invalidName`, `streamFull`, `sealed`,
    ///   `wrongStream`, `unavailable`, `timeout`, `disconnected`, and what every call throws.
    @discardableResult
    public func put(
        _ name: String,
        from pieces: some AsyncSequence<ByteBuffer, any Error>,
        _ description: Description = Description()
    ) async throws -> Info {
        var writer = try await ChunkWriter(self, name, description)
        do {
            for try await piece in pieces { try await writer.write(piece) }
            return try await writer.finish()
        } catch {
            await writer.discard()
            throw error
        }
    }

    /// Puts an object of bytes that are there. Works as ``put(_:from:_:)``.
    ///
    /// - Throws: ``JetStreamError``: as ``put(_:from:_:)``.
    @discardableResult
    public func put(
        _ name: String,
        _ bytes: some Sequence<UInt8>,
        _ description: Description = Description()
    ) async throws(JetStreamError) -> Info {
        var writer = try await ChunkWriter(self, name, description)
        do throws(JetStreamError) {
            try await writer.write(ByteBuffer(bytes: bytes))
            return try await writer.finish()
        } catch {
            await writer.discard()
            throw error
        }
    }

    /// Deletes an object.
    ///
    /// - Parameter name: its name.
    /// - Throws: ``JetStreamError``: `noMessage` when there is none, `noStream`, and what every call throws.
    public func delete(_ name: String) async throws(JetStreamError) {
        guard let old = try await info(name) else { throw JetStreamError(.noMessage, "there is no object \(name)") }
        var info = old
        info.isDeleted = true
        info.size = 0
        info.chunks = 0
        info.digest = ""
        _ = try await publish(info)
        try await purge(old)
    }

    /// Describes an object anew: its name, text, headers and metadata.
    ///
    /// - Parameters:
    ///   - name: its name.
    ///   - change: changes what is told; a new name must not be that of another object.
    /// - Returns: what is told now.
    /// - Throws: ``JetStreamError``: `noMessage` when there is none, `exists` when there is one of the new name,
    ///   `wrongSequence` when it has changed meanwhile, `noStream`, and what every call throws.
    @discardableResult
    public func update(_ name: String, _ change: (inout Info) -> Void) async throws(JetStreamError) -> Info {
        guard let old = try await info(name) else { throw JetStreamError(.noMessage, "there is no object \(name)") }
        var info = old
        change(&info)
        guard !info.name.isExactly(name) else { return try await publish(info) }
        let other = try await last(info.name)
        guard other?.isDeleted ?? true else { throw JetStreamError(.exists, "there is an object \(info.name)") }
        info.revision = other?.revision ?? 0
        let new = try await publish(info)
        // The chunks belong to the new name.
        try await stream.purge(subject: metaSubject(name))
        return new
    }

    /// Makes an object that stands for another one.
    ///
    /// - Parameters:
    ///   - name: its name.
    ///   - target: an object that is there and is no link itself.
    ///   - store: the target's store; nil for this one.
    /// - Throws: ``JetStreamError``: `noMessage` when there is no target, `invalidArgument` when that is a link,
    ///   `exists` when there is an object of the name that is no link, `noStream`, and what every call throws.
    @discardableResult
    public func link(
        _ name: String,
        to target: String,
        in store: JetStreamObjectStore? = nil
    ) async throws(JetStreamError) -> Info {
        let store = store ?? self
        guard let found = try await store.info(target) else {
            throw JetStreamError(.noMessage, "there is no object \(target)")
        }
        guard found.link == nil else { throw JetStreamError(.invalidArgument, "the object \(target) is a link itself") }
        let old = try await last(name)
        guard old.map({ $0.isDeleted || $0.link != nil }) ?? true else {
            throw JetStreamError(.exists, "there is an object \(name)")
        }
        var info = Info(name: name, bucket: bucket)
        info.id = NATSConnection.uniqueName()
        info.link = Link(bucket: store.bucket, name: target)
        info.revision = old?.revision ?? 0
        return try await publish(info)
    }

    /// Publishes a description in the place of the one before, if that is still `info.revision`.
    fileprivate func publish(_ info: Info) async throws(JetStreamError) -> Info {
        var options = JetStreamPublishOptions.unique()
        options.rollup = .subject
        options.expecting.stream = stream.name
        options.expecting.lastSubjectSequence = info.revision
        let ack = try await context.publish(info.json.bytes(), to: metaSubject(info.name), options: options)
        var info = info
        info.revision = ack.sequence
        info.modified = .now()
        return info
    }

    fileprivate func purge(_ info: Info) async throws(JetStreamError) {
        guard info.link == nil, !info.id.isEmpty, NATSSubject.isValidForPublish(chunkSubject(info.id)) else { return }
        try await stream.purge(subject: chunkSubject(info.id))
    }
}

/// Writes the chunks of one object, and its description.
private struct ChunkWriter {
    private let store: JetStreamObjectStore
    private var info: JetStreamObjectStore.Info
    private let chunkSize: Int
    private var rest = ByteBuffer()
    private var digest = RunningDigest()
    private var receipts = CircularBuffer<JetStreamPublishReceipt>()
    private var lastSequence: UInt64 = 0

    init(
        _ store: JetStreamObjectStore,
        _ name: String,
        _ description: JetStreamObjectStore.Description
    ) async throws(JetStreamError) {
        _ = try store.metaSubject(name)
        let stream = try await store.stream.info()
        let payload = await store.context.client.serverInfo()?.maxPayload ?? 1 << 20
        let largest = min(stream.configuration.limits.messageSize ?? .max, payload - 1024)
        let wanted = description.chunkSize ?? JetStreamObjectStore.largestChunk
        guard wanted > 0 else { throw JetStreamError(.invalidArgument, "a chunk has one byte at least, not \(wanted)") }
        self.store = store
        chunkSize = max(1, min(wanted, largest))
        info = JetStreamObjectStore.Info(name: name, bucket: store.bucket)
        info.description = description.text
        info.headers = description.headers
        info.metadata = description.metadata
        info.chunkSize = chunkSize
        info.id = NATSConnection.uniqueName()
    }

    mutating func write(_ piece: ByteBuffer) async throws(JetStreamError) {
        var piece = piece
        piece.withUnsafeReadableBytes { digest.update($0) }
        info.size += UInt64(piece.readableBytes)
        if rest.readableBytes == 0 { rest.clear() }
        while rest.readableBytes + piece.readableBytes >= chunkSize {
            if rest.readableBytes == 0 {
                guard let chunk = piece.readSlice(length: chunkSize) else { return }
                try await send(chunk)
            } else {
                guard var front = piece.readSlice(length: chunkSize - rest.readableBytes) else { return }
                rest.writeBuffer(&front)
                try await send(rest)
                rest = ByteBuffer()
            }
        }
        rest.writeBuffer(&piece)
    }

    private mutating func send(_ chunk: ByteBuffer) async throws(JetStreamError) {
        while receipts.count >= JetStreamObjectStore.chunksInFlight { try await awaitFirst() }
        info.chunks += 1
        receipts.append(
            try await store.context.publishOnce(chunk, to: store.chunkSubject(info.id), expecting: store.stream.name)
        )
    }

    private mutating func awaitFirst() async throws(JetStreamError) {
        guard let receipt = receipts.popFirst() else { return }
        let ack = try await receipt.ack()
        guard ack.stream.isExactly(store.stream.name), ack.sequence > lastSequence else {
            throw JetStreamError(.corrupt, "the chunks of the object \(info.name) were not stored in their order")
        }
        lastSequence = ack.sequence
    }

    mutating func finish() async throws(JetStreamError) -> JetStreamObjectStore.Info {
        if rest.readableBytes > 0 { try await send(rest) }
        while !receipts.isEmpty { try await awaitFirst() }
        info.digest = "SHA-256=" + JetStreamObjectStore.base64URL(digest.bytes)
        for _ in 0..<10 {
            let old = try await store.last(info.name)
            info.revision = old?.revision ?? 0
            do throws(JetStreamError) {
                let new = try await store.publish(info)
                // The object is there; old chunks that stay are a loss of room, and no failure of the put.
                if let old { try? await store.purge(old) }
                return new
            } catch {
                // Somebody else has put it meanwhile.
                guard error.code == .wrongSequence else { throw error }
            }
        }
        throw JetStreamError(.wrongSequence, "the object \(info.name) changes all the time")
    }

    /// Takes everything back.
    mutating func discard() async {
        // What is on its way would be stored behind the purge.
        while let receipt = receipts.popFirst() { _ = try? await receipt.ack() }
        let (store, info) = (store, info)
        // Also when the task is cancelled.
        let cleanup = Task { try await store.purge(info) }
        _ = await cleanup.result
    }
}
