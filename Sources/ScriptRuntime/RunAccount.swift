// Owns: how much CPU time runs without an end may take over their life: tasks, streams, sockets, and functions that spawn
// functions. The bucket is a value without a clock; an account is a bucket that several runs share. Loop-bound.

package import LuaVM

/// A token bucket of CPU time: it holds some at the beginning, and gains a part of each second that passes, up to a bound.
package struct CPUTokenBucket {
    /// How many budgets of a run the bucket holds at the beginning, and how many at most.
    package static let first = 4.0
    package static let most = 60.0

    private let rate: Double
    private let bound: Double
    private var left: Double
    private var last: UInt64

    /// - Parameters:
    ///   - budget: Seconds of CPU time of one run.
    ///   - rate: Seconds of CPU time for each second.
    ///   - now: Nanoseconds of a clock.
    package init(budget: Double, rate: Double, now: UInt64) {
        self.rate = rate
        bound = budget * Self.most * 1e9
        left = budget * Self.first * 1e9
        last = now
    }

    /// Takes CPU time that was used. It may take more than there is.
    package mutating func charge(_ nanoseconds: UInt64, now: UInt64) {
        refill(now)
        left -= Double(nanoseconds)
    }

    /// Whether more was taken than there was.
    package mutating func isOverdrawn(now: UInt64) -> Bool {
        refill(now)
        return left < 0
    }

    private mutating func refill(_ now: UInt64) {
        guard now > last else { return }
        left = min(bound, left + Double(now - last) * rate)
        last = now
    }
}

/// Why a run was begun or resumed.
public enum ResumeCause {
    /// Something from outside: a message, a request, a reply, a timer.
    case outside
    /// It was spawned by a handler, a tick or the like, or by a run that was resumed from outside.
    case inherited
    /// The script itself: a sleep, the end of a spawned function, a function that was spawned by a spawned one.
    case own
}

/// A bucket that several runs share.
public final class RunAccount {
    private var bucket: CPUTokenBucket

    package init(_ limits: ScriptLimits) {
        bucket = CPUTokenBucket(budget: limits.cpu, rate: limits.rate, now: LuaVM.availableTime)
    }

    package func charge(_ nanoseconds: UInt64) { bucket.charge(nanoseconds, now: LuaVM.availableTime) }

    package var isOverdrawn: Bool { bucket.isOverdrawn(now: LuaVM.availableTime) }
}

@available(*, unavailable)
extension RunAccount: Sendable {}

extension Script {
    package func makeAccount() -> RunAccount { RunAccount(limits) }

    /// Runs a segment. Its CPU time is charged to the account when the script itself resumed the run.
    @inline(__always)
    package func charging(_ account: RunAccount?, _ body: () -> LuaOutcome) -> LuaOutcome {
        guard let account, current.resumeCause == .own else {
            chargedUntil = 0
            return body()
        }
        // The host's work between two charged segments is charged to the second one. For a segment without one before it, that
        // work is estimated.
        let begin = chargedUntil != 0 ? chargedUntil : LuaVM.threadTime &- Self.hostNanoseconds
        let outcome = body()
        chargedUntil = LuaVM.threadTime
        account.charge(chargedUntil &- begin)
        return outcome
    }

    /// About how long the host works for one sleep, in nanoseconds.
    private static var hostNanoseconds: UInt64 { 10_000 }

    /// Whether a segment may not begin, because the script itself resumes the run and its account is overdrawn.
    package func isOverdrawn(_ account: RunAccount?, _ resumeCause: ResumeCause) -> Bool {
        guard let account, resumeCause == .own else { return false }
        return account.isOverdrawn
    }

    /// The account and the resume cause of a function that is spawned now.
    ///
    /// A run that ends by itself has a budget, and each function that it spawns has one, too. So does each function that a
    /// spawned function spawns; but these could spawn each other for ever, so they also share an account. All functions that
    /// a run without an end spawns share its account.
    package func accountForSpawned(holdsStop: Bool) -> (account: RunAccount?, resumeCause: ResumeCause) {
        let isBounded = current.spawned == nil && current.account == nil
        let resumeCause: ResumeCause = isBounded || current.resumeCause == .outside ? .inherited : .own
        if let account = current.account { return (account, resumeCause) }
        guard resumeCause == .own || !holdsStop else { return (nil, resumeCause) }
        let account = makeAccount()
        // Shared by all that this one spawns from here on.
        if let spawned = current.spawned {
            spawned.account = account
            runningAccount = account
            current.account = account
        }
        return (account, resumeCause)
    }
}
