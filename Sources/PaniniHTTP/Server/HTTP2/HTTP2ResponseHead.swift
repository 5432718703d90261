// Owns: whether the head of an HTTP/2 response can be sent. Pure; any thread.

import NIOCore
import NIOHPACK

/// The size of the head of a response.
///
/// NIO sends a head in one frame. One that is larger than frames may be would cost the connection, with all its other streams.
enum HTTP2ResponseHead {
    /// The largest frame that every client takes (RFC 9113, section 4.2).
    static let mostBytes = 16384

    /// - Parameter headers: Those of the fields that may be large.
    static func fits(_ fields: HPACKHeaders, _ headers: HTTPFields) -> Bool {
        // No byte takes more than 30 bits (RFC 7541, appendix B), and the other fields are small.
        if headers.headBytes * 4 < mostBytes - 1024 { return true }
        // What the client has in its table can only make it smaller, but for the numbers of the places in it.
        var block = ByteBuffer()
        var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
        do {
            try encoder.encode(headers: fields, to: &block)
        } catch {
            return false
        }
        return block.readableBytes + 4 * headers.count + 64 <= mostBytes
    }
}
