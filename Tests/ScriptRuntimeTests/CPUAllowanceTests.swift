// The CPU time that runs without an end may take: a value, without a clock.

import Testing

@testable import ScriptRuntime

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
