// Owns: the words of the protocol (RFC 6455): kinds of messages, close codes, and how frames of a server are written. Pure
// values; any thread.

package import NIOCore

/// What a message is.
package enum WebSocketKind: UInt8, Sendable {
    case text = 1
    case binary = 2
}

/// The codes of section 7.4.1 that a server gives by itself.
package enum WebSocketCode {
    package static let normal: UInt16 = 1000
    /// The server stops.
    package static let goingAway: UInt16 = 1001
    package static let protocolError: UInt16 = 1002
    /// The peer closed without a code; never on the wire.
    package static let none: UInt16 = 1005
    /// The connection was lost; never on the wire.
    package static let lost: UInt16 = 1006
    /// A text that is not UTF-8.
    package static let badText: UInt16 = 1007
    /// Against a rule of the service.
    package static let policy: UInt16 = 1008
    package static let tooBig: UInt16 = 1009
    package static let internalError: UInt16 = 1011
    /// The script was replaced.
    package static let restart: UInt16 = 1012

    /// The server has no room for the connection now.
    package static let tryAgainLater: UInt16 = 1013

    /// Whether a peer may send the code in a close frame (section 7.4, and IANA's registry).
    package static func mayArrive(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    /// Whether a script may send it: what says something about the application.
    package static func mayBeSent(_ code: Int64) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    /// The longest reason that fits into a close frame, in bytes.
    package static let maximumReason = 123
}

/// How a connection ended.
package struct WebSocketEnd: Equatable, Sendable {
    package let code: UInt16
    package let reason: String

    package init(_ code: UInt16, _ reason: String = "") {
        self.code = code
        self.reason = reason
    }
}

/// Frames as a server writes them: whole, and without a mask.
package enum WebSocketFrame {
    static let continuation: UInt8 = 0x0
    static let close: UInt8 = 0x8
    static let ping: UInt8 = 0x9
    static let pong: UInt8 = 0xA

    /// The most bytes that stand before a payload.
    package static let maximumHead = 10

    /// Writes the head of a frame whose payload follows.
    package static func writeHead(_ opcode: UInt8, _ count: Int, into buffer: inout ByteBuffer) {
        if count < 126 {
            buffer.writeMultipleIntegers(0x80 | opcode, UInt8(count))
        } else if count <= 0xFFFF {
            buffer.writeMultipleIntegers(0x80 | opcode, 126 as UInt8, UInt16(count))
        } else {
            buffer.writeMultipleIntegers(0x80 | opcode, 127 as UInt8, UInt64(count))
        }
    }

    /// A whole frame whose payload `write` appends, for many connections to send.
    package static func make(
        _ kind: WebSocketKind,
        in buffer: inout ByteBuffer,
        _ write: (inout ByteBuffer) -> Void
    ) {
        buffer.clear()
        buffer.writeRepeatingByte(0, count: maximumHead)
        write(&buffer)
        let count = buffer.readableBytes - maximumHead
        let head = count < 126 ? 2 : count <= 0xFFFF ? 4 : 10
        let end = buffer.writerIndex
        // The head is as long as it has to be: it is put right before the payload.
        buffer.moveReaderIndex(to: maximumHead - head)
        buffer.moveWriterIndex(to: maximumHead - head)
        writeHead(kind.rawValue, count, into: &buffer)
        buffer.moveWriterIndex(to: end)
    }

    /// A close frame; without a code it is empty.
    static func writeClose(_ code: UInt16?, _ reason: String, into buffer: inout ByteBuffer) {
        guard let code else { return writeHead(close, 0, into: &buffer) }
        let text = Self.cut(reason)
        writeHead(close, 2 + text.utf8.count, into: &buffer)
        buffer.writeInteger(code)
        buffer.writeString(text)
    }

    /// The reason as far as it fits, without a broken character at its end.
    static func cut(_ reason: String) -> String {
        guard reason.utf8.count > WebSocketCode.maximumReason else { return reason }
        var text = ""
        var size = 0
        for scalar in reason.unicodeScalars {
            size += scalar.utf8.count
            guard size <= WebSocketCode.maximumReason else { break }
            text.unicodeScalars.append(scalar)
        }
        return text
    }
}
