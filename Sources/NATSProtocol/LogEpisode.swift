// One log line for many events of a kind that come in a row: a peer, or a broker, can make as many of them as it likes.
// A value without a clock.

/// An episode of equal events: its first is told at once, then how many came, at most every so often and when it is over.
package struct LogEpisode: Sendable, Equatable {
    /// An episode is over when nothing came for so long, in nanoseconds.
    package static let quietTime: UInt64 = 1_000_000_000
    /// How often an episode that goes on is told of, in nanoseconds.
    package static let interval: UInt64 = 30_000_000_000

    /// When the last line was said; nil while there is no episode.
    private var saidAt: UInt64?
    private var lastAt: UInt64 = 0
    /// How many events no line was made for yet.
    private var unsaid = 0

    /// No episode.
    package init() {}

    /// Whether there is an episode, so that ``settle(at:)`` shall be called.
    package var isOpen: Bool { saidAt != nil }

    /// One more event at `now`; call ``settle(at:)`` before.
    ///
    /// - Returns: whether it is the one to be told.
    package mutating func note(at now: UInt64) -> Bool {
        lastAt = now
        guard saidAt == nil else {
            unsaid += 1
            return false
        }
        saidAt = now
        return true
    }

    /// Looks whether there is something to say at `now`.
    ///
    /// - Returns: how many events came since the last line, nil when there is nothing to say.
    package mutating func settle(at now: UInt64) -> Int? {
        guard let saidAt else { return nil }
        let isOver = now &- lastAt >= Self.quietTime
        guard isOver || now &- saidAt >= Self.interval else { return nil }
        let count = unsaid
        unsaid = 0
        // An interval without a single event has nothing to tell, and what comes next is told at once.
        self.saidAt = isOver ? nil : now
        return count > 0 ? count : nil
    }
}
