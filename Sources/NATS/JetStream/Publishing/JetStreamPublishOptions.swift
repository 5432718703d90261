// Owns: what a publisher may ask of a stream with a message, as headers (A8; ADR-43, 49, 50, 51), and what it gets
// back. Values, any thread.

import Bytes
import NATSProtocol
public import NIOCore

/// What is asked of the stream together with a message.
public struct JetStreamPublishOptions: Sendable, Hashable {
    /// The message's id: within the stream's duplicate window one of the same id is stored once. With an id an attempt
    /// whose answer is missing is made again (J31), without one the outcome is unknown.
    public var id: String?
    /// What must be so for the message to be stored.
    public var expecting = Expectation()
    /// When the message expires, which the stream must allow (ADR-43).
    public var timeToLive: TimeToLive?
    /// Whose place the message takes, which the stream must allow.
    public var rollup: Rollup?
    /// When and where the server publishes it, instead of now and here (ADR-51).
    public var schedule: JetStreamSchedule?
    /// How long all attempts may take together; nil for the context's time. In clusters 15 s outlasts the loss of a
    /// leader (A10). Not beyond the stream's duplicate window.
    public var timeout: TimeAmount?

    /// Nothing is asked.
    public init() {}

    /// With an id of the message.
    ///
    /// - Parameter id: what is unique for the message, and the same when it is published again.
    public init(id: String) { self.id = id }

    /// With an id that no other message has, so that attempts can be made again.
    public static func unique() -> JetStreamPublishOptions { JetStreamPublishOptions(id: NATSConnection.uniqueName()) }

    /// What must be so for a message to be stored.
    public struct Expectation: Sendable, Hashable {
        /// The stream's name.
        public var stream: String?
        /// The stream's last sequence.
        public var lastSequence: UInt64?
        /// The last message's id.
        public var lastMessageID: String?
        /// The last sequence of the message's subject, 0 for none: it was not changed since.
        public var lastSubjectSequence: UInt64?
        /// Which subjects ``lastSubjectSequence`` is meant of, with wildcards; nil for the message's own.
        public var subjects: String?

        /// Nothing is expected.
        public init() {}
    }

    /// When a message expires.
    public enum TimeToLive: Sendable, Hashable {
        /// After this time, at least 1 s. Below the stream's marker time, a stream that keeps more than one message of
        /// a subject raises it to that.
        case after(TimeAmount)
        /// Never, whatever the stream's limit says.
        case never
    }

    /// Whose place a message takes.
    public enum Rollup: String, Sendable {
        /// That of all of its subject.
        case subject = "sub"
        /// That of all.
        case all
    }
}

/// When and where the server publishes a message (ADR-51). A schedule is a message of a subject of its own; another one
/// on that subject takes its place.
public struct JetStreamSchedule: Sendable, Hashable {
    /// When it is published.
    public enum Time: Sendable, Hashable {
        /// Once; at once when the time has passed, also when the servers were down then.
        case at(NATSTimestamp)
        /// Again and again, with at least 1 s in between.
        case every(TimeAmount)
        /// At the times of six fields, the first of them for seconds, or of a name as `@daily`.
        case cron(String)
    }

    /// When.
    public var time: Time
    /// To which subject of the same stream, without wildcards.
    public var target: String
    /// When what is published expires.
    public var timeToLive: JetStreamPublishOptions.TimeToLive?
    /// The time zone of ``Time/cron(_:)``, as `Europe/Berlin`; nil for UTC.
    public var timeZone: String?
    /// Whether what is published takes the place of all of its subject.
    public var rollsUp = false
    /// The subject whose last message is published instead of this one's payload.
    public var source: String?

    /// A schedule.
    ///
    /// - Parameters:
    ///   - time: when.
    ///   - target: to which subject of the same stream.
    public init(_ time: Time, target: String) {
        self.time = time
        self.target = target
    }
}

/// What the stream says when it has a message.
public struct JetStreamPublishAck: Sendable, Hashable {
    /// The stream that has it.
    public let stream: String
    /// Its sequence there; of a batch, that of the last message.
    public let sequence: UInt64
    /// The stream's domain, empty for none.
    public let domain: String
    /// Whether a message of its id was stored before, and this one not.
    public let isDuplicate: Bool
    /// What the counter has come to, as a number of any size; nil for messages that are no step of one.
    public let value: String?
    /// How many messages the batch had, 0 for none.
    public let batchCount: Int

    init(json: JSONValue) {
        stream = json.text("stream")
        sequence = json.sequence("seq")
        domain = json.text("domain")
        isDuplicate = json.flag("duplicate")
        value = json["val"]?.string
        batchCount = json.int("count")
    }

    /// A reply to a publish. Whoever else listens on the subject may answer, too (A8, J32): that is no acknowledgement.
    ///
    /// - Returns: nil when it is none.
    static func read(_ reply: UnsafeRawBufferPointer) -> Result<JetStreamPublishAck, JetStreamError>? {
        guard reply.first == UInt8(ascii: "{"), let json = try? JSONValue(parsing: reply) else { return nil }
        if let error = json.apiError { return .failure(error) }
        guard json["stream"]?.string != nil else { return nil }
        return .success(JetStreamPublishAck(json: json))
    }
}

extension JetStreamPublishOptions {
    /// Adds what is asked to a message's headers.
    ///
    /// - Throws: ``JetStreamError``: `invalidArgument`, `invalidTTL`, `invalidName`.
    func write(to headers: inout NATSHeaders) throws(JetStreamError) {
        try Self.add("Nats-Msg-Id", id, to: &headers)
        try Self.add("Nats-Expected-Stream", expecting.stream, to: &headers)
        try Self.add("Nats-Expected-Last-Sequence", expecting.lastSequence.map { "\($0)" }, to: &headers)
        try Self.add("Nats-Expected-Last-Msg-Id", expecting.lastMessageID, to: &headers)
        try Self.add("Nats-Expected-Last-Subject-Sequence", expecting.lastSubjectSequence.map { "\($0)" }, to: &headers)
        if let subjects = expecting.subjects {
            try JetStreamNames.checkFilter(subjects)
            try Self.add("Nats-Expected-Last-Subject-Sequence-Subject", subjects, to: &headers)
        }
        if let timeToLive { try Self.add("Nats-TTL", timeToLive.header(), to: &headers) }
        try Self.add("Nats-Rollup", rollup?.rawValue, to: &headers)
        try schedule?.write(to: &headers)
    }

    static func add(_ name: String, _ value: String?, to headers: inout NATSHeaders) throws(JetStreamError) {
        guard let value else { return }
        guard !value.isEmpty, headers.add(name, value) else {
            throw JetStreamError(.invalidArgument, "\"\(value)\" cannot stand in the header \(name)")
        }
    }
}

extension JetStreamPublishOptions.TimeToLive {
    /// Whole seconds, or a duration as Go writes it; the server takes nothing below a second (A8).
    func header() throws(JetStreamError) -> String {
        switch self {
        case .never: return "never"
        case .after(let time):
            guard time >= .seconds(1) else {
                throw JetStreamError(.invalidTTL, "a message lives for 1 s at least, not \(time.nanoseconds) ns")
            }
            let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
            return rest == 0 ? "\(seconds)" : "\(time.nanoseconds)ns"
        }
    }
}

extension JetStreamSchedule {
    func write(to headers: inout NATSHeaders) throws(JetStreamError) {
        try JetStreamNames.checkSubject(target)
        try JetStreamPublishOptions.add("Nats-Schedule", pattern(), to: &headers)
        try JetStreamPublishOptions.add("Nats-Schedule-Target", target, to: &headers)
        if let timeToLive { try JetStreamPublishOptions.add("Nats-Schedule-TTL", timeToLive.header(), to: &headers) }
        try JetStreamPublishOptions.add("Nats-Schedule-Time-Zone", timeZone, to: &headers)
        if rollsUp { try JetStreamPublishOptions.add("Nats-Schedule-Rollup", "sub", to: &headers) }
        if let source {
            try JetStreamNames.checkSubject(source)
            try JetStreamPublishOptions.add("Nats-Schedule-Source", source, to: &headers)
        }
    }

    private func pattern() throws(JetStreamError) -> String {
        switch time {
        case .at(let time): return "@at \(time)"
        case .cron(let text): return text
        case .every(let interval):
            guard interval >= .seconds(1) else {
                throw JetStreamError(
                    .invalidArgument,
                    "a schedule repeats after 1 s at least, not \(interval.nanoseconds) ns"
                )
            }
            let (seconds, rest) = interval.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
            return rest == 0 ? "@every \(seconds)s" : "@every \(interval.nanoseconds)ns"
        }
    }
}
