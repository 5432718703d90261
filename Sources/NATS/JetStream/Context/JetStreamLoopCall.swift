// Owns: a call of the API from a connection's loop, without a task: for readers that ask for, make and remove
// consumers. Such calls are rare, and so each may cost a closure. Loop-bound.

import Bytes
import NATSProtocol
import NIOCore

/// One call; it lives until its end is told.
final class JetStreamLoopCall: NATSRequestSink {
    typealias End = (Result<JSONValue, JetStreamError>) -> Void

    /// Kept, since a pause may outlast whoever asked.
    private let connection: NATSConnection
    private let subject: String
    private let body: [UInt8]
    private var attempts: JetStreamAttempts
    private var end: End?

    private init(
        _ connection: NATSConnection,
        _ subject: String,
        _ body: [UInt8],
        _ attempts: JetStreamAttempts,
        _ end: @escaping End
    ) {
        self.connection = connection
        self.subject = subject
        self.body = body
        self.attempts = attempts
        self.end = end
    }

    /// Calls the API; `end` is called once, on the loop, maybe before this returns.
    ///
    /// - Parameters:
    ///   - subject: with the prefix.
    ///   - timeout: for all attempts.
    static func start(
        on connection: NATSConnection,
        _ subject: String,
        _ body: JSONText? = nil,
        timeout: TimeAmount = JetStreamContext.defaultTimeout,
        _ end: @escaping End
    ) {
        let attempts = JetStreamAttempts(deadline: .now() + timeout, isRepeatable: true)
        JetStreamLoopCall(connection, subject, body?.bytes() ?? [], attempts, end).attempt()
    }

    private func attempt() {
        guard connection.state != .closed else { return finish(.failure(JetStreamError(NATSError.closed))) }
        var subject = subject
        let start = subject.withUTF8 { subject in
            body.withUnsafeBytes { body in
                connection.request(
                    subject: UnsafeRawBufferPointer(subject),
                    headers: .none,
                    payload: body,
                    deadline: attempts.attemptDeadline(at: .now()),
                    context: 0,
                    sink: self,
                    rule: .plain
                )
            }
        }
        switch start {
        case .started: break
        case .refused(.disconnected): failed(.notConnected)
        case .refused(let refusal): finish(.failure(JetStreamError(refusal.error)))
        }
    }

    private func failed(_ failure: JetStreamAttempts.Failure) {
        switch attempts.failed(failure, at: .now(), jitter: .random(in: 0...1)) {
        case .fail(let error): finish(.failure(error))
        case .again(let pause):
            connection.eventLoop.assumeIsolated().scheduleTask(in: pause) { self.attempt() }
        }
    }

    private func finish(_ result: Result<JSONValue, JetStreamError>) {
        let end = end
        self.end = nil
        end?(result)
    }

    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {
        guard let value = try? JSONValue(parsing: reply.payload), case .object = value else {
            return finish(.failure(.unexpected("the reply of the API")))
        }
        if let error = value.apiError { return failed(.refused(error)) }
        finish(.success(value))
    }

    func requestFailed(context: UInt64, error: NATSRequestError) {
        switch error {
        case .timeout: failed(.noAnswer)
        case .noResponders: failed(.noResponders)
        case .disconnected: failed(.connectionLost)
        case .closed, .permissionViolation: finish(.failure(JetStreamError(error.error)))
        }
    }
}

@available(*, unavailable)
extension JetStreamLoopCall: Sendable {}
