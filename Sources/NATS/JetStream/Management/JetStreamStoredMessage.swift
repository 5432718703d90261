// Owns: messages as a stream has them, and how one or several are asked for (A2, A9; ADR-31): from the leader, which
// knows all, or directly from any server that has the stream. Any thread.

import Bytes
public import NATSProtocol
public import NIOCore

/// A message as it is stored in a stream.
public struct JetStreamStoredMessage: Sendable {
    /// The subject it was published to.
    public let subject: String
    /// Its number in the stream.
    public let sequence: UInt64
    /// When it was stored.
    public let time: NATSTimestamp?
    /// Its headers, as they were published.
    public let headers: NATSHeaders
    /// Its payload.
    public let payload: ByteBuffer

    /// The payload as text; what is not UTF-8 is replaced by U+FFFD.
    public var text: String { String(decoding: payload.readableBytesView, as: UTF8.self) }

    init(subject: String, sequence: UInt64, time: NATSTimestamp?, headers: NATSHeaders, payload: ByteBuffer) {
        self.subject = subject
        self.sequence = sequence
        self.time = time
        self.headers = headers
        self.payload = payload
    }

    /// The `message` of a reply from the leader.
    init(json: JSONValue) throws(JetStreamError) {
        guard let headers = Self.bytes(json["hdrs"]), let payload = Self.bytes(json["data"]) else {
            throw .unexpected("the stored message")
        }
        self.init(
            subject: json.text("subject"),
            sequence: json.sequence("seq"),
            time: json.time("time"),
            headers: headers.withUnsafeBytes { NATSHeaders(block: $0) },
            payload: ByteBuffer(bytes: payload)
        )
    }

    private static func bytes(_ json: JSONValue?) -> [UInt8]? {
        guard let text = json?.string else { return [] }
        let digits = Array(text.utf8)
        guard digits.count % 4 == 0 else { return nil }
        var bytes: [UInt8] = []
        let isRead: Void? = try? digits.withUnsafeBytes { try Base64.appendDecoded($0, to: &bytes) }
        return isRead == nil ? nil : bytes
    }

    /// What a direct get adds behind a message's own headers.
    private static let added = [
        "Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence",
        "Nats-UpTo-Sequence",
    ]

    /// A reply to a direct get.
    ///
    /// - Returns: nil when it is no message.
    init?(direct headers: NATSHeaders, _ payload: ByteBuffer) {
        guard headers.status == nil else { return nil }
        // A message may have such headers of its own, in front of those that the server adds.
        var found: [String: String] = [:]
        var own = NATSHeaders()
        for field in headers.fields.reversed() {
            if Self.added.contains(field.name), found[field.name] == nil {
                found[field.name] = field.value
            } else {
                own.add(field.name, field.value)
            }
        }
        guard let subject = found["Nats-Subject"], let sequence = found["Nats-Sequence"].flatMap({ UInt64($0) }) else {
            return nil
        }
        var kept = NATSHeaders()
        for field in own.fields.reversed() { kept.add(field.name, field.value) }
        self.init(
            subject: subject,
            sequence: sequence,
            time: found["Nats-Time-Stamp"].flatMap { NATSTimestamp($0) },
            headers: kept,
            payload: payload
        )
    }
}

extension JetStreamStream {
    /// Who is asked for a message.
    public enum Reader: Sendable {
        /// The server that leads the stream, which knows all that was acknowledged.
        case leader
        /// Any server that has it, which may be a little behind (ADR-8, ADR-31); the leader where the stream allows no
        /// such reads.
        case any
    }

    /// Which message is wanted.
    enum Wanted {
        case sequence(UInt64)
        case last(String)
        case next(String, from: UInt64)

        var json: JSONText {
            var body = JSONMembers()
            switch self {
            case .sequence(let sequence): body.set("seq", sequence)
            case .last(let subject): body.set("last_by_subj", subject)
            case .next(let subject, let sequence):
                body.set("seq", sequence)
                body.set("next_by_subj", subject)
            }
            return body.value
        }
    }

    /// The message of a sequence.
    ///
    /// - Parameters:
    ///   - sequence: its number in the stream.
    ///   - reader: who is asked.
    /// - Throws: ``JetStreamError``: `noMessage`, `noStream`, and what every call throws.
    public func message(
        _ sequence: UInt64,
        from reader: Reader = .leader
    ) async throws(JetStreamError) -> JetStreamStoredMessage {
        try await message(.sequence(sequence), reader)
    }

    /// The last message of a subject.
    ///
    /// - Parameters:
    ///   - subject: may hold wildcards.
    ///   - reader: who is asked.
    /// - Throws: ``JetStreamError``: `noMessage`, `noStream`, `invalidName`, and what every call throws.
    public func lastMessage(
        of subject: String,
        from reader: Reader = .leader
    ) async throws(JetStreamError) -> JetStreamStoredMessage {
        try JetStreamNames.checkFilter(subject)
        return try await message(.last(subject), reader)
    }

    /// The first message of a subject that has this sequence or comes behind it.
    ///
    /// - Parameters:
    ///   - subject: may hold wildcards.
    ///   - sequence: where to begin.
    ///   - reader: who is asked.
    /// - Throws: ``JetStreamError``: `noMessage`, `noStream`, `invalidName`, and what every call throws.
    public func nextMessage(
        of subject: String,
        behind sequence: UInt64,
        from reader: Reader = .leader
    ) async throws(JetStreamError) -> JetStreamStoredMessage {
        try JetStreamNames.checkFilter(subject)
        return try await message(.next(subject, from: sequence), reader)
    }

    private func message(_ wanted: Wanted, _ reader: Reader) async throws(JetStreamError) -> JetStreamStoredMessage {
        if case .any = reader, let message = try await direct(wanted) { return message }
        let json = try await context.call("STREAM.MSG.GET.\(name)", wanted.json)
        guard let message = json["message"] else { throw .unexpected("the stored message") }
        return try JetStreamStoredMessage(json: message)
    }

    /// Asks any server.
    ///
    /// - Returns: nil when none answers directly: the leader is to be asked.
    private func direct(_ wanted: Wanted) async throws(JetStreamError) -> JetStreamStoredMessage? {
        let reply: NATSMessage
        do throws(NATSError) {
            reply = try await client(wanted)
        } catch {
            switch error.code {
            case .noResponders, .timeout, .disconnected: return nil
            default: throw JetStreamError(error)
            }
        }
        if let message = JetStreamStoredMessage(direct: reply.headers, reply.payload) { return message }
        let text = reply.headers.statusDescription ?? "there is no such message"
        switch reply.headers.status {
        case 404: throw JetStreamError(.noMessage, text)
        case 503, 429: return nil
        case let status?: throw JetStreamError(errorCode: 0, status: status, description: text)
        case nil: throw .unexpected("the reply to a direct get")
        }
    }

    private func client(_ wanted: Wanted) async throws(NATSError) -> NATSMessage {
        // With the subject in the subject, so that permissions can be given for it.
        if case .last(let subject) = wanted {
            return try await request("DIRECT.GET.\(name).\(subject)", [])
        }
        return try await request("DIRECT.GET.\(name)", wanted.json.bytes())
    }

    private func request(_ subject: String, _ body: [UInt8]) async throws(NATSError) -> NATSMessage {
        try await context.client.request(
            unchecked: ByteBuffer(bytes: body),
            to: context.place.apiPrefix + subject,
            headers: NATSHeaders(),
            // The leader is asked behind it, in the time that is left.
            timeout: min(context.timeout, JetStreamAttempts.firstAttempt)
        )
    }

    /// The last message of each subject, as they were at one moment; directly, from any server that has the stream
    /// (server 2.11).
    ///
    /// - Parameters:
    ///   - subjects: may hold wildcards; not more than 1024 subjects may match.
    ///   - sequence: as of this sequence; nil for now.
    /// - Returns: in the order of their sequences.
    /// - Throws: ``JetStreamError``: `invalidName`, `api` with the server's text when too many match, `noStream` and
    ///   `unavailable` when nobody answers directly, and what every call throws.
    public func lastMessages(
        of subjects: [String],
        upTo sequence: UInt64? = nil
    ) async throws(JetStreamError) -> [JetStreamStoredMessage] {
        for subject in subjects { try JetStreamNames.checkFilter(subject) }
        var messages: [JetStreamStoredMessage] = []
        var bound = sequence
        while true {
            var body = JSONMembers()
            body.set("multi_last", subjects)
            body.set("up_to_seq", bound)
            if let last = messages.last { body.set("seq", last.sequence + 1) }
            let page = try await directBatch(body.value)
            messages += page.messages
            bound = bound ?? page.upTo
            if page.pending == 0 || page.messages.isEmpty { return messages }
        }
    }

    private struct Page {
        var messages: [JetStreamStoredMessage] = []
        var pending = 0
        var upTo: UInt64?
    }

    private func directBatch(_ body: JSONText) async throws(JetStreamError) -> Page {
        var page = Page()
        do throws(NATSError) {
            let replies = try await context.client.requestMany(
                body.bytes(),
                to: "\(context.place.apiPrefix)DIRECT.GET.\(name)",
                maxWait: context.timeout,
                sentinel: false
            )
            var iterator = replies.makeAsyncIterator()
            while let reply = try await iterator.next() {
                if let message = JetStreamStoredMessage(direct: reply.headers, reply.payload) {
                    page.messages.append(message)
                    continue
                }
                let text = reply.headers.statusDescription ?? ""
                switch reply.headers.status {
                case 204:
                    page.pending = reply.headers["Nats-Num-Pending"].flatMap { Int($0) } ?? 0
                    page.upTo = reply.headers["Nats-UpTo-Sequence"].flatMap { UInt64($0) }
                    return page
                case 404: return page
                case let status?: throw NATSError(.serverError, "\(status) \(text)")
                case nil: throw NATSError(.protocolViolation, "the reply to a direct get")
                }
            }
        } catch {
            if error.code == .serverError { throw JetStreamError(.api, error.message) }
            throw JetStreamError(error)
        }
        throw JetStreamError(
            .timeout,
            Task.isCancelled ? "the task was cancelled" : "the last messages did not all come in time"
        )
    }
}
