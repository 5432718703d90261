// Owns: the calls of the API about the account and its streams (A2). Any thread; each call is made again while its time
// lasts and that helps (J36).

import Bytes
import NATSProtocol
import NIOCore

extension JetStreamContext {
    /// What an account has and may have.
    public struct Account: Sendable, Hashable {
        /// How many bytes of memory its streams take.
        public let memory: UInt64
        /// How many bytes of disk its streams take.
        public let storage: UInt64
        /// How many streams there are.
        public let streams: Int
        /// How many consumers there are.
        public let consumers: Int
        /// The server's domain, empty for none.
        public let domain: String
        /// What the server can do: 1 for 2.11, 2 for 2.12, 4 for 2.14, 5 for 2.15; 0 for older ones.
        public let apiLevel: Int
    }

    /// What the account has; tells also whether JetStream is there at all.
    ///
    /// - Throws: ``JetStreamError``: `notEnabled` when it is not there, with the API that was asked; `timeout`,
    ///   `disconnected`, `cancelled`, `unavailable`.
    public func account() async throws(JetStreamError) -> Account {
        let json: JSONValue
        do throws(JetStreamError) {
            json = try await call("INFO", retriesNoResponders: false)
        } catch {
            guard error.underlying?.code == .noResponders else { throw error }
            let place = domain.map { "the domain \"\($0)\" is not there" } ?? "the server has no JetStream"
            throw JetStreamError(
                .notEnabled,
                "nobody answers at \(self.place.apiPrefix)INFO: \(place)",
                underlying: error.underlying
            )
        }
        return Account(
            memory: json.sequence("memory"),
            storage: json.sequence("storage"),
            streams: json.int("streams"),
            consumers: json.int("consumers"),
            domain: json.text("domain"),
            apiLevel: json["api"]?.int("level") ?? 0
        )
    }

    // MARK: - Streams

    /// The stream of a name. Asks nothing of the server.
    ///
    /// - Throws: ``JetStreamError`` with code `invalidName`.
    public func stream(_ name: String) throws(JetStreamError) -> JetStreamStream {
        try JetStreamNames.check(name, "stream")
        return JetStreamStream(context: self, name: name)
    }

    /// Creates a stream; one with the same settings may be there already.
    ///
    /// - Returns: what it is.
    /// - Throws: ``JetStreamError``: `streamExists` when there is one with other settings, `subjectsOverlap`,
    ///   `invalidConfiguration`, `resources`, `apiLevel`, `invalidName`, `invalidArgument`, and what every call throws:
    ///   `notEnabled`, `unavailable`, `timeout`, `disconnected`, `permission`, `cancelled`, `connection`.
    @discardableResult
    public func createStream(
        _ configuration: JetStreamStream.Configuration
    ) async throws(JetStreamError) -> JetStreamStream.Info {
        try await send(configuration, "CREATE")
    }

    /// Gives a stream other settings. Fields that are not set get the server's defaults, so begin with those that it
    /// has.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, `invalidConfiguration` for what cannot be changed; see
    ///   ``createStream(_:)``.
    @discardableResult
    public func updateStream(
        _ configuration: JetStreamStream.Configuration
    ) async throws(JetStreamError) -> JetStreamStream.Info {
        try await send(configuration, "UPDATE")
    }

    /// Creates a stream, or gives the one that is there these settings.
    ///
    /// - Throws: ``JetStreamError``: see ``createStream(_:)`` and ``updateStream(_:)``.
    @discardableResult
    public func createOrUpdateStream(
        _ configuration: JetStreamStream.Configuration
    ) async throws(JetStreamError) -> JetStreamStream.Info {
        do throws(JetStreamError) {
            return try await createStream(configuration)
        } catch {
            guard error.code == .streamExists else { throw error }
            return try await updateStream(configuration)
        }
    }

    private func send(
        _ configuration: JetStreamStream.Configuration,
        _ verb: String
    ) async throws(JetStreamError) -> JetStreamStream.Info {
        try configuration.check()
        let json = try await call(
            "STREAM.\(verb).\(configuration.name)",
            configuration.json,
            level: configuration.requiredLevel
        )
        return try JetStreamStream.Info(json: json)
    }

    /// The names of all streams, page by page.
    ///
    /// - Parameter subject: only of those that take this subject, which may hold wildcards; nil for all.
    /// - Throws: ``JetStreamError``: `invalidName`, and what every call throws.
    public func streamNames(taking subject: String? = nil) async throws(JetStreamError) -> [String] {
        if let subject { try JetStreamNames.checkFilter(subject) }
        return try await pages("STREAM.NAMES", "streams", subject: subject) { $0.string }
    }

    /// All streams, page by page.
    ///
    /// - Parameter subject: only those that take this subject, which may hold wildcards; nil for all.
    /// - Throws: ``JetStreamError``: `invalidName`, and what every call throws.
    public func streams(taking subject: String? = nil) async throws(JetStreamError) -> [JetStreamStream.Info] {
        if let subject { try JetStreamNames.checkFilter(subject) }
        return try await pages("STREAM.LIST", "streams", subject: subject) { try? JetStreamStream.Info(json: $0) }
    }

    /// Asks for page after page of a list.
    func pages<Element>(
        _ subject: String,
        _ member: String,
        subject filter: String? = nil,
        _ read: (JSONValue) -> Element?
    ) async throws(JetStreamError) -> [Element] {
        var elements: [Element] = []
        var offset = 0
        while true {
            var body = JSONMembers()
            if offset > 0 { body.set("offset", offset) }
            body.set("subject", filter)
            let json = try await call(subject, body.isEmpty ? nil : body.value)
            let page = json[member]?.array ?? []
            elements += page.compactMap(read)
            offset += page.count
            if page.isEmpty || offset >= json.int("total") { return elements }
        }
    }
}

extension JetStreamStream {
    /// The stream as it is.
    ///
    /// - Parameters:
    ///   - subjects: of which subjects the number of messages is wanted, as `>`; nil for none. All pages are asked for.
    ///   - withDeleted: whether the sequences of deleted messages are wanted.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    public func info(subjects: String? = nil, withDeleted: Bool = false) async throws(JetStreamError) -> Info {
        if let subjects { try JetStreamNames.checkFilter(subjects) }
        var counts: [String: JSONValue] = [:]
        while true {
            var body = JSONMembers()
            body.set("deleted_details", withDeleted)
            body.set("subjects_filter", subjects)
            if !counts.isEmpty { body.set("offset", counts.count) }
            let json = try await context.call("STREAM.INFO.\(name)", body.isEmpty ? nil : body.value)
            guard case .object(let page)? = json["state"]?["subjects"] else { return try Info(json: json) }
            let known = counts.count
            counts.merge(page) { _, new in new }
            if counts.count == known || counts.count >= json.int("total") {
                return try Info(json: json.replacing("state", "subjects", with: .object(counts)))
            }
        }
    }

    /// Deletes the stream with all its messages and consumers.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func delete() async throws(JetStreamError) {
        _ = try await context.call("STREAM.DELETE.\(name)") { $0.code == .noStream }
    }

    /// What a purge leaves.
    public enum Purge: Sendable, Hashable {
        /// Nothing.
        case all
        /// What has this sequence, or comes behind it.
        case before(UInt64)
        /// The last messages, so many of them.
        case keep(UInt64)
    }

    /// Removes messages.
    ///
    /// - Parameters:
    ///   - subject: only those of this subject, which may hold wildcards; nil for all.
    ///   - purge: what is left.
    /// - Returns: how many were removed; 0 when the answer to that was lost and the call was made again.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, and what every call throws.
    @discardableResult
    public func purge(subject: String? = nil, _ purge: Purge = .all) async throws(JetStreamError) -> UInt64 {
        if let subject { try JetStreamNames.checkFilter(subject) }
        var body = JSONMembers()
        body.set("filter", subject)
        switch purge {
        case .all: break
        case .before(let sequence): body.set("seq", sequence)
        case .keep(let count): body.set("keep", count)
        }
        let json = try await context.call("STREAM.PURGE.\(name)", body.isEmpty ? nil : body.value)
        return json.sequence("purged")
    }

    /// Deletes one message.
    ///
    /// - Parameters:
    ///   - sequence: which one.
    ///   - erases: whether its bytes are overwritten, which takes longer.
    /// - Throws: ``JetStreamError``: `noStream`, `noMessage`, and what every call throws.
    public func deleteMessage(_ sequence: UInt64, erases: Bool = false) async throws(JetStreamError) {
        var body = JSONMembers()
        body.set("seq", sequence)
        body.set("no_erase", !erases)
        _ = try await context.call("STREAM.MSG.DELETE.\(name)", body.value) { $0.code == .noMessage }
    }

    /// Has another server lead the stream.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func stepDown() async throws(JetStreamError) {
        _ = try await context.call("STREAM.LEADER.STEPDOWN.\(name)")
    }
}

extension JSONValue {
    /// The same with another value two levels down.
    fileprivate func replacing(_ outer: String, _ inner: String, with value: JSONValue) -> JSONValue {
        guard case .object(var members) = self, case .object(var state)? = members[outer] else { return self }
        state[inner] = value
        members[outer] = .object(state)
        return .object(members)
    }
}
