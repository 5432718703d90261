// Owns: the calls of the API about the consumers of a stream (A2). Any thread.

import Bytes
import NATSProtocol
public import NIOCore

extension JetStreamStream {
    /// The consumer of a name. Asks nothing of the server.
    ///
    /// - Throws: ``JetStreamError`` with code `invalidName`.
    public func consumer(_ name: String) throws(JetStreamError) -> JetStreamConsumer {
        try JetStreamNames.check(name, "consumer")
        return JetStreamConsumer(stream: self, name: name)
    }

    /// Creates a consumer; one with the same settings may be there already.
    ///
    /// - Returns: what it is; it has a name also where none was given.
    /// - Throws: ``JetStreamError``: `consumerExists` when there is one with other settings, `noStream`, `filters`,
    ///   `invalidConfiguration`, `apiLevel`, `invalidName`, `invalidArgument`, and what every call throws.
    @discardableResult
    public func createConsumer(
        _ configuration: JetStreamConsumer.Configuration
    ) async throws(JetStreamError) -> JetStreamConsumer.Info {
        try await send(configuration, action: "create")
    }

    /// Gives a consumer other settings. Fields that are not set get the server's defaults.
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `consumerUpdateRefused` for what cannot be changed; see
    ///   ``createConsumer(_:)``.
    @discardableResult
    public func updateConsumer(
        _ configuration: JetStreamConsumer.Configuration
    ) async throws(JetStreamError) -> JetStreamConsumer.Info {
        try await send(configuration, action: "update")
    }

    /// Creates a consumer, or gives the one that is there these settings.
    ///
    /// - Throws: ``JetStreamError``: `consumerUpdateRefused`; see ``createConsumer(_:)``.
    @discardableResult
    public func createOrUpdateConsumer(
        _ configuration: JetStreamConsumer.Configuration
    ) async throws(JetStreamError) -> JetStreamConsumer.Info {
        try await send(configuration, action: "")
    }

    private func send(
        _ configuration: JetStreamConsumer.Configuration,
        action: String
    ) async throws(JetStreamError) -> JetStreamConsumer.Info {
        try configuration.check()
        // A name of our own, so that the call can be made again and finds what it has made.
        var configuration = configuration
        if configuration.name.isEmpty { configuration.name = NATSConnection.uniqueName() }
        var body = JSONMembers()
        body.set("stream_name", name)
        body.set("config", configuration.json)
        body.set("action", action)
        let json = try await context.call(
            Self.createSubject(name, configuration),
            body.value,
            level: configuration.requiredLevel
        )
        return try JetStreamConsumer.Info(json: json)
    }

    /// With exactly one filter it stands in the subject, too, so that permissions can be given for it.
    static func createSubject(_ stream: String, _ configuration: JetStreamConsumer.Configuration) -> String {
        let subject = "CONSUMER.CREATE.\(stream).\(configuration.name)"
        return configuration.filters.count == 1 ? "\(subject).\(configuration.filters[0])" : subject
    }

    /// The names of the consumers, page by page.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func consumerNames() async throws(JetStreamError) -> [String] {
        try await context.pages("CONSUMER.NAMES.\(name)", "consumers") { $0.string }
    }

    /// The consumers, page by page.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func consumers() async throws(JetStreamError) -> [JetStreamConsumer.Info] {
        try await context.pages("CONSUMER.LIST.\(name)", "consumers") { try? JetStreamConsumer.Info(json: $0) }
    }
}

extension JetStreamConsumer {
    /// The consumer as it is.
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func info() async throws(JetStreamError) -> Info {
        try Info(json: try await context.call("CONSUMER.INFO.\(stream.name).\(name)"))
    }

    /// Deletes the consumer. What it has delivered and was not acknowledged is not delivered again.
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func delete() async throws(JetStreamError) {
        _ = try await context.call("CONSUMER.DELETE.\(stream.name).\(name)") {
            $0.code == .noConsumer || $0.code == .noStream
        }
    }

    /// Has it deliver nothing until `time` (server 2.11).
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func pause(until time: NATSTimestamp) async throws(JetStreamError) {
        var body = JSONMembers()
        body.set("pause_until", time)
        _ = try await context.call("CONSUMER.PAUSE.\(stream.name).\(name)", body.value, level: 1)
    }

    /// Has it deliver nothing for some time (server 2.11).
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func pause(for time: TimeAmount) async throws(JetStreamError) {
        try await pause(until: NATSTimestamp(nanoseconds: NATSTimestamp.now().nanoseconds + time.nanoseconds))
    }

    /// Has it deliver again (server 2.11).
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func resume() async throws(JetStreamError) {
        _ = try await context.call("CONSUMER.PAUSE.\(stream.name).\(name)", level: 1)
    }

    /// Has it begin anew (server 2.14): the numbers of its deliveries begin at 1 again.
    ///
    /// - Parameter sequence: with which message of the stream; nil for the one behind the last that is acknowledged
    ///   with all before it. Not below where a consumer that begins at a sequence began.
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, `invalidArgument`, and what every call throws.
    @discardableResult
    public func reset(to sequence: UInt64? = nil) async throws(JetStreamError) -> Info {
        var body = JSONMembers()
        body.set("seq", sequence)
        let json = try await context.call(
            "CONSUMER.RESET.\(stream.name).\(name)",
            body.isEmpty ? nil : body.value,
            level: 4
        )
        return try Info(json: json)
    }

    /// Takes the place of the client that is pinned, so that another one gets it (ADR-42).
    ///
    /// - Parameter group: the group's name.
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func unpin(group: String) async throws(JetStreamError) {
        var body = JSONMembers()
        body.set("group", group)
        _ = try await context.call("CONSUMER.UNPIN.\(stream.name).\(name)", body.value)
    }

    /// Has another server lead the consumer.
    ///
    /// - Throws: ``JetStreamError``: `noConsumer`, `noStream`, and what every call throws.
    public func stepDown() async throws(JetStreamError) {
        _ = try await context.call("CONSUMER.LEADER.STEPDOWN.\(stream.name).\(name)")
    }
}
