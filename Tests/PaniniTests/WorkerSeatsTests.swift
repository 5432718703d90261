// Which thread is which worker, and what becomes of those that do not come back: values, without threads.

import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import Panini

@Suite("Workers that are stuck")
struct WorkerSeatsTests {
    private func seats(_ workers: Int = 2, _ policy: PaniniStuckWorkerPolicy = .replace) -> WorkerSeats {
        var seats = WorkerSeats(workers: workers, policy: policy)
        for worker in 0..<workers { seats.sits(UInt64(10 + worker), worker: worker, incarnation: 0) }
        return seats
    }

    @Test("a stuck worker's place is given to another thread, once")
    func replaced() {
        var seats = seats()
        #expect(seats.isStuck(11) == .replace(worker: 1, incarnation: 1))
        #expect(seats.isStuck(11) == .nothing)
        #expect(seats.stuck.isEmpty)
        #expect(seats.givenUpCount == 1)
        #expect(seats.replacements == 1)
        #expect(seats.thread(of: 1) == nil)
        seats.sits(20, worker: 1, incarnation: 1)
        #expect(seats.thread(of: 1) == 20)
        #expect(seats.thread(of: 0) == 10)
    }

    @Test("the old thread ends when it comes back, and is not counted any more")
    func retired() {
        var seats = seats()
        _ = seats.isStuck(10)
        seats.sits(20, worker: 0, incarnation: 1)
        #expect(seats.hasReturned(10) == .retire(worker: 0))
        #expect(seats.givenUpCount == 1)
        seats.hasEnded(10)
        #expect(seats.givenUpCount == 0)
        #expect(seats.hasReturned(10) == .nothing)
        #expect(seats.isStuck(10) == .nothing)
        #expect(seats.thread(of: 0) == 20)
    }

    @Test("the new one may be stuck as well, as often as the bound allows")
    func bound() {
        var seats = seats(1, .replace(atMost: 2))
        #expect(seats.isStuck(10) == .replace(worker: 0, incarnation: 1))
        seats.sits(20, worker: 0, incarnation: 1)
        #expect(seats.isStuck(20) == .replace(worker: 0, incarnation: 2))
        seats.sits(21, worker: 0, incarnation: 2)
        #expect(seats.isStuck(21) == .end(worker: 0))
        #expect(seats.stuck == [0])
        #expect(seats.givenUpCount == 2)
    }

    @Test("threads that have come back make room")
    func room() {
        var seats = seats(1, .replace(atMost: 1))
        for round in 0..<100 {
            let thread = UInt64(10 + round)
            #expect(seats.isStuck(thread) == .replace(worker: 0, incarnation: round + 1))
            seats.sits(thread + 1, worker: 0, incarnation: round + 1)
            seats.hasEnded(thread)
        }
        #expect(seats.replacements == 100)
    }

    @Test("without replacement it keeps its place")
    func kept() {
        var seats = seats(2, .report)
        #expect(seats.isStuck(11) == .report(worker: 1))
        #expect(seats.isStuck(11) == .nothing)
        #expect(seats.stuck == [1])
        #expect(seats.hasReturned(11) == .goOn(worker: 1))
        #expect(seats.stuck.isEmpty)
        #expect(seats.hasReturned(11) == .nothing)
    }

    @Test("nobody is replaced during a stop, and threads of others are none of its business")
    func stopping() {
        var seats = seats()
        #expect(seats.isStuck(99) == .nothing)
        #expect(seats.hasReturned(99) == .nothing)
        seats.stop()
        #expect(seats.isStuck(10) == .report(worker: 0))
        #expect(seats.givenUpWorkers.isEmpty)
    }
}

@Suite("Vacancies of a service")
struct ReplacementsTests {
    @Test("a place is filled by the last try alone")
    func tries() throws {
        var replacements = Replacements()
        #expect(replacements.lost(1, nil) == nil)
        #expect(replacements.vacant == [1])
        #expect(replacements.isUnderWay)
        // There is no thread yet.
        #expect(replacements.begin(1) == nil)
        replacements.threadStarted(1)
        let begun = replacements.begin(1)
        let first = try #require(begun).attempt
        #expect(replacements.begin(1) == nil)
        #expect(replacements.isCurrent(first, of: 1))
        // What was begun is lost as well.
        _ = replacements.lost(1, nil)
        #expect(!replacements.isCurrent(first, of: 1))
        replacements.threadStarted(1)
        let again = replacements.begin(1)
        let second = try #require(again).attempt
        #expect(replacements.isCurrent(second, of: 1))
        replacements.filled(1)
        #expect(replacements.vacant.isEmpty && !replacements.isUnderWay && replacements.count == 1)
    }

    @Test("tries that fail are made with pauses that grow, to half a minute")
    func pauses() {
        var replacements = Replacements()
        _ = replacements.lost(0, nil)
        replacements.threadStarted(0)
        var pauses: [Int64] = []
        for _ in 0..<8 {
            #expect(replacements.begin(0) != nil)
            pauses.append(replacements.failed(0))
            // A reload may go on between two tries.
            #expect(!replacements.isUnderWay)
        }
        #expect(pauses == [1, 2, 4, 8, 16, 30, 30, 30])
    }

    @Test("what Swift asks of a worker that is lost fails, before and after")
    func calls() throws {
        struct Lost: Error {}
        let loop = EmbeddedEventLoop()
        let calls = WorkerCalls(loop: loop)
        let never = loop.makePromise(of: Int.self)
        let waiting = calls.track { never.futureResult }
        let answered = calls.track { loop.makeSucceededFuture(7) }
        #expect(try answered.wait() == 7)
        calls.fail(Lost())
        #expect(throws: Lost.self) { try waiting.wait() }
        var isAsked = false
        let late = calls.track { () -> EventLoopFuture<Int> in
            isAsked = true
            return loop.makeSucceededFuture(1)
        }
        #expect(throws: Lost.self) { try late.wait() }
        #expect(!isAsked)
        // It comes back after all.
        never.succeed(1)
    }

    private final class Heard: Sendable {
        private let numbers = Mutex<[Int]>([])
        var all: [Int] { numbers.withLock { $0 } }
        func add(_ number: Int) { numbers.withLock { $0.append(number) } }
    }

    @Test("what other threads ask hears of the loss once")
    func openCalls() throws {
        let calls = OpenCalls()
        let counter = Heard()
        let first = try #require(calls.add { counter.add(1) })
        _ = calls.add { counter.add(2) }
        calls.remove(first)
        calls.fail()
        calls.fail()
        #expect(counter.all == [2])
        #expect(calls.add {} == nil)
    }
}
