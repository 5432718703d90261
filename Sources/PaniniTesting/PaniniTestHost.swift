// Owns: a host for one test, from ready to stopped, with a broker of its own. Any thread; the services live on the host's.

public import Logging
public import LuaVM
public import NATS
import NATSProtocol
import NIOCore
public import Panini
import Synchronization

/// Services that run for one test, and a client beside them.
///
/// ```swift
/// try await PaniniTestHost.run(scripts: ["orders.lua"]) { test in
///     let reply = try await test.request("orders.total", ["sku": "tea", "count": 2])
///     #expect(reply["total"] == 9)
/// }
/// ```
public struct PaniniTestHost: Sendable {
    /// A client of the test's broker.
    public let client: NATSClient
    /// The broker's address.
    public let url: String
    /// What each service serves, in the order in which they became ready.
    public let services: [PaniniServiceReport]
    /// The host under test.
    public let host: PaniniHost

    /// Runs services on a broker of their own while `body` runs.
    ///
    /// - Parameters:
    ///   - scripts: The services' scripts.
    ///   - options: Options of `panini.app{...}` as texts, which win over the scripts' own.
    ///   - logger: Where everything logs; by default nowhere.
    ///   - configure: Changes the configuration before the host is made: modules, middlewares.
    ///   - body: The test; called when every service is ready.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws; ``PaniniError`` when a service cannot start, or does not end in order.
    public static func run<Value: Sendable>(
        scripts: [String],
        options: [String: String] = [:],
        logger: Logger? = nil,
        configure: (inout PaniniHostConfiguration) -> Void = { _ in },
        _ body: (PaniniTestHost) async throws -> Value
    ) async throws -> Value {
        let logger = logger ?? Logger(label: "panini.testing") { _ in SwiftLogNoOpLogHandler() }
        let broker = try await PaniniTestBroker.start(logger: logger)
        do {
            var overrides = PaniniOverrides()
            for (name, text) in options { overrides.set(name, text: text, origin: "the test") }
            var configuration = PaniniHostConfiguration(scripts: scripts, overrides: overrides)
            configuration.isStrict = true
            configure(&configuration)
            configuration.overrides.useOnly(broker: broker.url, origin: "the test's broker")
            let value = try await run(configuration, broker: broker, logger: logger, body)
            await broker.stop()
            return value
        } catch {
            await broker.stop()
            throw error
        }
    }

    private static func run<Value: Sendable>(
        _ configuration: PaniniHostConfiguration,
        broker: PaniniTestBroker,
        logger: Logger,
        _ body: (PaniniTestHost) async throws -> Value
    ) async throws -> Value {
        let running = try await RunningHost.start(configuration, logger: logger)
        let outcome: Result<Value, any Error>
        do {
            let client = try await NATSClient.connect(to: broker.url, logger: logger)
            let test = PaniniTestHost(client: client, url: broker.url, services: running.reports, host: running.host)
            do {
                outcome = .success(try await body(test))
            } catch {
                outcome = .failure(error)
            }
            await client.close()
        } catch {
            outcome = .failure(error)
        }
        let end = await running.stop()
        let value = try outcome.get()
        if let end { throw end }
        return value
    }

    /// Asks a service, and gives its answer.
    ///
    /// - Parameters:
    ///   - subject: Where the question goes.
    ///   - message: Sent as JSON; ``LuaValue/nil`` is an empty message.
    ///   - timeout: Seconds to wait.
    /// - Returns: The answer, decoded from JSON; ``LuaValue/nil`` for an empty one.
    /// - Throws: `NATSError` without an answer; ``PaniniServiceError`` for an error that the service answered with.
    public func request(_ subject: String, _ message: LuaValue = .nil, timeout: Double = 10) async throws -> LuaValue {
        let codec = try TestCodec()
        let reply = try await client.request(
            try codec.encode(message),
            to: subject,
            timeout: .nanoseconds(Int64(timeout * 1e9))
        )
        if let code = reply.headers["Nats-Service-Error-Code"] {
            throw PaniniServiceError(code: Int(code) ?? 500, message: reply.headers["Nats-Service-Error"] ?? "")
        }
        return try codec.decode(Array(reply.payload.readableBytesView))
    }

    /// Publishes a message as JSON.
    ///
    /// - Parameters:
    ///   - subject: Where it goes.
    ///   - message: Sent as JSON; ``LuaValue/nil`` is an empty message.
    /// - Throws: `NATSError` when the connection does not take it.
    public func publish(_ subject: String, _ message: LuaValue = .nil) async throws {
        try client.publish(try TestCodec().encode(message), to: subject)
        try await client.flush()
    }
}

/// An error that a service answered a request with.
public struct PaniniServiceError: Error, Equatable, Sendable {
    /// Its number, such as 404.
    public let code: Int
    /// Its text.
    public let message: String

    /// Makes an error to compare with.
    ///
    /// - Parameters:
    ///   - code: Its number.
    ///   - message: Its text.
    public init(code: Int, message: String) {
        self.code = code
        self.message = message
    }
}
