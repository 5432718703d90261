// Which consumer an ordered reader makes when, and what it passes over, in chosen orders of events and in random ones.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct OrderedMachineTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let created = NATSTimestamp(nanoseconds: 1)

    /// A machine that reads with its first consumer.
    private func reading(_ policy: JetStreamConsumer.DeliverPolicy = .all, last: UInt64 = 0) -> OrderedMachine {
        var machine = OrderedMachine(policy, seed: 1)
        _ = machine.begin()
        _ = machine.streamAnswered(.exists(created: created, lastSequence: last), at: start)
        machine.created(at: start)
        return machine
    }

    /// Makes it read again, and gives where the consumer begins.
    private func restart(
        _ machine: inout OrderedMachine,
        created: NATSTimestamp? = nil
    ) -> JetStreamConsumer.DeliverPolicy? {
        guard
            case .create(let policy, _) = machine.streamAnswered(
                .exists(created: created ?? self.created, lastSequence: 100),
                at: start
            )
        else { return nil }
        machine.created(at: start)
        return policy
    }

    @Test("J17: messages in a row are delivered; a gap makes another consumer behind the last one")
    func gap() {
        var machine = reading()
        #expect(machine.received(delivery: 1, sequence: 10) == .deliver)
        #expect(machine.received(delivery: 2, sequence: 20) == .deliver)
        #expect(machine.received(delivery: 4, sequence: 40) == .gap)
        #expect(machine.restart(at: start) == .look)
        // Of the consumer that is thrown away.
        #expect(machine.received(delivery: 5, sequence: 50) == .skip)
        #expect(restart(&machine) == .fromSequence(21))
        #expect(machine.received(delivery: 1, sequence: 30) == .deliver)
        #expect(machine.lastSequence == 30 && machine.gaps == 1)
    }

    @Test("J17: what is taken while there is no consumer makes room at the next one", arguments: [0, 4, 9])
    func takenBetween(_ taken: Int) {
        var settings = PullMachine.Settings()
        settings.messages = 10
        settings.bytes = 1000
        var machine = reading()
        var pulls = PullMachine(settings, seed: 1)
        #expect(pulls.connectionUp(at: start) != .none)
        for number in 1...9 {
            pulls.received(bytes: 100, at: start)
            #expect(machine.received(delivery: UInt64(number), sequence: UInt64(number)) == .deliver)
        }
        // The consumer is deleted, and messages are taken before the next one is there.
        guard case .end = pulls.received(PullStatus(.deleted), token: 1, at: start) else {
            Issue.record("the deletion is not told")
            return
        }
        machine.leave((pulls.held, pulls.heldBytes))
        #expect(machine.failed(at: start) == .discard)
        machine.taken(taken, bytes: taken * 100)
        #expect(machine.due(at: start + .seconds(20)) == .look)
        #expect(restart(&machine) == .fromSequence(10))
        var next = PullMachine(settings, seed: 1)
        let waiting = machine.handOver()
        next.inherit(waiting.count, bytes: waiting.bytes)
        #expect(next.held == 9 - taken && next.heldBytes == next.held * 100)
        var action = next.connectionUp(at: start)
        // What waits is taken from the next one, and counts once.
        if action == .none { action = next.taken(9 - taken, bytes: (9 - taken) * 100, at: start) }
        guard case .pull(let pull) = action else {
            Issue.record("the next consumer is not pulled")
            return
        }
        #expect(pull.messages == 10 - next.held)
        #expect(machine.handOver() == (0, 0))
    }

    @Test("J17: a heartbeat tells of messages that did not come")
    func heartbeat() {
        var machine = reading()
        #expect(machine.received(delivery: 1, sequence: 1) == .deliver)
        #expect(machine.isMissing(upTo: 1) == false)
        #expect(machine.isMissing(upTo: 3) == true)
        #expect(machine.restart(at: start) == .look)
        #expect(restart(&machine) == .fromSequence(2))
        #expect(machine.isMissing(upTo: 0) == false)
    }

    @Test("J17: each consumer has a number of its own")
    func numbers() {
        var machine = OrderedMachine(.all, seed: 1)
        #expect(machine.begin() == .look && machine.begin() == .none)
        var attempts: [Int] = []
        for _ in 0..<3 {
            guard
                case .create(_, let attempt) = machine.streamAnswered(
                    .exists(created: created, lastSequence: 0),
                    at: start
                )
            else {
                Issue.record("no consumer")
                return
            }
            attempts.append(attempt)
            _ = machine.failed(at: start)
            _ = machine.due(at: start + .seconds(100))
        }
        #expect(attempts == [1, 2, 3])
    }

    @Test("J17: failures make the pauses longer, up to 10 s, and a message makes them short again")
    func pauses() {
        var machine = reading()
        var now = start
        var pauses: [Int64] = []
        #expect(machine.failed(at: now) == .discard)
        for _ in 0..<6 {
            let next = machine.deadline ?? now
            pauses.append((next - now).nanoseconds / 1_000_000)
            now = next
            #expect(machine.due(at: now) == .look)
            #expect(machine.streamAnswered(.unavailable, at: now) == .discard)
        }
        for (pause, expected) in zip(pauses, [1000, 2000, 4000, 8000, 10_000, 10_000]) {
            #expect(abs(pause - Int64(expected)) <= Int64(expected / 5), "\(pauses)")
        }
        now = machine.deadline ?? now
        _ = machine.due(at: now)
        _ = restart(&machine)
        #expect(machine.received(delivery: 1, sequence: 1) == .deliver)
        _ = machine.failed(at: now)
        #expect(machine.deadline.map { $0 - now <= .milliseconds(1200) } == true)
    }

    @Test("J17: gaps that follow one another do not make it spin")
    func gaps() {
        var machine = reading()
        #expect(machine.received(delivery: 2, sequence: 2) == .gap)
        #expect(machine.restart(at: start) == .look)
        _ = restart(&machine)
        #expect(machine.received(delivery: 2, sequence: 2) == .gap)
        #expect(machine.restart(at: start) == .discard && machine.deadline != nil)
    }

    @Test("J18: before the first message it begins as it was asked, but for what is new: that has a number")
    func starts() {
        var last = reading(.lastPerSubject)
        _ = last.failed(at: start)
        _ = last.due(at: start + .seconds(100))
        #expect(restart(&last) == .lastPerSubject)
        var new = OrderedMachine(.new, seed: 1)
        _ = new.begin()
        #expect(
            new.streamAnswered(.exists(created: created, lastSequence: 7), at: start)
                == .create(.fromSequence(8), attempt: 1)
        )
        _ = new.failed(at: start)
        _ = new.due(at: start + .seconds(100))
        // What came meanwhile is new as well.
        #expect(restart(&new) == .fromSequence(8))
    }

    @Test("J19: another stream of the name is read from its beginning, and told")
    func otherStream() {
        for policy in [JetStreamConsumer.DeliverPolicy.all, .fromSequence(50), .new] {
            var machine = reading(policy, last: 60)
            _ = machine.received(delivery: 1, sequence: 61)
            _ = machine.failed(at: start)
            _ = machine.due(at: start + .seconds(100))
            let again = restart(&machine, created: NATSTimestamp(nanoseconds: 2))
            #expect(again == (policy == .new ? .fromSequence(1) : .all))
            #expect(machine.streamChanges == 1 && machine.lastSequence == 0)
            #expect(machine.received(delivery: 1, sequence: 1) == .deliver)
        }
        var gone = reading()
        _ = gone.failed(at: start)
        _ = gone.due(at: start + .seconds(100))
        #expect(gone.streamAnswered(.gone, at: start) == .discard && gone.isStreamGone)
    }

    @Test(
        "J17, J20: whatever is lost, every message is delivered once and in order, and it never stops",
        arguments: 0..<60
    )
    func random(_ seed: UInt64) {
        var generator = WalkGenerator(state: seed)
        var machine = OrderedMachine(.all, seed: seed)
        var now = start
        var published: UInt64 = 0
        var seen: [UInt64] = []
        // The consumer that the server has: its next message and its next delivery; nil for none.
        var consumer: (sequence: UInt64, delivery: UInt64)?
        var pending = machine.begin()
        func follow(_ action: OrderedMachine.Action) {
            if action == .discard { consumer = nil }
            pending = action
        }
        func step(_ isKind: Bool) {
            switch pending {
            case .look:
                let isThere = isKind || Int.random(in: 0..<4, using: &generator) > 0
                follow(
                    machine.streamAnswered(
                        isThere ? .exists(created: created, lastSequence: published) : .unavailable,
                        at: now
                    )
                )
                return
            case .create(let policy, _):
                if isKind || Int.random(in: 0..<4, using: &generator) > 0 {
                    if case .fromSequence(let sequence) = policy { consumer = (sequence, 1) } else { consumer = (1, 1) }
                    machine.created(at: now)
                    pending = .none
                } else {
                    follow(machine.failed(at: now))
                }
                return
            case .none, .discard: break
            }
            if let deadline = machine.deadline {
                now = max(now, deadline)
                return follow(machine.due(at: now))
            }
            guard var there = consumer else { return follow(machine.failed(at: now)) }
            switch isKind ? 0 : Int.random(in: 0..<10, using: &generator) {
            case 0..<6 where there.sequence <= published:
                let verdict = machine.received(delivery: there.delivery, sequence: there.sequence)
                if verdict == .deliver { seen.append(there.sequence) }
                there = (there.sequence + 1, there.delivery + 1)
                consumer = there
                if verdict == .gap { follow(machine.restart(at: now)) }
            case 6 where there.sequence <= published:
                // Lost on the way.
                consumer = (there.sequence + 1, there.delivery + 1)
            case 7:
                consumer = nil
                follow(machine.failed(at: now))
            default:
                if machine.isMissing(upTo: there.delivery - 1) { follow(machine.restart(at: now)) }
            }
        }
        for _ in 0..<2000 {
            if Bool.random(using: &generator) { published += 1 }
            step(false)
        }
        for _ in 0..<10_000 where seen.count < Int(published) {
            // A heartbeat brings it on when the last ones were lost.
            if case .none = pending, machine.deadline == nil, let there = consumer, there.sequence > published,
                machine.isMissing(upTo: there.delivery - 1)
            {
                follow(machine.restart(at: now))
            } else {
                step(true)
            }
        }
        #expect(seen == Array(1...published))
    }
}
