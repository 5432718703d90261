// Owns: which subscriptions a list of patterns permits. Pure values; any thread.

/// Patterns of subjects; a subscription is permitted when one of them covers every subject it could match.
struct SubjectPermissions: Equatable, Sendable {
    let patterns: [String]

    /// Whether the subject, which may have wildcards, is permitted.
    func permits(_ subject: String) -> Bool { patterns.contains { Self.covers($0, subject) } }

    /// Whether every subject that `subject` matches is matched by `pattern`.
    static func covers(_ pattern: String, _ subject: String) -> Bool {
        var allowed = pattern.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)[...]
        var asked = subject.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)[...]
        while let token = allowed.popFirst() {
            // It stands for one token or more.
            if token.elementsEqual(">".utf8), allowed.isEmpty { return !asked.isEmpty }
            guard let other = asked.popFirst() else { return false }
            let isRest = other.elementsEqual(">".utf8) && asked.isEmpty
            if token.elementsEqual("*".utf8) {
                if isRest { return false }
            } else if !token.elementsEqual(other) || isRest {
                return false
            }
        }
        return asked.isEmpty
    }
}
