// Owns: a value of a key, with what was done to it, as messages say it (A12; ADR-8, 43). Pure, any thread.

import Bytes
import NATSProtocol
import NIOConcurrencyHelpers
public import NIOCore

/// A value of a key, or that the key has none any more.
public struct JetStreamKeyValueEntry: Sendable {
    /// What was done to the key.
    public enum Operation: String, Sendable {
        /// It has a value.
        case put
        /// It was deleted; older values are kept as far as the history reaches.
        case delete
        /// It was deleted with all its older values.
        case purge
        /// Its time was over.
        case expire
    }

    /// The bucket.
    public let bucket: String
    /// The key.
    public let key: String
    /// The value; empty when the key has none any more.
    public let value: ByteBuffer
    /// The number of the change in its bucket.
    public let revision: UInt64
    /// When it was made.
    public let time: NATSTimestamp?
    /// What was done.
    public let operation: Operation
    /// How many changes were behind it when it was read; 0 for the last one.
    public let delta: UInt64

    /// The value as text; what is not UTF-8 is replaced by U+FFFD.
    public var text: String { String(decoding: value.readableBytesView, as: UTF8.self) }

    /// Whether the key has a value.
    public var isPresent: Bool { operation == .put }

    /// - Returns: nil when the subject is none of a key.
    init?(
        _ bucket: JetStreamKeyValue,
        subject: String,
        headers: NATSHeaders,
        value: ByteBuffer,
        revision: UInt64,
        time: NATSTimestamp?,
        delta: UInt64 = 0
    ) {
        guard subject.begins(with: bucket.subjectPrefix) else { return nil }
        self.bucket = bucket.bucket
        key = String(decoding: subject.utf8.dropFirst(bucket.subjectPrefix.utf8.count), as: UTF8.self)
        self.value = value
        self.revision = revision
        self.time = time
        self.delta = delta
        operation =
            switch (headers["KV-Operation"], headers["Nats-Marker-Reason"]) {
            case ("DEL"?, _): .delete
            case ("PURGE"?, _): .purge
            // What removes a key without a word of a client: its age; the other reasons stand in ADR-43 alone.
            case (nil, "MaxAge"?): .expire
            case (nil, "Purge"?): .purge
            case (nil, "Remove"?): .delete
            default: .put
            }
    }

    init?(_ bucket: JetStreamKeyValue, _ message: JetStreamStoredMessage) {
        self.init(
            bucket,
            subject: message.subject,
            headers: message.headers,
            value: message.payload,
            revision: message.sequence,
            time: message.time
        )
    }
}

/// The revisions that a handle has written: a read that any server may answer must not be older (J40). Any thread.
final class WrittenRevisions: Sendable {
    /// How many keys are remembered; beyond that all are forgotten, and reads of them may be older for a moment.
    static let limit = 1024

    private let revisions = NIOLockedValueBox<[ExactText: UInt64]>([:])

    func note(_ key: String, _ revision: UInt64) {
        revisions.withLockedValue { revisions in
            if revisions.count >= Self.limit { revisions.removeAll(keepingCapacity: true) }
            revisions[ExactText(key)] = max(revisions[ExactText(key)] ?? 0, revision)
        }
    }

    /// The last revision of a key that was written here, 0 for none.
    func revision(of key: String) -> UInt64 {
        revisions.withLockedValue { $0[ExactText(key)] ?? 0 }
    }
}
