// When a consumer is pulled and for how much, in chosen orders of events and in random ones.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct PullMachineTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func machine(_ messages: Int = 10, _ change: (inout PullMachine.Settings) -> Void = { _ in }) -> PullMachine
    {
        var settings = PullMachine.Settings()
        settings.messages = messages
        change(&settings)
        return PullMachine(settings, seed: 7)
    }

    private func pull(_ action: PullMachine.Action) -> PullMachine.Pull? {
        if case .pull(let pull) = action { pull } else { nil }
    }

    private func status(_ kind: PullStatus.Kind, pending: Int? = nil, bytes: Int? = nil) -> PullStatus {
        PullStatus(kind, pendingMessages: pending, pendingBytes: bytes)
    }

    @Test("A6: statuses are told by number and text, with what was left of the pull")
    func statuses() throws {
        func read(_ line: String, _ fields: String = "") -> PullStatus? {
            Array("NATS/1.0 \(line)\r\n\(fields)\r\n".utf8).withUnsafeBytes { PullStatus(headers: $0) }
        }
        let pending = "Nats-Pending-Messages: 3\r\nNats-Pending-Bytes: 40\r\n"
        #expect(read("100 Idle Heartbeat", "Nats-Last-Consumer: 5\r\n")?.kind == .heartbeat(consumerSequence: 5))
        #expect(read("404 No Messages")?.kind == .noMessages)
        #expect(read("408 Request Timeout", pending) == PullStatus(.expired, pendingMessages: 3, pendingBytes: 40))
        #expect(read("408 Interest Expired")?.kind == .expired)
        #expect(read("409 Batch Completed", pending)?.kind == .batchCompleted)
        #expect(read("409 Message Size Exceeds MaxBytes", pending)?.kind == .exceedsBytes)
        #expect(read("409 Leadership Change")?.kind == .leadershipChange)
        #expect(read("409 Server Shutdown", pending)?.kind == .serverShutdown)
        #expect(read("409 Exceeded MaxWaiting")?.kind == .tooManyPulls)
        #expect(read("409 Exceeded MaxRequestBatch of 5")?.kind == .beyond(.batch(5)))
        #expect(read("409 Exceeded MaxRequestExpires of 1m30s")?.kind == .beyond(.expires(.seconds(90))))
        #expect(read("409 Exceeded MaxRequestMaxBytes of 1024")?.kind == .beyond(.bytes(1024)))
        #expect(read("409 Consumer Deleted")?.kind == .deleted)
        #expect(read("423 Nats-Wrong-Pin-Id")?.kind == .wrongPin)
        #expect(read("503")?.kind == .noResponders)
        #expect(read("409 Something New")?.kind == .other("409 Something New"))
        for line in ["400 Bad Request", "412 Required Api Level", "409 Consumer is push based"] {
            guard case .refused? = read(line)?.kind else {
                Issue.record("\(line)")
                continue
            }
        }
        #expect(Array("NATS/1.0\r\nA: b\r\n\r\n".utf8).withUnsafeBytes { PullStatus(headers: $0) } == nil)
        #expect(
            PullStatus.duration("1.5s") == .milliseconds(1500) && PullStatus.duration("250ms") == .milliseconds(250)
        )
        #expect(PullStatus.duration("") == nil && PullStatus.duration("5") == nil && PullStatus.duration("5y") == nil)
    }

    @Test("J2: refills by exactly what is missing once half of it is; also with one")
    func refills() {
        var machine = machine(10)
        #expect(pull(machine.connectionUp(at: start))?.messages == 10)
        for _ in 0..<10 { machine.received(bytes: 1, at: start) }
        #expect(machine.outstanding == 0 && machine.held == 10)
        for _ in 0..<4 { #expect(machine.taken(1, bytes: 1, at: start) == .none) }
        #expect(pull(machine.taken(1, bytes: 1, at: start))?.messages == 5)
        #expect(machine.outstanding == 5 && machine.held == 5)
        var single = self.machine(1)
        for number in 1...100 {
            let pulled = pull(number == 1 ? single.connectionUp(at: start) : single.taken(1, bytes: 1, at: start))
            #expect(pulled?.messages == 1 && pulled?.token == UInt64(number))
            single.received(bytes: 1, at: start)
        }
    }

    @Test("J4: each pull has a time limit, and a heartbeat of at most half of it")
    func limits() {
        var machine = machine()
        let first = pull(machine.connectionUp(at: start))
        #expect(first?.expires == .seconds(30) && first?.heartbeat == .seconds(5) && first?.bytes == nil)
        var short = self.machine { $0.expires = .seconds(4) }
        #expect(pull(short.connectionUp(at: start))?.heartbeat == .seconds(2))
    }

    @Test("J1: a late status of a pull that was given up changes nothing")
    func givenUp() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        machine.connectionLost()
        let second = pull(machine.connectionUp(at: start))
        #expect(second?.token == 2 && machine.outstanding == 10)
        #expect(machine.received(status(.expired, pending: 10), token: 1, at: start) == .none)
        #expect(machine.received(status(.leadershipChange), token: 1, at: start) == .none)
        #expect(machine.received(status(.expired, pending: 10), token: 99, at: start) == .none)
        #expect(machine.outstanding == 10)
    }

    @Test("J1: what the server says was left of a pull sets the others right, whichever it has served")
    func correction() {
        // Two pulls of five each; the server serves them in turn, and we charge the first.
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        for _ in 0..<5 { machine.received(bytes: 1, at: start) }
        #expect(pull(machine.taken(5, bytes: 5, at: start))?.messages == 5)
        for _ in 0..<6 { machine.received(bytes: 1, at: start) }
        _ = machine.taken(3, bytes: 3, at: start)
        #expect(machine.outstanding == 4)
        // The first is charged out for us; the server still owes two of it, and two of the second.
        let later = start + .seconds(30)
        _ = machine.received(status(.expired, pending: 2), token: 1, at: later)
        // Two are owed by the second, and five more are asked for.
        #expect(machine.outstanding == 7 && machine.held == 3)
        _ = machine.received(status(.expired, pending: 2), token: 2, at: later)
        #expect(machine.outstanding == 5)
        // The other way round: the second ends first, and the first owes more than we thought.
        var other = self.machine(10)
        _ = other.connectionUp(at: start)
        for _ in 0..<5 { other.received(bytes: 1, at: start) }
        _ = other.taken(5, bytes: 5, at: start)
        for _ in 0..<4 { other.received(bytes: 1, at: start) }
        #expect(other.outstanding == 6)
        // For us the first owes one and the second five; in truth three and three.
        _ = other.received(status(.expired, pending: 3), token: 2, at: later)
        #expect(other.outstanding == 3)
    }

    @Test("J13: a pull without a word of what was left is dropped whole")
    func leadership() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        #expect(machine.received(status(.leadershipChange), token: 1, at: start) == .none)
        #expect(machine.outstanding == 0)
        #expect(machine.deadline.map { $0 > start && $0 <= start + .milliseconds(110) } == true)
        #expect(pull(machine.due(at: start + .milliseconds(110)))?.messages == 10)
    }

    @Test("J14: behind a server's shutdown nothing is pulled until the connection is another one, or some time is over")
    func shutdown() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        #expect(machine.received(status(.serverShutdown, pending: 10), token: 1, at: start) == .none)
        #expect(machine.taken(0, bytes: 0, at: start) == .none)
        machine.connectionLost()
        #expect(pull(machine.connectionUp(at: start))?.messages == 10)
        var staying = self.machine(10)
        _ = staying.connectionUp(at: start)
        _ = staying.received(status(.serverShutdown, pending: 10), token: 1, at: start)
        #expect(pull(staying.due(at: start + .seconds(2)))?.messages == 10)
    }

    @Test("J7, J8: a missed beat gives up and pulls again, the second asks, and any word resets")
    func beats() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        #expect(machine.deadline == start + .seconds(10))
        // Arrivals count, whatever the handlers do.
        #expect(machine.received(status(.heartbeat(consumerSequence: nil)), token: 1, at: start + .seconds(5)) == .none)
        #expect(machine.due(at: start + .seconds(10)) == .none)
        #expect(machine.deadline == start + .seconds(15))
        let again = pull(machine.due(at: start + .seconds(15)))
        #expect(again?.token == 2 && again?.messages == 10)
        #expect(machine.due(at: start + .seconds(25)) == .ask)
        #expect(machine.takeWarning() == .silent)
        #expect(machine.deadline == nil)
        #expect(machine.infoAnswered(.exists, at: start + .seconds(26)) == .none)
        let resting = machine.deadline
        #expect(resting.map { $0 > start + .seconds(26) } == true)
        #expect(pull(machine.due(at: resting ?? start))?.token == 3)
        #expect(machine.faults.missedBeats == 2)
        // While disconnected there is nothing to miss.
        machine.connectionLost()
        #expect(machine.deadline == nil && machine.due(at: start + .seconds(500)) == .none)
    }

    @Test("J9: errors make the pauses longer, up to 5 s, and a message makes them short again")
    func rests() {
        var machine = machine(10)
        var now = start
        var action = machine.connectionUp(at: now)
        var pauses: [Int64] = []
        for _ in 0..<10 {
            guard let token = pull(action)?.token else {
                Issue.record("no pull")
                return
            }
            #expect(machine.received(status(.tooManyPulls), token: token, at: now) == .none)
            let next = machine.deadline ?? now
            pauses.append((next - now).nanoseconds / 1_000_000)
            now = next
            action = machine.due(at: now)
        }
        for (pause, expected) in zip(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]) {
            #expect(abs(pause - Int64(expected)) <= Int64(expected / 10 + 1), "\(pauses)")
        }
        machine.received(bytes: 1, at: now)
        _ = machine.received(status(.tooManyPulls), token: 11, at: now)
        #expect(machine.deadline.map { $0 - now <= .milliseconds(110) } == true)
        #expect(machine.takeWarning() == .status("too many pulls wait"))
    }

    @Test("J9: pulls that end at once do not make it spin")
    func noSpinning() {
        var machine = machine(10)
        var now = start
        var pulls = 0
        var action = machine.connectionUp(at: now)
        while now < start + .seconds(10) {
            if let pull = pull(action) {
                pulls += 1
                action = machine.received(status(.expired, pending: 10), token: pull.token, at: now)
            } else {
                now = machine.deadline ?? now + .seconds(1)
                action = machine.due(at: now)
            }
        }
        #expect(pulls <= 10, "\(pulls)")
    }

    @Test("J10: nobody answers: asks whether the consumer is there, and goes on")
    func noResponders() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        #expect(machine.received(status(.noResponders), token: 1, at: start) == .ask)
        #expect(machine.infoAnswered(.unavailable, at: start) == .none)
        #expect(pull(machine.due(at: machine.deadline ?? start))?.messages == 10)
    }

    @Test("J12: a consumer that is gone ends the reader, is waited for, or is made again")
    func deleted() {
        var stops = machine(10)
        _ = stops.connectionUp(at: start)
        guard case .end(let error) = stops.received(status(.deleted), token: 1, at: start) else {
            Issue.record("it goes on")
            return
        }
        #expect(error.code == .noConsumer && stops.isEnded)
        var waits = machine(10) { $0.onDeleted = .wait }
        _ = waits.connectionUp(at: start)
        #expect(waits.received(status(.deleted), token: 1, at: start) == .none)
        #expect(waits.takeWarning() == .gone)
        #expect(pull(waits.due(at: waits.deadline ?? start)) != nil)
        #expect(waits.received(status(.noResponders), token: 2, at: start) == .ask)
        #expect(waits.infoAnswered(.gone, at: start) == .none)
        // Told once.
        #expect(waits.takeWarning() == nil)
        var makes = machine(10) { $0.onDeleted = .recreate }
        _ = makes.connectionUp(at: start)
        #expect(makes.received(status(.deleted), token: 1, at: start) == .recreate)
        #expect(makes.taken(0, bytes: 0, at: start) == .none)
        #expect(makes.recreated(false, at: start) == .none)
        _ = makes.due(at: makes.deadline ?? start)
        #expect(makes.received(status(.noResponders), token: 2, at: start) == .ask)
        #expect(makes.infoAnswered(.gone, at: start) == .recreate)
        #expect(pull(makes.recreated(true, at: start))?.messages == 10)
    }

    @Test("J6: a pull whose end is not told is given up a second after its time")
    func lateEnd() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        for second in 1...6 {
            _ = machine.received(
                status(.heartbeat(consumerSequence: nil)),
                token: 1,
                at: start + .seconds(Int64(second * 5))
            )
        }
        #expect(machine.deadline == start + .seconds(31))
        #expect(pull(machine.due(at: start + .seconds(31)))?.messages == 10)
        #expect(machine.faults.lateEnds == 1)
    }

    @Test("J15: a message that is larger than the limit in bytes raises it, once")
    func bytes() {
        var machine = machine(100) {
            $0.bytes = 1000
            $0.maximumPayload = 5000
        }
        #expect(pull(machine.connectionUp(at: start))?.bytes == 1000)
        machine.received(bytes: 600, at: start)
        #expect(machine.outstanding == 99)
        // Less than half is missing.
        #expect(machine.taken(0, bytes: 0, at: start) == .none)
        #expect(machine.received(status(.exceedsBytes, pending: 99, bytes: 400), token: 1, at: start) == .none)
        let second = pull(machine.taken(1, bytes: 600, at: start))
        #expect(second?.bytes == 1000 && second?.messages == 100)
        let raised = pull(machine.received(status(.exceedsBytes, pending: 100, bytes: 1000), token: 2, at: start))
        #expect(raised.map { ($0.bytes ?? 0) >= 5000 } == true)
        #expect(machine.takeWarning() == .bytesRaised(to: raised?.bytes ?? 0))
    }

    @Test("A6: what the consumer does not allow is not asked for again")
    func clamped() {
        var machine = machine(100)
        _ = machine.connectionUp(at: start)
        _ = machine.received(status(.beyond(.batch(7))), token: 1, at: start)
        #expect(machine.takeWarning() == .clamped)
        #expect(pull(machine.due(at: machine.deadline ?? start))?.messages == 7)
        _ = machine.received(status(.beyond(.expires(.seconds(2)))), token: 2, at: start)
        let short = pull(machine.due(at: machine.deadline ?? start))
        #expect(short?.expires == .seconds(2) && short?.heartbeat == .seconds(1))
    }

    @Test("A6: what no further pull can help ends the reader")
    func refused() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        let error = JetStreamError(.apiLevel, "x")
        #expect(machine.received(status(.refused(error)), token: 1, at: start) == .end(error))
        #expect(machine.taken(0, bytes: 0, at: start) == .none && machine.deadline == nil)
        #expect(machine.connectionUp(at: start) == .none)
    }

    @Test("J28: after a stop nothing is pulled, and what comes is still counted")
    func stopped() {
        var machine = machine(10)
        _ = machine.connectionUp(at: start)
        machine.stop()
        machine.received(bytes: 1, at: start)
        #expect(machine.taken(1, bytes: 1, at: start) == .none)
        machine.connectionLost()
        #expect(machine.connectionUp(at: start) == .none && machine.deadline == nil)
    }

    /// A server that serves its pulls in turn, as nats-server does.
    private struct Model {
        var pulls: [(token: UInt64, left: Int, until: NIODeadline)] = []
    }

    @Test(
        "J3: in whatever order, what is asked for and waits here stays within the limit, and it never stops asking",
        arguments: 0..<60
    )
    func random(_ seed: UInt64) {
        var generator = WalkGenerator(state: seed)
        let limit = [1, 2, 3, 10, 50][Int(seed % 5)]
        var machine = machine(limit) {
            $0.onDeleted = [PullMachine.Deleted.wait, .recreate][Int(seed % 2)]
        }
        var model = Model()
        var now = start
        var isConnected = false
        var asked: PullMachine.Action?
        func follow(_ action: PullMachine.Action) {
            switch action {
            case .none: break
            case .pull(let pull):
                hold(isConnected, "a pull without a connection")
                hold(pull.messages > 0, "an empty pull")
                model.pulls.append((pull.token, pull.messages, now + pull.expires))
            case .ask, .recreate:
                hold(asked == nil, "two questions at once")
                asked = action
            case .end: Issue.record("it has ended")
            }
        }
        for _ in 0..<3000 {
            now = now + .milliseconds(Int64.random(in: 0...300, using: &generator))
            switch Int.random(in: 0..<100, using: &generator) {
            case 0..<45 where isConnected && !model.pulls.isEmpty:
                // The first in line is served, and goes to its end.
                machine.received(bytes: 10, at: now)
                var pull = model.pulls.removeFirst()
                pull.left -= 1
                if pull.left > 0 { model.pulls.append(pull) }
            case 45..<80:
                if machine.held > 0 {
                    follow(machine.taken(Int.random(in: 1...machine.held, using: &generator), bytes: 10, at: now))
                }
            case 80..<84 where isConnected:
                if let index = model.pulls.indices.randomElement(using: &generator) {
                    let pull = model.pulls.remove(at: index)
                    follow(machine.received(status(.expired, pending: pull.left), token: pull.token, at: now))
                }
            case 84..<86 where isConnected:
                let pulls = model.pulls
                model.pulls = []
                for pull in pulls { follow(machine.received(status(.leadershipChange), token: pull.token, at: now)) }
            case 86 where isConnected:
                let pulls = model.pulls
                model.pulls = []
                for pull in pulls { follow(machine.received(status(.deleted), token: pull.token, at: now)) }
            case 87 where isConnected:
                if let pull = model.pulls.popLast() {
                    follow(machine.received(status(.noResponders), token: pull.token, at: now))
                }
            case 88 where isConnected:
                machine.connectionLost()
                isConnected = false
                model.pulls = []
            case 89..<93 where !isConnected:
                isConnected = true
                follow(machine.connectionUp(at: now))
            case 93..<97:
                switch asked {
                case .ask?:
                    asked = nil
                    follow(
                        machine.infoAnswered(
                            [.exists, .gone, .unavailable].randomElement(using: &generator) ?? .exists,
                            at: now
                        )
                    )
                case .recreate?:
                    asked = nil
                    follow(machine.recreated(Bool.random(using: &generator), at: now))
                default: break
                }
            default: break
            }
            if isConnected {
                // Heartbeats, and ends of pulls.
                for pull in model.pulls where pull.until <= now {
                    follow(machine.received(status(.expired, pending: pull.left), token: pull.token, at: now))
                }
                model.pulls.removeAll { $0.until <= now }
                if let pull = model.pulls.first {
                    follow(machine.received(status(.heartbeat(consumerSequence: nil)), token: pull.token, at: now))
                }
            }
            if let deadline = machine.deadline, deadline <= now { follow(machine.due(at: now)) }
            // What was given up may still come: one limit more.
            hold(
                machine.outstanding + machine.held <= 2 * limit,
                "\(machine.outstanding) + \(machine.held) of \(limit)"
            )
            let owed = model.pulls.reduce(0) { $0 + $1.left }
            hold(owed <= 2 * limit, "the server owes \(owed) of \(limit)")
            // Something goes on: it waits for the server, for a time, for an answer, for a connection or for a reader.
            hold(
                !isConnected || asked != nil || machine.deadline != nil || machine.outstanding + machine.held > 0,
                "nothing will ever happen again"
            )
        }
        // At the end it can always be brought to ask again.
        if !isConnected {
            isConnected = true
            follow(machine.connectionUp(at: now))
        }
        if case .ask? = asked {
            asked = nil
            follow(machine.infoAnswered(.exists, at: now))
        }
        if case .recreate? = asked {
            asked = nil
            follow(machine.recreated(true, at: now))
        }
        if machine.held > 0 { follow(machine.taken(machine.held, bytes: 0, at: now)) }
        for _ in 0..<5 {
            if let deadline = machine.deadline, machine.outstanding == 0 {
                now = deadline
                follow(machine.due(at: now))
            }
        }
        hold(machine.outstanding > 0, "it does not ask any more")
    }
}
