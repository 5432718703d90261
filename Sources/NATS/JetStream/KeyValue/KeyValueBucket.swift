// Owns: buckets of keys and values: what they are as streams (A12; ADR-8, 48, 57), and how they are made and found. Any
// thread.

import Bytes
public import NIOCore

/// A bucket of keys and values, by its name: a handle that costs nothing but what it remembers of its own writes. Made
/// by ``JetStreamContext/keyValue(_:)`` and ``JetStreamContext/createKeyValue(_:)``.
public struct JetStreamKeyValue: Sendable {
    /// Where it is.
    public let context: JetStreamContext
    /// Its name.
    public let bucket: String
    /// The stream behind it.
    public let stream: JetStreamStream
    let written = WrittenRevisions()

    init(context: JetStreamContext, bucket: String) throws(JetStreamError) {
        guard Self.isBucket(bucket) else { throw JetStreamError(.invalidName, "\"\(bucket)\" cannot name a bucket") }
        self.context = context
        self.bucket = bucket
        stream = try context.stream("KV_\(bucket)")
    }

    /// The settings of a bucket. What is nil is left to the server.
    public struct Configuration: Sendable, Hashable {
        /// The bucket's name: letters and digits of ASCII, `-` and `_`.
        public var bucket: String
        /// Text for people, up to 4 KB.
        public var description = ""
        /// Anything else, up to 128 KB.
        public var metadata: [String: String] = [:]
        /// How many values of a key are kept: 1 to 64.
        public var history = 1
        /// When a value expires, nil for never.
        public var timeToLive: TimeAmount?
        /// How long a marker stays where a key has expired, so that watchers hear of it; at least 1 s. It also allows
        /// keys to have a time to live of their own (ADR-43, 48, server 2.11). Nil for neither.
        public var markers: TimeAmount?
        /// How many bytes all values may take, nil for no limit.
        public var maxBytes: Int64?
        /// How many bytes one value may have, nil for no limit.
        public var maxValueBytes: Int?
        /// Where it is kept.
        public var storage = JetStreamStream.Storage.file
        /// How many servers have it: 1 to 5.
        public var replicas: Int?
        /// On which servers it is.
        public var placement: JetStreamStream.Placement?
        /// Whether files are compressed.
        public var compresses = false
        /// Whether several keys can be changed together, see ``JetStreamKeyValue/apply(_:)`` (server 2.12).
        public var allowsAtomicChanges = false

        /// Settings with the defaults.
        ///
        /// - Parameter bucket: the bucket's name.
        public init(bucket: String) { self.bucket = bucket }

        func stream() throws(JetStreamError) -> JetStreamStream.Configuration {
            guard JetStreamKeyValue.isBucket(bucket) else {
                throw JetStreamError(.invalidName, "\"\(bucket)\" cannot name a bucket")
            }
            guard (1...64).contains(history) else {
                throw JetStreamError(.invalidArgument, "a history has 1 to 64 values, not \(history)")
            }
            if let markers, markers < .seconds(1) {
                throw JetStreamError(.invalidArgument, "markers stay for 1 s at least, not \(markers.nanoseconds) ns")
            }
            var stream = JetStreamStream.Configuration(name: "KV_\(bucket)", subjects: ["$KV.\(bucket).>"])
            stream.description = description
            stream.metadata = metadata
            stream.storage = storage
            stream.replicas = replicas
            stream.placement = placement
            stream.limits.messagesPerSubject = Int64(history)
            stream.limits.age = timeToLive
            stream.limits.bytes = maxBytes
            stream.limits.messageSize = maxValueBytes
            stream.limits.discard = .new
            stream.duplicateWindow = timeToLive.map { min($0, .minutes(2)) } ?? .minutes(2)
            stream.compresses = compresses
            stream.access.allowsRollup = true
            stream.access.deniesDelete = true
            stream.access.allowsDirect = true
            stream.features.allowsMessageTTL = markers != nil
            stream.features.deleteMarkerTTL = markers
            stream.features.allowsAtomicBatches = allowsAtomicChanges
            return stream
        }
    }

    /// A bucket as it is.
    public struct Status: Sendable, Hashable {
        /// Its name.
        public let bucket: String
        /// How many values it has, with old ones and markers of deleted keys.
        public let values: UInt64
        /// How many bytes they take.
        public let bytes: UInt64
        /// How many values of a key are kept.
        public let history: Int
        /// When a value expires, nil for never.
        public let timeToLive: TimeAmount?
        /// How long markers of expired keys stay, nil for none.
        public let markers: TimeAmount?
        /// The stream behind it.
        public let stream: JetStreamStream.Info
    }

    // MARK: - Names

    /// Whether a bucket can be named so.
    static func isBucket(_ name: String) -> Bool {
        let bytes = name.utf8
        return !bytes.isEmpty && bytes.count <= JetStreamNames.longestName - 4
            && bytes.allSatisfy {
                ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == ASCII.minus || $0 == UInt8(ascii: "_")
            }
    }

    /// Refuses what cannot be a key: bytes other than letters and digits of ASCII and `-/_=.`, dots at the ends or two
    /// in a row, and what begins with `_kv`.
    static func check(_ key: String) throws(JetStreamError) {
        guard isKey(key, wildcards: false) else { throw JetStreamError(.invalidName, "\"\(key)\" cannot be a key") }
    }

    /// Refuses what no keys can be looked for by: as a key, with the wildcards `*` and `>`.
    static func checkPattern(_ pattern: String) throws(JetStreamError) {
        guard isKey(pattern, wildcards: true) else {
            throw JetStreamError(.invalidName, "\"\(pattern)\" cannot be a pattern of keys")
        }
    }

    private static func isKey(_ key: String, wildcards: Bool) -> Bool {
        guard !key.begins(with: "_kv") else { return false }
        for (index, token) in key.parts(between: ASCII.dot).enumerated() {
            guard !token.isEmpty else { return false }
            if wildcards, token.isExactly("*") { continue }
            if wildcards, token.isExactly(">"), index == key.utf8.count(where: { $0 == ASCII.dot }) { continue }
            guard token.utf8.allSatisfy(isKeyByte) else { return false }
        }
        return true
    }

    private static func isKeyByte(_ byte: UInt8) -> Bool {
        switch byte {
        case ASCII.minus, ASCII.slash, UInt8(ascii: "_"), UInt8(ascii: "="): true
        default: ASCII.isLetter(byte) || ASCII.isDigit(byte)
        }
    }

    /// What subjects of keys begin with in the stream.
    var subjectPrefix: String { "$KV.\(bucket)." }

    /// What subjects are written to: those of another domain are reached by the prefix of its API (A12).
    var writePrefix: String { context.place.isLocal ? subjectPrefix : context.place.apiPrefix + subjectPrefix }
}

extension JetStreamContext {
    /// The bucket of a name. Asks nothing of the server.
    ///
    /// - Throws: ``JetStreamError`` with code `invalidName`.
    public func keyValue(_ bucket: String) throws(JetStreamError) -> JetStreamKeyValue {
        try JetStreamKeyValue(context: self, bucket: bucket)
    }

    /// Creates a bucket; one with the same settings may be there already.
    ///
    /// - Throws: ``JetStreamError``: `streamExists` when there is one with other settings, `invalidName`,
    ///   `invalidArgument`, `apiLevel`, `resources`, and what every call throws.
    @discardableResult
    public func createKeyValue(
        _ configuration: JetStreamKeyValue.Configuration
    ) async throws(JetStreamError) -> JetStreamKeyValue {
        try await createStream(configuration.stream())
        return try keyValue(configuration.bucket)
    }

    /// Creates a bucket, or gives the one that is there these settings.
    ///
    /// - Throws: ``JetStreamError``: `invalidConfiguration` for what cannot be changed; see ``createKeyValue(_:)``.
    @discardableResult
    public func createOrUpdateKeyValue(
        _ configuration: JetStreamKeyValue.Configuration
    ) async throws(JetStreamError) -> JetStreamKeyValue {
        try await createOrUpdateStream(configuration.stream())
        return try keyValue(configuration.bucket)
    }

    /// The names of all buckets.
    ///
    /// - Throws: ``JetStreamError``: what every call throws.
    public func keyValueBuckets() async throws(JetStreamError) -> [String] {
        try await streamNames(taking: "$KV.*.>").filter { $0.begins(with: "KV_") }.map { String($0.dropFirst(3)) }
    }
}

extension JetStreamKeyValue {
    /// The bucket as it is.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func status() async throws(JetStreamError) -> Status {
        let info = try await stream.info()
        return Status(
            bucket: bucket,
            values: info.state.messages,
            bytes: info.state.bytes,
            history: Int(info.configuration.limits.messagesPerSubject ?? 1),
            timeToLive: info.configuration.limits.age,
            markers: info.configuration.features.deleteMarkerTTL,
            stream: info
        )
    }

    /// Deletes the bucket with all its values.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func deleteBucket() async throws(JetStreamError) { try await stream.delete() }
}
