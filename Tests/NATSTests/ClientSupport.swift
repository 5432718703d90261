// What the tests of NATSClient share: clients that say nothing, and waiting for something to become true.

import Logging
import NIOCore
import Testing

@testable import NATS

enum TestClient {
    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    static func configuration(_ port: Int) -> NATSConnectionConfiguration {
        var configuration = NATSConnectionConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: port)])
        configuration.connectTimeout = .seconds(60)
        configuration.reconnectWait = .milliseconds(20)
        configuration.reconnectWaitMaximum = .milliseconds(50)
        return configuration
    }

    static func connect(_ server: RealServer) async throws -> NATSClient {
        try await NATSClient.connect(configuration(server.port), logger: logger)
    }

    /// How many subscriptions the client has on its connection.
    static func subscriptions(_ client: NATSClient) async throws -> Int {
        try await client.eventLoop.submit { client.bound.value.connection.subscriptions.count }.get()
    }
}

/// Waits up to a minute for `condition`.
func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(1))
    }
    return false
}
