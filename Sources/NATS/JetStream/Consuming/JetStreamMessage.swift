// Owns: a message that was delivered, and how it is settled, once (J21), for async code. Safe on any thread.

public import NATSProtocol
public import NIOCore
import Synchronization

/// A message that a consumer delivers. It is delivered again unless it is settled in time with ``ack()``,
/// ``nak(delay:)`` or ``term(reason:)``, each of which can be done once.
public struct JetStreamMessage: Sendable {
    /// The message.
    public let message: NATSMessage
    /// What the server says about the delivery.
    public let metadata: JetStreamMetadata
    let settler: JetStreamSettler

    /// The subject it was published to.
    public var subject: String { message.subject }
    /// Its headers.
    public var headers: NATSHeaders { message.headers }
    /// Its payload.
    public var payload: ByteBuffer { message.payload }
    /// The payload as text; what is not UTF-8 is replaced by U+FFFD.
    public var text: String { message.text }

    /// Says that it is done. Returns when that is buffered; the server's word for it is to be had with
    /// ``ackConfirmed(timeout:)``.
    ///
    /// - Throws: ``JetStreamError``: `settled` when it was settled before; `connection` when it cannot be sent, and it
    ///   can be settled again.
    public func ack() throws(JetStreamError) {
        try settler.settle(.ack, metadata.deliveries)
    }

    /// Says that it is done, and waits until the server has noted that (J27).
    ///
    /// - Parameter timeout: how long to try; nil for the context's time.
    /// - Throws: ``JetStreamError``: `settled` when it was settled before; `timeout`, `unavailable`, `disconnected`
    ///   when the server said nothing: whether it has noted it is unknown, and it can be settled again. `cancelled`,
    ///   `connection`.
    public func ackConfirmed(timeout: TimeAmount? = nil) async throws(JetStreamError) {
        try await settler.confirm(timeout)
    }

    /// Gives it back: it is delivered again.
    ///
    /// - Parameter delay: after which time; nil for at once.
    /// - Throws: ``JetStreamError``: as ``ack()``.
    public func nak(delay: TimeAmount? = nil) throws(JetStreamError) {
        try settler.settle(.nak(delay: delay), metadata.deliveries)
    }

    /// Says that it is not to be delivered again, although it was not handled.
    ///
    /// - Parameter reason: told in the server's advisory; empty for none.
    /// - Throws: ``JetStreamError``: as ``ack()``; `invalidArgument` when the reason has a line break.
    public func term(reason: String = "") throws(JetStreamError) {
        guard NATSHeaders.isValidValue(reason) else {
            throw JetStreamError(.invalidArgument, "a reason is one line")
        }
        try settler.settle(.term(reason: reason), metadata.deliveries)
    }

    /// Asks for more time: the server waits anew. Any number of times.
    ///
    /// - Throws: ``JetStreamError``: as ``ack()``.
    public func inProgress() throws(JetStreamError) {
        try settler.extend()
    }
}

/// Settles one delivery, once. Shared by all copies of the message.
final class JetStreamSettler: Sendable {
    private enum State {
        static let open: UInt8 = 0
        static let settled: UInt8 = 1
    }

    let context: JetStreamContext
    let reply: String
    let rules: Rules
    private let state = Atomic<UInt8>(State.open)
    private let onSettled: (@Sendable () -> Void)?

    /// What settling means for a consumer.
    struct Rules: Sendable {
        /// False where the consumer wants to hear nothing.
        var isAcknowledged = true
        var backoff: [TimeAmount] = []

        init() {}

        init(_ configuration: JetStreamConsumer.Configuration) {
            isAcknowledged = configuration.acks.policy != .none
            backoff = configuration.acks.backoff
        }
    }

    /// - Parameter onSettled: called once, on any thread.
    init(context: JetStreamContext, reply: String, rules: Rules, onSettled: (@Sendable () -> Void)? = nil) {
        self.context = context
        self.reply = reply
        self.rules = rules
        self.onSettled = onSettled
    }

    private func begin() throws(JetStreamError) {
        let result = state.compareExchange(
            expected: State.open,
            desired: State.settled,
            ordering: .acquiringAndReleasing
        )
        guard result.exchanged else { throw JetStreamError(.settled, "the message was settled before") }
    }

    private func publish(_ body: [UInt8]) throws(JetStreamError) {
        let refusal = body.withUnsafeBytes { context.client.attemptPublish($0, reply, nil, NATSHeaders()) }
        if let refusal { throw JetStreamError(refusal) }
    }

    func settle(_ settlement: JetStreamSettlement, _ deliveries: Int) throws(JetStreamError) {
        try begin()
        if rules.isAcknowledged {
            do throws(JetStreamError) {
                try publish(settlement.body(deliveries: deliveries, backoff: rules.backoff))
            } catch {
                state.store(State.open, ordering: .releasing)
                throw error
            }
        }
        onSettled?()
    }

    func extend() throws(JetStreamError) {
        guard state.load(ordering: .acquiring) == State.open else {
            throw JetStreamError(.settled, "the message was settled before")
        }
        if rules.isAcknowledged { try publish(JetStreamSettlement.inProgress) }
    }

    func confirm(_ timeout: TimeAmount?) async throws(JetStreamError) {
        try begin()
        do throws(JetStreamError) {
            if rules.isAcknowledged { try await request(timeout ?? context.timeout) }
        } catch {
            state.store(State.open, ordering: .releasing)
            throw error
        }
        onSettled?()
    }

    private func request(_ timeout: TimeAmount) async throws(JetStreamError) {
        var attempts = JetStreamAttempts(deadline: .now() + timeout, isRepeatable: true)
        while true {
            let failure: JetStreamAttempts.Failure
            do throws(NATSError) {
                let now = NIODeadline.now()
                _ = try await context.client.request(
                    JetStreamSettlement.ack.body(),
                    to: reply,
                    timeout: attempts.attemptDeadline(at: now) - now
                )
                return
            } catch {
                failure = try JetStreamContext.failure(error)
            }
            try await JetStreamContext.pause(attempts.failed(failure, at: .now(), jitter: .random(in: 0...1)))
        }
    }
}
