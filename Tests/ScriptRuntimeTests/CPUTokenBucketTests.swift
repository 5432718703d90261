// The CPU time that runs without an end may take: a value, without a clock.

import Testing

@testable import ScriptRuntime

@Suite("What runs without an end may take")
struct CPUTokenBucketTests {
    private static let second: UInt64 = 1_000_000_000

    @Test("a run that takes its part lives for ever")
    func part() {
        var bucket = CPUTokenBucket(budget: 0.1, rate: 0.5, now: 0)
        var overdrawn = 0
        for number: UInt64 in 1...10_000 {
            let now = number * Self.second / 10
            bucket.charge(Self.second / 20, now: now)
            if bucket.isOverdrawn(now: now) { overdrawn += 1 }
        }
        #expect(overdrawn == 0)
    }

    @Test("one that takes all is over after twice what it begins with")
    func all() {
        var bucket = CPUTokenBucket(budget: 0.5, rate: 0.5, now: 0)
        var now: UInt64 = 0
        while !bucket.isOverdrawn(now: now), now < 100 * Self.second {
            now += Self.second / 100
            bucket.charge(Self.second / 100, now: now)
        }
        #expect(now > 39 * Self.second / 10 && now < 41 * Self.second / 10)
        // Time heals it.
        let later = bucket.isOverdrawn(now: now + Self.second)
        #expect(!later)
    }

    @Test("what is saved up has a bound")
    func bound() {
        var bucket = CPUTokenBucket(budget: 0.1, rate: 1, now: 0)
        let before = bucket.isOverdrawn(now: 3600 * Self.second)
        bucket.charge(61 * Self.second / 10, now: 3600 * Self.second)
        let after = bucket.isOverdrawn(now: 3600 * Self.second)
        #expect(!before && after)
    }

    @Test("a clock that goes back gives nothing twice")
    func clock() {
        var bucket = CPUTokenBucket(budget: 1, rate: 1, now: 100)
        bucket.charge(4 * Self.second, now: 100)
        let first = bucket.isOverdrawn(now: 50)
        bucket.charge(1, now: 50)
        let second = bucket.isOverdrawn(now: 100)
        #expect(!first && second)
    }
}
