// Messages as the client commands print them. Pure functions, apart from asking whether the output is a terminal.

import NATS
import NATSProtocol
import NIOCore
import PaniniObservability

enum MessageText {
    /// The payload and a line feed.
    static func payloadLine(_ message: NATSMessage) -> [UInt8] {
        visible(Array(message.payload.readableBytesView)) + [0x0A]
    }

    /// `subject payload`. A subject may hold control characters, whoever published it: they are shown, not obeyed, so that
    /// the first blank ends the subject.
    static func line(_ message: NATSMessage) -> [UInt8] {
        Array(VisibleText.line(message.subject).utf8) + [0x20] + payloadLine(message)
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

    /// On a terminal what would steer it is shown, not obeyed; a program gets the bytes as they are.
    private static func visible(_ bytes: [UInt8]) -> [UInt8] {
        StandardOutput.isTerminal ? escaped(bytes, .lines(indent: 0)) : bytes
    }

    /// What would steer a terminal as escapes.
    static func escaped(_ bytes: [UInt8], _ form: VisibleText.Form) -> [UInt8] {
        var result: [UInt8] = []
        bytes.withUnsafeBytes { VisibleText.append($0, form, to: &result) }
        return result
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
