// What an -ERR line means for a connection. Pure, any thread. The texts are nats-server's; anything unknown keeps the
// connection open and is reported.

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

    /// The text of an -ERR line without the quotes around it.
    package static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        var (start, end) = (0, bytes.count)
        while start < end, bytes[start] == ASCII.quote {
            start += 1
        }
        while end > start, bytes[end - 1] == ASCII.quote {
            end -= 1
        }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    package init(_ text: String) {
        let lower = text.lowercased()
        if lower.hasPrefix("permissions violation for ") {
            self = Self.permission(text, lower)
        } else if lower.hasPrefix("stale connection") {
            self = .staleConnection
        } else if lower.hasPrefix("slow consumer") {
            self = .slowConsumer
        } else if lower.hasPrefix("maximum connections exceeded")
            || lower.hasPrefix("maximum account active connections exceeded")
            || lower.hasPrefix("connection throttling")
        {
            self = .tooManyConnections
        } else if Self.authorizationTexts.contains(where: { lower.hasPrefix($0) }) {
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
        if lower.hasPrefix("permissions violation for publish to ") {
            return .publishViolation(subject: subject)
        }
        if lower.hasPrefix("permissions violation for publish with reply of ") {
            return .replyViolation(reply: subject)
        }
        guard lower.hasPrefix("permissions violation for subscription to ") else { return .other }
        var queue: String?
        var sid: Int?
        var next = 1
        if lower.contains(" using queue \""), quoted.count > next {
            queue = quoted[next]
            next += 1
        }
        if lower.contains("(sid \""), quoted.count > next {
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
