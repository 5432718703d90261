// Owns: what a script may write as a subject, and the named tokens in it. Pure values; any thread.

import Bytes
import NATSProtocol
import PaniniObservability

/// A subject to subscribe to, as a script writes it: `orders.{id}.paid`, `orders.*`, `logs.>`.
package struct SubjectPattern: Equatable, Sendable {
    /// What is subscribed to at the broker: named tokens have become `*`.
    package let subject: String
    /// The subject as a key.
    var key: ExactText { ExactText(subject) }
    /// The named tokens and their positions, counted from 0.
    package let parameters: [Parameter]

    /// A named token of a pattern.
    package struct Parameter: Equatable, Sendable {
        /// The name between the braces.
        package let name: String
        /// The token's position in the subject, counted from 0.
        package let index: Int
    }

    /// Why a text is not a subject.
    package struct Invalid: Error, Equatable {
        /// What is wrong, for people.
        package let message: String
        /// Nothing is wrong with it but its length.
        package var isTooLong = false
    }

    /// The longest subject accepted, in bytes: well under the broker's control line of 4096.
    package static let maximumLength = 1024

    /// Reads a pattern.
    package init(_ text: String) throws(Invalid) {
        try Self.checkCharacters(text)
        var tokens: [Substring.UTF8View] = []
        var parameters: [Parameter] = []
        var names: Set<ExactText> = []
        let parts = text.parts(between: ASCII.dot)
        for (index, part) in parts.enumerated() {
            guard !part.isEmpty else {
                throw Invalid(
                    message: "subject \"\(text)\" has an empty token (a dot at the start, the end, or two dots)"
                )
            }
            if part.begins(with: "{") || part.ends(with: "}") {
                let name = Substring(part.utf8.dropFirst().dropLast())
                guard part.begins(with: "{"), part.ends(with: "}"), Self.isName(name) else {
                    throw Invalid(
                        message:
                            "subject \"\(text)\": \"\(part)\" is not a named token; write {name} with letters, digits and _"
                    )
                }
                guard names.insert(ExactText(String(name))).inserted else {
                    throw Invalid(message: "subject \"\(text)\" names the token {\(name)} twice")
                }
                parameters.append(Parameter(name: String(name), index: index))
                tokens.append("*"[...].utf8)
            } else {
                if part.isExactly(">") && index != parts.count - 1 {
                    throw Invalid(message: "subject \"\(text)\": \">\" may only be the last token")
                }
                tokens.append(part.utf8)
            }
        }
        self.subject = String(decoding: Array(tokens.joined(separator: ".".utf8)), as: UTF8.self)
        self.parameters = parameters
    }

    /// Checks a subject to send to: no wildcard, no empty token, no white space.
    package static func checkPublishable(_ text: String) throws(Invalid) {
        try checkCharacters(text)
        for part in text.parts(between: ASCII.dot) {
            if part.isEmpty {
                throw Invalid(
                    message: "subject \"\(text)\" has an empty token (a dot at the start, the end, or two dots)"
                )
            }
            if part.isExactly("*") || part.isExactly(">") {
                throw Invalid(message: "subject \"\(text)\" has a wildcard; a message goes to one exact subject")
            }
        }
    }

    /// Checks the name of a queue group: a non-empty text without white space.
    package static func checkQueue(_ text: String) throws(Invalid) {
        guard !text.isEmpty else { throw Invalid(message: "a queue group needs a name (use queue = false for none)") }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw Invalid(message: "queue group \"\(printable(text))\" has white space or control characters")
        }
        guard text.utf8.count <= 256 else {
            throw Invalid(
                message: "the queue group's name has \(text.utf8.count) bytes; at most 256 are allowed",
                isTooLong: true
            )
        }
    }

    private static func checkCharacters(_ text: String) throws(Invalid) {
        guard !text.isEmpty else { throw Invalid(message: "the subject is empty") }
        guard text.utf8.count <= maximumLength else {
            throw Invalid(
                message: "the subject has \(text.utf8.count) bytes; at most \(maximumLength) are allowed",
                isTooLong: true
            )
        }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw Invalid(message: "subject \"\(printable(text))\" has white space or control characters")
        }
    }

    private static func isName(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, !ASCII.isDigit(first) else { return false }
        return text.utf8.allSatisfy {
            ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == 95
        }
    }

    /// The text with nothing that steers a terminal, and cut: error texts stay on one line.
    private static func printable(_ text: String) -> String { VisibleText.line(String(text.beginning(120))) }
}
