// Lines as long as a server takes, and one byte more: the limit is the real server's, and what is beyond it never reaches it.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct LineLengthTests {
    private static func text(_ count: Int) -> String { String(repeating: "a", count: count) }

    /// `count` bytes of arguments in a PUB without a reply and with one digit of size.
    private func check(
        _ harness: ConnectionHarness,
        _ what: String,
        fits: @escaping @Sendable (NATSConnection) throws -> NATSPublishError?,
        exceeds: @escaping @Sendable (NATSConnection) throws -> NATSPublishError?
    ) async throws {
        #expect(try await harness.on { connection, _ in try fits(connection) } == nil, "\(what)")
        let flush = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        try await flush.get()
        let before = try await harness.on { connection, _ in connection.outbound.readableBytes }
        #expect(
            try await harness.on { connection, _ in try exceeds(connection) } == .lineTooLong(limit: 4096),
            "\(what)"
        )
        #expect(try await harness.on { connection, _ in connection.outbound.readableBytes } == before, "\(what)")
    }

    @Test("what a real server takes is accepted to the last byte, and one byte more is refused here")
    func limits() async throws {
        let server = try RealServer()
        let harness = try await ConnectionHarness([NATSServerAddress(host: "127.0.0.1", port: server.port)])
        let connected = try await harness.start { connection, _ in connection.connect() }
        try await connected.get()
        try await check(harness, "PUB") {
            $0.publish("x", to: Self.text(4094))
        } exceeds: {
            $0.publish("x", to: Self.text(4095))
        }
        try await check(harness, "PUB with a larger size") {
            $0.publish(Self.text(100), to: Self.text(4092))
        } exceeds: {
            $0.publish(Self.text(100), to: Self.text(4093))
        }
        try await check(harness, "PUB with a reply") {
            $0.publish("x", to: "a", reply: Self.text(4092))
        } exceeds: {
            $0.publish("x", to: "a", reply: Self.text(4093))
        }
        // NATS/1.0, A: b and the blank line are 18 bytes.
        try await check(harness, "HPUB") {
            $0.publish("x", to: Self.text(4090), headers: ["A": "b"])
        } exceeds: {
            $0.publish("x", to: Self.text(4091), headers: ["A": "b"])
        }
        try await check(harness, "a request") { connection in
            guard case .refused(let refusal) = connection.request("x", to: "a", context: 1, Recorder()) else {
                return nil
            }
            return refusal
        } exceeds: { connection in
            let sink = Recorder()
            guard case .refused(let refusal) = connection.request("x", to: Self.text(4080), context: 2, sink) else {
                return nil
            }
            return refusal
        }
        #expect(try await harness.on { connection, _ in connection.pendingRequests } <= 1)
        for (subject, queue) in [(4096 - 2, 0), (2000, 4096 - 2 - 2001)] {
            // The next sid has one digit.
            let queueName = queue > 0 ? Self.text(queue) : nil
            try await harness.on { connection, recorder in
                _ = try connection.subscribe(subject: Self.text(subject), queue: queueName, handler: recorder)
            }
            let flush = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
            try await flush.get()
            await #expect(throws: NATSError.self) {
                try await harness.on { connection, recorder in
                    _ = try connection.subscribe(subject: Self.text(subject + 1), queue: queueName, handler: recorder)
                }
            }
        }
        #expect(try await harness.events().count == 1, "the connection stays")
    }

    @Test func limitsHoldWithoutAConnectionToo() async throws {
        let harness = try await ConnectionHarness([NATSServerAddress(host: "127.0.0.1", port: 1)])
        #expect(try await harness.publish("x", to: Self.text(4095)) == .lineTooLong(limit: 4096))
        #expect(try await harness.publish("x", to: Self.text(4094)) == nil)
    }

    @Test func theLimitCanBeAnotherOne() async throws {
        let harness = try await ConnectionHarness([NATSServerAddress(host: "127.0.0.1", port: 1)]) {
            $0.maxControlLineBytes = 8192
        }
        #expect(try await harness.publish("x", to: Self.text(8190)) == nil)
        #expect(try await harness.publish("x", to: Self.text(8191)) == .lineTooLong(limit: 8192))
    }

    @Test(
        "an inbox prefix that no server takes is refused before there is a connection",
        arguments: [
            "a b", "", "a.", "a.*", String(repeating: "i", count: 4090), "x\r\nPUB y 0",
        ]
    )
    func inboxPrefixes(_ prefix: String) async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.inboxPrefix = prefix }
        let connected = try await harness.start { connection, _ in connection.connect() }
        #expect(await failureCode(of: connected) == .invalidArgument)
    }

    @Test func publishesOfTheClientAreRefusedWhereTheyAreMade() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        for headers in [NATSHeaders(), ["A": "b"]] as [NATSHeaders] {
            #expect(throws: NATSError.self) {
                try client.publish("x", to: Self.text(4095), headers: headers)
            }
        }
        #expect(throws: NATSError.self) { try client.publish("x", to: "a", reply: Self.text(4095)) }
        try client.publish("x", to: Self.text(4094))
        try await client.flush()
        await #expect(throws: NATSError.self) { try await client.subscribe(Self.text(4095)) }
        await #expect(throws: NATSError.self) { try await client.request("x", to: Self.text(4095)) }
        await #expect(throws: NATSError.self) { try await client.requestMany("x", to: Self.text(4095)) }
        try await client.flush()
        #expect(await client.statistics().reconnects == 0)
        #expect(try await TestClient.subscriptions(client) == 0)
        await client.close()
    }
}
