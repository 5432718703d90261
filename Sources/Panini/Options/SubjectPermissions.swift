// Owns: which subjects a list of patterns permits, to clients of bridges and to untrusted scripts. Byte by byte, as the broker
// compares them. Pure values; any thread.

import Bytes
import NATSProtocol

/// Patterns of subjects; a subject, or a subscription, is permitted when one of them covers every subject it could match.
package struct SubjectPermissions: Equatable, Sendable {
    let patterns: [String]
    private let bytes: [[UInt8]]

    package init(patterns: [String]) {
        self.patterns = patterns
        bytes = patterns.map { Array($0.utf8) }
    }

    /// Whether the subject, which may have wildcards, is permitted.
    package func permits(_ subject: UnsafeRawBufferPointer) -> Bool {
        bytes.contains { pattern in pattern.withUnsafeBytes { Self.covers($0, subject) } }
    }

    func permits(_ subject: String) -> Bool {
        var subject = subject
        return subject.withUTF8 { permits(UnsafeRawBufferPointer($0)) }
    }

    static func covers(_ pattern: String, _ subject: String) -> Bool {
        SubjectPermissions(patterns: [pattern]).permits(subject)
    }

    /// Whether every subject that `subject` matches is matched by `pattern`.
    static func covers(_ pattern: UnsafeRawBufferPointer, _ subject: UnsafeRawBufferPointer) -> Bool {
        var allowed = Tokens(pattern)
        var asked = Tokens(subject)
        while let token = allowed.next() {
            // It stands for one token or more.
            if token.isOnly(ASCII.greater), allowed.isAtEnd { return !asked.isAtEnd }
            guard let other = asked.next() else { return false }
            let isRest = other.isOnly(ASCII.greater) && asked.isAtEnd
            if token.isOnly(ASCII.star) {
                if isRest { return false }
            } else if isRest || !token.elementsEqual(other) {
                return false
            }
        }
        return asked.isAtEnd
    }

    /// What stands between the dots.
    private struct Tokens {
        private let bytes: UnsafeRawBufferPointer
        private var position = 0

        init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        var isAtEnd: Bool { position > bytes.count }

        mutating func next() -> UnsafeRawBufferPointer? {
            guard position <= bytes.count else { return nil }
            let start = position
            while position < bytes.count, bytes[position] != ASCII.dot { position += 1 }
            defer { position += 1 }
            return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
        }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func isOnly(_ byte: UInt8) -> Bool { count == 1 && self[0] == byte }
}
