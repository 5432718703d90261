// Owns: how a client takes what it is sent. A value; it is told the server's ticks.

/// The pace of one client: it may be slow, as long as it moves.
struct HTTPPace: Equatable {
    /// The client does not keep up with what it is sent.
    var isBlocked = false
    /// The tick at which the client was last seen to take something, or to say that it will.
    private(set) var movedAt: UInt64
    /// What was still to be written at the last look.
    private var unsent = 0

    init(now: UInt64) { movedAt = now }

    /// The client takes something, or makes room for it.
    mutating func moved(now: UInt64) { movedAt = now }

    /// Looks at what is still to be written.
    ///
    /// - Returns: Whether that is another number than before: the client moves.
    mutating func hasMoved(unsent: Int, now: UInt64) -> Bool {
        guard unsent != self.unsent else { return false }
        self.unsent = unsent
        movedAt = now
        return true
    }
}
