// Cuts the frames of an own outbound buffer apart again. Used when a connection breaks: of what never left only whole
// publishes may survive to the next connection, since subscriptions, pings and the handshake are made anew. Pure; reads
// only what NATSEncoder wrote, and allocates nothing per frame.

import Bytes
package import NIOCore

/// Picks the publishes out of a buffer of encoded frames.
package enum PublishFrames {
    /// One PUB or HPUB.
    package struct Frame {
        /// Where the frame begins and ends in the buffer, counted from its first readable byte.
        package let range: Range<Int>
        /// Where to answer; empty for nowhere.
        package let reply: UnsafeRawBufferPointer
        package let hasHeaders: Bool
        /// Bytes of headers and payload together: what a server's `max_payload` limits.
        package let size: Int
    }

    /// Returns a buffer with only the PUB and HPUB frames of `buffer`, in order, and their number.
    ///
    /// - Parameter keep: asked with each publish; false leaves the frame out.
    package static func filter(
        _ buffer: ByteBuffer,
        keep: (_ frame: Frame) -> Bool
    ) -> (frames: ByteBuffer, count: Int) {
        var result = ByteBuffer()
        var count = 0
        buffer.withUnsafeReadableBytes { bytes in
            // Neighbours are copied together.
            var kept = 0..<0
            var position = 0
            while position < bytes.count, let (length, frame) = read(bytes, at: position) {
                if let frame, keep(frame) {
                    if kept.upperBound != position {
                        result.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[kept]))
                        kept = position..<position
                    }
                    kept = kept.lowerBound..<position + length
                    count += 1
                }
                position += length
            }
            result.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[kept]))
        }
        return (result, count)
    }

    /// The length of the frame that begins at `start`, and its parts if it is a publish; nil when it is not whole, which
    /// cannot happen with the encoder's own output.
    private static func read(_ bytes: UnsafeRawBufferPointer, at start: Int) -> (length: Int, frame: Frame?)? {
        let hasHeaders = bytes[start] == UInt8(ascii: "H")
        let isPublish =
            hasHeaders
            || bytes[start] == UInt8(ascii: "P") && bytes.count > start + 1
                && bytes[start + 1] == UInt8(ascii: "U")
        // Of the line: where its last and its third word begin, and how many words it has.
        var words = 1
        var last = start
        var third = start
        var end = start
        while end < bytes.count, bytes[end] != ASCII.lineFeed {
            if bytes[end] == ASCII.space {
                words += 1
                last = end + 1
                if words == 3 { third = last }
            }
            end += 1
        }
        guard end < bytes.count, end > start else { return nil }
        guard isPublish else { return (end + 1 - start, nil) }
        guard last < end, let size = ASCII.decimal(UnsafeRawBufferPointer(rebasing: bytes[last..<end - 1])) else {
            return nil
        }
        let whole = start..<end + 1 + size + 2
        guard whole.upperBound <= bytes.count else { return nil }
        var reply = UnsafeRawBufferPointer.none
        if words == (hasHeaders ? 5 : 4) {
            var replyEnd = third
            while bytes[replyEnd] != ASCII.space { replyEnd += 1 }
            reply = UnsafeRawBufferPointer(rebasing: bytes[third..<replyEnd])
        }
        return (whole.count, Frame(range: whole, reply: reply, hasHeaders: hasHeaders, size: size))
    }
}
