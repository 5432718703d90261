// Bytes of log lines: escaping, numbers and metadata values. Pure functions, any thread.

import Logging

/// Helpers that append to a line.
enum LogText {
    static func append(_ text: StaticString, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends `text` without anything that could steer a terminal: control characters are written as `\x1b`. Line
    /// feeds stay when `keepsLines`, followed by `indent` blanks.
    static func appendVisible(_ text: String, keepsLines: Bool, indent: Int = 0, to bytes: inout [UInt8]) {
        var text = text
        text.withUTF8 { utf8 in
            for (index, byte) in utf8.enumerated() {
                switch byte {
                case 0x0A where keepsLines:
                    bytes.append(byte)
                    for _ in 0..<indent {
                        bytes.append(0x20)
                    }
                case 0x0A: append("\\n", to: &bytes)
                case 0x09: bytes.append(byte)
                case 0..<0x20, 0x7F: appendHex(byte, to: &bytes)
                // C1 control characters, which some terminals obey: U+0080 to U+009F are C2 80 to C2 9F.
                case 0x80...0x9F where index > 0 && utf8[index - 1] == 0xC2:
                    bytes.removeLast()
                    appendHex(byte, to: &bytes)
                default: bytes.append(byte)
                }
            }
        }
    }

    private static func appendHex(_ byte: UInt8, to bytes: inout [UInt8]) {
        append("\\x", to: &bytes)
        bytes.append(hexDigit(byte >> 4))
        bytes.append(hexDigit(byte & 15))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x61 + value - 10
    }

    /// Appends `text` as a JSON string with its quotes.
    static func appendJSONString(_ text: String, to bytes: inout [UInt8]) {
        var text = text
        bytes.append(0x22)
        text.withUTF8 { utf8 in
            for (index, byte) in utf8.enumerated() {
                switch byte {
                case 0x22: append("\\\"", to: &bytes)
                case 0x5C: append("\\\\", to: &bytes)
                case 0x0A: append("\\n", to: &bytes)
                case 0x0D: append("\\r", to: &bytes)
                case 0x09: append("\\t", to: &bytes)
                case 0..<0x20, 0x7F:
                    append("\\u00", to: &bytes)
                    bytes.append(hexDigit(byte >> 4))
                    bytes.append(hexDigit(byte & 15))
                // U+0080 to U+009F, as above.
                case 0x80...0x9F where index > 0 && utf8[index - 1] == 0xC2:
                    bytes.removeLast()
                    append("\\u00", to: &bytes)
                    bytes.append(hexDigit(byte >> 4))
                    bytes.append(hexDigit(byte & 15))
                default: bytes.append(byte)
                }
            }
        }
        bytes.append(0x22)
    }

    /// Appends a metadata value as JSON. Numbers and truth values stay what they are; keys are sorted.
    static func appendJSON(_ value: Logger.MetadataValue, to bytes: inout [UInt8]) {
        switch value {
        case .string(let text):
            appendJSONString(text, to: &bytes)
        case .stringConvertible(let value):
            if let literal = jsonLiteral(value) {
                bytes.append(contentsOf: literal.utf8)
            } else {
                appendJSONString(value.description, to: &bytes)
            }
        case .array(let values):
            bytes.append(0x5B)
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(0x2C) }
                appendJSON(value, to: &bytes)
            }
            bytes.append(0x5D)
        case .dictionary(let fields):
            appendJSON(fields, to: &bytes)
        }
    }

    /// Appends fields as a JSON object with sorted keys.
    static func appendJSON(_ fields: Logger.Metadata, to bytes: inout [UInt8]) {
        bytes.append(0x7B)
        var isFirst = true
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            if !isFirst { bytes.append(0x2C) }
            isFirst = false
            appendJSONString(key, to: &bytes)
            bytes.append(0x3A)
            appendJSON(value, to: &bytes)
        }
        bytes.append(0x7D)
    }

    private static func jsonLiteral(_ value: any CustomStringConvertible) -> String? {
        switch value {
        case let value as Bool: value ? "true" : "false"
        case let value as any BinaryInteger: "\(value)"
        case let value as Double where value.isFinite: "\(value)"
        case let value as Float where value.isFinite: "\(value)"
        default: nil
        }
    }

    /// Appends `value` in decimal, with zeros in front up to `width` digits.
    static func append(_ value: Int64, width: Int = 1, to bytes: inout [UInt8]) {
        var divisor: Int64 = 1
        var digits = 1
        while value / divisor >= 10 || digits < width {
            divisor *= 10
            digits += 1
        }
        while divisor > 0 {
            bytes.append(0x30 + UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
    }
}
