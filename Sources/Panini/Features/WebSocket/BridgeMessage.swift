// Owns: what clients of a bridge say and hear, as JSON. Pure; any thread.

import Bytes
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
        JSONText.object([("success", .boolean(success)), ("message", .string(text))]).bytes()
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
        } else if !UTF8Text.isValid(payload) {
            buffer.writeStaticString("\"")
            Base64.append(payload, to: &buffer)
            buffer.writeStaticString("\",\"encoding\":\"base64\"")
        } else if JSONCheck.isValue(payload) {
            buffer.writeBytes(payload)
        } else {
            writeString(payload, into: &buffer)
        }
        buffer.writeStaticString("}")
    }

    private static func writeString(_ text: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        guard UTF8Text.isValid(text) else {
            var repaired = String(decoding: text, as: UTF8.self)
            return repaired.withUTF8 { writeString(UnsafeRawBufferPointer($0), into: &buffer) }
        }
        JSONText.appendString(text, to: &buffer)
    }
}

extension ByteBuffer: ByteSink {
    @inline(__always)
    package mutating func append(_ byte: UInt8) { writeInteger(byte) }

    @inline(__always)
    package mutating func append(_ bytes: UnsafeRawBufferPointer) { writeBytes(bytes) }
}
