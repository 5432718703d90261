// What follows when an attempt of a call fails, in every order, without a clock.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct JetStreamAttemptsTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func attempts(_ seconds: Int64, _ isRepeatable: Bool = true) -> JetStreamAttempts {
        JetStreamAttempts(deadline: start + .seconds(seconds), isRepeatable: isRepeatable)
    }

    private func code(_ action: JetStreamAttempts.Action) -> JetStreamError.Code? {
        if case .fail(let error) = action { error.code } else { nil }
    }

    @Test("J30: nobody listening is tried again until the deadline, with pauses that grow by half")
    func noResponders() {
        var attempts = attempts(5)
        var now = start
        var pauses: [Int64] = []
        while case .again(let pause) = attempts.failed(.noResponders, at: now, jitter: 0.5) {
            pauses.append(pause.nanoseconds / 1_000_000)
            now = now + pause
        }
        #expect(pauses.starts(with: [250, 375, 562, 843, 1265]))
        #expect(now <= start + .seconds(5) && now > start + .seconds(3))
        #expect(code(attempts.failed(.noResponders, at: now, jitter: 0.5)) == .unavailable)
    }

    @Test("J31: an attempt without an answer is made again only when that does no harm")
    func noAnswer() {
        var once = attempts(5, false)
        #expect(once.attemptDeadline(at: start) == start + .seconds(5))
        #expect(code(once.failed(.noAnswer, at: start + .seconds(2), jitter: 0)) == .timeout)
        var again = attempts(15)
        #expect(again.attemptDeadline(at: start) == start + .seconds(2))
        #expect(again.failed(.noAnswer, at: start + .seconds(2), jitter: 0) == .again(after: .zero))
        #expect(again.mayBeDone)
        #expect(again.attemptDeadline(at: start + .seconds(2)) == start + .seconds(6))
        #expect(again.failed(.noAnswer, at: start + .seconds(6), jitter: 0) == .again(after: .zero))
        #expect(again.attemptDeadline(at: start + .seconds(6)) == start + .seconds(14))
        #expect(again.failed(.noAnswer, at: start + .seconds(14), jitter: 0) == .again(after: .zero))
        #expect(again.attemptDeadline(at: start + .seconds(14)) == start + .seconds(15))
        #expect(code(again.failed(.noAnswer, at: start + .seconds(15), jitter: 0)) == .timeout)
    }

    @Test("J33: a lost connection ends what may not be done twice, and nothing that was not sent")
    func connection() {
        var once = attempts(5, false)
        #expect(once.failed(.notConnected, at: start, jitter: 0.5) == .again(after: .milliseconds(250)))
        #expect(code(once.failed(.connectionLost, at: start, jitter: 0)) == .disconnected)
        var again = attempts(5)
        #expect(again.failed(.connectionLost, at: start, jitter: 0.5) == .again(after: .milliseconds(250)))
    }

    @Test("J36: no leader and too many requests are tried again, what the server refuses is not")
    func refusals() {
        for number in [10008, 10167] {
            var attempts = attempts(5)
            let error = JetStreamError(errorCode: number, status: 503, description: "")
            #expect(code(attempts.failed(.refused(error), at: start, jitter: 0)) == nil)
        }
        for number in [10059, 10058, 10071, 10039] {
            var attempts = attempts(5)
            let error = JetStreamError(errorCode: number, status: 400, description: "x")
            #expect(attempts.failed(.refused(error), at: start, jitter: 0) == .fail(error))
        }
    }

    @Test("J31: the same id in flight is waited for")
    func sameID() {
        let error = JetStreamError(errorCode: 10158, status: 409, description: "x")
        var withID = attempts(5)
        #expect(code(withID.failed(.refused(error), at: start, jitter: 0)) == nil)
        // At the end it is our own first attempt whose outcome is unknown.
        #expect(withID.failed(.noAnswer, at: start + .seconds(4), jitter: 0) == .again(after: .zero))
        #expect(code(withID.failed(.refused(error), at: start + .seconds(5), jitter: 0)) == .timeout)
        var without = attempts(5, false)
        #expect(without.failed(.refused(error), at: start, jitter: 0) == .fail(error))
    }

    @Test("J43: of a single attempt nothing is made again, and what may be done is told")
    func single() {
        let failures: [(JetStreamAttempts.Failure, JetStreamError.Code, Bool)] = [
            (.noResponders, .unavailable, false), (.noAnswer, .timeout, true), (.notConnected, .disconnected, false),
            (.connectionLost, .disconnected, true),
        ]
        for (failure, expected, mayBeDone) in failures {
            var attempts = JetStreamAttempts(deadline: start + .seconds(5), isRepeatable: true, isSingle: true)
            #expect(code(attempts.failed(failure, at: start, jitter: 0)) == expected)
            #expect(attempts.mayBeDone == mayBeDone)
        }
    }

    @Test("J36: whatever fails in whatever order, it ends by the deadline and never spins", arguments: 0..<50)
    func random(_ seed: UInt64) {
        var generator = WalkGenerator(state: seed)
        var attempts = attempts(5, seed % 2 == 0)
        var now = start
        for step in 0..<1000 {
            hold(now <= start + .seconds(5), "past the deadline")
            let failures: [JetStreamAttempts.Failure] = [
                .noResponders, .noAnswer, .notConnected, .connectionLost,
                .refused(JetStreamError(errorCode: 10008, status: 503, description: "")),
            ]
            let failure = failures.randomElement(using: &generator) ?? .noAnswer
            if failure == .noAnswer { now = attempts.attemptDeadline(at: now) }
            switch attempts.failed(failure, at: now, jitter: Double.random(in: 0...1, using: &generator)) {
            case .fail: return
            case .again(let pause):
                hold(failure == .noAnswer || pause >= .milliseconds(200), "it spins")
                now = now + pause
            }
            hold(step < 100, "too many attempts")
        }
    }
}
