// Owns: undoing gzip and deflate, piece by piece, never more at a time than asked for. Loop-bound values around zlib's state.

import CZlib
package import NIOCore

/// The decoder of one body.
package struct HTTPInflater {
    package enum Format: Equatable, Sendable {
        case gzip
        /// With zlib's frame, as the standard says, or without, as some send it.
        case deflate

        /// The format that a `content-encoding` names; nil for none, and for others.
        package init?(_ name: String) {
            switch name.lowercased() {
            case "gzip", "x-gzip": self = .gzip
            case "deflate": self = .deflate
            default: return nil
            }
        }

        /// The one format of a message; nil without any, and for several or others.
        init?(_ headers: HTTPFields) {
            let values = headers.values("content-encoding")
            guard values.count == 1 else { return nil }
            self.init(values[0])
        }
    }

    /// What zlib takes for one, beside what it has decoded: its window and its state.
    static let stateBytes = 44 << 10

    /// The bytes are not of the format.
    package struct Failure: Error, Equatable {}

    private let state: State

    package init(_ format: Format) { state = State(format) }

    /// Something has come.
    package var hasBegun: Bool { state.hasBegun }
    /// The format's own end was reached.
    package var isComplete: Bool { state.isComplete }

    /// Decodes what it can of the input, which it takes, and appends at most so many bytes.
    package func decode(_ input: inout ByteBuffer, into output: inout ByteBuffer, atMost limit: Int) throws(Failure) {
        try state.decode(&input, &output, limit)
    }
}

/// zlib's own state, which must not move.
private final class State {
    private var stream = z_stream()
    private let format: HTTPInflater.Format
    private var isOpen = false
    private(set) var hasBegun = false
    private(set) var isComplete = false

    init(_ format: HTTPInflater.Format) { self.format = format }

    deinit { if isOpen { inflateEnd(&stream) } }

    func decode(_ input: inout ByteBuffer, _ output: inout ByteBuffer, _ limit: Int) throws(HTTPInflater.Failure) {
        guard var first = input.getInteger(at: input.readerIndex, as: UInt8.self) else {
            // zlib may hold decoded bytes back that found no room.
            if isOpen, !isComplete { try run(&input, &output, limit) }
            return
        }
        hasBegun = true
        while true {
            try begin(first)
            try run(&input, &output, limit)
            // An empty member gives nothing: the next one follows at once.
            guard isComplete, output.readableBytes == 0,
                let next = input.getInteger(at: input.readerIndex, as: UInt8.self)
            else { return }
            first = next
        }
    }

    /// Makes zlib ready for what begins with this byte, or goes on with it.
    private func begin(_ first: UInt8) throws(HTTPInflater.Failure) {
        if isComplete {
            // Several gzip members are one body (RFC 1952, section 2.2); anything else behind the end is refused.
            guard format == .gzip, first == 0x1F, inflateReset(&stream) == Z_OK else { throw HTTPInflater.Failure() }
            isComplete = false
        }
        guard !isOpen else { return }
        // zlib's frame begins with the method 8 in its low bits; a bare stream hardly ever does.
        let window: CInt = format == .gzip ? 15 + 16 : first & 0x0F == 8 ? 15 : -15
        guard panini_inflate_init(&stream, window) == Z_OK else { throw HTTPInflater.Failure() }
        isOpen = true
    }

    private func run(_ input: inout ByteBuffer, _ output: inout ByteBuffer, _ limit: Int) throws(HTTPInflater.Failure) {
        var status = Z_OK
        let written = output.writeWithUnsafeMutableBytes(minimumWritableBytes: limit) { room in
            var room = room
            if room.count > limit { room = UnsafeMutableRawBufferPointer(rebasing: room[..<limit]) }
            stream.next_out = room.baseAddress?.assumingMemoryBound(to: Bytef.self)
            stream.avail_out = uInt(room.count)
            input.readWithUnsafeReadableBytes { bytes in
                let taken = min(bytes.count, 1 << 30)
                // zlib does not write to its input; its type only says so where it was told to.
                stream.next_in = UnsafeMutableRawPointer(mutating: bytes.baseAddress)?.assumingMemoryBound(
                    to: Bytef.self
                )
                stream.avail_in = uInt(taken)
                status = inflate(&stream, Z_NO_FLUSH)
                return taken - Int(stream.avail_in)
            }
            return room.count - Int(stream.avail_out)
        }
        switch status {
        case Z_STREAM_END: isComplete = true
        case Z_OK: break
        // Nothing to do is no fault.
        case Z_BUF_ERROR where written == 0: break
        default: throw HTTPInflater.Failure()
        }
    }
}
