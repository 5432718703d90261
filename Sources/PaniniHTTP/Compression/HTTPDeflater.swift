// Owns: gzip and deflate of what goes out: whole bodies, and streams whose pieces are readable as soon as they were written.
// Loop-bound objects around zlib's state.

import CZlib
package import NIOCore

/// An encoder. One for whole bodies is used again and again; a stream has its own.
package final class HTTPDeflater {
    /// What a client can read.
    package enum Format: String, Equatable, Sendable {
        case gzip, deflate
    }

    /// What an encoder is for.
    package enum Purpose {
        /// Whole bodies. The state takes a quarter of a megabyte, and there is one.
        case bodies
        /// A stream: a fifth of it, as there may be many.
        case stream
    }

    private var stream = z_stream()
    private var isOpen = false
    let format: Format

    /// The level is nginx's: the loop is held a third of the time of zlib's own choice, for a tenth more bytes.
    private static let level: CInt = 1

    package init?(_ format: Format, _ purpose: Purpose) {
        self.format = format
        let bits: CInt = purpose == .bodies ? 15 : 13
        let memory: CInt = purpose == .bodies ? 8 : 5
        let status = panini_deflate_init(&stream, Self.level, format == .gzip ? bits + 16 : bits, memory)
        guard status == Z_OK else { return nil }
        isOpen = true
    }

    deinit { if isOpen { deflateEnd(&stream) } }

    /// Encodes a whole body.
    ///
    /// - Returns: False when it would not become smaller: then nothing was appended.
    package func encode(_ body: UnsafeRawBufferPointer, into output: inout ByteBuffer) -> Bool {
        guard deflateReset(&stream) == Z_OK, body.count > 0, body.count < 1 << 30 else { return false }
        let start = output.writerIndex
        // One byte less than the body: what does not fit is not worth it.
        let written = output.writeWithUnsafeMutableBytes(minimumWritableBytes: body.count) { room in
            run(body, UnsafeMutableRawBufferPointer(rebasing: room[..<(body.count - 1)]), Z_FINISH) == Z_STREAM_END
                ? body.count - 1 - Int(stream.avail_out) : 0
        }
        if written == 0 { output.moveWriterIndex(to: start) }
        return written > 0
    }

    /// Encodes a piece of a stream so that all of it can be read.
    package func write(_ piece: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        pump(piece, Z_SYNC_FLUSH, &output)
    }

    /// The end of a stream.
    package func finish(into output: inout ByteBuffer) {
        pump(UnsafeRawBufferPointer(start: nil, count: 0), Z_FINISH, &output)
    }

    private func pump(_ piece: UnsafeRawBufferPointer, _ mode: CInt, _ output: inout ByteBuffer) {
        var rest = piece
        repeat {
            let part = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
            stream.next_in = UnsafeMutableRawPointer(mutating: part.baseAddress)?.assumingMemoryBound(to: Bytef.self)
            stream.avail_in = uInt(part.count)
            repeat {
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: part.count / 2 + 64) { room in
                    stream.next_out = room.baseAddress?.assumingMemoryBound(to: Bytef.self)
                    stream.avail_out = uInt(room.count)
                    _ = deflate(&stream, mode)
                    return room.count - Int(stream.avail_out)
                }
                // A full buffer means that there is more.
            } while stream.avail_out == 0
        } while !rest.isEmpty
    }

    private func run(_ input: UnsafeRawBufferPointer, _ room: UnsafeMutableRawBufferPointer, _ mode: CInt) -> CInt {
        stream.next_in = UnsafeMutableRawPointer(mutating: input.baseAddress)?.assumingMemoryBound(to: Bytef.self)
        stream.avail_in = uInt(input.count)
        stream.next_out = room.baseAddress?.assumingMemoryBound(to: Bytef.self)
        stream.avail_out = uInt(room.count)
        return deflate(&stream, mode)
    }
}

@available(*, unavailable)
extension HTTPDeflater: Sendable {}
