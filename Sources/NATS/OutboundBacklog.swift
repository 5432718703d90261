// Frames that wait until the socket has room, in whole chunks: what is handed to the socket is at most one chunk more than
// it holds anyway, and memory goes back chunk by chunk as they leave. A value, used on the connection's loop only.

import NIOCore

/// Chunks of whole frames, first in, first out.
struct OutboundBacklog {
    /// A buffer that has grown to this is put here when the socket has no room for it.
    static let chunkBytes = 256 << 10

    private var chunks: [ByteBuffer] = []
    private var head = 0
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
        if head > 0 {
            head -= 1
            chunks[head] = chunk
        } else {
            chunks.insert(chunk, at: 0)
        }
    }

    /// The oldest chunk, and no other reference to it; nil when there is none.
    mutating func popFirst() -> ByteBuffer? {
        guard head < chunks.count else { return nil }
        var chunk = ByteBuffer()
        swap(&chunk, &chunks[head])
        head += 1
        byteCount -= chunk.readableBytes
        if head == chunks.count {
            chunks.removeAll()
            head = 0
        } else if head >= 64, head * 2 >= chunks.count {
            chunks.removeFirst(head)
            head = 0
        }
        return chunk
    }

    /// Keeps of each chunk what `change` gives.
    mutating func replace(_ change: (ByteBuffer) -> ByteBuffer) {
        var rest = OutboundBacklog()
        while let chunk = popFirst() { rest.append(change(chunk)) }
        self = rest
    }
}
