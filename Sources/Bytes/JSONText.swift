// Owns: JSON as it is written: strings with their escapes, and values as a tree whose strings have none yet, so that nobody
// writes one without. Pure; any thread. Messages of scripts have a codec of their own in LuaVM, and no tree.

/// A JSON value that is to be written.
package enum JSONText: Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    /// A number; what is none in JSON becomes null.
    case number(Double)
    case string(String)
    case array([JSONText])
    /// Members in the given order.
    case object([(String, JSONText)])

    /// A text, or null.
    package static func text(_ text: String?) -> JSONText { text.map { .string($0) } ?? .null }

    /// A whole number of any type; one that is too large becomes the largest.
    package static func whole(_ number: some BinaryInteger) -> JSONText { .integer(Int64(clamping: number)) }

    /// Texts in order.
    package static func list(_ texts: [String]) -> JSONText { .array(texts.map { .string($0) }) }

    /// Texts by name, in the order of their names.
    package static func texts(_ texts: [String: String]) -> JSONText {
        .object(texts.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
    }

    /// How strings are written.
    package enum Escapes: Sendable {
        /// Control characters by number only: `\u000a`.
        case numbers
        /// Line feed, return and tab by name: `\n`.
        case names
        /// As by name, and nothing that could steer a terminal (``VisibleText``).
        case visible
    }

    /// How values are written.
    package struct Style: Sendable {
        let escapes: Escapes
        /// Whether a blank stands behind each comma and colon.
        let isSpaced: Bool

        /// What programs tell each other.
        package static let compact = Style(escapes: .numbers, isSpaced: false)
        /// What the commands print: read by programs, and looked at in terminals.
        package static let printed = Style(escapes: .visible, isSpaced: true)
    }

    /// The bytes of the value.
    package func bytes(_ style: Style = .compact) -> [UInt8] {
        var bytes: [UInt8] = []
        append(to: &bytes, style)
        return bytes
    }

    /// The text of the value.
    package func written(_ style: Style = .compact) -> String { String(decoding: bytes(style), as: UTF8.self) }

    /// Appends the value.
    package func append(to bytes: inout [UInt8], _ style: Style = .compact) {
        switch self {
        case .null: bytes.append(literal: "null")
        case .boolean(let flag): bytes.append(literal: flag ? "true" : "false")
        case .integer(let number): bytes.append(contentsOf: String(number).utf8)
        case .number(let number): bytes.append(contentsOf: (number.isFinite ? "\(number)" : "null").utf8)
        case .string(let text): Self.append(text, style.escapes, to: &bytes)
        case .array(let values):
            bytes.append(UInt8(ascii: "["))
            for (position, value) in values.enumerated() {
                if position > 0 { bytes.append(literal: style.isSpaced ? ", " : ",") }
                value.append(to: &bytes, style)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (position, (name, value)) in members.enumerated() {
                if position > 0 { bytes.append(literal: style.isSpaced ? ", " : ",") }
                Self.append(name, style.escapes, to: &bytes)
                bytes.append(literal: style.isSpaced ? ": " : ":")
                value.append(to: &bytes, style)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    // MARK: - Strings

    /// Appends a text as a string with its quotes.
    package static func append(_ text: String, _ escapes: Escapes, to bytes: inout [UInt8]) {
        var text = text
        text.withUTF8 { text in
            let text = UnsafeRawBufferPointer(text)
            switch escapes {
            case .numbers: appendString(text, namesControls: false, to: &bytes)
            case .names: appendString(text, to: &bytes)
            case .visible:
                bytes.append(UInt8(ascii: "\""))
                VisibleText.append(text, .json, to: &bytes)
                bytes.append(UInt8(ascii: "\""))
            }
        }
    }

    /// Appends a text, which is UTF-8, as a string with its quotes.
    ///
    /// - Parameter namesControls: Whether line feed, return and tab are written by name.
    @inlinable
    package static func appendString(
        _ text: UnsafeRawBufferPointer,
        namesControls: Bool = true,
        to sink: inout some ByteSink
    ) {
        sink.append(UInt8(ascii: "\""))
        var plain = 0
        var index = 0
        while index < text.count {
            let byte = text[index]
            index &+= 1
            if byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { continue }
            if plain < index &- 1 { sink.append(UnsafeRawBufferPointer(rebasing: text[plain..<(index &- 1)])) }
            plain = index
            sink.append(UInt8(ascii: "\\"))
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): sink.append(byte)
            case 0x0A where namesControls: sink.append(UInt8(ascii: "n"))
            case 0x0D where namesControls: sink.append(UInt8(ascii: "r"))
            case 0x09 where namesControls: sink.append(UInt8(ascii: "t"))
            default:
                sink.append(literal: "u00")
                sink.append(Hex.digit(byte >> 4))
                sink.append(Hex.digit(byte))
            }
        }
        if plain < text.count { sink.append(UnsafeRawBufferPointer(rebasing: text[plain...])) }
        sink.append(UInt8(ascii: "\""))
    }

    /// How many bytes ``appendString(_:namesControls:to:)`` makes of a character, line feed, return and tab by name.
    package static func length(of scalar: Unicode.Scalar) -> Int {
        switch scalar {
        case "\"", "\\", "\n", "\r", "\t": 2
        case _ where scalar.value < 0x20: 6
        default: UTF8.width(scalar)
        }
    }
}
