// Owns: a suspended coroutine, and the list of those with the same time limit, by their deadlines. Loop-bound.

package import LoopTools

/// A suspended coroutine. Made when a coroutine first waits: a handler that never waits costs no object.
package final class Job {
    package let activity: Activity
    package let coroutine: UInt64
    package var wait = Wait.none
    /// The CPU account of a run that may live as long as the service; nil for all others.
    package var account: RunAccount?
    /// When its time is over, and its links in the list of deadlines.
    package var deadline: UInt64 = 0
    package unowned(unsafe) var previous: Job?
    package unowned(unsafe) var next: Job?
    package var list: DeadlineList?

    package init(activity: Activity, coroutine: UInt64) {
        self.activity = activity
        self.coroutine = coroutine
    }
}

@available(*, unavailable)
extension Job: Sendable {}

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
    package private(set) unowned(unsafe) var first: Job?
    private unowned(unsafe) var last: Job?

    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The list does not keep its entries alive; whoever ends a run removes it first.
    package func append(_ job: Job, now: UInt64) {
        job.deadline = now &+ UInt64(nanoseconds)
        job.list = self
        job.previous = last
        job.next = nil
        last?.next = job
        last = job
        if first == nil { first = job }
    }

    package func remove(_ job: Job) {
        guard job.list === self else { return }
        if let previous = job.previous { previous.next = job.next } else { first = job.next }
        if let next = job.next { next.previous = job.previous } else { last = job.previous }
        job.previous = nil
        job.next = nil
        job.list = nil
    }
}

@available(*, unavailable)
extension DeadlineList: Sendable {}
