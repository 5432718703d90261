// Encoder of what a client sends to a server: appends whole frames to a ByteBuffer the caller owns. The caller has
// checked subjects and sizes; nothing here allocates but the buffer's growth.

import Bytes
package import NIOCore

/// Appends the client's operations to a buffer.
package enum NATSEncoder {
    /// The most bytes a PUB or HPUB adds to its parts: operation, blanks, two numbers, line ends.
    @inline(__always) package static var publishOverhead: Int { 64 }

    /// Appends PUB, or HPUB when `headers` holds a block.
    @inline(__always)
    package static func publish(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        into buffer: inout ByteBuffer
    ) {
        let room = publishOverhead + subject.count + reply.count + headers.count + payload.count
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
            // The buffer just promised `room` bytes, and `room` is above 0.
            let start = target.baseAddress.unsafelyUnwrapped
            var cursor = start
            if headers.isEmpty {
                append("PUB ", to: &cursor)
            } else {
                append("HPUB ", to: &cursor)
            }
            append(subject, to: &cursor)
            append(ASCII.space, to: &cursor)
            if !reply.isEmpty {
                append(reply, to: &cursor)
                append(ASCII.space, to: &cursor)
            }
            if !headers.isEmpty {
                cursor += ASCII.writeDecimal(headers.count, to: cursor)
                append(ASCII.space, to: &cursor)
            }
            cursor += ASCII.writeDecimal(headers.count + payload.count, to: cursor)
            appendLineEnd(to: &cursor)
            append(headers, to: &cursor)
            append(payload, to: &cursor)
            appendLineEnd(to: &cursor)
            return cursor - start
        }
    }

    /// Appends SUB.
    package static func subscribe(subject: String, queue: String?, sid: Int, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("SUB ")
        buffer.writeString(subject)
        if let queue {
            buffer.writeStaticString(" ")
            buffer.writeString(queue)
        }
        buffer.writeStaticString(" ")
        number(sid, into: &buffer)
        buffer.writeStaticString("\r\n")
    }

    /// Appends UNSUB; with `maximum`, the server ends the subscription after that many messages in all.
    package static func unsubscribe(sid: Int, maximum: Int? = nil, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("UNSUB ")
        number(sid, into: &buffer)
        if let maximum {
            buffer.writeStaticString(" ")
            number(maximum, into: &buffer)
        }
        buffer.writeStaticString("\r\n")
    }

    package static func ping(into buffer: inout ByteBuffer) {
        buffer.writeStaticString("PING\r\n")
    }

    package static func pong(into buffer: inout ByteBuffer) {
        buffer.writeStaticString("PONG\r\n")
    }

    package static func connect(_ options: NATSConnectOptions, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("CONNECT ")
        buffer.writeBytes(options.encoded())
        buffer.writeStaticString("\r\n")
    }

    private static func number(_ value: Int, into buffer: inout ByteBuffer) {
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 20) { target in
            ASCII.writeDecimal(value, to: target.baseAddress.unsafelyUnwrapped)
        }
    }

    // MARK: Raw appends; room was reserved by the caller

    @inline(__always)
    private static func append(_ word: StaticString, to cursor: inout UnsafeMutableRawPointer) {
        cursor.copyMemory(from: word.utf8Start, byteCount: word.utf8CodeUnitCount)
        cursor += word.utf8CodeUnitCount
    }

    @inline(__always)
    private static func append(_ byte: UInt8, to cursor: inout UnsafeMutableRawPointer) {
        cursor.storeBytes(of: byte, as: UInt8.self)
        cursor += 1
    }

    @inline(__always)
    private static func append(_ bytes: UnsafeRawBufferPointer, to cursor: inout UnsafeMutableRawPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        cursor.copyMemory(from: base, byteCount: bytes.count)
        cursor += bytes.count
    }

    @inline(__always)
    private static func appendLineEnd(to cursor: inout UnsafeMutableRawPointer) {
        cursor.storeBytes(of: UInt16(littleEndian: 0x0A0D), as: UInt16.self)
        cursor += 2
    }
}
