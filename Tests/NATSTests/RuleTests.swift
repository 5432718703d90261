// Protocol rules that need a test of their own; Tests/README.md tells where the others have theirs.

import NATSProtocol
import NIOCore
import NIOPosix
import NIOSSL
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct RuleTests {
    @Test("rules 1, 9, 10, 13, 15, 18, 20 and 21: the defaults")
    func defaults() {
        let configuration = NATSConnectionConfiguration()
        #expect(configuration.connectTimeout == .seconds(5))
        #expect(configuration.pingInterval == .seconds(120) && configuration.maxPingsOutstanding == 2)
        #expect(configuration.reconnectWait == .seconds(2) && configuration.reconnectJitter == .milliseconds(100))
        #expect(configuration.reconnectWaitMaximum == .seconds(8) && configuration.reconnectDelay == nil)
        #expect(configuration.reconnect && configuration.randomizeServers && !configuration.ignoresDiscoveredServers)
        #expect(configuration.reconnectBufferBytes == 8 << 20)
        #expect(configuration.maxReconnectAttempts < 0)
        #expect(configuration.maxDiscoveredServers == 128)
        #expect(configuration.authenticationRetryTime == .minutes(10) && configuration.maxControlLineBytes == 4096)
        #expect(!configuration.ignoresAuthenticationErrors && !configuration.retryOnFailedConnect)
        #expect(NATSClient.defaultBufferLimit == 500_000 && NATSClient.defaultByteLimit == 64 << 20)
        #expect(NATSClient.defaultFlushTimeout == .seconds(10) && NATSClient.defaultDrainTimeout == .seconds(30))
    }

    @Test("rule 2: no echo is refused by the client when the server is too old for it")
    func noEchoWithAnOldServer() async throws {
        for (level, code) in [("0", NATSError.Code.echoUnsupported), ("1", nil)] {
            let server = try await MockServer.start()
            let harness = try await ConnectionHarness([server.address]) { $0.echo = false }
            let connected = try await harness.start { connection, _ in connection.connect() }
            let peer = try await server.accept()
            try await peer.send("INFO {\"proto\":\(level)}\r\n")
            if code == nil {
                #expect(try await peer.read(through: "PING\r\n").contains("\"echo\":false"))
                try await peer.send("PONG\r\n")
            }
            #expect(await failureCode(of: connected) == code)
        }
    }

    @Test("rules 5 and 6: a bad header costs itself, never its message or the connection; the status stands apart")
    func headersOfMessages() async throws {
        let server = try await MockServer.start()
        async let connecting = NATSClient.connect(
            TestClient.configuration(server.port),
            logger: TestClient.logger
        )
        let peer = try await server.acceptHandshake()
        let client = try await connecting
        let messages = try await client.subscribe("a")
        _ = try await peer.read(through: "SUB a 1\r\n")
        let blocks = [
            "NATS/1.0\r\nGood: 1\r\nno colon\r\nb d: x\r\n: none\r\ngood:2\r\nGood:  3 \r\n\r\n",
            "NATS/1.0 408 Request Timeout\r\nGood: 1\r\n\r\n",
            "NATS/1.0 1234\r\nGood: 1\r\n\r\n",
            "nonsense\r\n\r\n",
        ]
        for block in blocks {
            try await peer.send("HMSG a 1 \(block.utf8.count) \(block.utf8.count + 4)\r\n\(block)body\r\n")
        }
        var iterator = messages.makeAsyncIterator()
        var received: [NATSMessage] = []
        for _ in blocks {
            if let message = try await iterator.next() { received.append(message) }
        }
        #expect(received.map(\.text) == ["body", "body", "body", "body"])
        #expect(received[0].headers.fields.map(\.name) == ["Good", "good", "Good"])
        #expect(received[0].headers.values(of: "Good") == ["1", "3"] && received[0].headers["good"] == "2")
        #expect(received[0].headers.status == nil)
        #expect(received[1].headers.status == 408 && received[1].headers.statusDescription == "Request Timeout")
        #expect(received[1].headers.fields.map(\.name) == ["Good"])
        #expect(received[2].headers.status == nil && received[2].headers["Good"] == "1")
        #expect(received[3].headers.isEmpty)
        #expect(await client.statistics().reconnects == 0)
        // What goes out keeps the same rules: one line for each value, and no line that a value forges.
        var headers = NATSHeaders()
        for (name, value, isAllowed) in [
            ("A", "1", true), ("a", "2", true), ("A", "3", true), ("B", "x\r\nC: d", false), ("b:", "1", false),
        ] {
            let isAdded = headers.add(name, value)
            #expect(isAdded == isAllowed)
        }
        try client.publish("x", to: "b", headers: headers)
        let block = "NATS/1.0\r\nA: 1\r\na: 2\r\nA: 3\r\n\r\n"
        #expect(
            try await peer.read(through: "x\r\n")
                == "HPUB b \(block.utf8.count) \(block.utf8.count + 1)\r\n\(block)x\r\n"
        )
        await client.close()
    }

    @Test("rules 8 and 15: what comes and goes without a connection is not sent, and ends once")
    func unsubscribingTwice() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await harness.subscribe("kept")
        _ = try await first.read(through: "SUB kept 1\r\n")
        try await first.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        try await harness.on { connection, recorder in
            let gone = try connection.subscribe(subject: "gone", queue: nil, handler: recorder)
            connection.unsubscribe(gone)
            connection.unsubscribe(gone)
            connection.unsubscribe(gone, after: 5)
            connection.publish("last", to: "a")
        }
        #expect(try await harness.on { $1.ends } == [.init(sid: 2, reason: .unsubscribed)])
        let second = try await server.acceptHandshake()
        #expect(try await second.read(through: "last\r\n") == "SUB kept 1\r\nPUB a 4\r\nlast\r\n")
        // Never the same sid again.
        #expect(try await harness.subscribe("new") == 3)
    }

    @Test("rule 26: bytes are those of the socket, and all counters are kept over reconnects")
    func statistics() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await harness.subscribe("a")
        #expect(try await harness.publish("12345", to: "b") == nil)
        #expect(try await harness.publish("x", to: "b", headers: ["A": "b"]) == nil)
        try await harness.request("?", to: "c", context: 1)
        let said = try await first.read(through: "?\r\n")
        let heard = "MSG a 1 2\r\nhi\r\nHMSG a 1 12 13\r\nNATS/1.0\r\n\r\n!\r\nMSG x 99 0\r\n\r\n-ERR 'Odd'\r\nPI"
        try await first.send(heard)
        try await harness.eventually("all of it") { connection, _ in connection.statistics.serverErrors == 1 }
        var expected = NATSStatistics()
        expected.messagesOut = 3
        expected.messagesIn = 3
        expected.unclaimedMessages = 1
        expected.serverErrors = 1
        expected.bytesOut = UInt64((MockServer.connect + said).utf8.count)
        expected.bytesIn = UInt64((MockServer.info + "PONG\r\n" + heard).utf8.count)
        let before = try await harness.on { connection, _ in connection.statistics }
        expected.writes = before.writes
        #expect(before == expected)
        try await first.close()
        let second = try await server.acceptHandshake()
        let again = try await second.read(through: "SUB a 1\r\n") + second.read(through: "\r\n")
        try await second.send("MSG a 1 0\r\n\r\n")
        try await harness.eventually("one more") { connection, _ in connection.statistics.messagesIn == 4 }
        expected.messagesIn = 4
        expected.reconnects = 1
        expected.bytesOut += UInt64((MockServer.connect + again).utf8.count)
        expected.bytesIn += UInt64((MockServer.info + "PONG\r\nMSG a 1 0\r\n\r\n").utf8.count)
        let after = try await harness.on { connection, _ in connection.statistics }
        #expect(after.writes > before.writes)
        expected.writes = after.writes
        #expect(after == expected)
    }

    @Test("rule 24: TLS 1.2 is the least that is spoken", arguments: [(TLSVersion.tlsv11, true), (.tlsv12, false)])
    func oldTLS(_ version: TLSVersion, _ isRefused: Bool) async throws {
        let certificates = try Certificates.shared.get()
        var settings = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(certificates.path("server.pem")).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: certificates.path("server.key"), format: .pem))
        )
        settings.minimumTLSVersion = .tlsv1
        settings.maximumTLSVersion = version
        let context = try NIOSSLContext(configuration: settings)
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let harness = try await ConnectionHarness([
            NATSServerAddress(host: "127.0.0.1", port: server.localAddress?.port ?? 0)
        ]) {
            $0.tls.isFirst = true
            $0.tls.caFile = certificates.path("ca.pem")
            if !isRefused { $0.connectTimeout = .milliseconds(500) }
        }
        let connected = try await harness.start { connection, _ in connection.connect() }
        // The one that is good enough says nothing afterwards.
        #expect(await failureCode(of: connected) == (isRefused ? .tlsFailed : .connectTimeout))
        try await server.close().get()
    }
}
