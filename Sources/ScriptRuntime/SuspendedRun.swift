// Owns: a suspended coroutine, and the list of those with the same time limit, by their deadlines. Loop-bound.

package import LoopTools

/// A suspended coroutine. Made when a coroutine first waits: a handler that never waits costs no object.
package final class SuspendedRun {
    package let activity: Activity
    package let coroutine: UInt64
    package var wait = Wait.none
    /// The CPU account of a run that may live as long as the service; nil for all others.
    package var account: RunAccount?
    /// When its time is over, and its links in the list of deadlines.
    package var deadline: UInt64 = 0
    package unowned(unsafe) var previous: SuspendedRun?
    package unowned(unsafe) var next: SuspendedRun?
    package var list: DeadlineList?

    package init(activity: Activity, coroutine: UInt64) {
        self.activity = activity
        self.coroutine = coroutine
    }
}

@available(*, unavailable)
extension SuspendedRun: Sendable {}

/// The suspended coroutines of a script that share one time limit, in order of their deadlines.
///
/// All have the same limit, so appending keeps the order. Entering and leaving cost a few pointer writes, and no stale entry
/// stays behind, as it would in a heap with lazy removal.
package final class DeadlineList {
    package let nanoseconds: Int64
    /// Whose runs these are; it cancels the alarm when it is closed.
    package unowned(unsafe) var script: Script?
    /// The alarm for the first entry, while it is set.
    package var alarm: DeadlineHandle?
    package private(set) unowned(unsafe) var first: SuspendedRun?
    private unowned(unsafe) var last: SuspendedRun?

    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The list does not keep its entries alive; whoever ends a run removes it first.
    package func append(_ suspendedRun: SuspendedRun, now: UInt64) {
        suspendedRun.deadline = now &+ UInt64(nanoseconds)
        suspendedRun.list = self
        suspendedRun.previous = last
        suspendedRun.next = nil
        last?.next = suspendedRun
        last = suspendedRun
        if first == nil { first = suspendedRun }
    }

    package func remove(_ suspendedRun: SuspendedRun) {
        guard suspendedRun.list === self else { return }
        if let previous = suspendedRun.previous { previous.next = suspendedRun.next } else { first = suspendedRun.next }
        if let next = suspendedRun.next { next.previous = suspendedRun.previous } else { last = suspendedRun.previous }
        suspendedRun.previous = nil
        suspendedRun.next = nil
        suspendedRun.list = nil
    }
}

@available(*, unavailable)
extension DeadlineList: Sendable {}
