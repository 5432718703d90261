// What waits for one client, in chunks of whole commands: the socket is given one chunk after another while it takes them,
// so that what waits is counted here, memory goes back chunk by chunk, and last words never land in the middle of a message.
// A value, on the broker's event loop.

import NIOCore

struct ClientOutbox {
    /// A chunk that has grown to this gets no more.
    static let chunkBytes = 64 << 10

    private var chunks = CircularBuffer<ByteBuffer>(initialCapacity: 1)
    /// The chunk that is being filled.
    private var last = ByteBuffer()
    /// How many bytes wait.
    private(set) var byteCount = 0

    var isEmpty: Bool { byteCount == 0 }

    /// Appends one command.
    ///
    /// - Parameters:
    ///   - room: at least as many bytes as it has.
    ///   - write: writes it and returns how many bytes it has.
    @inline(__always)
    mutating func append(room: Int, _ write: (UnsafeMutableRawBufferPointer) -> Int) {
        byteCount &+= last.writeWithUnsafeMutableBytes(minimumWritableBytes: room, write)
        if last.readableBytes >= Self.chunkBytes { finishChunk() }
    }

    mutating func append(_ text: StaticString) {
        byteCount += last.writeStaticString(text)
        if last.readableBytes >= Self.chunkBytes { finishChunk() }
    }

    mutating func append(_ text: String) {
        byteCount += last.writeString(text)
        if last.readableBytes >= Self.chunkBytes { finishChunk() }
    }

    @inline(never)
    private mutating func finishChunk() {
        chunks.append(last)
        last = ByteBuffer()
    }

    /// The oldest chunk, and no other reference to it; nil when nothing waits.
    mutating func popFirst() -> ByteBuffer? {
        var chunk = ByteBuffer()
        if let first = chunks.popFirst() {
            chunk = first
            // What many had waited in is given back.
            if chunks.isEmpty { chunks.removeAll() }
        } else {
            guard last.readableBytes > 0 else { return nil }
            swap(&chunk, &last)
        }
        byteCount -= chunk.readableBytes
        return chunk
    }

    /// Takes back the memory of a chunk that was written, if nothing waits.
    mutating func reuse(_ written: inout ByteBuffer) {
        guard last.capacity == 0, written.capacity <= 4 * Self.chunkBytes,
            written.modifyIfUniquelyOwned({ $0.clear() }) != nil
        else { return }
        last = written
    }

    mutating func removeAll() { self = ClientOutbox() }
}
