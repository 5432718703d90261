// Owns: a server's encoders, and how many streams are compressed at once. Loop-bound.

import Glibc
import NIOCore

/// Compresses what a server sends.
final class HTTPCompressor {
    private var bodies: [HTTPDeflater.Format: HTTPDeflater] = [:]
    private(set) var streamCount = 0
    private var buffer = ByteBuffer()

    /// A stream's state takes about 50 KB: beyond this many at once they go out as they are.
    static let maximumStreams = 256
    /// Larger files are sent as they are, and in ranges.
    static let maximumFileBytes = 1 << 20
    /// What the buffer may keep between two responses.
    private static let keptBytes = 256 << 10

    /// Encodes a whole body.
    ///
    /// - Returns: What `use` gives for the encoded bytes; nil when they would not be fewer.
    func encode<Value>(
        _ body: UnsafeRawBufferPointer,
        _ format: HTTPDeflater.Format,
        _ use: (UnsafeRawBufferPointer) -> Value
    ) -> Value? {
        guard let encoder = bodies[format] ?? HTTPDeflater(format, .bodies) else { return nil }
        bodies[format] = encoder
        buffer.clear()
        guard encoder.encode(body, into: &buffer) else { return nil }
        defer { if buffer.capacity > Self.keptBytes { buffer = ByteBuffer() } }
        return buffer.withUnsafeReadableBytes(use)
    }

    /// The encoder of a stream; nil when there are too many already.
    func openStream(_ format: HTTPDeflater.Format) -> HTTPDeflater? {
        guard streamCount < Self.maximumStreams, let encoder = HTTPDeflater(format, .stream) else { return nil }
        streamCount += 1
        return encoder
    }

    func streamEnded() { streamCount -= 1 }
}

@available(*, unavailable)
extension HTTPCompressor: Sendable {}
