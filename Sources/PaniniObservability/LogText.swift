// Bytes of log lines: numbers and metadata values. Pure functions, any thread.

import Bytes
import Logging

/// Helpers that append to a line.
enum LogText {
    static func append(_ text: StaticString, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends `text` without anything that could steer a terminal. Line feeds stay when `keepsLines`, followed by `indent`
    /// blanks.
    static func appendVisible(_ text: String, keepsLines: Bool, indent: Int = 0, to bytes: inout [UInt8]) {
        VisibleText.append(text, keepsLines ? .lines(indent: indent) : .line, to: &bytes)
    }

    /// Appends `text` as a JSON string with its quotes.
    static func appendJSONString(_ text: String, to bytes: inout [UInt8]) {
        JSONText.append(text, .visible, to: &bytes)
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
