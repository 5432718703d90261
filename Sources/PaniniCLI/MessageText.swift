// Messages as the client commands print them. Pure functions, apart from asking whether the output is a terminal.

import NATS
import NATSProtocol
import NIOCore

enum MessageText {
    /// The payload and a line feed.
    static func payloadLine(_ message: NATSMessage) -> [UInt8] {
        visible(Array(message.payload.readableBytesView)) + [0x0A]
    }

    /// `subject payload`. A subject may hold control characters, whoever published it: they are shown, not obeyed, so that
    /// the first blank ends the subject.
    static func line(_ message: NATSMessage) -> [UInt8] {
        escaped(Array(message.subject.utf8), keepsText: false) + [0x20] + payloadLine(message)
    }

    /// A JSON object in one line.
    static func json(_ message: NATSMessage) -> [UInt8] {
        var members = [("subject", JSONText.string(message.subject))]
        members.append(("reply", JSONText.string(message.reply)))
        var names: [String] = []
        for field in message.headers where !names.contains(field.name) {
            names.append(field.name)
        }
        let headers = names.map { ($0, JSONText.array(message.headers.values(of: $0).map(JSONText.string))) }
        members.append(("headers", JSONText.object(headers)))
        let bytes = Array(message.payload.readableBytesView)
        if let text = String(validating: bytes, as: UTF8.self) {
            members.append(("payload", JSONText.string(text)))
        } else {
            members.append(("payload_base64", JSONText.string(base64(bytes))))
        }
        return Array((JSONText.object(members) + "\n").utf8)
    }

    /// On a terminal control characters are shown, not obeyed; a program gets the bytes as they are.
    private static func visible(_ bytes: [UInt8]) -> [UInt8] {
        StandardOutput.isTerminal ? escaped(bytes, keepsText: true) : bytes
    }

    /// Control characters as `\x1b`, those of C1 included.
    ///
    /// - Parameter keepsText: whether line feeds and tabs stay.
    static func escaped(_ bytes: [UInt8], keepsText: Bool) -> [UInt8] {
        var result: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case 0x0A where keepsText, 0x09 where keepsText: result.append(byte)
            case 0..<0x20, 0x7F: appendHex(byte, to: &result)
            case 0x80...0x9F where index > 0 && bytes[index - 1] == 0xC2:
                result.removeLast()
                appendHex(byte, to: &result)
            default: result.append(byte)
            }
        }
        return result
    }

    private static func appendHex(_ byte: UInt8, to bytes: inout [UInt8]) {
        let digits = String(byte, radix: 16)
        bytes += Array("\\x\(digits.count == 1 ? "0" : "")\(digits)".utf8)
    }

    /// RFC 4648, section 4.
    static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var result: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var value: UInt32 = 0
            for offset in 0..<3 {
                value = value << 8 | (offset < group.count ? UInt32(group[start + offset]) : 0)
            }
            for position in 0..<4 {
                let shift = UInt32(18 - 6 * position)
                result.append(position <= group.count ? alphabet[Int(value >> shift & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
