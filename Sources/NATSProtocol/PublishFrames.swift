// Cuts the frames of an own outbound buffer apart again. Used when a connection breaks: of what was never handed to the
// socket only whole publishes may survive to the next connection, since subscriptions, pings and the handshake are made
// anew. Pure; reads only what NATSEncoder wrote.

package import NIOCore

/// Picks the publishes out of a buffer of encoded frames.
package enum PublishFrames {
    /// Returns a buffer with only the PUB and HPUB frames of `buffer`, in order, and their number.
    ///
    /// - Parameter keep: asked with each frame's reply subject (empty when none); false leaves the frame out.
    package static func filter(
        _ buffer: ByteBuffer,
        keep: (_ reply: UnsafeRawBufferPointer) -> Bool
    ) -> (frames: ByteBuffer, count: Int) {
        var result = ByteBuffer()
        var count = 0
        buffer.withUnsafeReadableBytes { bytes in
            var position = 0
            while position < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
                guard let frame = Frame(rest) else { return }
                if frame.isPublish, keep(frame.reply) {
                    result.writeBytes(UnsafeRawBufferPointer(rebasing: rest[0..<frame.length]))
                    count += 1
                }
                position += frame.length
            }
        }
        return (result, count)
    }

    private struct Frame {
        var isPublish = false
        var reply = UnsafeRawBufferPointer.none
        var length = 0

        /// The first frame of `bytes`; nil when it is not whole, which cannot happen with the encoder's own output.
        init?(_ bytes: UnsafeRawBufferPointer) {
            guard let lineEnd = bytes.firstIndex(of: ASCII.lineFeed), lineEnd >= 1 else { return nil }
            length = lineEnd + 1
            let hasHeaders = bytes[0] == UInt8(ascii: "H")
            guard hasHeaders || bytes[0] == UInt8(ascii: "P") && bytes[1] == UInt8(ascii: "U") else { return }
            isPublish = true
            let line = UnsafeRawBufferPointer(rebasing: bytes[0..<(lineEnd - 1)])
            let tokens = line.split(separator: ASCII.space)
            guard let last = tokens.last, let size = ASCII.decimal(UnsafeRawBufferPointer(rebasing: last)) else {
                return nil
            }
            if tokens.count == (hasHeaders ? 5 : 4) {
                reply = UnsafeRawBufferPointer(rebasing: tokens[2])
            }
            length += size + 2
            guard length <= bytes.count else { return nil }
        }
    }
}
