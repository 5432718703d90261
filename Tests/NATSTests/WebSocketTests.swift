// Rule 28: NATS through WebSocket frames, against a real nats-server.

import Foundation
import NATS
import NATSProtocol
import NIOCore
import Testing

@Suite(.serialized, .timeLimit(.minutes(5))) struct WebSocketTests {
    private func echo(_ configuration: NATSConnectionConfiguration, bytes: Int) async throws {
        let client = try await NATSClient.connect(configuration)
        let messages = try await client.subscribe("ws.>")
        try await client.flush()
        let payload = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for _ in 0..<3 {
            try client.publish(payload, to: "ws.test", headers: ["Kind": "test"])
        }
        var iterator = messages.makeAsyncIterator()
        for _ in 0..<3 {
            let message = try await iterator.next()
            #expect(message?.payload == ByteBuffer(bytes: payload))
            #expect(message?.headers["Kind"] == "test")
        }
        await client.close()
    }

    @Test("rule 28: ws://, small and large messages", arguments: [0, 16, 4096, 900_000])
    func plain(_ bytes: Int) async throws {
        let port = try RealServer.freePort()
        let server = try RealServer(configuration: "websocket { host: \"127.0.0.1\", port: \(port), no_tls: true }")
        try await echo(try NATSConnectionConfiguration(servers: ["ws://127.0.0.1:\(port)"]), bytes: bytes)
        server.kill()
    }

    @Test("rule 28: wss:// verifies the server like tls://")
    func secure() async throws {
        let certificates = try Certificates.shared.get()
        let port = try RealServer.freePort()
        let server = try RealServer(
            configuration: "websocket { host: \"127.0.0.1\", port: \(port)\n \(certificates.serverBlock()) }"
        )
        var configuration = try NATSConnectionConfiguration(servers: ["wss://localhost:\(port)"])
        let refused = await #expect(throws: NATSError.self) { try await NATSClient.connect(configuration) }
        #expect(refused?.code == .tlsFailed)
        configuration.tls.caFile = certificates.path("ca.pem")
        try await echo(configuration, bytes: 20_000)
        server.kill()
    }

    @Test("rule 28: a lost WebSocket is made again with its subscriptions")
    func reconnect() async throws {
        let port = try RealServer.freePort()
        let server = try RealServer(configuration: "websocket { host: \"127.0.0.1\", port: \(port), no_tls: true }")
        var configuration = try NATSConnectionConfiguration(servers: ["ws://127.0.0.1:\(port)"])
        configuration.reconnectWait = .milliseconds(50)
        configuration.reconnectWaitMaximum = .milliseconds(50)
        let client = try await NATSClient.connect(configuration)
        let messages = try await client.subscribe("again")
        server.kill()
        try await Task.sleep(for: .milliseconds(100))
        try client.publish("buffered", to: "again")
        try server.start()
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.payload == ByteBuffer(string: "buffered"))
        await client.close()
    }

    @Test("rule 28: what is no WebSocket is told in one line")
    func refusals() async throws {
        let server = try RealServer(configuration: "http: \"127.0.0.1:\(try RealServer.freePort())\"")
        let wrong = await #expect(throws: NATSError.self) {
            try await NATSClient.connect(try NATSConnectionConfiguration(servers: ["ws://127.0.0.1:\(server.port)"]))
        }
        #expect(wrong?.code == .connectFailed)
        let mixed = #expect(throws: NATSError.self) {
            try NATSConnectionConfiguration(servers: ["ws://127.0.0.1:1", server.url])
        }
        #expect(mixed?.code == .invalidAddress)
        var configuration = try NATSConnectionConfiguration(servers: ["ws://127.0.0.1:1"])
        configuration.tls.isRequired = true
        let plain = await #expect(throws: NATSError.self) { try await NATSClient.connect(configuration) }
        #expect(plain?.code == .tlsFailed)
        configuration.servers.append(try NATSServerAddress(parsing: server.url))
        let late = await #expect(throws: NATSError.self) { try await NATSClient.connect(configuration) }
        #expect(late?.code == .invalidAddress)
        server.kill()
    }
}
