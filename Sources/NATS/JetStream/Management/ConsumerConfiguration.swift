// Owns: the configuration of a consumer (A5 of the notes; ADR-37, 42) as a value, and its JSON in both directions.
// Pure, any thread.

import Bytes
import NATSProtocol
public import NIOCore

/// A consumer of a stream, by its name: a handle that costs nothing. Made by ``JetStreamStream/consumer(_:)`` and by
/// what creates one.
public struct JetStreamConsumer: Sendable {
    /// The stream that it reads.
    public let stream: JetStreamStream
    /// Its name.
    public let name: String

    init(stream: JetStreamStream, name: String) {
        self.stream = stream
        self.name = name
    }

    /// Where it is.
    public var context: JetStreamContext { stream.context }
}

extension JetStreamConsumer {
    /// Where a consumer begins.
    public enum DeliverPolicy: Sendable, Hashable {
        /// With the first message of the stream.
        case all
        /// With the last one.
        case last
        /// With what comes after it was created.
        case new
        /// With the message of this sequence, or the first behind it.
        case fromSequence(UInt64)
        /// With the first message of this time or later.
        case fromTime(NATSTimestamp)
        /// With the last message of each subject. Needs a filter, which may be `>`.
        case lastPerSubject
    }

    /// What the server wants to hear of deliveries.
    public enum AckPolicy: String, Sendable {
        /// Nothing.
        case none
        /// An acknowledgement counts for all before it.
        case all
        /// Each delivery is acknowledged.
        case explicit
        /// As ``all``, and acknowledgements are asked for (server 2.14); for streams that source others.
        case flowControl = "flow_control"
    }

    /// How fast old messages come.
    public enum ReplayPolicy: String, Sendable {
        /// As fast as they are asked for.
        case instant
        /// At the pace at which they were published.
        case original
    }

    /// The settings of a consumer. What is nil or empty is left to the server.
    public struct Configuration: Sendable, Hashable {
        /// Its name; empty to have one made.
        public var name: String
        /// Whether it stays when nobody pulls. Others go after ``inactiveThreshold``.
        public var isDurable: Bool
        /// Text for people, up to 4 KB.
        public var description = ""
        /// Anything else, up to 128 KB. What begins with `_nats.` is the server's and left out here.
        public var metadata: [String: String] = [:]
        /// Where it begins. Cannot be changed.
        public var deliver = DeliverPolicy.all
        /// How deliveries are acknowledged.
        public var acks = Acks()
        /// Which subjects; empty for all. Several must not overlap.
        public var filters: [String] = []
        /// How fast old messages come. Cannot be changed.
        public var replay = ReplayPolicy.instant
        /// How many in a hundred acknowledgements are told as a metric, as `100%`; empty for none.
        public var sampleFrequency = ""
        /// Whether messages come without their payloads; `Nats-Msg-Size` tells how large those are.
        public var headersOnly = false
        /// What pulls may ask for.
        public var pulls = Pulls()
        /// After which time without a pull it is removed, a durable one, too; the server's default is 5 s for others.
        public var inactiveThreshold: TimeAmount?
        /// How many servers have it; nil for as many as the stream.
        public var replicas: Int?
        /// Whether its state is in memory only. Cannot be changed.
        public var isInMemory = false
        /// Until when it delivers nothing (server 2.11).
        public var pausedUntil: NATSTimestamp?
        /// How several clients share it (ADR-42, server 2.11). Cannot be added or removed later.
        public var priority: Priority?
        /// What makes it a push consumer, which this client shows and does not read.
        public var push: Push?

        /// A consumer that begins with the first message, whose deliveries are acknowledged one by one.
        ///
        /// - Parameters:
        ///   - name: its name: up to 255 bytes, none of `. * > / \`, no white space; empty to have one made.
        ///   - isDurable: whether it stays when nobody pulls.
        public init(name: String = "", isDurable: Bool = false) {
            self.name = name
            self.isDurable = isDurable
        }

        /// A durable consumer.
        ///
        /// - Parameter name: its name: up to 255 bytes, none of `. * > / \`, no white space.
        public static func durable(_ name: String) -> Configuration { Configuration(name: name, isDurable: true) }
    }

    /// How deliveries are acknowledged, and made again.
    public struct Acks: Sendable, Hashable {
        /// What the server wants to hear. Cannot be changed.
        public var policy = AckPolicy.explicit
        /// For how long; then a delivery is made again. The server's default is 30 s.
        public var wait: TimeAmount?
        /// How often a message is delivered at most; nil for no limit. Past it the message is neither delivered nor
        /// told of again, and stays in the stream (J25): better to count deliveries than to set it.
        public var maxDeliver: Int?
        /// The waits of the deliveries in turn; sets the first one as ``wait``. It changes what the delay of a NAK
        /// means (A7): better to give delays (J24).
        public var backoff: [TimeAmount] = []
        /// How many deliveries may be unacknowledged, over all clients. The server's default is 1000.
        public var maxPending: Int?

        /// Each delivery is acknowledged.
        public init() {}
    }

    /// What pulls may ask for. Nil is the server's default, or no limit.
    public struct Pulls: Sendable, Hashable {
        /// How many may wait at once; the server's default is 512. Cannot be changed.
        public var maxWaiting: Int?
        /// How many messages one may ask for.
        public var maxBatch: Int?
        /// For how long one may wait.
        public var maxExpires: TimeAmount?
        /// How many bytes one may ask for.
        public var maxBytes: Int?

        /// No limits.
        public init() {}
    }

    /// How several clients share a consumer (ADR-42).
    public struct Priority: Sendable, Hashable {
        /// Who gets messages.
        public enum Policy: String, Sendable {
            /// Those whose pulls ask for it only when much waits.
            case overflow
            /// Those whose pulls have the lowest number, 0 to 9 (server 2.12).
            case prioritized
            /// One client, as long as it pulls.
            case pinnedClient = "pinned_client"
        }

        /// The name of the group, which each pull has to give. The server takes one.
        public var groups: [String]
        /// Who gets messages.
        public var policy: Policy
        /// After which time without a pull another client is pinned; the server's default is 2 min.
        public var timeout: TimeAmount?

        /// A group of clients.
        ///
        /// - Parameters:
        ///   - group: its name.
        ///   - policy: who gets messages.
        ///   - timeout: after which time without a pull another client is pinned.
        public init(group: String, policy: Policy, timeout: TimeAmount? = nil) {
            groups = [group]
            self.policy = policy
            self.timeout = timeout
        }
    }

    /// What makes a push consumer. Shown, and written back as it was when such a consumer is updated.
    public struct Push: Sendable, Hashable {
        /// Where it delivers to.
        public let deliverSubject: String
        /// The queue group that it delivers to, empty for none.
        public let deliverGroup: String
        /// Whether it asks for a sign of life when much was sent.
        public let hasFlowControl: Bool
        /// How often it says that it is alive.
        public let idleHeartbeat: TimeAmount?
        /// How many bits it sends in a second at most.
        public let rateLimit: Int?
    }
}

extension JetStreamConsumer.Configuration {
    /// The API level that a server must have (A1), 0 for any.
    var requiredLevel: Int {
        if acks.policy == .flowControl { return 4 }
        if priority?.policy == .prioritized { return 2 }
        return priority != nil || pausedUntil != nil ? 1 : 0
    }

    /// Refuses names and subjects that the server would not take, or misread.
    func check() throws(JetStreamError) {
        if !name.isEmpty { try JetStreamNames.check(name, "consumer") }
        guard !isDurable || !name.isEmpty else { throw JetStreamError(.invalidName, "a durable consumer needs a name") }
        for filter in filters { try JetStreamNames.checkFilter(filter) }
        if let maximum = acks.maxDeliver, maximum > 0, maximum < acks.backoff.count {
            throw JetStreamError(
                .invalidArgument,
                "max_deliver is \(maximum) and backoff has \(acks.backoff.count) steps: it must not have more"
            )
        }
    }

    var json: JSONText {
        var members = JSONMembers()
        members.set("name", name)
        if isDurable { members.set("durable_name", name) }
        members.set("description", description)
        write(deliver, to: &members)
        members.set("ack_policy", acks.policy.rawValue)
        members.set("ack_wait", acks.wait)
        members.set("max_deliver", acks.maxDeliver)
        if !acks.backoff.isEmpty { members.set("backoff", .array(acks.backoff.map { .whole($0.nanoseconds) })) }
        if filters.count == 1 { members.set("filter_subject", filters[0]) }
        if filters.count > 1 { members.set("filter_subjects", filters) }
        members.set("replay_policy", replay.rawValue)
        members.set("sample_freq", sampleFrequency)
        members.set("max_waiting", pulls.maxWaiting)
        members.set("max_ack_pending", acks.maxPending)
        members.set("headers_only", headersOnly)
        members.set("max_batch", pulls.maxBatch)
        members.set("max_expires", pulls.maxExpires)
        members.set("max_bytes", pulls.maxBytes)
        members.set("inactive_threshold", inactiveThreshold)
        members.set("num_replicas", replicas)
        members.set("mem_storage", isInMemory)
        members.set("metadata", metadata)
        members.set("pause_until", pausedUntil)
        if let priority {
            members.set("priority_groups", priority.groups)
            members.set("priority_policy", priority.policy.rawValue)
            members.set("priority_timeout", priority.timeout)
        }
        if let push {
            members.set("deliver_subject", push.deliverSubject)
            members.set("deliver_group", push.deliverGroup)
            members.set("flow_control", push.hasFlowControl)
            members.set("idle_heartbeat", push.idleHeartbeat)
            members.set("rate_limit_bps", push.rateLimit)
        }
        return members.value
    }

    private func write(_ deliver: JetStreamConsumer.DeliverPolicy, to members: inout JSONMembers) {
        switch deliver {
        case .all: members.set("deliver_policy", "all")
        case .last: members.set("deliver_policy", "last")
        case .new: members.set("deliver_policy", "new")
        case .lastPerSubject: members.set("deliver_policy", "last_per_subject")
        case .fromSequence(let sequence):
            members.set("deliver_policy", "by_start_sequence")
            members.set("opt_start_seq", sequence)
        case .fromTime(let time):
            members.set("deliver_policy", "by_start_time")
            members.set("opt_start_time", time)
        }
    }

    init(json: JSONValue) {
        let durable = json.text("durable_name")
        self.init(name: durable.isEmpty ? json.text("name") : durable, isDurable: !durable.isEmpty)
        description = json.text("description")
        metadata = json.textsByName("metadata").filter { !$0.key.begins(with: "_nats.") }
        deliver = Self.deliver(json)
        acks.policy = JetStreamConsumer.AckPolicy(rawValue: json.text("ack_policy")) ?? .none
        acks.wait = json.positive("ack_wait").map { .nanoseconds(Int64($0)) }
        acks.maxDeliver = json.positive("max_deliver")
        acks.backoff = json["backoff"]?.array?.compactMap { $0.integer.map { .nanoseconds(Int64($0)) } } ?? []
        acks.maxPending = json.positive("max_ack_pending")
        let filter = json.text("filter_subject")
        filters = filter.isEmpty ? json.texts("filter_subjects") : [filter]
        replay = JetStreamConsumer.ReplayPolicy(rawValue: json.text("replay_policy")) ?? .instant
        sampleFrequency = json.text("sample_freq")
        headersOnly = json.flag("headers_only")
        pulls.maxWaiting = json.positive("max_waiting")
        pulls.maxBatch = json.positive("max_batch")
        pulls.maxExpires = json.positive("max_expires").map { .nanoseconds(Int64($0)) }
        pulls.maxBytes = json.positive("max_bytes")
        inactiveThreshold = json.positive("inactive_threshold").map { .nanoseconds(Int64($0)) }
        replicas = json.positive("num_replicas")
        isInMemory = json.flag("mem_storage")
        pausedUntil = json.time("pause_until")
        priority = JetStreamConsumer.Priority(json: json)
        push = JetStreamConsumer.Push(json: json)
    }

    private static func deliver(_ json: JSONValue) -> JetStreamConsumer.DeliverPolicy {
        switch json.text("deliver_policy") {
        case "last": .last
        case "new": .new
        case "last_per_subject": .lastPerSubject
        case "by_start_sequence": .fromSequence(json.sequence("opt_start_seq"))
        case "by_start_time": json.time("opt_start_time").map { .fromTime($0) } ?? .all
        default: .all
        }
    }
}

extension JetStreamConsumer.Priority {
    fileprivate init?(json: JSONValue) {
        guard let policy = Policy(rawValue: json.text("priority_policy")) else { return nil }
        groups = json.texts("priority_groups")
        self.policy = policy
        timeout = json.positive("priority_timeout").map { .nanoseconds(Int64($0)) }
    }
}

extension JetStreamConsumer.Push {
    fileprivate init?(json: JSONValue) {
        deliverSubject = json.text("deliver_subject")
        guard !deliverSubject.isEmpty else { return nil }
        deliverGroup = json.text("deliver_group")
        hasFlowControl = json.flag("flow_control")
        idleHeartbeat = json.positive("idle_heartbeat").map { .nanoseconds(Int64($0)) }
        rateLimit = json.positive("rate_limit_bps")
    }
}
