// Owns: texts from outside on their way to a terminal, or to a file that somebody looks at in one: nothing in them may steer it.
// One function for all: log lines, what commands print, tables, JSON. Pure, any thread.

/// Makes texts harmless to look at.
///
/// What is written as an escape: control characters (C0, DEL and C1), line and paragraph separators, the signs that turn the
/// direction of writing around, and bytes that are no UTF-8.
package enum VisibleText {
    package enum Form: Sendable {
        /// On one line: line feeds are escapes, too.
        case line
        /// Line feeds stay, followed by so many blanks.
        case lines(indent: Int)
        /// The inside of a JSON string, with JSON's own escapes.
        case json
    }

    /// Appends `text` to `bytes`.
    package static func append(_ text: String, _ form: Form, to bytes: inout [UInt8]) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0), form, to: &bytes) }
    }

    /// The same for bytes, which need not be UTF-8.
    package static func append(_ text: UnsafeRawBufferPointer, _ form: Form, to bytes: inout [UInt8]) {
        var plain = 0
        var index = 0
        while index < text.count {
            let byte = text[index]
            if byte >= 0x20, byte < 0x7F, byte != 0x22, byte != 0x5C {
                index += 1
                continue
            }
            let length = byte < 0x80 ? 1 : scalarLength(text, index)
            let isShown = byte >= 0x80 && length > 0 && !isSteering(text, index)
            if !isShown {
                bytes.append(contentsOf: text[plain..<index])
                escape(text, index, length, form, &bytes)
                plain = index + max(length, 1)
            }
            index += max(length, 1)
        }
        bytes.append(contentsOf: text[plain...])
    }

    /// `text` on one line.
    package static func line(_ text: String) -> String {
        var bytes: [UInt8] = []
        append(text, .line, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func escape(
        _ text: UnsafeRawBufferPointer,
        _ index: Int,
        _ length: Int,
        _ form: Form,
        _ bytes: inout [UInt8]
    ) {
        let byte = text[index]
        if case .json = form {
            switch byte {
            case 0x22: bytes += [0x5C, 0x22]
            case 0x5C: bytes += [0x5C, 0x5C]
            case 0x0A: bytes += [0x5C, 0x6E]
            case 0x0D: bytes += [0x5C, 0x72]
            case 0x09: bytes += [0x5C, 0x74]
            // What is no UTF-8 is no text of JSON either.
            default: appendHex(length == 0 ? 0xFFFD : scalar(text, index, length), "\\u", 4, &bytes)
            }
            return
        }
        switch byte {
        case 0x22, 0x5C, 0x09: bytes.append(byte)
        case 0x0A:
            guard case .lines(let indent) = form else {
                bytes += [0x5C, 0x6E]
                return
            }
            bytes.append(byte)
            bytes.append(contentsOf: repeatElement(0x20, count: indent))
        default:
            let value = length == 0 ? UInt32(byte) : scalar(text, index, length)
            guard value > 0xFF else { return appendHex(value, "\\x", 2, &bytes) }
            appendHex(value, "\\u{", 4, &bytes)
            bytes.append(0x7D)
        }
    }

    // MARK: - Scalars

    /// How many bytes the scalar at `index` has, which is not ASCII; 0 when there is none.
    private static func scalarLength(_ text: UnsafeRawBufferPointer, _ index: Int) -> Int {
        guard let base = text.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return 0 }
        return UTF8Text.sequenceLength(base + index, base + text.count)
    }

    private static func scalar(_ text: UnsafeRawBufferPointer, _ index: Int, _ length: Int) -> UInt32 {
        guard length > 1 else { return UInt32(text[index]) }
        var value = UInt32(text[index]) & (0x7F >> UInt32(length))
        for next in index + 1..<index + length { value = value << 6 | UInt32(text[next] & 0x3F) }
        return value
    }

    /// Whether the scalar of several bytes at `index` steers a terminal or turns what is read around.
    private static func isSteering(_ text: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        switch text[index] {
        // U+0080 to U+009F, which some terminals obey.
        case 0xC2: text[index + 1] < 0xA0
        // U+061C.
        case 0xD8: text[index + 1] == 0x9C
        case 0xE2:
            switch (text[index + 1], text[index + 2]) {
            // U+200E and U+200F, U+2028 to U+202E, U+2066 to U+206F.
            case (0x80, 0x8E...0x8F), (0x80, 0xA8...0xAE), (0x81, 0xA6...0xAF): true
            default: false
            }
        default: false
        }
    }

    private static func appendHex(_ value: UInt32, _ mark: StaticString, _ width: Int, _ bytes: inout [UInt8]) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: mark.utf8Start, count: mark.utf8CodeUnitCount))
        for place in (0..<width).reversed() {
            bytes.append(Hex.digit(UInt8(truncatingIfNeeded: value >> UInt32(4 * place))))
        }
    }
}
