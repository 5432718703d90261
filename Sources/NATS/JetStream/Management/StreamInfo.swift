// Owns: what the server tells about a stream. Values, any thread; members that are not known are passed over.

import NATSProtocol
public import NIOCore

extension JetStreamStream {
    /// A stream as it is.
    public struct Info: Sendable, Hashable {
        /// Its settings, as the server has completed them.
        public let configuration: Configuration
        /// When it was created: another one of the same name has another time (J19).
        public let created: NATSTimestamp?
        /// What is in it.
        public let state: State
        /// Which servers have it, nil for a server alone.
        public let cluster: JetStreamClusterInfo?
        /// How far a mirror is, nil for streams that are none.
        public let mirror: SourceInfo?
        /// How far its sources are.
        public let sources: [SourceInfo]

        init(json: JSONValue) throws(JetStreamError) {
            guard let configuration = json["config"], let state = json["state"] else {
                throw .unexpected("the stream's info")
            }
            self.configuration = Configuration(json: configuration)
            self.state = State(json: state)
            created = json.time("created")
            cluster = json["cluster"].map { JetStreamClusterInfo(json: $0) }
            mirror = json["mirror"].map { SourceInfo(json: $0) }
            sources = json["sources"]?.array?.map { SourceInfo(json: $0) } ?? []
        }
    }

    /// What is in a stream.
    public struct State: Sendable, Hashable {
        /// How many messages.
        public let messages: UInt64
        /// How many bytes, with what each message costs beside its own.
        public let bytes: UInt64
        /// The first sequence; one more than the last when it is empty.
        public let firstSequence: UInt64
        /// When the first message was stored, nil when it is empty.
        public let firstTime: NATSTimestamp?
        /// The last sequence that was given.
        public let lastSequence: UInt64
        /// When the last message was stored, nil when there was none.
        public let lastTime: NATSTimestamp?
        /// How many subjects messages have.
        public let subjectCount: Int
        /// How many messages each subject has: where it was asked for.
        public let subjects: [String: UInt64]
        /// How many messages between the first and the last are deleted.
        public let deletedCount: Int
        /// Which they are: where it was asked for.
        public let deleted: [UInt64]
        /// How many consumers it has.
        public let consumers: Int

        init(json: JSONValue) {
            messages = json.sequence("messages")
            bytes = json.sequence("bytes")
            firstSequence = json.sequence("first_seq")
            firstTime = json.time("first_ts")
            lastSequence = json.sequence("last_seq")
            lastTime = json.time("last_ts")
            subjectCount = json.int("num_subjects")
            subjects = json.numbersByName("subjects")
            deletedCount = json.int("num_deleted")
            deleted = json["deleted"]?.array?.compactMap { $0.integer.flatMap(UInt64.init(exactly:)) } ?? []
            consumers = json.int("consumer_count")
        }
    }

    /// How far a mirror or a source is.
    public struct SourceInfo: Sendable, Hashable {
        /// The stream that messages come from.
        public let name: String
        /// How many messages it is behind.
        public let lag: UInt64
        /// How long ago something came, nil when nothing has.
        public let active: TimeAmount?
        /// Why it does not go on, nil when it does.
        public let error: String?

        init(json: JSONValue) {
            name = json.text("name")
            lag = json.sequence("lag")
            active = json.duration("active").flatMap { $0.nanoseconds < 0 ? nil : $0 }
            error = json["error"]?["description"]?.string
        }
    }
}

/// Which servers have a stream or a consumer.
public struct JetStreamClusterInfo: Sendable, Hashable {
    /// The cluster's name.
    public let name: String
    /// The server that decides, empty while there is none.
    public let leader: String
    /// The others.
    public let replicas: [Replica]

    /// A server that has a copy.
    public struct Replica: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// Whether it has everything.
        public let isCurrent: Bool
        /// Whether it is gone.
        public let isOffline: Bool
        /// How many operations it is behind.
        public let lag: UInt64
        /// How long ago it said something.
        public let active: TimeAmount?
    }

    init(json: JSONValue) {
        name = json.text("name")
        leader = json.text("leader")
        replicas =
            json["replicas"]?.array?.map {
                Replica(
                    name: $0.text("name"),
                    isCurrent: $0.flag("current"),
                    isOffline: $0.flag("offline"),
                    lag: $0.sequence("lag"),
                    active: $0.duration("active")
                )
            } ?? []
    }
}
