// Owns: the order in which PONGs are waited for. The server answers pings in order, so this is a first-in-first-out queue; a
// waiter that gave up leaves an empty place, or every later PONG would go to the wrong one. A value, used on the
// connection's loop only.

import Bytes
import LoopTools
import NATSProtocol
import NIOCore

/// What happens when the PONG to a PING arrives.
enum PongWaiter {
    /// Nothing: a keep-alive ping, or a waiter that timed out.
    case none
    case flush(FlushWaiter)
    case subscriptionDrained(NATSSubscription, EventLoopPromise<Void>)
    /// A step of draining the connection.
    case connectionDrain
    /// The server moved to has the subscriptions.
    case moveSubscribed(Int)
    /// The server that is left has sent all it had.
    case moveUnsubscribed(Int)
}

/// A waiting `flush`.
struct FlushWaiter {
    let promise: EventLoopPromise<Void>
    let deadline: DeadlineHandle
    /// The subjects, and reply subjects, whose denial makes the flush fail.
    let watchedSubjects: [String]
    /// What the server said when it denied the watched subject.
    var violation: String?
}

struct PongQueue {
    private var waiters = CircularBuffer<PongWaiter>(initialCapacity: 1)
    /// The ticket of the first of them.
    private var base: Int

    /// - Parameter base: the ticket the first `append` gives.
    init(base: Int = 0) {
        self.base = base
    }

    var count: Int { waiters.count }

    /// The ticket the next `append` gives.
    var nextTicket: Int { base + waiters.count }

    @discardableResult
    mutating func append(_ waiter: PongWaiter) -> Int {
        waiters.append(waiter)
        return nextTicket - 1
    }

    /// The waiter of the PONG that just arrived; nil when no PING is outstanding.
    mutating func popFirst() -> PongWaiter? {
        guard let waiter = waiters.popFirst() else { return nil }
        base += 1
        return waiter
    }

    /// Empties the place of `ticket` and returns who waited there.
    mutating func abandon(_ ticket: Int) -> PongWaiter {
        let offset = ticket - base
        guard offset >= 0, offset < waiters.count else { return .none }
        let place = waiters.index(waiters.startIndex, offsetBy: offset)
        let waiter = waiters[place]
        waiters[place] = .none
        return waiter
    }

    /// Tells every flush that watches `subject` that it was denied.
    mutating func markViolation(of subject: String, text: String) {
        for place in waiters.indices {
            if case .flush(var waiter) = waiters[place], waiter.watchedSubjects.contains(where: subject.isExactly) {
                waiter.violation = text
                waiters[place] = .flush(waiter)
            }
        }
    }

    /// Takes everybody out, in order.
    mutating func removeAll() -> [PongWaiter] {
        let all = Array(waiters)
        base += waiters.count
        waiters.removeAll()
        return all
    }
}
