// Owns: which warnings about clients are logged. Clients can cause as many as they like, so each kind is logged once in an
// episode, with a count of the rest. A value without a clock; may not know clients or the log.

import NATSProtocol

struct ClientWarnings {
    enum Kind: Int, CaseIterable {
        /// A client was closed for what it sent, or not taken in.
        case refusal
        /// A client was closed for what waits for it.
        case slow
        /// A client was closed because it was silent.
        case stale
        /// A subscription was refused.
        case subscription
        /// A connection could not be accepted.
        case accept

        var rest: StaticString {
            switch self {
            case .refusal: "more clients were refused or closed for what they sent"
            case .slow: "more clients were closed because they did not read"
            case .stale: "more clients were closed because they did not answer"
            case .subscription: "more subscriptions were refused"
            case .accept: "more attempts to accept a connection failed"
            }
        }
    }

    private var episodes = [LogEpisode](repeating: LogEpisode(), count: Kind.allCases.count)

    /// Whether the warning is the one to be logged.
    mutating func note(_ kind: Kind, at now: UInt64) -> Bool { episodes[kind.rawValue].note(at: now) }

    /// How many were not logged, once they are over.
    mutating func settle(at now: UInt64) -> [(kind: Kind, count: Int)] {
        guard episodes.contains(where: \.isOpen) else { return [] }
        return Kind.allCases.compactMap { kind in episodes[kind.rawValue].settle(at: now).map { (kind, $0) } }
    }
}
