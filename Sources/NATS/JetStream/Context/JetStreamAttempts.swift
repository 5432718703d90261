// Owns: what follows when an attempt of a call fails: another one, after which pause, or the end (J30, J31, J36). A
// value without I/O; whoever makes the attempts asks it. Times are those of the caller's clock.

package import NIOCore

/// The attempts of one call, up to its deadline.
package struct JetStreamAttempts: Sendable {
    /// What an attempt came to, beside success.
    package enum Failure: Equatable, Sendable {
        /// Nobody listens: nothing was done.
        case noResponders
        /// No answer: whether it was done is unknown.
        case noAnswer
        /// There is no connection: nothing was sent.
        case notConnected
        /// The connection was lost behind the request: whether it was done is unknown.
        case connectionLost
        /// The server, or the client, says that it was not done.
        case refused(JetStreamError)
    }

    /// What follows.
    package enum Action: Equatable, Sendable {
        /// Try again after a pause.
        case again(after: TimeAmount)
        /// Give up.
        case fail(JetStreamError)
    }

    /// The first pause; each further one is half as long again (J30).
    package static let firstPause = TimeAmount.milliseconds(250)
    /// The longest pause.
    package static let longestPause = TimeAmount.seconds(2)
    /// How long the first attempt may take when another one may follow; each further one has twice as long.
    package static let firstAttempt = TimeAmount.seconds(2)

    /// When the last attempt must have ended.
    package let deadline: NIODeadline
    /// Whether it does no harm to do it twice: only then an attempt whose outcome is unknown is made again (J31).
    package let isRepeatable: Bool
    /// Whether there is one attempt alone, because another one would change the order of several calls.
    package let isSingle: Bool
    /// How many attempts have failed.
    package private(set) var failures = 0
    /// Whether one of them may have been done all the same.
    package private(set) var mayBeDone = false
    private var pause = firstPause
    private var attemptTime = firstAttempt

    package init(deadline: NIODeadline, isRepeatable: Bool, isSingle: Bool = false) {
        self.deadline = deadline
        self.isRepeatable = isRepeatable
        self.isSingle = isSingle
    }

    /// When the attempt that begins now must have its answer.
    package func attemptDeadline(at now: NIODeadline) -> NIODeadline {
        isRepeatable ? min(deadline, now + attemptTime) : deadline
    }

    /// An attempt has failed.
    ///
    /// - Parameter room: a number between 0 and 1 that spreads the pauses of many callers.
    package mutating func failed(_ failure: Failure, at now: NIODeadline, jitter: Double) -> Action {
        failures += 1
        if isSingle {
            mayBeDone = failure == .noAnswer || failure == .connectionLost
            return .fail(error(of: failure))
        }
        switch failure {
        case .noAnswer:
            mayBeDone = true
            attemptTime = min(attemptTime * 2, .seconds(60))
            // The time it took was a pause.
            return isRepeatable && now < deadline ? .again(after: .zero) : .fail(error(of: failure))
        case .connectionLost:
            mayBeDone = true
            return isRepeatable ? again(failure, now, jitter) : .fail(error(of: failure))
        case .noResponders, .notConnected: return again(failure, now, jitter)
        case .refused(let error):
            let isForNow = error.code == .unavailable || error.code == .tooManyRequests
            // A message of the same id on its way: its outcome is ours (J31).
            let isSame = error.code == .duplicateInFlight && isRepeatable
            return isForNow || isSame ? again(failure, now, jitter) : .fail(error)
        }
    }

    private mutating func again(_ failure: Failure, _ now: NIODeadline, _ jitter: Double) -> Action {
        let wait = TimeAmount.nanoseconds(Int64(Double(pause.nanoseconds) * (0.9 + 0.2 * jitter)))
        guard now + wait < deadline else { return .fail(error(of: failure)) }
        pause = min(.nanoseconds(pause.nanoseconds / 2 * 3), Self.longestPause)
        return .again(after: wait)
    }

    private func error(of failure: Failure) -> JetStreamError {
        let once = mayBeDone ? "; whether it was done is unknown" : ""
        return switch failure {
        case .noAnswer: JetStreamError(.timeout, "no answer came in time\(once)")
        case .connectionLost: JetStreamError(.disconnected, "the connection was lost\(once)")
        case .notConnected: JetStreamError(.disconnected, "there is no connection\(once)")
        case .noResponders: JetStreamError(.unavailable, "nobody answered on the subject\(once)")
        // The first attempt of ours is on its way still, and nobody can say whether it gets there.
        case .refused(let error) where error.code == .duplicateInFlight && mayBeDone:
            JetStreamError(.timeout, "no answer came in time\(once)", errorCode: error.errorCode)
        case .refused(let error): error
        }
    }
}
