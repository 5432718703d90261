// Owns: the async face of consuming: a sequence that goes on, or a number of messages at once.

import Bytes
import NATSProtocol
public import NIOCore

extension JetStreamConsumer {
    /// The messages of the consumer, as they come, until it is stopped.
    ///
    /// ```swift
    /// for try await message in try await consumer.messages() {
    ///     print(message.subject, message.text)
    ///     try message.ack()
    /// }
    /// ```
    ///
    /// - Parameter options: how much is asked for, and what follows when the consumer is gone.
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, `invalidArgument` for a consumer that pushes, and what
    ///   every call throws.
    public func messages(
        _ options: JetStreamConsumeOptions = JetStreamConsumeOptions()
    ) async throws(JetStreamError) -> JetStreamMessages {
        try options.check()
        let configuration = try await info().configuration
        guard configuration.push == nil else {
            throw JetStreamError(
                .invalidArgument,
                "the consumer \(name) pushes to \(configuration.push?.deliverSubject ?? "")"
            )
        }
        let queue = DeliveryQueue<JetStreamMessage>(limit: options.messages, bytes: options.bytes)
        let source = JetStreamMessageSource(client: context.client, queue: queue)
        try await source.start(self, options.reader(configuration), JetStreamSettler.Rules(configuration))
        return JetStreamMessages(source: source)
    }

    /// Asks once for messages, and waits for them.
    ///
    /// - Parameters:
    ///   - count: how many at most.
    ///   - wait: for how long; what has come by then is returned.
    ///   - bytes: how many bytes of subjects, headers and payloads at most; nil for no limit. A first message that is
    ///     larger is not delivered, and an error says so.
    /// - Returns: the messages, none when there are none.
    /// - Throws: ``JetStreamError``: `noConsumer`, `messageTooLarge` when the next message is larger than `bytes`,
    ///   `invalidArgument`, `unavailable`, `disconnected`, `permission`, `cancelled`, `connection`.
    public func fetch(
        _ count: Int,
        wait: TimeAmount = .seconds(5),
        bytes: Int? = nil
    ) async throws(JetStreamError) -> [JetStreamMessage] {
        guard count > 0, wait >= .milliseconds(1), bytes ?? 1 > 0 else {
            throw JetStreamError(.invalidArgument, "count, wait and bytes must be positive")
        }
        var members = JSONMembers()
        members.set("batch", count)
        members.set("expires", wait)
        members.set("max_bytes", bytes)
        var messages: [JetStreamMessage] = []
        var failure: JetStreamError?
        do throws(NATSError) {
            let replies = try await context.client.requestMany(
                members.value.bytes(),
                to: "\(context.place.apiPrefix)CONSUMER.MSG.NEXT.\(stream.name).\(name)",
                // The server says when the time is over; that may be late (J6).
                maxWait: wait + PullMachine.lateness
            )
            var iterator = replies.makeAsyncIterator()
            while messages.count < count, let reply = try await iterator.next() {
                if let subject = reply.reply, let metadata = JetStreamMetadata(ackSubject: subject) {
                    let settler = JetStreamSettler(context: context, reply: subject, rules: JetStreamSettler.Rules())
                    messages.append(JetStreamMessage(message: reply, metadata: metadata, settler: settler))
                    continue
                }
                let block = reply.headers.encoded()
                guard let status = block.withUnsafeBytes({ PullStatus(headers: $0) }) else { continue }
                if case .heartbeat = status.kind { continue }
                failure = error(status.kind)
                break
            }
        } catch {
            failure = JetStreamError(error)
        }
        // What has come is the caller's to settle, however it ended.
        guard messages.isEmpty else { return messages }
        if let failure {
            // Nobody answers: the server knows whether there is such a consumer.
            if failure.code == .unavailable { _ = try await info() }
            throw failure
        }
        if Task.isCancelled { throw .cancelled }
        return []
    }

    /// The next message, nil when none comes in time.
    ///
    /// - Parameter wait: for how long to wait.
    /// - Throws: ``JetStreamError``: as ``fetch(_:wait:bytes:)``.
    public func next(wait: TimeAmount = .seconds(5)) async throws(JetStreamError) -> JetStreamMessage? {
        try await fetch(1, wait: wait).first
    }

    /// What the end of a pull means to whoever waits for its messages.
    private func error(_ kind: PullStatus.Kind) -> JetStreamError? {
        switch kind {
        case .heartbeat, .noMessages, .expired, .batchCompleted: nil
        case .exceedsBytes:
            JetStreamError(.messageTooLarge, "the next message is larger than the bytes that were asked for")
        case .leadershipChange, .serverShutdown:
            JetStreamError(.unavailable, "another server is about to lead the consumer")
        case .tooManyPulls: JetStreamError(.tooManyRequests, "too many pulls wait for the consumer \(name)")
        case .beyond: JetStreamError(.invalidArgument, "the consumer \(name) does not allow so much")
        case .deleted: JetStreamError(.noConsumer, "the consumer \(name) was deleted")
        case .wrongPin: JetStreamError(.unavailable, "another client is pinned")
        case .noResponders: JetStreamError(.unavailable, "nobody answers for the consumer \(name)")
        case .refused(let error): error
        case .other(let text): JetStreamError(.api, text)
        }
    }
}
