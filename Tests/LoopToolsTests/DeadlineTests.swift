// Deadline queue and timer: order, cancellation, reuse of slots, the bound on what cancelled entries leave behind.

import NIOCore
import NIOEmbedded
import NIOPosix
import Testing

@testable import LoopTools

@Suite(.timeLimit(.minutes(5))) struct DeadlineTests {
    private func at(_ nanoseconds: UInt64) -> NIODeadline { .uptimeNanoseconds(nanoseconds) }

    @Test func firesInOrderOfDeadlineThenOfInsertion() {
        var queue = DeadlineQueue<String>()
        _ = queue.insert("c", at: at(30))
        _ = queue.insert("a1", at: at(10))
        _ = queue.insert("b", at: at(20))
        _ = queue.insert("a2", at: at(10))
        #expect(queue.count == 4)
        #expect(queue.nextDeadline() == at(10))
        #expect(queue.popDue(now: at(9)) == nil)
        #expect(queue.popDue(now: at(25)) == "a1")
        #expect(queue.popDue(now: at(25)) == "a2")
        #expect(queue.popDue(now: at(25)) == "b")
        #expect(queue.popDue(now: at(25)) == nil)
        #expect(queue.nextDeadline() == at(30))
        #expect(queue.popDue(now: at(30)) == "c")
        #expect(queue.isEmpty)
        #expect(queue.nextDeadline() == nil)
    }

    @Test func cancelsOnce() {
        var queue = DeadlineQueue<Int>()
        let first = queue.insert(1, at: at(10))
        let second = queue.insert(2, at: at(5))
        #expect(queue.cancel(second) == 2)
        #expect(queue.cancel(second) == nil)
        #expect(queue.nextDeadline() == at(10))
        // The slot is used again, but the old handle does not name the new entry.
        let third = queue.insert(3, at: at(7))
        #expect(third.slot == second.slot)
        #expect(queue.cancel(second) == nil)
        #expect(queue.popDue(now: at(100)) == 3)
        #expect(queue.cancel(third) == nil)
        #expect(queue.popDue(now: at(100)) == 1)
        #expect(queue.cancel(first) == nil)
    }

    @Test func leavesEntriesOfLaterRoundsAlone() {
        var queue = DeadlineQueue<Int>()
        _ = queue.insert(1, at: at(10))
        let end = queue.nextSequence
        _ = queue.insert(2, at: at(5))
        #expect(queue.popDue(now: at(10), before: end) == nil)
        #expect(queue.popDue(now: at(10)) == 2)
        #expect(queue.popDue(now: at(10), before: end) == 1)
    }

    @Test func removesAll() {
        var queue = DeadlineQueue<Int>()
        let handle = queue.insert(1, at: at(1))
        _ = queue.insert(2, at: at(2))
        queue.removeAll()
        #expect(queue.isEmpty)
        #expect(queue.nextDeadline() == nil)
        #expect(queue.cancel(handle) == nil)
    }

    /// Long timeouts that are nearly always cancelled must not pile up.
    @Test func cancelledEntriesDoNotPileUp() {
        var queue = DeadlineQueue<Int>()
        let keeper = queue.insert(-1, at: at(5))
        for index in 0..<100_000 {
            let handle = queue.insert(index, at: at(1_000_000 + UInt64(index)))
            #expect(queue.cancel(handle) == index)
            #expect(queue.nodeCount <= 66)
        }
        #expect(queue.cancel(keeper) == -1)
        #expect(queue.slots.count == 2)
    }

    /// Against a simple model: random inserts, cancels and passing time.
    @Test func agreesWithASortedList() {
        struct Entry {
            let id: Int
            let deadline: UInt64
            let handle: DeadlineHandle
        }
        var state: UInt64 = 42
        func random(_ bound: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % bound
        }
        var queue = DeadlineQueue<Int>()
        var model: [Entry] = []
        var now: UInt64 = 0
        for id in 0..<20_000 {
            switch random(10) {
            case 0..<5:
                let deadline = now + random(50)
                model.append(Entry(id: id, deadline: deadline, handle: queue.insert(id, at: at(deadline))))
            case 5..<8:
                guard !model.isEmpty else { continue }
                let entry = model.remove(at: Int(random(UInt64(model.count))))
                #expect(queue.cancel(entry.handle) == entry.id)
            default:
                now += random(20)
                let due = model.filter { $0.deadline <= now }
                    .sorted { $0.deadline == $1.deadline ? $0.id < $1.id : $0.deadline < $1.deadline }
                model.removeAll { $0.deadline <= now }
                for entry in due {
                    #expect(queue.popDue(now: at(now)) == entry.id)
                }
                #expect(queue.popDue(now: at(now)) == nil)
            }
            #expect(queue.count == model.count)
        }
    }

    // MARK: Timer

    @Test func theTimerFiresOnTheLoop() async throws {
        let fired = try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<[Int], any Error>) in
            let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
            eventLoop.execute {
                final class Box {
                    var timer: DeadlineTimer<Int>?
                    var fired: [Int] = []
                }
                let box = Box()
                let timer = DeadlineTimer<Int>(eventLoop: eventLoop) { id in
                    box.fired.append(id)
                    // One that is due already, made while firing, comes in a later round but does come.
                    if id == 2 { box.timer?.schedule(9, at: .now()) }
                    if id == 3 {
                        continuation.resume(returning: box.fired)
                        box.timer = nil
                    }
                }
                box.timer = timer
                timer.schedule(3, at: .now() + .milliseconds(60))
                timer.schedule(1, at: .now() + .milliseconds(2))
                timer.schedule(2, at: .now() + .milliseconds(4))
                let cancelled = timer.schedule(4, at: .now() + .milliseconds(1))
                #expect(timer.cancel(cancelled) == 4)
                #expect(timer.count == 3)
            }
        }
        #expect(fired == [1, 2, 9, 3])
    }

    @Test func cancelAllEndsTheTimer() {
        let loop = EmbeddedEventLoop()
        var fired: [Int] = []
        let timer = DeadlineTimer<Int>(eventLoop: loop) { fired.append($0) }
        timer.schedule(1, at: loop.now + .seconds(1))
        timer.cancelAll()
        loop.advanceTime(by: .hours(1))
        #expect(fired.isEmpty)
        #expect(timer.count == 0)
        timer.schedule(2, at: loop.now + .seconds(2))
        timer.schedule(3, at: loop.now + .seconds(1))
        loop.advanceTime(by: .milliseconds(999))
        #expect(fired.isEmpty)
        loop.advanceTime(by: .milliseconds(1))
        #expect(fired == [3])
        loop.advanceTime(by: .seconds(1))
        #expect(fired == [3, 2])
    }
}
