// Owns: which of the members that share an event loop runs next when they have work left. A value without a loop and without
// a clock.

/// Round-robin over the members that have work left. After each poll of the sockets one member runs; if it has more to do, it
/// goes to the end of the queue.
package struct TurnScheduler<Member: Hashable> {
    private enum State {
        case waiting
        case running
        /// It runs, and has asked for another turn meanwhile.
        case runningWithMore
    }

    private var line: [Member] = []
    private var states: [Member: State] = [:]
    /// A poll of the sockets was requested, and has not happened yet.
    package private(set) var awaitsPoll = false

    /// Whether nobody waits.
    package var isEmpty: Bool { line.isEmpty }

    /// Puts a member into the queue, if it is not there.
    ///
    /// - Returns: Whether to request a poll of the sockets.
    package mutating func wait(_ member: Member) -> Bool {
        switch states[member] {
        case nil:
            states[member] = .waiting
            line.append(member)
        case .running: states[member] = .runningWithMore
        case .waiting, .runningWithMore: break
        }
        return requestPoll()
    }

    /// The loop has polled its sockets, and served the events.
    ///
    /// - Returns: The member that runs now, until ``ended(_:)``.
    package mutating func looked() -> Member? {
        awaitsPoll = false
        guard !line.isEmpty else { return nil }
        let member = line.removeFirst()
        states[member] = .running
        return member
    }

    /// The turn of a member is over.
    ///
    /// - Returns: Whether to request a poll of the sockets.
    package mutating func ended(_ member: Member) -> Bool {
        switch states[member] {
        case .runningWithMore:
            states[member] = .waiting
            line.append(member)
        case .running: states[member] = nil
        case .waiting, nil: break
        }
        return requestPoll()
    }

    /// The member has no work any more, even if it has asked for a turn.
    package mutating func remove(_ member: Member) {
        if states.removeValue(forKey: member) != nil { line.removeAll { $0 == member } }
    }

    private mutating func requestPoll() -> Bool {
        guard !line.isEmpty, !awaitsPoll else { return false }
        awaitsPoll = true
        return true
    }
}
