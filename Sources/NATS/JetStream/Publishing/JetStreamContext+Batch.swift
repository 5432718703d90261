// Owns: batches of messages that a stream stores all or none (ADR-50). The first message asks for the batch, those
// behind it have no answers, the last one commits it.

public import NATSProtocol
public import NIOCore

/// A message of a batch.
public struct JetStreamBatchMessage: Sendable {
    /// Where it goes; the same stream must take all subjects of a batch.
    public var subject: String
    /// Its payload.
    public var payload: ByteBuffer
    /// Its own headers.
    public var headers: NATSHeaders
    /// What is asked of the stream. The last sequence may be expected by the first message of a batch only; a timeout
    /// is not looked at.
    public var options: JetStreamPublishOptions

    /// A message of bytes.
    ///
    /// - Parameters:
    ///   - payload: any bytes, may be empty.
    ///   - subject: where it goes.
    ///   - headers: its own headers.
    ///   - options: what is asked of the stream.
    public init(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        options: JetStreamPublishOptions = JetStreamPublishOptions()
    ) {
        self.subject = subject
        self.payload = ByteBuffer(bytes: payload)
        self.headers = headers
        self.options = options
    }

    /// A message of text.
    ///
    /// - Parameters:
    ///   - text: sent as UTF-8.
    ///   - subject: where it goes.
    ///   - headers: its own headers.
    ///   - options: what is asked of the stream.
    public init(
        _ text: String,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        options: JetStreamPublishOptions = JetStreamPublishOptions()
    ) {
        self.init(text.utf8, to: subject, headers: headers, options: options)
    }
}

extension JetStreamContext {
    /// How many messages a server takes in one atomic batch: 1000.
    public static let largestBatch = 1000

    /// Publishes messages that are stored all or none (ADR-50, server 2.12). The stream must allow it.
    ///
    /// Opening the batch is tried again while time is left. The commit is not: when its answer is missing, the error
    /// says `timeout` or `disconnected`, and all messages may be stored, or none.
    ///
    /// - Parameters:
    ///   - messages: 1 to 1000, stored in this order, one behind the other.
    ///   - timeout: how long it may take in all; nil for the context's time. The server gives a batch up that nothing
    ///     is added to for 10 s.
    /// - Returns: the acknowledgement of the last message, with the number of messages.
    /// - Throws: ``JetStreamError``: `batch` when the stream takes no batches, `wrongSequence` and the others of a
    ///   message that cannot be stored, `invalidArgument`, and what `publish(_:to:headers:options:)` throws.
    @discardableResult
    public func publishAtomically(
        _ messages: [JetStreamBatchMessage],
        timeout: TimeAmount? = nil
    ) async throws(JetStreamError) -> JetStreamPublishAck {
        guard !messages.isEmpty, messages.count <= Self.largestBatch else {
            throw JetStreamError(
                .invalidArgument,
                "a batch has 1 to \(Self.largestBatch) messages, not \(messages.count)"
            )
        }
        for message in messages {
            try JetStreamNames.checkSubject(message.subject)
            var headers = message.headers
            try message.options.write(to: &headers)
        }
        let deadline = NIODeadline.now() + (timeout ?? self.timeout)
        let id = try await openBatch(messages, until: deadline)
        for (index, message) in messages.dropFirst().dropLast().enumerated() {
            do throws(NATSError) {
                try await client.publish(
                    message.payload.readableBytesView,
                    to: message.subject,
                    headers: try batchHeaders(message, id, index + 2, isLast: false),
                    waiting: deadline - .now()
                )
            } catch {
                throw JetStreamError(error)
            }
        }
        let last = messages[messages.count - 1]
        let headers: NATSHeaders
        do throws(NATSError) {
            headers = try batchHeaders(last, id, messages.count, isLast: true)
        } catch {
            throw JetStreamError(error)
        }
        var options = JetStreamPublishOptions()
        options.timeout = deadline - .now()
        let ack = try await publish(
            last.payload.readableBytesView,
            to: last.subject,
            headers: headers,
            options: options
        )
        guard ack.batchCount == messages.count else {
            throw JetStreamError(.batch, "the stream \(ack.stream) takes no batches: it has stored single messages")
        }
        return ack
    }

    /// Sends the first of several messages until the stream has opened a batch. An attempt that had no answer is given
    /// up with its batch, which the server forgets.
    private func openBatch(
        _ messages: [JetStreamBatchMessage],
        until deadline: NIODeadline
    ) async throws(JetStreamError) -> String {
        var attempts = JetStreamAttempts(deadline: deadline, isRepeatable: true)
        while true {
            let id = NATSConnection.uniqueName()
            guard messages.count > 1 else { return id }
            let failure: JetStreamAttempts.Failure
            do throws(NATSError) {
                let now = NIODeadline.now()
                let reply = try await client.request(
                    messages[0].payload.readableBytesView,
                    to: messages[0].subject,
                    headers: try batchHeaders(messages[0], id, 1, isLast: false),
                    timeout: attempts.attemptDeadline(at: now) - now
                )
                if reply.payload.readableBytes == 0 { return id }
                switch reply.payload.withUnsafeReadableBytes({ JetStreamPublishAck.read($0) }) {
                case .failure(let error)?: failure = .refused(error)
                case .success(let ack)?:
                    throw NATSError(
                        .serverError,
                        "the stream \(ack.stream) takes no batches: it has stored a single message"
                    )
                case nil: throw NATSError(.protocolViolation, "the reply to the first message of a batch")
                }
            } catch {
                if error.code == .serverError { throw JetStreamError(.batch, error.message) }
                failure = try Self.failure(error)
            }
            try await Self.pause(attempts.failed(failure, at: .now(), jitter: .random(in: 0...1)))
        }
    }

    private func batchHeaders(
        _ message: JetStreamBatchMessage,
        _ id: String,
        _ number: Int,
        isLast: Bool
    ) throws(NATSError) -> NATSHeaders {
        var headers = message.headers
        do throws(JetStreamError) {
            try message.options.write(to: &headers)
        } catch {
            throw NATSError(.invalidArgument, error.message)
        }
        headers.add("Nats-Batch-Id", id)
        headers.add("Nats-Batch-Sequence", "\(number)")
        if isLast { headers.add("Nats-Batch-Commit", "1") }
        return headers
    }
}
