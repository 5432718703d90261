// Owns: the async face of publishing with acknowledgement. Each publish crosses to the loop once; the publisher there
// does the rest.

public import NATSProtocol
import NIOCore

extension JetStreamContext {
    /// Publishes a message, and returns when the stream has stored it.
    ///
    /// While nobody answers, as when a leader is chosen, and while there is no connection, attempts are made again
    /// until the time is over (J30). An attempt whose answer is missing is made again only with an id (J31): without
    /// one the error says `timeout` or `disconnected`, and the message may be stored.
    ///
    /// - Parameters:
    ///   - payload: any bytes, may be empty.
    ///   - subject: one that a stream takes, without wildcards.
    ///   - headers: the message's own. What begins with `Nats-` means something to the server and is stored.
    ///   - options: what is asked of the stream.
    /// - Returns: where it is stored.
    /// - Throws: ``JetStreamError``: `unavailable` when no stream takes the subject or there is no leader,
    ///   `wrongSequence`, `wrongMessageID`, `wrongStream`, `streamFull`, `messageTooLarge`, `invalidTTL`,
    ///   `rollupRefused`, `schedule`, `counter`, `sealed`, `timeout`, `disconnected`, `permission`, `cancelled`,
    ///   `invalidName`, `invalidArgument`, `connection`.
    @discardableResult
    public func publish(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        options: JetStreamPublishOptions = JetStreamPublishOptions()
    ) async throws(JetStreamError) -> JetStreamPublishAck {
        try await start(ByteBuffer(bytes: payload), subject, headers, options).ack()
    }

    /// Publishes text as UTF-8. Works as the form that takes bytes.
    @discardableResult
    public func publish(
        _ text: String,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        options: JetStreamPublishOptions = JetStreamPublishOptions()
    ) async throws(JetStreamError) -> JetStreamPublishAck {
        try await publish(text.utf8, to: subject, headers: headers, options: options)
    }

    /// Publishes a message and does not wait for its acknowledgement, which can be had later, or not at all.
    ///
    /// Returns when fewer than 4000 messages and 8 MiB of this connection are unacknowledged (J33), and so keeps pace
    /// with the stream. The messages of one task are sent in their order, also behind a lost connection; one that is
    /// tried again because nobody answered comes behind others.
    ///
    /// - Parameters:
    ///   - payload: any bytes, may be empty.
    ///   - subject: one that a stream takes, without wildcards.
    ///   - headers: the message's own.
    ///   - options: what is asked of the stream.
    /// - Throws: ``JetStreamError``: `invalidName`, `invalidArgument`, `invalidTTL`. The receipt throws everything
    ///   else; it throws `cancelled` when the task is cancelled while it waits for room, and nothing is sent then.
    public func publishLater(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        options: JetStreamPublishOptions = JetStreamPublishOptions()
    ) async throws(JetStreamError) -> JetStreamPublishReceipt {
        let room = client.eventLoop.makePromise(of: Void.self)
        let receipt = try start(ByteBuffer(bytes: payload), subject, headers, options, room: room)
        await withTaskCancellationHandler {
            // It never fails.
            try? await room.futureResult.get()
        } onCancel: {
            receipt.cancel()
        }
        return receipt
    }

    /// Publishes text as UTF-8 and does not wait for its acknowledgement. Works as the form that takes bytes.
    public func publishLater(
        _ text: String,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        options: JetStreamPublishOptions = JetStreamPublishOptions()
    ) async throws(JetStreamError) -> JetStreamPublishReceipt {
        try await publishLater(text.utf8, to: subject, headers: headers, options: options)
    }

    /// Adds to a counter (ADR-49, server 2.12); the stream must be one of counters.
    ///
    /// It is never done twice: an attempt whose answer is missing fails with `timeout`, and may have been done.
    ///
    /// - Parameters:
    ///   - subject: the counter's subject.
    ///   - number: what is added; may be negative.
    /// - Returns: what the counter has come to, a whole number that may be larger than any of Swift's.
    /// - Throws: ``JetStreamError``: `counter` when the stream is none of counters, and what
    ///   `publish(_:to:headers:options:)` throws.
    @discardableResult
    public func increment(_ subject: String, by number: Int64 = 1) async throws(JetStreamError) -> String {
        var headers = NATSHeaders()
        headers.add("Nats-Incr", number < 0 ? "\(number)" : "+\(number)")
        let ack = try await publish([], to: subject, headers: headers)
        guard let value = ack.value else {
            throw JetStreamError(.counter, "the stream \(ack.stream) is none of counters: it has stored a message")
        }
        return value
    }

    /// Publishes a message in one attempt, which keeps the order of several; see `publishLater(_:to:headers:options:)`.
    ///
    /// - Parameter stream: which stream must take it.
    func publishOnce(
        _ payload: ByteBuffer,
        to subject: String,
        expecting stream: String
    ) async throws(JetStreamError) -> JetStreamPublishReceipt {
        var options = JetStreamPublishOptions()
        options.expecting.stream = stream
        let room = client.eventLoop.makePromise(of: Void.self)
        let receipt = try start(payload, subject, NATSHeaders(), options, room: room, isSingle: true)
        // It never fails.
        try? await room.futureResult.get()
        return receipt
    }

    private func start(
        _ payload: ByteBuffer,
        _ subject: String,
        _ headers: NATSHeaders,
        _ options: JetStreamPublishOptions,
        room: EventLoopPromise<Void>? = nil,
        isSingle: Bool = false
    ) throws(JetStreamError) -> JetStreamPublishReceipt {
        let block: [UInt8]
        do throws(JetStreamError) {
            try JetStreamNames.checkSubject(subject)
            var headers = headers
            try options.write(to: &headers)
            block = headers.encoded()
        } catch {
            room?.succeed()
            throw error
        }
        let receipt = JetStreamPublishReceipt(client: client)
        let deadline = NIODeadline.now() + (options.timeout ?? timeout)
        let attempts = JetStreamAttempts(deadline: deadline, isRepeatable: options.id != nil, isSingle: isSingle)
        receipt.begin(subject, block, payload, attempts, room)
        return receipt
    }
}

/// A message that was published and whose acknowledgement is still to come, see
/// `JetStreamContext.publishLater(_:to:headers:options:)`.
public struct JetStreamPublishReceipt: Sendable {
    private let client: NATSClient
    private let id: NIOLoopBoundBox<NATSRequestID?>
    let promise: EventLoopPromise<JetStreamPublishAck>

    init(client: NATSClient) {
        self.client = client
        id = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: client.eventLoop)
        promise = client.eventLoop.makePromise()
    }

    func begin(
        _ subject: String,
        _ headers: [UInt8],
        _ payload: ByteBuffer,
        _ attempts: JetStreamAttempts,
        _ room: EventLoopPromise<Void>?
    ) {
        client.eventLoop.execute { [bound = client.bound, id, promise] in
            bound.value.sendOutbox()
            let publish = PendingPublish(
                subject: subject,
                headers: headers,
                payload: payload,
                completion: .promise(promise),
                attempts: attempts,
                room: room
            )
            id.value = bound.value.publisher.publish(publish)
        }
    }

    /// Waits for the acknowledgement.
    ///
    /// - Throws: ``JetStreamError``: what `JetStreamContext.publish(_:to:headers:options:)` throws; when
    ///   the task is cancelled, `cancelled`: the message may be stored all the same, and it is not tried again.
    public func ack() async throws(JetStreamError) -> JetStreamPublishAck {
        do {
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                cancel()
            }
        } catch {
            throw JetStreamError(wrapping: error)
        }
    }

    func cancel() {
        client.eventLoop.execute { [bound = client.bound, id] in
            if let id = id.value { bound.value.publisher.cancel(id) }
        }
    }
}
