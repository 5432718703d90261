// Owns: reading the parameters of a header's value as they are sent, which is not always as they should be. Pure; any thread.

/// Parameters: `a; name=x; other="x y"`.
enum HTTPParameters {
    /// The value of a parameter, the first of its name.
    ///
    /// - Parameters:
    ///   - wanted: The name in lower case.
    ///   - text: The header's value.
    static func value(of wanted: String, in text: [UInt8]) -> String? {
        guard var index = text.firstIndex(of: semicolon) else { return nil }
        while index < text.count, text[index] == semicolon {
            index += 1
            while index < text.count, isBlank(text[index]) { index += 1 }
            let begin = index
            while index < text.count, text[index] != equals, text[index] != semicolon { index += 1 }
            let name = String(decoding: text[begin..<index], as: UTF8.self).lowercased()
            var value: [UInt8] = []
            if index < text.count, text[index] == equals {
                index += 1
                if index < text.count, text[index] == quote {
                    (value, index) = quoted(text, index + 1)
                } else {
                    let begin = index
                    while index < text.count, text[index] != semicolon, !isBlank(text[index]) { index += 1 }
                    value = Array(text[begin..<index])
                }
                while index < text.count, text[index] != semicolon { index += 1 }
            }
            if name == wanted { return String(decoding: value, as: UTF8.self) }
        }
        return nil
    }

    /// A text in quotes from behind the first, and where it ends.
    ///
    /// Some senders put a backslash before a quote that is part of the text. Browsers send `%22` for it, and a backslash as
    /// it is (WHATWG HTML, multipart/form-data), also as the last sign: `"C:\files\"`. What cannot be meant in the one way
    /// is meant in the other.
    private static func quoted(_ text: [UInt8], _ start: Int) -> (value: [UInt8], end: Int) {
        read(text, start, escapes: true) ?? read(text, start, escapes: false)
            ?? (Array(text[start...]), text.count)
    }

    /// - Returns: Nil when the text does not end, or something else than a further parameter follows.
    private static func read(_ text: [UInt8], _ start: Int, escapes: Bool) -> (value: [UInt8], end: Int)? {
        var value: [UInt8] = []
        var index = start
        while index < text.count, text[index] != quote {
            // Only a quote is escaped by all senders: a backslash alone is part of Windows' paths.
            if escapes, text[index] == backslash, index + 1 < text.count, text[index + 1] == quote { index += 1 }
            value.append(text[index])
            index += 1
        }
        guard index < text.count else { return nil }
        index += 1
        let end = index
        while index < text.count, isBlank(text[index]) { index += 1 }
        return index == text.count || text[index] == semicolon ? (value, end) : nil
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private static let semicolon = UInt8(ascii: ";")
    private static let equals = UInt8(ascii: "=")
    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")
}
