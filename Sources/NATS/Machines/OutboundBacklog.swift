// Owns: frames that wait until the socket has room, in whole chunks. What is handed to the socket is at most one chunk more
// than it holds anyway, and memory goes back chunk by chunk as they leave. A value, used on the connection's loop only.

import NIOCore

/// Chunks of whole frames, first in, first out.
struct OutboundBacklog {
    /// A buffer that has grown to this is put here when the socket has no room for it.
    static let chunkBytes = 256 << 10

    private var chunks = CircularBuffer<ByteBuffer>(initialCapacity: 1)
    /// How many bytes wait here.
    private(set) var byteCount = 0

    var isEmpty: Bool { byteCount == 0 }

    mutating func append(_ chunk: ByteBuffer) {
        guard chunk.readableBytes > 0 else { return }
        byteCount += chunk.readableBytes
        chunks.append(chunk)
    }

    /// Puts a chunk in front of all others.
    mutating func prepend(_ chunk: ByteBuffer) {
        guard chunk.readableBytes > 0 else { return }
        byteCount += chunk.readableBytes
        chunks.prepend(chunk)
    }

    /// The oldest chunk, and no other reference to it; nil when there is none.
    mutating func popFirst() -> ByteBuffer? {
        guard let chunk = chunks.popFirst() else { return nil }
        byteCount -= chunk.readableBytes
        // What many had waited in is given back.
        if chunks.isEmpty { chunks.removeAll() }
        return chunk
    }

    /// Keeps of each chunk what `change` gives.
    mutating func replace(_ change: (ByteBuffer) -> ByteBuffer) {
        var rest = OutboundBacklog()
        while let chunk = popFirst() { rest.append(change(chunk)) }
        self = rest
    }
}
