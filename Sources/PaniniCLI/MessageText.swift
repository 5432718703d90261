// Messages as the client commands print them. Pure functions, apart from asking whether the output is a terminal.

import Bytes
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
        Array(VisibleText.line(message.subject).utf8) + [0x20] + payloadLine(message)
    }

    /// A JSON object in one line.
    static func json(_ message: NATSMessage) -> [UInt8] {
        var names: [String] = []
        for field in message.headers where !names.contains(field.name) {
            names.append(field.name)
        }
        var members: [(String, JSONText)] = [("subject", .string(message.subject)), ("reply", .text(message.reply))]
        members.append(("headers", .object(names.map { ($0, .list(message.headers.values(of: $0))) })))
        let bytes = Array(message.payload.readableBytesView)
        if let text = String(validating: bytes, as: UTF8.self) {
            members.append(("payload", .string(text)))
        } else {
            members.append(("payload_base64", .string(Base64.encode(bytes))))
        }
        return JSONText.object(members).bytes(.printed) + [0x0A]
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
}
