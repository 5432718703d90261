// Owns: what is sent of a file: all, a part, or only that it has not changed (RFC 9110, sections 13 and 14). Pure; any
// thread.

/// What goes out for a file.
package struct HTTPFilePlan: Equatable {
    package let status: Int
    /// The part of the file; empty for 304 and 416.
    package let range: Range<Int>
    /// `content-range` for 206 and 416.
    package let contentRange: String?

    /// Decides about a GET or HEAD of a file.
    ///
    /// - Parameters:
    ///   - size: The file's bytes.
    ///   - entityTag: Its validator, with its quotes.
    ///   - modified: Seconds since 1970.
    ///   - header: The value of a request's header.
    package init(size: Int, entityTag: String, modified: Int, header: (String) -> String?) {
        if Self.isUnchanged(entityTag, modified, header) {
            self.init(304, 0..<0, nil)
        } else if let text = header("range"), Self.rangeIsFor(entityTag, modified, header("if-range")) {
            switch Self.range(text, size: size) {
            case .all: self.init(200, 0..<size, nil)
            case .part(let range): self.init(206, range, "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)")
            case .unsatisfiable: self.init(416, 0..<0, "bytes */\(size)")
            }
        } else {
            self.init(200, 0..<size, nil)
        }
    }

    private init(_ status: Int, _ range: Range<Int>, _ contentRange: String?) {
        self.status = status
        self.range = range
        self.contentRange = contentRange
    }

    private static func isUnchanged(_ tag: String, _ modified: Int, _ header: (String) -> String?) -> Bool {
        if let known = header("if-none-match") {
            // Weak comparison: the mark before a tag does not count.
            return known.split(separator: ",").contains { part in
                let part = part.trimmed
                return part == "*" || part == tag || part.hasPrefix("W/") && part.dropFirst(2) == tag
            }
        }
        guard let text = header("if-modified-since"), let since = HTTPDate.parse(text) else { return false }
        return modified <= since
    }

    private static func rangeIsFor(_ tag: String, _ modified: Int, _ condition: String?) -> Bool {
        guard let condition else { return true }
        if condition.hasPrefix("\"") { return condition == tag }
        return HTTPDate.parse(condition) == modified
    }

    private enum Part {
        case all
        case part(Range<Int>)
        case unsatisfiable
    }

    /// One range of bytes; several, and what cannot be read, mean the whole.
    private static func range(_ text: String, size: Int) -> Part {
        guard text.hasPrefix("bytes="), !text.contains(",") else { return .all }
        let spec = text.dropFirst(6)
        guard let dash = spec.firstIndex(of: "-") else { return .all }
        let first = spec[..<dash].trimmed
        let last = spec[spec.index(after: dash)...].trimmed
        guard first.allSatisfy(\.isASCIIDigit), last.allSatisfy(\.isASCIIDigit) else { return .all }
        if first.isEmpty {
            guard let count = Int(last) else { return last.isEmpty ? .all : .part(0..<size) }
            return count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
        }
        guard let from = Int(first), from < size else { return .unsatisfiable }
        guard !last.isEmpty else { return .part(from..<size) }
        // A number beyond all files means their end.
        let to = Int(last) ?? size
        return to < from ? .all : .part(from..<min(size, to == .max ? size : to + 1))
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

extension StringProtocol {
    fileprivate var trimmed: SubSequence {
        var rest = self[...]
        while let first = rest.first, first == " " || first == "\t" { rest = rest.dropFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return rest
    }
}
