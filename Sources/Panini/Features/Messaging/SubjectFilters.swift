// Owns: which of a script's listeners are subscribed. A pure value.

/// `app.add_filters`: which load-time listeners are subscribed. The rule is the original's: a part of the subject's text.
struct SubjectFilters: Equatable, Sendable {
    var include: [String] = []
    var exclude: [String] = []

    /// True when a listener of that subject is to be subscribed.
    func admits(_ subject: String) -> Bool {
        if !include.isEmpty, !include.contains(where: { contains(subject, $0) }) { return false }
        return !exclude.contains { contains(subject, $0) }
    }

    private func contains(_ text: String, _ part: String) -> Bool {
        let text = Array(text.utf8)
        let part = Array(part.utf8)
        guard part.count <= text.count else { return false }
        return (0...(text.count - part.count)).contains { text[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
