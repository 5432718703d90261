// Turns: values, without a loop and without a clock.

import Testing

@testable import ScriptRuntime

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
