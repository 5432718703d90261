// Owns: what runs without an end may take of their worker over their life: tasks, streams, sockets, and functions that spawn
// functions. The allowance is a value without a clock; an account is one that several runs share. Loop-bound.

package import LuaVM

/// CPU time that comes with time: some of it at the beginning, and a part of each second that passes, up to a bound.
package struct CPUAllowance {
    /// How many budgets of a run are there at the beginning, and how many can be saved up.
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

    /// Takes some; what is used up so is missed later.
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

/// What made a stretch of a run begin.
public enum Drive {
    /// Something from outside: a message, a request, a reply, a timer.
    case outside
    /// A stretch that was driven from outside, which spawned this.
    case handedOn
    /// The script itself: a sleep, the end of a spawned function, a function that was spawned by a spawned one.
    case own
}

/// An allowance with those who share it.
public final class RunAccount {
    private var allowance: CPUAllowance

    package init(_ limits: ScriptLimits) {
        allowance = CPUAllowance(budget: limits.cpu, rate: limits.rate, now: LuaVM.availableTime)
    }

    package func charge(_ nanoseconds: UInt64) { allowance.charge(nanoseconds, now: LuaVM.availableTime) }

    package var isOverdrawn: Bool { allowance.isOverdrawn(now: LuaVM.availableTime) }
}

@available(*, unavailable)
extension RunAccount: Sendable {}

extension Script {
    package func makeAccount() -> RunAccount { RunAccount(limits) }

    /// Runs a stretch, and charges it where it is to be charged.
    @inline(__always)
    package func charging(_ account: RunAccount?, _ body: () -> LuaOutcome) -> LuaOutcome {
        guard let account, current.drive == .own else {
            chargedUntil = 0
            return body()
        }
        // What the host does between two such stretches counts to the second. Of one that comes alone it is estimated.
        let begin = chargedUntil != 0 ? chargedUntil : LuaVM.threadTime &- Self.hostNanoseconds
        let outcome = body()
        chargedUntil = LuaVM.threadTime
        account.charge(chargedUntil &- begin)
        return outcome
    }

    /// What the host does for a sleep, about.
    private static var hostNanoseconds: UInt64 { 10_000 }

    /// Whether a stretch that the script itself drives may not begin.
    package func isOverdrawn(_ account: RunAccount?, _ drive: Drive) -> Bool {
        guard let account, drive == .own else { return false }
        return account.isOverdrawn
    }

    /// What a function counts to that is spawned now, and what drives it.
    ///
    /// A run that ends has a budget, and so has each function that it spawns. Those that a spawned function spawns have one, too,
    /// but as they could go on so for ever, they also share an account; so does all that belongs to a run without an end.
    package func standingOfSpawned(holdsStop: Bool) -> (account: RunAccount?, drive: Drive) {
        let isBounded = current.spawned == nil && current.account == nil
        let drive: Drive = isBounded || current.drive == .outside ? .handedOn : .own
        if let account = current.account { return (account, drive) }
        guard drive == .own || !holdsStop else { return (nil, drive) }
        let account = makeAccount()
        // Shared by all that this one spawns from here on.
        if let spawned = current.spawned {
            spawned.account = account
            runningAccount = account
            current.account = account
        }
        return (account, drive)
    }
}
