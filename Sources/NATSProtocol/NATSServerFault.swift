// What an -ERR line means for a connection. Pure, any thread. The texts are nats-server's; anything unknown keeps the
// connection open and is reported.

import Bytes

/// A server's -ERR, understood.
package enum NATSServerFault: Equatable, Sendable {
    case publishViolation(subject: String)
    /// A request's or message's reply subject is not allowed.
    case replyViolation(reply: String)
    case subscriptionViolation(subject: String, queue: String?, sid: Int?)
    /// Credentials missing, wrong, expired or revoked.
    case authorization
    case staleConnection
    /// The server has no room for one more connection; another server, or a later moment, may.
    case tooManyConnections
    case slowConsumer
    /// Everything else: the connection stays open.
    case other

    /// Reads what stands behind `-ERR`, with or without its quotes.
    package init(_ bytes: UnsafeRawBufferPointer) {
        self.init(Self.text(bytes))
    }

    /// How many bytes of an -ERR line are looked at: more than a server says of the longest subject it takes.
    package static let maximumLength = 16 << 10

    /// The text of an -ERR line without the quotes around it, and without what is beyond ``maximumLength``.
    package static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        var (start, end) = (0, min(bytes.count, maximumLength))
        while start < end, bytes[start] == ASCII.quote {
            start += 1
        }
        while end > start, bytes[end - 1] == ASCII.quote {
            end -= 1
        }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    package init(_ text: String) {
        let lower = text.inLowerASCII
        if lower.begins(with: "permissions violation for ") {
            self = Self.permission(text, lower)
        } else if lower.begins(with: "stale connection") {
            self = .staleConnection
        } else if lower.begins(with: "slow consumer") {
            self = .slowConsumer
        } else if lower.begins(with: "maximum connections exceeded")
            || lower.begins(with: "maximum account active connections exceeded")
            || lower.begins(with: "connection throttling")
        {
            self = .tooManyConnections
        } else if Self.authorizationTexts.contains(where: { lower.begins(with: $0) }) {
            self = .authorization
        } else {
            self = .other
        }
    }

    private static let authorizationTexts = [
        "authorization violation", "authentication timeout", "user authentication expired",
        "user authentication revoked", "account authentication expired", "authentication expired",
        "authentication revoked",
    ]

    private static func permission(_ text: String, _ lower: String) -> NATSServerFault {
        let quoted = quotedParts(text)
        guard let subject = quoted.first else { return .other }
        if lower.begins(with: "permissions violation for publish to ") {
            return .publishViolation(subject: subject)
        }
        if lower.begins(with: "permissions violation for publish with reply of ") {
            return .replyViolation(reply: subject)
        }
        guard lower.begins(with: "permissions violation for subscription to ") else { return .other }
        var queue: String?
        var sid: Int?
        var next = 1
        if lower.holds(" using queue \""), quoted.count > next {
            queue = quoted[next]
            next += 1
        }
        if lower.holds("(sid \""), quoted.count > next {
            sid = Int(quoted[next])
        }
        return .subscriptionViolation(subject: subject, queue: queue, sid: sid)
    }

    /// The parts of `text` between double quotes, with the server's escapes undone.
    private static func quotedParts(_ text: String) -> [String] {
        var parts: [String] = []
        var current: String?
        var escaped = false
        for character in text.unicodeScalars {
            if escaped {
                current?.unicodeScalars.append(character)
                escaped = false
            } else if current != nil, character == "\\" {
                escaped = true
            } else if character == "\"" {
                if let part = current {
                    parts.append(part)
                    current = nil
                } else {
                    current = ""
                }
            } else {
                current?.unicodeScalars.append(character)
            }
        }
        return parts
    }
}
