// What is asked of the server right after `run()` has begun waits for the first connection, within its own time.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct FirstConnectionTests {
    private func code<Value>(_ body: () async throws(NATSError) -> Value) async -> NATSError.Code? {
        do throws(NATSError) {
            _ = try await body()
            return nil
        } catch {
            return error.code
        }
    }

    @Test("requests, flushes and requests of many wait for the connection that run() makes")
    func waits() async throws {
        let server = try await MockServer.start()
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let running = Task { try await client.run() }
        async let answer = client.request("?", to: "one", timeout: .seconds(60))
        async let flushed: Void = client.flush(timeout: .seconds(60))
        let peer = try await server.accept()
        // Long enough that a request which does not wait has failed by now.
        try await Task.sleep(for: .milliseconds(50))
        try await peer.send(MockServer.info)
        _ = try await peer.read(through: "PING\r\n")
        try await peer.send("PONG\r\n")
        let said = try await peer.read(through: "?\r\n")
        let reply = try #require(said.split(separator: " ").first { $0.hasPrefix("_INBOX") && !$0.hasSuffix("*") })
        // The two tasks begin in either order.
        if !said.contains("PING\r\n") { _ = try await peer.read(through: "PING\r\n") }
        try await peer.send("MSG \(reply) 1 2\r\nhi\r\nPONG\r\n")
        #expect(try await answer.text == "hi")
        try await flushed
        await client.close()
        try await running.value
    }

    @Test func theirTimeIsOverWithoutAConnection() async throws {
        let server = try await MockServer.start()
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let running = Task { try await client.run() }
        _ = try await server.accept()
        #expect(
            await code { () throws(NATSError) in try await client.request("?", to: "a", timeout: .milliseconds(20)) }
                == .timeout
        )
        #expect(await code { () throws(NATSError) in try await client.flush(timeout: .milliseconds(20)) } == .timeout)
        #expect(
            await code { () throws(NATSError) in try await client.requestMany("?", to: "a", maxWait: .milliseconds(20))
            }
                == .timeout
        )
        let cancelled = Task { try await client.request("?", to: "a", timeout: .seconds(60)) }
        cancelled.cancel()
        let outcome = await cancelled.result
        #expect(throws: NATSError.self) { try outcome.get() }
        let waiting = Task {
            await code { () throws(NATSError) in try await client.request("?", to: "a", timeout: .seconds(60)) }
        }
        try await Task.sleep(for: .milliseconds(20))
        await client.close()
        #expect(await waiting.value == .closed)
        #expect(await code { () throws(NATSError) in try await client.request("?", to: "a") } == .closed)
        try await running.value
    }

    @Test func whatFailsAtTheFirstConnectionFailsThem() async throws {
        let server = try await MockServer.start()
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let running = Task { try await client.run() }
        let waiting = Task {
            await code { () throws(NATSError) in try await client.request("?", to: "a", timeout: .seconds(60)) }
        }
        let peer = try await server.accept()
        try await Task.sleep(for: .milliseconds(20))
        try await peer.send("INFO {}\r\n-ERR 'Authorization Violation'\r\n")
        #expect(await waiting.value == .authorization)
        _ = await running.result
    }

    @Test func nobodyWaitsForAConnectionThatWasLost() async throws {
        let server = try await MockServer.start()
        var configuration = TestClient.configuration(server.port)
        configuration.reconnectWait = .hours(1)
        configuration.reconnectWaitMaximum = .hours(1)
        let client = NATSClient(configuration: configuration, logger: TestClient.logger)
        let running = Task { try await client.run() }
        let peer = try await server.acceptHandshake()
        #expect(try await eventually { await client.serverInfo() != nil })
        try await peer.close()
        #expect(
            try await eventually {
                await self.code { () throws(NATSError) in try await client.request("?", to: "a") } == .disconnected
            }
        )
        #expect(await code { () throws(NATSError) in try await client.flush() } == .disconnected)
        await client.close()
        _ = await running.result
    }
}
