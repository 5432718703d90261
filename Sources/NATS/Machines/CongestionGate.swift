// Owns: the decision when sends wait for a server that takes less than is sent. The gate closes when what is unsent has
// reached its bound, and opens again somewhat below it. Replies do not ask the gate, but what they add closes it. A value
// without I/O and clock, used on the connection's loop only; the connection carries out what it says.

/// Says when to wait and when to go on.
struct CongestionGate {
    /// How far below the bound the gate opens again, at most. Little, so that what is not read meanwhile waits for a moment
    /// only: a nats-server drops a client that reads nothing for ten seconds.
    static let reserve = 1 << 20

    /// What became possible by bytes that have left.
    struct Relief: Equatable {
        /// Sends may go on.
        var opens = false
        /// The server has caught up.
        var ends = false
    }

    /// Sends wait while there is a connection.
    private(set) var isClosed = false
    /// From the first time that it was closed until much of the bound is free: one report, however often it opens.
    private(set) var isEpisode = false
    /// The messages of the server are left unread until it opens.
    private(set) var isHolding = false
    /// Whether the next opening begins with the messages that were left unread, or with the sends that wait: in turns, as
    /// each of them may fill all room there is.
    private var readsFirst = false
    private let bound: Int
    private let low: Int
    private var bytesOut: UInt64 = 0

    /// - Parameter bound: how many bytes may wait.
    init(bound: Int) {
        self.bound = max(0, bound)
        low = self.bound - min(self.bound / 2, Self.reserve)
    }

    /// Whether a message may be taken although it alone is larger than the room that is left: there is no other way for one
    /// that is larger than the bound.
    func isLow(_ pending: Int) -> Bool { pending <= low }

    /// There was no room, or a reply went beyond the bound.
    ///
    /// - Returns: whether that is news, to be reported.
    mutating func close(holding: Bool) -> Bool {
        isClosed = true
        if holding { isHolding = true }
        guard !isEpisode else { return false }
        isEpisode = true
        return true
    }

    /// Bytes have left.
    mutating func relieve(pending: Int) -> Relief {
        var relief = Relief()
        if isClosed, pending <= low {
            isClosed = false
            relief.opens = true
        }
        if isEpisode, !isClosed, pending <= low / 2 {
            isEpisode = false
            relief.ends = true
        }
        return relief
    }

    /// Nothing is held any more; whether the messages that were left unread go first this time.
    mutating func open() -> (wasHolding: Bool, readsFirst: Bool) {
        defer {
            isHolding = false
            readsFirst.toggle()
        }
        return (isHolding, readsFirst)
    }

    /// The connection is gone, and with it what was waited for.
    mutating func reset() {
        isClosed = false
        isEpisode = false
        isHolding = false
    }

    /// Asked with each keep-alive ping: whether its answer may lie among what is left unread, while the server takes what is
    /// sent. Then nothing can be said about the connection but that it lives.
    mutating func explainsSilence(bytesOut: UInt64) -> Bool {
        defer { self.bytesOut = bytesOut }
        return isHolding && bytesOut != self.bytesOut
    }
}
