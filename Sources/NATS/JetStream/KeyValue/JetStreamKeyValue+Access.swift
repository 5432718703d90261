// Owns: reading and changing keys (A12, J39, J40). Any thread.

import Bytes
import NATSProtocol
public import NIOCore

extension JetStreamKeyValue {
    // MARK: - Reading

    /// The value of a key.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - reader: who is asked. With ``JetStreamStream/Reader/any``, the default, a value may be a little old, but
    ///     never older than what this handle has written; the leader knows all.
    /// - Returns: nil when the key has no value: it was never put, was deleted, or has expired.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func get(
        _ key: String,
        from reader: JetStreamStream.Reader = .any
    ) async throws(JetStreamError) -> JetStreamKeyValueEntry? {
        guard let entry = try await last(key, reader), entry.isPresent else { return nil }
        return entry
    }

    /// A value that a key had.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - revision: the number of the change.
    /// - Returns: what was done with this change; nil when it is not kept any more, or was one of another key.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func get(_ key: String, revision: UInt64) async throws(JetStreamError) -> JetStreamKeyValueEntry? {
        try Self.check(key)
        let message: JetStreamStoredMessage
        do throws(JetStreamError) {
            message = try await stream.message(revision)
        } catch {
            if error.code == .noMessage { return nil }
            throw error
        }
        guard let entry = JetStreamKeyValueEntry(self, message), entry.key.isExactly(key) else { return nil }
        return entry
    }

    /// The last change of a key, deletions included; nil when there is none.
    private func last(
        _ key: String,
        _ reader: JetStreamStream.Reader
    ) async throws(JetStreamError) -> JetStreamKeyValueEntry? {
        try Self.check(key)
        let written = written.revision(of: key)
        var found = try await lastMessage(key, reader)
        // Older than what was written here: the server that answered is behind (J40).
        if case .any = reader, written > 0, (found?.sequence ?? 0) < written {
            found = try await lastMessage(key, .leader)
        }
        return found.flatMap { JetStreamKeyValueEntry(self, $0) }
    }

    private func lastMessage(
        _ key: String,
        _ reader: JetStreamStream.Reader
    ) async throws(JetStreamError) -> JetStreamStoredMessage? {
        do throws(JetStreamError) {
            return try await stream.lastMessage(of: subjectPrefix + key, from: reader)
        } catch {
            if error.code == .noMessage { return nil }
            throw error
        }
    }

    // MARK: - Changing

    /// Gives a key a value.
    ///
    /// - Parameters:
    ///   - value: any bytes.
    ///   - key: the key.
    ///   - timeToLive: when the value expires, at least 1 s; the bucket must have markers. With a history of more than
    ///     one value the one before comes back then, and the server raises it to the markers' time (A8): it is meant
    ///     for a history of one.
    /// - Returns: the number of the change.
    /// - Throws: ``JetStreamError``: `invalidName`, `invalidTTL`, `messageTooLarge`, `streamFull`, and what
    ///   `JetStreamContext.publish(_:to:headers:options:)` throws.
    @discardableResult
    public func put(
        _ value: some Sequence<UInt8>,
        for key: String,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try await write(key, ByteBuffer(bytes: value), timeToLive: timeToLive)
    }

    /// Gives a key a text as UTF-8. Works as the form that takes bytes.
    @discardableResult
    public func put(
        _ text: String,
        for key: String,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try await put(text.utf8, for: key, timeToLive: timeToLive)
    }

    /// Gives a key a value if it has none: if it was never put, was deleted or purged, or has expired (J39). Of many
    /// who do so at once one succeeds.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - value: any bytes.
    ///   - timeToLive: when the value expires, at least 1 s; the bucket must have markers.
    /// - Returns: the number of the change.
    /// - Throws: ``JetStreamError``: `exists` when the key has a value; see `put(_:for:timeToLive:)`.
    @discardableResult
    public func create(
        _ key: String,
        _ value: some Sequence<UInt8>,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        let value = ByteBuffer(bytes: value)
        var expected: UInt64 = 0
        for attempt in 0..<Self.createAttempts {
            do throws(JetStreamError) {
                return try await write(key, value, expecting: expected, timeToLive: timeToLive)
            } catch {
                guard error.code == .wrongSequence else { throw error }
            }
            // 0 fails on the marker of a deletion, too.
            if let entry = try await last(key, .leader) {
                guard !entry.isPresent else { throw JetStreamError(.exists, "the key \(key) has a value") }
                expected = entry.revision
            } else {
                expected = 0
            }
            if attempt > 0 {
                try await JetStreamContext.pause(.again(after: .milliseconds(.random(in: 1...20) << Int64(attempt))))
            }
        }
        throw JetStreamError(.wrongSequence, "the key \(key) changes all the time")
    }

    /// How often it is tried to create a key whose last change is a deletion.
    private static var createAttempts: Int { 5 }

    /// Creates a key with a text as UTF-8. Works as the form that takes bytes.
    @discardableResult
    public func create(
        _ key: String,
        _ text: String,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try await create(key, text.utf8, timeToLive: timeToLive)
    }

    /// Gives a key another value if it has not changed.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - value: any bytes.
    ///   - revision: its last change; 0 for a key that never had one.
    ///   - timeToLive: when the value expires, at least 1 s; the time begins anew. The bucket must have markers.
    /// - Returns: the number of the change.
    /// - Throws: ``JetStreamError``: `wrongSequence` when it has changed (J34); see
    ///   `put(_:for:timeToLive:)`.
    @discardableResult
    public func update(
        _ key: String,
        _ value: some Sequence<UInt8>,
        revision: UInt64,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try await write(key, ByteBuffer(bytes: value), expecting: revision, timeToLive: timeToLive)
    }

    /// Gives a key another text as UTF-8 if it has not changed. Works as the form that takes bytes.
    @discardableResult
    public func update(
        _ key: String,
        _ text: String,
        revision: UInt64,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try await update(key, text.utf8, revision: revision, timeToLive: timeToLive)
    }

    /// Reads a key, and gives it what `change` makes of that, again and again until nobody else has changed it
    /// meanwhile.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - change: makes the new value of the old one, nil for none; nil deletes the key. May be called several times.
    /// - Returns: the number of the change; nil when there was nothing to delete.
    /// - Throws: ``JetStreamError``: `wrongSequence` after a hundred attempts; see `put(_:for:timeToLive:)`.
    @discardableResult
    public func change(
        _ key: String,
        _ change: (JetStreamKeyValueEntry?) -> [UInt8]?
    ) async throws(JetStreamError) -> UInt64? {
        for attempt in 0..<100 {
            let last = try await last(key, attempt == 0 ? .any : .leader)
            let value = change(last.flatMap { $0.isPresent ? $0 : nil })
            do throws(JetStreamError) {
                if let value {
                    return try await write(key, ByteBuffer(bytes: value), expecting: last?.revision ?? 0)
                }
                guard let last, last.isPresent else { return nil }
                return try await remove(key, "DEL", revision: last.revision)
            } catch {
                guard error.code == .wrongSequence else { throw error }
            }
            let longest = Int64(1) << Int64(min(attempt, 5))
            try await JetStreamContext.pause(.again(after: .milliseconds(.random(in: 0...longest))))
        }
        throw JetStreamError(.wrongSequence, "the key \(key) changes all the time")
    }

    /// Deletes a key; older values are kept as far as the history reaches.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - revision: only if this is its last change; nil for always.
    /// - Returns: the number of the change.
    /// - Throws: ``JetStreamError``: `wrongSequence`, `invalidName`, and what a publish throws.
    @discardableResult
    public func delete(_ key: String, revision: UInt64? = nil) async throws(JetStreamError) -> UInt64 {
        try await remove(key, "DEL", revision: revision)
    }

    /// Deletes a key with all its older values.
    ///
    /// - Parameters:
    ///   - key: the key.
    ///   - revision: only if this is its last change; nil for always.
    ///   - timeToLive: when the marker of the deletion goes as well, at least 1 s; the bucket must have markers.
    /// - Returns: the number of the change.
    /// - Throws: ``JetStreamError``: `wrongSequence`, `invalidName`, and what a publish throws.
    @discardableResult
    public func purge(
        _ key: String,
        revision: UInt64? = nil,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try await remove(key, "PURGE", revision: revision, timeToLive: timeToLive)
    }

    /// Removes the markers of keys that were deleted some time ago.
    ///
    /// - Parameter age: younger ones stay, so that watchers hear of them; nil removes all.
    /// - Returns: how many were removed.
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    @discardableResult
    public func purgeDeletes(olderThan age: TimeAmount? = .minutes(30)) async throws(JetStreamError) -> Int {
        let limit = age.map { NATSTimestamp(nanoseconds: NATSTimestamp.now().nanoseconds - $0.nanoseconds) }
        var removed = 0
        for try await entry in try await entries(">", valuesToo: false) where !entry.isPresent {
            if let limit, let time = entry.time, time > limit { continue }
            // Behind the marker stays what was put meanwhile.
            removed += Int(try await stream.purge(subject: subjectPrefix + entry.key, .before(entry.revision + 1)))
        }
        return removed
    }

    private func remove(
        _ key: String,
        _ operation: String,
        revision: UInt64?,
        timeToLive: TimeAmount? = nil
    ) async throws(JetStreamError) -> UInt64 {
        var headers = NATSHeaders()
        headers.add("KV-Operation", operation)
        return try await write(
            key,
            ByteBuffer(),
            headers: headers,
            expecting: revision,
            timeToLive: timeToLive,
            rollup: operation == "PURGE" ? .subject : nil
        )
    }

    private func write(
        _ key: String,
        _ value: ByteBuffer,
        headers: NATSHeaders = NATSHeaders(),
        expecting revision: UInt64? = nil,
        timeToLive: TimeAmount? = nil,
        rollup: JetStreamPublishOptions.Rollup? = nil
    ) async throws(JetStreamError) -> UInt64 {
        try Self.check(key)
        // With an id, so that an attempt whose answer is missing is made again and counts once: an expectation alone
        // would take its own first attempt for another's change.
        var options = JetStreamPublishOptions.unique()
        options.expecting.lastSubjectSequence = revision
        options.timeToLive = timeToLive.map { .after($0) }
        options.rollup = rollup
        let ack = try await context.publish(
            value.readableBytesView,
            to: writePrefix + key,
            headers: headers,
            options: options
        )
        written.note(key, ack.sequence)
        return ack.sequence
    }

    // MARK: - Several keys

    /// A change of one key, of several that are made together.
    public enum Change: Sendable {
        /// Gives it a value.
        case put(String, [UInt8])
        /// Gives it a value if it never had one.
        case create(String, [UInt8])
        /// Gives it a value if this was its last change.
        case update(String, [UInt8], revision: UInt64)
        /// Deletes it, maybe only if this was its last change.
        case delete(String, revision: UInt64? = nil)
    }

    /// Changes several keys together: all or none (ADR-50). The bucket must allow it, see
    /// ``Configuration/allowsAtomicChanges``.
    ///
    /// - Parameter changes: 1 to 1000.
    /// - Returns: the number of the last change.
    /// - Throws: ``JetStreamError``: `wrongSequence` when one of the keys has changed, `batch` when the bucket does not
    ///   allow it, `invalidName`, `invalidArgument`, and what ``JetStreamContext/publishAtomically(_:timeout:)``
    ///   throws.
    @discardableResult
    public func apply(_ changes: [Change]) async throws(JetStreamError) -> UInt64 {
        var messages: [JetStreamBatchMessage] = []
        for change in changes {
            var options = JetStreamPublishOptions()
            var headers = NATSHeaders()
            let (key, value): (String, [UInt8])
            switch change {
            case .put(let name, let bytes): (key, value) = (name, bytes)
            case .create(let name, let bytes):
                (key, value) = (name, bytes)
                options.expecting.lastSubjectSequence = 0
            case .update(let name, let bytes, let revision):
                (key, value) = (name, bytes)
                options.expecting.lastSubjectSequence = revision
            case .delete(let name, let revision):
                (key, value) = (name, [])
                headers.add("KV-Operation", "DEL")
                options.expecting.lastSubjectSequence = revision
            }
            try Self.check(key)
            messages.append(JetStreamBatchMessage(value, to: writePrefix + key, headers: headers, options: options))
        }
        return try await context.publishAtomically(messages).sequence
    }
}
