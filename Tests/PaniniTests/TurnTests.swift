// Turns, allowances and the watch over who rests: values, without a loop and without a clock.

import Testing

@testable import Panini

@Suite("Whose turn it is")
struct TurnSchedulerTests {
    @Test("whoever has work left goes on after a look, and then behind the others")
    func round() {
        var scheduler = TurnScheduler<String>()
        // One look is enough for all that come before it.
        let asks = ["a", "b", "a"].map { scheduler.wait($0) }
        #expect(asks == [true, false, false])
        var turns: [String?] = [scheduler.looked()]
        let asksWithin = scheduler.wait("a")
        let asksForTheNext = scheduler.ended("a")
        #expect([asksWithin, asksForTheNext].count { $0 } == 1)
        turns.append(scheduler.looked())
        let asksAgain = scheduler.ended("b")
        #expect(asksAgain)
        turns.append(scheduler.looked())
        let asksOnceMore = scheduler.ended("a")
        #expect(!asksOnceMore && scheduler.isEmpty)
        turns.append(scheduler.looked())
        #expect(turns == ["a", "b", "a", nil])
    }

    @Test("who is not done waits again from within its turn")
    func again() {
        var scheduler = TurnScheduler<Int>()
        _ = scheduler.wait(1)
        let first = scheduler.looked()
        // It is not behind itself before its turn has ended.
        let asksWithin = scheduler.wait(1)
        let asksAtTheEnd = scheduler.ended(1)
        let second = scheduler.looked()
        let asksLast = scheduler.ended(1)
        #expect(first == 1 && second == 1)
        #expect(!asksWithin && asksAtTheEnd && !asksLast)
    }

    @Test("one that is gone has no turn, and may come again")
    func gone() {
        var scheduler = TurnScheduler<Int>()
        _ = scheduler.wait(1)
        _ = scheduler.wait(2)
        scheduler.remove(1)
        let next = scheduler.looked()
        scheduler.remove(2)
        // Its turn goes on, and ends without a trace.
        let asks = scheduler.ended(2)
        #expect(next == 2 && !asks && scheduler.isEmpty)
        let asksAgain = scheduler.wait(1)
        let again = scheduler.looked()
        #expect(asksAgain && again == 1)
    }

    @Test("in every order nobody is passed over, and nobody is forgotten", arguments: UInt64(1)...20)
    func everyOrder(seed: UInt64) {
        var random = SplitMix(state: seed)
        var scheduler = TurnScheduler<Int>()
        /// Work of each member, and how many turns others have had since it has some.
        var work = [Int](repeating: 0, count: 6)
        var waited = [Int](repeating: 0, count: 6)
        var looks = 0
        var running: Int?
        for _ in 0..<20_000 {
            let member = Int.random(in: 0..<6, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                if work[member] == 0 { waited[member] = 0 }
                work[member] += 1
                if scheduler.wait(member) { looks += 1 }
            case 4..<8 where running == nil && looks > 0:
                looks -= 1
                guard let next = scheduler.looked() else { break }
                running = next
                #expect(waited[next] <= 5)
                waited[next] = 0
                for other in 0..<6 where other != next && work[other] > 0 { waited[other] += 1 }
            case 8:
                guard let ending = running else { break }
                running = nil
                work[ending] -= Int.random(in: 0...work[ending], using: &random)
                if work[ending] > 0, scheduler.wait(ending) { looks += 1 }
                if scheduler.ended(ending) { looks += 1 }
            case 9 where Bool.random(using: &random):
                scheduler.remove(member)
                work[member] = 0
                guard running == member else { break }
                running = nil
                if scheduler.ended(member) { looks += 1 }
            default: break
            }
            // Never two looks at once; and one is on its way, or somebody runs whose end asks for it.
            #expect(looks <= 1)
            if running == nil, work.contains(where: { $0 > 0 }) { #expect(looks == 1) }
        }
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite("What runs without an end may take")
struct CPUAllowanceTests {
    private static let second: UInt64 = 1_000_000_000

    @Test("a run that takes its part lives for ever")
    func part() {
        var allowance = CPUAllowance(budget: 0.1, rate: 0.5, now: 0)
        var overdrawn = 0
        for number: UInt64 in 1...10_000 {
            let now = number * Self.second / 10
            allowance.charge(Self.second / 20, now: now)
            if allowance.isOverdrawn(now: now) { overdrawn += 1 }
        }
        #expect(overdrawn == 0)
    }

    @Test("one that takes all is over after twice what it begins with")
    func all() {
        var allowance = CPUAllowance(budget: 0.5, rate: 0.5, now: 0)
        var now: UInt64 = 0
        while !allowance.isOverdrawn(now: now), now < 100 * Self.second {
            now += Self.second / 100
            allowance.charge(Self.second / 100, now: now)
        }
        #expect(now > 39 * Self.second / 10 && now < 41 * Self.second / 10)
        // Time heals it.
        let later = allowance.isOverdrawn(now: now + Self.second)
        #expect(!later)
    }

    @Test("what is saved up has a bound")
    func bound() {
        var allowance = CPUAllowance(budget: 0.1, rate: 1, now: 0)
        let before = allowance.isOverdrawn(now: 3600 * Self.second)
        allowance.charge(61 * Self.second / 10, now: 3600 * Self.second)
        let after = allowance.isOverdrawn(now: 3600 * Self.second)
        #expect(!before && after)
    }

    @Test("a clock that goes back gives nothing twice")
    func clock() {
        var allowance = CPUAllowance(budget: 1, rate: 1, now: 100)
        allowance.charge(4 * Self.second, now: 100)
        let first = allowance.isOverdrawn(now: 50)
        allowance.charge(1, now: 50)
        let second = allowance.isOverdrawn(now: 100)
        #expect(!first && second)
    }
}

@Suite("Who never rests")
struct RestWatchTests {
    @Test("an episode is told once")
    func episode() {
        var watch = RestWatch()
        let alarms = [watch.noteBusy(), watch.noteBusy()]
        #expect(alarms == [true, false])
        var told: [Bool] = []
        var again: [Bool] = []
        for (part, isBusy) in [(0.5, false), (0.95, true), (0.97, true), (0.6, false), (0.4, false)] {
            if isBusy { _ = watch.noteBusy() }
            let look = watch.look(part)
            told.append(look.tells)
            again.append(look.again)
        }
        // A moment of rest is not its end.
        #expect(told == [false, true, false, false, false])
        #expect(again == [true, true, true, true, false])
        let alarm = watch.noteBusy()
        let look = watch.look(0.9)
        #expect(alarm && look.tells)
    }
}

@Suite("What is taken out of a queue")
struct QueueTests {
    @Test("leaves the others in their order")
    func keep() {
        var queue = FIFO<Int>()
        for number in 0..<3000 { queue.append(number) }
        for _ in 0..<700 { _ = queue.popFirst() }
        queue.keep { $0 % 3 == 0 }
        var rest: [Int] = []
        while let number = queue.popFirst() { rest.append(number) }
        #expect(rest == (700..<3000).filter { $0 % 3 == 0 })
    }
}
