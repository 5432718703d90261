// Owns: what a connection holds for its client, as a number. Values; loop-bound with their connection.

/// What one connection makes its server hold.
struct HTTPHolding {
    /// Bytes of memory: requests that are not complete or not begun, and responses that the client has not taken.
    private(set) var bytes = 0
    /// It was ended for what it held: what is left of it goes, and does not count.
    private(set) var isEnded = false

    @inline(__always)
    mutating func set(_ new: Int, in share: WebMemoryShare) {
        guard new != bytes, !isEnded else { return }
        share.change(from: bytes, to: new)
        bytes = new
    }

    mutating func end(in share: WebMemoryShare) {
        set(0, in: share)
        isEnded = true
    }
}

/// Why a server has ended a connection for what its client cost.
package struct HTTPShedding {
    package enum Reason: Equatable {
        /// All web servers together held more than `limit`, and this connection most of it.
        case memory(limit: Int)
        /// It alone held more than `limit`.
        case connection(limit: Int)
        /// The client sent too much of what is work for the server alone: resets, pings, settings, errors of streams.
        case flood
    }

    package let reason: Reason
    /// What the connection held.
    package let bytes: Int
    package let remoteAddress: String
}
