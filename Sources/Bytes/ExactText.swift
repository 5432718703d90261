// Owns: texts as what they are to a broker, a file system and a peer: bytes. Swift's own `==`, `hasPrefix`, `split` and
// `lowercased` see characters instead: "é" in one code point and in two is the same there, a dot before a combining sign is
// none, and the Kelvin sign becomes a "k". Whatever decides what somebody may do, or which of two things is meant, uses these
// (scripts/lint-texts). Pure, any thread.

/// A text as a key: two are the same when their bytes are.
package struct ExactText: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    package init(_ text: String) { self.text = text }

    package var description: String { text }

    package static func == (left: ExactText, right: ExactText) -> Bool { left.text.isExactly(right.text) }

    package func hash(into hasher: inout Hasher) {
        let isDone: Void? = text.utf8.withContiguousStorageIfAvailable {
            hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        guard isDone == nil else { return }
        Array(text.utf8).withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension StringProtocol {
    /// Whether both have the same bytes.
    package func isExactly(_ other: some StringProtocol) -> Bool { utf8.elementsEqual(other.utf8) }

    /// Whether its first bytes are those of `start`.
    package func begins(with start: some StringProtocol) -> Bool { utf8.starts(with: start.utf8) }

    /// Whether its last bytes are those of `end`.
    package func ends(with end: some StringProtocol) -> Bool { utf8.reversed().starts(with: end.utf8.reversed()) }

    /// A to Z in lower case, and nothing else.
    package var inLowerASCII: String { String(decoding: utf8.map(ASCII.lowercased), as: UTF8.self) }
}

extension StringProtocol where SubSequence == Substring {
    /// What stands between the bytes `byte`, which is ASCII; empty parts, too.
    package func parts(between byte: UInt8) -> [Substring] {
        var parts: [Substring] = []
        var start = startIndex
        var index = start
        while index < endIndex {
            if utf8[index] == byte {
                parts.append(self[start..<index])
                start = utf8.index(after: index)
            }
            index = utf8.index(after: index)
        }
        parts.append(self[start..<endIndex])
        return parts
    }

    /// Its beginning, of at most so many bytes, for lines and answers: a text of one character may have a million.
    package func beginning(_ most: Int) -> Substring {
        let bytes = self[...].utf8
        guard bytes.count > most else { return self[...] }
        var end = bytes.index(bytes.startIndex, offsetBy: most)
        while end > bytes.startIndex, bytes[end] & 0xC0 == 0x80 { end = bytes.index(before: end) }
        return self[..<end]
    }
}

extension StringProtocol {
    /// Whether the bytes of `part` stand somewhere in it.
    package func holds(_ part: StaticString) -> Bool {
        let wanted = UnsafeBufferPointer(start: part.utf8Start, count: part.utf8CodeUnitCount)
        var rest = utf8[...]
        while rest.count >= wanted.count {
            if rest.starts(with: wanted) { return true }
            rest = rest.dropFirst()
        }
        return wanted.isEmpty
    }
}
