// Owns: the configuration of a stream (A4 of the notes; ADR-33, 36, 43, 48 to 51, 60) as a value, and its JSON in both
// directions. Only what is set is sent: the server refuses what it does not know. Pure, any thread.

public import NIOCore

/// A stream of JetStream, by its name: a handle that costs nothing. Made by ``JetStreamContext/stream(_:)``.
public struct JetStreamStream: Sendable {
    /// Where the stream is.
    public let context: JetStreamContext
    /// Its name.
    public let name: String

    init(context: JetStreamContext, name: String) {
        self.context = context
        self.name = name
    }
}

extension JetStreamStream {
    /// How long messages are kept.
    public enum Retention: String, Sendable {
        /// Up to the limits.
        case limits
        /// Until all consumers that want them have acknowledged them; without a consumer they are gone at once.
        case interest
        /// Until one consumer has acknowledged them.
        case workQueue = "workqueue"
    }

    /// What a full stream does.
    public enum Discard: String, Sendable {
        /// It drops the oldest messages.
        case old
        /// It refuses new ones.
        case new
    }

    /// Where messages are kept.
    public enum Storage: String, Sendable {
        /// On disk.
        case file
        /// In memory; of one replica they are gone with its server.
        case memory
    }

    /// The settings of a stream. What is nil or empty is left to the server.
    public struct Configuration: Sendable, Hashable {
        /// The stream's name: up to 255 bytes, none of `. * > / \`, no white space. Cannot be changed.
        public var name: String
        /// What it takes; may hold wildcards. A mirror has none.
        public var subjects: [String]
        /// Text for people, up to 4 KB.
        public var description = ""
        /// Anything else, up to 128 KB. What begins with `_nats.` is the server's and left out here.
        public var metadata: [String: String] = [:]
        /// How long messages are kept. Only limits and interest can be exchanged later.
        public var retention = Retention.limits
        /// Where messages are kept. Cannot be changed.
        public var storage = Storage.file
        /// How many servers have the stream: 1 to 5; nil leaves it to the server, which takes 1.
        public var replicas: Int?
        /// On which servers it is.
        public var placement: Placement?
        /// How much is kept.
        public var limits = Limits()
        /// For how long message ids are remembered; the server's default is 2 min, at most the limit of age.
        public var duplicateWindow: TimeAmount?
        /// Whom it is a copy of. Can only be removed later.
        public var mirror: Source?
        /// Whose messages it takes in addition.
        public var sources: [Source] = []
        /// How subjects are changed when messages come in (ADR-36).
        public var transform: Transform?
        /// Where messages are published again when they are stored (ADR-28).
        public var republish: Republish?
        /// Whether files are compressed (S2).
        public var compresses = false
        /// The first sequence of a new stream.
        public var firstSequence: UInt64?
        /// What may be done with it.
        public var access = Access()
        /// What its consumers have when they do not say it.
        public var consumerLimits: ConsumerLimits?
        /// What it can do beyond keeping messages.
        public var features = Features()

        /// Settings with the server's defaults.
        ///
        /// - Parameters:
        ///   - name: the stream's name.
        ///   - subjects: what it takes.
        public init(name: String, subjects: [String] = []) {
            self.name = name
            self.subjects = subjects
        }
    }

    /// How much a stream keeps. Nil is no limit.
    public struct Limits: Sendable, Hashable {
        /// How many messages.
        public var messages: Int64?
        /// How many bytes.
        public var bytes: Int64?
        /// For how long.
        public var age: TimeAmount?
        /// How many messages of one subject.
        public var messagesPerSubject: Int64?
        /// How large a message may be, in bytes.
        public var messageSize: Int?
        /// How many consumers it may have.
        public var consumers: Int?
        /// What happens to the message that is too many.
        public var discard = Discard.old
        /// With ``Discard/new``: whether a subject that is full refuses new messages, too.
        public var discardsNewPerSubject = false

        /// No limit.
        public init() {}
    }

    /// What may be done with a stream.
    public struct Access: Sendable, Hashable {
        /// Whether any replica may be asked for messages (ADR-31); faster, and may be older than the leader's.
        public var allowsDirect = false
        /// Whether a mirror may be asked for the messages of its origin.
        public var mirrorsDirect = false
        /// Whether nothing can be changed any more. Cannot be taken back.
        public var isSealed = false
        /// Whether messages cannot be deleted. Cannot be taken back.
        public var deniesDelete = false
        /// Whether it cannot be purged. Cannot be taken back.
        public var deniesPurge = false
        /// Whether a message may take the place of all before it (`Nats-Rollup`).
        public var allowsRollup = false
        /// Whether publishers get no acknowledgement.
        public var hasNoAcks = false

        /// Nothing is denied.
        public init() {}
    }

    /// What a stream can do beyond keeping messages. Needs the named server.
    public struct Features: Sendable, Hashable {
        /// Whether messages may have a time to live of their own (ADR-43, server 2.11). Cannot be taken back.
        public var allowsMessageTTL = false
        /// How long a marker stays where the last message of a subject has expired; at least 1 s (server 2.11).
        public var deleteMarkerTTL: TimeAmount?
        /// Whether messages are steps of counters (ADR-49, server 2.12). Only when it is created.
        public var isCounter = false
        /// Whether batches that are stored as a whole are taken (ADR-50, server 2.12).
        public var allowsAtomicBatches = false
        /// Whether fast batches are taken (ADR-50, server 2.14).
        public var allowsFastBatches = false
        /// Whether messages may be schedules (ADR-51, server 2.12). Cannot be taken back.
        public var allowsSchedules = false
        /// Whether the server acknowledges before it has written (server 2.12): one replica only, and what was
        /// acknowledged may be lost.
        public var persistsLater = false

        /// None of them.
        public init() {}
    }

    /// On which servers a stream is.
    public struct Placement: Sendable, Hashable {
        /// The cluster's name, empty for any.
        public var cluster: String
        /// What the servers are tagged with.
        public var tags: [String]

        /// A place.
        ///
        /// - Parameters:
        ///   - cluster: the cluster's name, empty for any.
        ///   - tags: what the servers are tagged with.
        public init(cluster: String = "", tags: [String] = []) {
            self.cluster = cluster
            self.tags = tags
        }
    }

    /// How subjects are changed (ADR-30).
    public struct Transform: Sendable, Hashable {
        /// Which subjects.
        public var source: String
        /// What they become, with functions as `{{wildcard(1)}}`.
        public var destination: String

        /// A transform.
        ///
        /// - Parameters:
        ///   - source: which subjects.
        ///   - destination: what they become.
        public init(source: String, destination: String) {
            self.source = source
            self.destination = destination
        }
    }

    /// Where messages are published again.
    public struct Republish: Sendable, Hashable {
        /// Which subjects; empty for all.
        public var source: String
        /// What they become.
        public var destination: String
        /// Whether the payloads stay behind.
        public var headersOnly: Bool

        /// A second way of messages.
        ///
        /// - Parameters:
        ///   - source: which subjects; empty for all.
        ///   - destination: what they become.
        ///   - headersOnly: whether the payloads stay behind.
        public init(source: String = "", destination: String, headersOnly: Bool = false) {
            self.source = source
            self.destination = destination
            self.headersOnly = headersOnly
        }
    }

    /// What consumers have when they do not say it.
    public struct ConsumerLimits: Sendable, Hashable {
        /// After which time without a pull they are removed.
        public var inactiveThreshold: TimeAmount?
        /// How many deliveries may be unacknowledged.
        public var maxAckPending: Int?

        /// No limit.
        public init() {}
    }

    /// Another stream that messages are taken from.
    public struct Source: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// The first sequence that is taken.
        public var startSequence: UInt64?
        /// The time of the first message that is taken.
        public var startTime: NATSTimestamp?
        /// Which subjects; empty for all. Not together with transforms.
        public var filter = ""
        /// Which subjects, and what they become.
        public var transforms: [Transform] = []
        /// How another account or domain is reached.
        public var external: External?
        /// The durable consumer that is used (server 2.14).
        public var consumer: SourceConsumer?

        /// A stream of the same account.
        ///
        /// - Parameter name: its name.
        public init(name: String) { self.name = name }
    }

    /// How a stream of another account or domain is reached.
    public struct External: Sendable, Hashable {
        /// What the API's subjects begin with there, as `$JS.hub.API`.
        public var apiPrefix: String
        /// What subjects of deliveries begin with; empty for the usual.
        public var deliverPrefix: String

        /// Another account or domain.
        ///
        /// - Parameters:
        ///   - apiPrefix: what the API's subjects begin with there.
        ///   - deliverPrefix: what subjects of deliveries begin with; empty for the usual.
        public init(apiPrefix: String, deliverPrefix: String = "") {
            self.apiPrefix = apiPrefix
            self.deliverPrefix = deliverPrefix
        }
    }

    /// The durable consumer of a source (ADR-60).
    public struct SourceConsumer: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// Where it delivers to.
        public var deliverSubject: String

        /// A consumer that was made for it.
        ///
        /// - Parameters:
        ///   - name: its name.
        ///   - deliverSubject: where it delivers to.
        public init(name: String, deliverSubject: String) {
            self.name = name
            self.deliverSubject = deliverSubject
        }
    }
}
