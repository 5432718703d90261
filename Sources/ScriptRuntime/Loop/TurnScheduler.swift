// Owns: which of those who share an event loop goes on next when they have work left. A value without a loop and without a
// clock.

/// A round of those who have work left: one goes on after each look of the loop at its sockets, and whoever is not done then
/// goes behind the others.
package struct TurnScheduler<Member: Hashable> {
    private enum State {
        case waiting
        case running
        /// It runs, and has said meanwhile that it has more to do.
        case runningWithMore
    }

    private var line: [Member] = []
    private var states: [Member: State] = [:]
    /// The loop has been asked for a look at its sockets, and has not had it yet.
    package private(set) var awaitsLook = false

    /// Whether nobody waits.
    package var isEmpty: Bool { line.isEmpty }

    /// Puts a member in line, once.
    ///
    /// - Returns: Whether the loop is to be asked for a look at its sockets.
    package mutating func wait(_ member: Member) -> Bool {
        switch states[member] {
        case nil:
            states[member] = .waiting
            line.append(member)
        case .running: states[member] = .runningWithMore
        case .waiting, .runningWithMore: break
        }
        return askForLook()
    }

    /// The loop has looked at its sockets, and served what it found.
    ///
    /// - Returns: Who goes on now, until ``ended(_:)``.
    package mutating func looked() -> Member? {
        awaitsLook = false
        guard !line.isEmpty else { return nil }
        let member = line.removeFirst()
        states[member] = .running
        return member
    }

    /// Whoever went on has done what it may in this turn.
    ///
    /// - Returns: Whether the loop is to be asked for a look at its sockets.
    package mutating func ended(_ member: Member) -> Bool {
        switch states[member] {
        case .runningWithMore:
            states[member] = .waiting
            line.append(member)
        case .running: states[member] = nil
        case .waiting, nil: break
        }
        return askForLook()
    }

    /// The member has no work any more, whatever it has said before.
    package mutating func remove(_ member: Member) {
        if states.removeValue(forKey: member) != nil { line.removeAll { $0 == member } }
    }

    private mutating func askForLook() -> Bool {
        guard !line.isEmpty, !awaitsLook else { return false }
        awaitsLook = true
        return true
    }
}
