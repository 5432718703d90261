// Owns: the conditions of a request (RFC 9110, section 13): whether what it asks for is to be done, and for which state of
// the file. Pure; any thread.

/// What is known of the file that a request is about.
package struct HTTPValidators: Equatable, Sendable {
    /// With its quotes; `W/` in front of a weak one.
    package let entityTag: String
    /// Seconds since 1970.
    package let modified: Int

    package init(entityTag: String, modified: Int) {
        self.entityTag = entityTag
        self.modified = modified
    }
}

/// The conditions of a GET or HEAD.
struct HTTPPreconditions {
    enum Outcome: Equatable {
        case goOn
        /// The client has it: 304.
        case unchanged
        /// It is not what the client takes it for: 412.
        case failed
    }

    private let validators: HTTPValidators
    private let header: (String) -> String?

    /// - Parameter header: The value of a request's header; several of one name joined with commas.
    init(_ validators: HTTPValidators, header: @escaping (String) -> String?) {
        self.validators = validators
        self.header = header
    }

    /// In the order of section 13.2.2: of each pair the first decides, when it is there.
    var outcome: Outcome {
        if let wanted = header("if-match") {
            guard HTTPEntityTags(wanted).contains(validators.entityTag, isStrong: true) else { return .failed }
        } else if let limit = header("if-unmodified-since").flatMap(HTTPDate.parse), validators.modified > limit {
            return .failed
        }
        if let known = header("if-none-match") {
            return HTTPEntityTags(known).contains(validators.entityTag, isStrong: false) ? .unchanged : .goOn
        }
        if let since = header("if-modified-since").flatMap(HTTPDate.parse), validators.modified <= since {
            return .unchanged
        }
        return .goOn
    }

    /// Whether a part may be sent of it, as far as `if-range` says (section 13.1.5): the client has the rest of this state.
    var permitsRange: Bool {
        guard let condition = header("if-range") else { return true }
        if let date = HTTPDate.parse(condition) { return date == validators.modified }
        let tags = HTTPEntityTags(condition)
        return !tags.isAny && tags.count == 1 && tags.contains(validators.entityTag, isStrong: true)
    }
}

/// The entity tags of a header: a list, or `*` for any.
struct HTTPEntityTags {
    private var tags: [Substring] = []
    /// The header is `*`.
    let isAny: Bool

    var count: Int { tags.count }

    /// What cannot be read ends the list. Tags may have commas between their quotes.
    init(_ text: String) {
        var rest = text[...].trimmedBlanks
        isAny = rest == "*"
        guard !isAny else { return }
        while true {
            rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "," }
            let begin = rest
            if rest.hasPrefix("W/") { rest = rest.dropFirst(2) }
            guard rest.first == "\"", let end = rest.dropFirst().firstIndex(of: "\"") else { return }
            rest = rest[rest.index(after: end)...]
            tags.append(begin[..<rest.startIndex])
        }
    }

    /// - Parameter isStrong: Tags are equal only when neither is weak; otherwise the mark does not count (section 8.8.3.2).
    func contains(_ tag: String, isStrong: Bool) -> Bool {
        if isAny { return true }
        if isStrong { return !tag.hasPrefix("W/") && tags.contains { $0 == tag } }
        return tags.contains { Self.opaque($0) == Self.opaque(tag[...]) }
    }

    private static func opaque(_ tag: Substring) -> Substring { tag.hasPrefix("W/") ? tag.dropFirst(2) : tag }
}

extension StringProtocol {
    /// Without the blanks and tabs around it.
    var trimmedBlanks: SubSequence {
        var rest = self[...]
        while let first = rest.first, first == " " || first == "\t" { rest = rest.dropFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return rest
    }
}
