// Owns: what was handed to a TCP connection that has not taken all of it yet. When the connection breaks, this tells the
// frames that never left, which the next connection can send, from those whose fate nobody knows. A value, no I/O.

import NATSProtocol
import NIOCore

/// Chunks of frames in the order they were written.
///
/// It shares their memory with the channel, which lets go of a chunk when the socket has taken its last byte: a chunk that
/// nobody else holds is written. That costs a reference count per chunk, and no promise. It says so only as long as the
/// channel is alive, because a channel that closes lets go of everything.
struct UnwrittenFrames {
    private var chunks: [ByteBuffer] = []
    /// What is being written right now: it belongs to the account, because the connection may be lost in the middle of it.
    var current = ByteBuffer()

    var isEmpty: Bool { chunks.isEmpty }

    /// Ends the write that is going on.
    ///
    /// - Parameter isKept: whether to keep account of what the channel still holds.
    /// - Returns: the frames, if the channel has let go of them: their memory can be used again.
    mutating func written(isKept: Bool) -> ByteBuffer? {
        var frames = ByteBuffer()
        swap(&frames, &current)
        if frames.modifyIfUniquelyOwned({ $0.clear() }) != nil { return frames }
        if isKept {
            chunks.append(frames)
        }
        return nil
    }

    /// Forgets what the socket has taken. Only while the channel is alive.
    mutating func forgetWritten() {
        var written = 0
        while written < chunks.count, chunks[written].modifyIfUniquelyOwned({ _ in true }) == true {
            written += 1
        }
        chunks.removeFirst(written)
    }

    /// Ends the account when the connection is lost.
    ///
    /// - Parameter buffered: how many bytes the channel has not written; nil when it closed without saying so.
    /// - Returns: `unsent` begins with a whole frame and holds what the server cannot have read completely; `uncertain`
    ///   holds frames that may or may not have been read.
    mutating func end(buffered: Int?) -> (unsent: ByteBuffer, uncertain: ByteBuffer) {
        var all = ByteBuffer()
        for var chunk in chunks { all.writeBuffer(&chunk) }
        chunks = []
        var last = ByteBuffer()
        swap(&last, &current)
        // A socket that refuses to write took nothing of what it was given last.
        guard let buffered else { return (last, all) }
        all.writeBuffer(&last)
        let written = all.readableBytes - buffered
        // A frame that was written in part is of no use to the server, which waits for its rest in vain.
        return (PublishFrames.filter(all) { $0.range.upperBound > written }.frames, ByteBuffer())
    }
}
