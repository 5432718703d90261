// Owns: what the server tells about a consumer. Values, any thread; members that are not known are passed over.

import NATSProtocol
public import NIOCore

extension JetStreamConsumer {
    /// A consumer as it is.
    public struct Info: Sendable, Hashable {
        /// The stream that it reads.
        public let stream: String
        /// Its name.
        public let name: String
        /// When it was created.
        public let created: NATSTimestamp?
        /// Its settings, as the server has completed them.
        public let configuration: Configuration
        /// What was delivered last.
        public let delivered: Position
        /// Up to where everything is acknowledged.
        public let acknowledged: Position
        /// How many deliveries are unacknowledged.
        public let pendingAcks: Int
        /// How many messages were delivered more than once and are not acknowledged.
        public let redelivered: Int
        /// How many pulls wait.
        public let waitingPulls: Int
        /// How many messages are still to be delivered.
        public let pending: UInt64
        /// For how long it delivers nothing, nil when it is not paused.
        public let pauseRemaining: TimeAmount?
        /// Who is pinned in its groups.
        public let groups: [Group]
        /// Which servers have it, nil for a server alone.
        public let cluster: JetStreamClusterInfo?

        init(json: JSONValue) throws(JetStreamError) {
            guard let configuration = json["config"], let name = json["name"]?.string else {
                throw .unexpected("the consumer's info")
            }
            self.configuration = Configuration(json: configuration)
            self.name = name
            stream = json.text("stream_name")
            created = json.time("created")
            delivered = Position(json: json["delivered"])
            acknowledged = Position(json: json["ack_floor"])
            pendingAcks = json.int("num_ack_pending")
            redelivered = json.int("num_redelivered")
            waitingPulls = json.int("num_waiting")
            pending = json.sequence("num_pending")
            pauseRemaining = json.flag("paused") ? json.duration("pause_remaining") : nil
            groups = json["priority_groups"]?.array?.map { Group(json: $0) } ?? []
            cluster = json["cluster"].map { JetStreamClusterInfo(json: $0) }
        }
    }

    /// How far a consumer is.
    public struct Position: Sendable, Hashable {
        /// The number of the delivery.
        public let consumerSequence: UInt64
        /// The sequence of the message.
        public let streamSequence: UInt64
        /// When it was, nil for never.
        public let lastActive: NATSTimestamp?

        init(json: JSONValue?) {
            consumerSequence = json?.sequence("consumer_seq") ?? 0
            streamSequence = json?.sequence("stream_seq") ?? 0
            lastActive = json?.time("last_active")
        }
    }

    /// A group of clients that share a consumer.
    public struct Group: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// Who is pinned, empty for nobody.
        public let pinnedClient: String
        /// Since when.
        public let pinnedSince: NATSTimestamp?

        init(json: JSONValue) {
            name = json.text("group")
            pinnedClient = json.text("pinned_client_id")
            pinnedSince = json.time("pinned_ts")
        }
    }
}
