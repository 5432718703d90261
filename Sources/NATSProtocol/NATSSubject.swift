// Rules for subjects and queue names, as byte checks before anything is sent (the server would accept some bad subjects
// and misread others as extra arguments). Pure functions, any thread. Source: protocol documentation "subject names",
// and what nats-server refuses as invalid.

import Bytes

/// Checks of subjects and queue group names.
package enum NATSSubject {
    /// Whether messages can be published to `bytes`: tokens separated by single dots, none empty, no white space and
    /// no control character, and no wildcard token.
    package static func isValidForPublish(_ bytes: UnsafeRawBufferPointer) -> Bool {
        check(bytes, allowsWildcards: false)
    }

    /// Whether `bytes` can be subscribed to: as for publishing, but tokens may be `*`, and the last one `>`.
    package static func isValidForSubscribe(_ bytes: UnsafeRawBufferPointer) -> Bool {
        check(bytes, allowsWildcards: true)
    }

    /// Whether a server takes a subscription to `bytes`: as ``isValidForSubscribe(_:)``, but control characters are
    /// bytes like others.
    package static func isAcceptedForSubscribe(_ bytes: UnsafeRawBufferPointer) -> Bool {
        check(bytes, allowsWildcards: true, allowsControls: true)
    }

    /// Whether messages can be published to `subject`.
    package static func isValidForPublish(_ subject: String) -> Bool {
        withBytes(of: subject, isValidForPublish)
    }

    /// Whether `subject` can be subscribed to.
    package static func isValidForSubscribe(_ subject: String) -> Bool {
        withBytes(of: subject, isValidForSubscribe)
    }

    /// Whether `queue` can name a queue group: not empty, no white space, no control character.
    package static func isValidQueue(_ queue: String) -> Bool {
        withBytes(of: queue) { bytes in
            guard bytes.count > 0 else { return false }
            for byte in bytes where byte <= ASCII.space || byte == 0x7F {
                return false
            }
            return true
        }
    }

    /// Whether the subject pattern `pattern` (tokens `*` and `>` are wildcards) matches the plain subject `subject`.
    /// Both must be valid.
    package static func matches(pattern: UnsafeRawBufferPointer, subject: UnsafeRawBufferPointer) -> Bool {
        var patternIndex = 0
        var subjectIndex = 0
        while patternIndex < pattern.count {
            guard subjectIndex < subject.count else { return false }
            let patternEnd = tokenEnd(pattern, from: patternIndex)
            let subjectEnd = tokenEnd(subject, from: subjectIndex)
            if patternEnd - patternIndex == 1 {
                if pattern[patternIndex] == ASCII.greater, patternEnd == pattern.count { return true }
                if pattern[patternIndex] == ASCII.star {
                    (patternIndex, subjectIndex) = (patternEnd + 1, subjectEnd + 1)
                    continue
                }
            }
            let left = UnsafeRawBufferPointer(rebasing: pattern[patternIndex..<patternEnd])
            let right = UnsafeRawBufferPointer(rebasing: subject[subjectIndex..<subjectEnd])
            guard left.equals(right) else { return false }
            (patternIndex, subjectIndex) = (patternEnd + 1, subjectEnd + 1)
        }
        return subjectIndex > subject.count
    }

    private static func tokenEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index < bytes.count, bytes[index] != ASCII.dot {
            index += 1
        }
        return index
    }

    @inline(__always)
    private static func check(
        _ bytes: UnsafeRawBufferPointer,
        allowsWildcards: Bool,
        allowsControls: Bool = false
    ) -> Bool {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return false }
        let pointer = base.assumingMemoryBound(to: UInt8.self)
        let count = bytes.count
        var previous = ASCII.dot
        var index = 0
        while index < count {
            let byte = pointer[index]
            // One comparison lets every common byte through: letters, digits and what is above '>'.
            if byte > ASCII.greater {
                if byte == 0x7F, !allowsControls { return false }
            } else if byte <= ASCII.space {
                if !allowsControls || byte == ASCII.space { return false }
            } else if byte == ASCII.dot {
                if previous == ASCII.dot { return false }
            } else if byte == ASCII.star || byte == ASCII.greater, previous == ASCII.dot {
                // A wildcard only when it is a whole token; inside a token these two are plain characters.
                let isLast = index &+ 1 == count
                if isLast || pointer[index &+ 1] == ASCII.dot {
                    guard allowsWildcards, byte == ASCII.star || isLast else { return false }
                }
            }
            previous = byte
            index &+= 1
        }
        return previous != ASCII.dot
    }

    @inline(__always)
    private static func withBytes(of string: String, _ body: (UnsafeRawBufferPointer) -> Bool) -> Bool {
        var string = string
        return string.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}
