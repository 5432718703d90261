// Owns: the decision when memory goes back to the system: what was held for clients stays with the allocator after they have
// gone. A value without a clock; may not know clients.

/// The most that was held for clients since memory was given back.
struct HighWaterMark {
    /// Less than this stays with the allocator for the next time.
    static let worthGivingBack = 4 << 20

    private var most = 0

    mutating func note(_ held: Int) { most = max(most, held) }

    /// Looks at what is held now.
    ///
    /// - Returns: Whether so much less is held that memory shall be given back.
    mutating func hasFallen(to held: Int) -> Bool {
        note(held)
        guard most - held >= Self.worthGivingBack else { return false }
        most = held
        return true
    }
}
