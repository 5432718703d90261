// Owns: the bytes of an error reply: headers of ADR-32 and the JSON body of lua-api §5. Pure; any thread.

import LuaVM

enum ErrorReply {
    /// Header values are one line; a longer text stands whole in the body.
    private static let maximumHeaderText = 512

    /// `Nats-Service-Error` and `Nats-Service-Error-Code` as a header block.
    static func headers(_ error: ReplyError) -> [UInt8] {
        var block: [UInt8] = []
        block.reserveCapacity(96 + min(error.message.utf8.count, maximumHeaderText))
        block.append(contentsOf: "NATS/1.0\r\nNats-Service-Error: ".utf8)
        let text = shortened(error.message)
        for byte in text.utf8 {
            block.append(byte < 0x20 || byte == 0x7F ? 0x20 : byte)
        }
        // ADR-32 wants a text; so do clients that look for one.
        if text.isEmpty { block.append(contentsOf: "error".utf8) }
        block.append(contentsOf: "\r\nNats-Service-Error-Code: \(error.code)\r\n\r\n".utf8)
        return block
    }

    /// As much of a text, in whole characters, as a header holds.
    static func shortened(_ text: String) -> String {
        guard text.utf8.count > maximumHeaderText else { return text }
        var count = 0
        return String(
            text.prefix { character in
                count += character.utf8.count
                return count <= maximumHeaderText
            }
        )
    }

    /// `{"success": false, "code": N, "error": "...", "errors": [...]?}`.
    static func writeBody(_ error: ReplyError, into writer: ByteWriter) {
        writer.append("{\"success\":false,\"code\":")
        append(String(error.code), to: writer)
        writer.append(",\"error\":\"")
        for byte in error.message.utf8 {
            switch byte {
            case UInt8(ascii: "\""): writer.append("\\\"")
            case UInt8(ascii: "\\"): writer.append("\\\\")
            case UInt8(ascii: "\n"): writer.append("\\n")
            case UInt8(ascii: "\r"): writer.append("\\r")
            case UInt8(ascii: "\t"): writer.append("\\t")
            case 0..<0x20:
                writer.append("\\u00")
                writer.append(hexDigit(byte >> 4))
                writer.append(hexDigit(byte & 15))
            default: writer.append(byte)
            }
        }
        writer.append("\"")
        if !error.errors.isEmpty {
            writer.append(",\"errors\":")
            error.errors.withUnsafeBytes { writer.append($0) }
        }
        writer.append("}")
    }

    private static func append(_ text: String, to writer: ByteWriter) {
        for byte in text.utf8 { writer.append(byte) }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
