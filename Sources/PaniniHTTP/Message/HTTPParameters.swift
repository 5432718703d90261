// Owns: reading the parameters of a header's value as they are sent, which is not always as they should be. Pure; any thread.

import Bytes

/// Parameters: `a; name=x; other="x y"`.
enum HTTPParameters {
    /// The value of a parameter, the first of its name.
    ///
    /// - Parameters:
    ///   - wanted: The name in lower case.
    ///   - text: The header's value.
    static func value(of wanted: StaticString, in text: [UInt8]) -> String? {
        guard var index = text.firstIndex(of: semicolon) else { return nil }
        while index < text.count, text[index] == semicolon {
            index += 1
            while index < text.count, ASCII.isBlank(text[index]) { index += 1 }
            let begin = index
            while index < text.count, text[index] != equals, text[index] != semicolon { index += 1 }
            let isWanted = isName(text[begin..<index], wanted)
            var value = Value(range: index..<index)
            if index < text.count, text[index] == equals {
                index += 1
                if index < text.count, text[index] == quote {
                    (value, index) = quoted(text, index + 1)
                } else {
                    let begin = index
                    while index < text.count, text[index] != semicolon, !ASCII.isBlank(text[index]) { index += 1 }
                    value = Value(range: begin..<index)
                }
                while index < text.count, text[index] != semicolon { index += 1 }
            }
            if isWanted { return String(decoding: value.bytes(of: text), as: UTF8.self) }
        }
        return nil
    }

    /// Whether a name is this one, which is in lower case.
    static func isName(_ bytes: some Collection<UInt8>, _ name: StaticString) -> Bool {
        ASCII.equals(bytes, ignoringCase: name)
    }

    /// Where a value lies, and whether quotes in it have a backslash before them.
    private struct Value {
        let range: Range<Int>
        var hasEscapes = false

        /// Only a quote is escaped by all senders: a backslash alone is part of Windows' paths.
        func bytes(of text: [UInt8]) -> [UInt8] {
            guard hasEscapes else { return Array(text[range]) }
            var bytes: [UInt8] = []
            for index in range
            where text[index] != backslash || index + 1 >= range.upperBound || text[index + 1] != quote {
                bytes.append(text[index])
            }
            return bytes
        }
    }

    /// A text in quotes from behind the first, and where it ends.
    ///
    /// Some senders put a backslash before a quote that is part of the text. Browsers send `%22` for it, and a backslash as
    /// it is (WHATWG HTML, multipart/form-data), also as the last sign: `"C:\files\"`. What cannot be meant in the one way
    /// is meant in the other.
    private static func quoted(_ text: [UInt8], _ start: Int) -> (value: Value, end: Int) {
        read(text, start, escapes: true) ?? read(text, start, escapes: false)
            ?? (Value(range: start..<text.count), text.count)
    }

    /// - Returns: Nil when the text does not end, or something else than a further parameter follows.
    private static func read(_ text: [UInt8], _ start: Int, escapes: Bool) -> (value: Value, end: Int)? {
        var index = start
        while index < text.count, text[index] != quote {
            if escapes, text[index] == backslash, index + 1 < text.count, text[index + 1] == quote { index += 1 }
            index += 1
        }
        guard index < text.count else { return nil }
        let end = index + 1
        index = end
        while index < text.count, ASCII.isBlank(text[index]) { index += 1 }
        guard index == text.count || text[index] == semicolon else { return nil }
        return (Value(range: start..<(end - 1), hasEscapes: escapes), end)
    }

    private static let semicolon = UInt8(ascii: ";")
    private static let equals = UInt8(ascii: "=")
    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")
}
