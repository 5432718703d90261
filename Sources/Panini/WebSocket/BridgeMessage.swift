// Owns: what clients of a bridge say and hear, as JSON. Pure; any thread.

import NATSProtocol
package import NIOCore
package import PaniniHTTP

/// What a client asks for.
package enum BridgeCommand: Equatable {
    case subscribe([String])
    case unsubscribe([String])

    /// Why a message is none.
    package struct Problem: Error, Equatable {
        package let message: String
    }

    package init(_ kind: WebSocketKind, _ bytes: UnsafeRawBufferPointer) throws(Problem) {
        guard kind == .text, let json = try? JSONValue(parsing: bytes) else {
            throw Problem(message: "the message is not valid JSON")
        }
        guard case .object = json else {
            throw Problem(message: "a message looks like {\"action\": \"subscribe\", \"subjects\": [\"prices.>\"]}")
        }
        guard let list = json["subjects"]?.array, !list.isEmpty else {
            throw Problem(message: "subjects must be a list of texts that is not empty")
        }
        var subjects: [String] = []
        var seen: Set<ExactText> = []
        for item in list {
            guard let subject = item.string else { throw Problem(message: "subjects must be a list of texts") }
            if seen.insert(ExactText(subject)).inserted { subjects.append(subject) }
        }
        switch json["action"] {
        case nil, .string("subscribe"): self = .subscribe(subjects)
        case .string("unsubscribe"): self = .unsubscribe(subjects)
        case .string(let other):
            throw Problem(message: "unknown action \"\(other.beginning(64))\"; there are subscribe and unsubscribe")
        default: throw Problem(message: "action must be \"subscribe\" or \"unsubscribe\"")
        }
    }
}

package enum BridgeMessage {
    /// `{"success": ..., "message": ...}`.
    package static func answer(_ success: Bool, _ text: String) -> [UInt8] {
        var object = JSONObjectWriter()
        object.member("success", success)
        object.member("message", text)
        return object.finish()
    }

    /// Appends `{"subject": ..., "data": ...}`: JSON as it came, another text as a string, other bytes in base64 with
    /// `"encoding": "base64"`, nothing as null.
    package static func write(
        subject: UnsafeRawBufferPointer,
        _ payload: UnsafeRawBufferPointer,
        into buffer: inout ByteBuffer
    ) {
        buffer.writeStaticString("{\"subject\":")
        writeString(subject, into: &buffer)
        buffer.writeStaticString(",\"data\":")
        if payload.isEmpty {
            buffer.writeStaticString("null")
        } else if !WebSocketUTF8.isValid(payload) {
            writeBase64(payload, into: &buffer)
            buffer.writeStaticString(",\"encoding\":\"base64\"")
        } else if JSONCheck.isValue(payload) {
            buffer.writeBytes(payload)
        } else {
            writeString(payload, into: &buffer)
        }
        buffer.writeStaticString("}")
    }

    private static func writeString(_ text: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        guard WebSocketUTF8.isValid(text) else {
            var repaired = String(decoding: text, as: UTF8.self)
            return repaired.withUTF8 { writeString(UnsafeRawBufferPointer($0), into: &buffer) }
        }
        buffer.writeInteger(UInt8(ascii: "\""))
        var plain = 0
        for (index, byte) in text.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            buffer.writeBytes(UnsafeRawBufferPointer(rebasing: text[plain..<index]))
            plain = index + 1
            switch byte {
            case UInt8(ascii: "\n"): buffer.writeStaticString("\\n")
            case UInt8(ascii: "\r"): buffer.writeStaticString("\\r")
            case UInt8(ascii: "\t"): buffer.writeStaticString("\\t")
            case UInt8(ascii: "\""): buffer.writeStaticString("\\\"")
            case UInt8(ascii: "\\"): buffer.writeStaticString("\\\\")
            default:
                buffer.writeStaticString("\\u00")
                for half in [byte >> 4, byte & 15] { buffer.writeInteger(half < 10 ? half + 48 : half + 87) }
            }
        }
        buffer.writeBytes(UnsafeRawBufferPointer(rebasing: text[plain...]))
        buffer.writeInteger(UInt8(ascii: "\""))
    }

    private static func writeBase64(_ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        func digit(_ value: UInt32) -> UInt8 {
            switch UInt8(value & 63) {
            case let six where six < 26: 65 + six
            case let six where six < 52: 97 + six - 26
            case let six where six < 62: 48 + six - 52
            case 62: UInt8(ascii: "+")
            default: UInt8(ascii: "/")
            }
        }
        buffer.writeInteger(UInt8(ascii: "\""))
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let count = min(3, bytes.count - start)
            var group: UInt32 = 0
            for place in 0..<3 { group = group << 8 | (place < count ? UInt32(bytes[start + place]) : 0) }
            for place in 0..<4 {
                buffer.writeInteger(place <= count ? digit(group >> UInt32(18 - 6 * place)) : UInt8(ascii: "="))
            }
        }
        buffer.writeInteger(UInt8(ascii: "\""))
    }
}
