// The first words with a server, against a scripted one: what is written byte for byte, and what each way of failing
// gives.

import Logging
import NATSProtocol
import NIOCore
import NIOEmbedded
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct HandshakeTests {
    @Test("rule 1: CONNECT and PING go out in one write after INFO") func saysConnectAndPingInOneWriteAfterInfo()
        async throws
    {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send(MockServer.info)
        #expect(try await peer.read(through: "PING\r\n") == MockServer.connect)
        #expect(try await harness.on { connection, _ in connection.state } == .connecting)
        try await peer.send("PONG\r\n")
        try await connected.get()
        let seen = try await harness.on { connection, recorder in
            (connection.state, connection.serverInfo?.serverID, recorder.events.count)
        }
        #expect(seen.0 == .connected)
        #expect(seen.1 == "mock")
        #expect(seen.2 == 1)
        // INFO, PONG: two reads; CONNECT with PING: one write.
        #expect(try await harness.on { connection, _ in connection.statistics.writes } == 1)
    }

    @Test("rule 1: INFO in pieces")
    func takesInfoInPieces() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        for character in MockServer.info + "" {
            try await peer.send(String(character))
        }
        #expect(try await peer.read(through: "PING\r\n") == MockServer.connect)
        for character in ["P", "ON", "G\r", "\n"] {
            try await peer.send(character)
        }
        try await connected.get()
    }

    @Test("rule 1: with verbose a +OK comes first, and a PING is answered")
    func takesVerboseConfirmationsAndPings() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.verbose = true }
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send(MockServer.info)
        #expect(try await peer.read(through: "PING\r\n").contains("\"verbose\":true"))
        try await peer.send("+OK\r\nPING\r\n")
        #expect(try await peer.read(through: "\r\n") == "PONG\r\n")
        try await peer.send("PONG\r\n")
        try await connected.get()
        try await harness.subscribe("a")
        try await peer.send("+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n")
        try await harness.eventually("the message") { $1.messages.count == 1 }
    }

    /// Whatever follows PONG in the same read belongs to the connection already.
    @Test("rule 1: more may follow PONG in the same read")
    func goesOnParsingBehindPong() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        try await harness.subscribe("a")
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send(MockServer.info)
        _ = try await peer.read(through: "PING\r\n")
        let second = MockServer.info.replacingMaxPayload(with: 5)
        try await peer.send("PONG\r\n" + second + "MSG a 1 2\r\nhi\r\nPING\r\n")
        try await connected.get()
        try await harness.eventually("the message") { $1.messages.count == 1 }
        #expect(try await harness.on { connection, _ in connection.serverInfo?.maxPayload } == 5)
        #expect(try await peer.read(through: "PONG\r\n") == "SUB a 1\r\nPONG\r\n")
    }

    @Test func ignoresMessagesBeforePong() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        try await harness.subscribe("a")
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send(MockServer.info + "MSG a 1 5\r\nearly\r\n")
        _ = try await peer.read(through: "PING\r\n")
        try await peer.send("PONG\r\nMSG a 1 4\r\nlate\r\n")
        try await connected.get()
        try await harness.eventually("the message") { !$1.messages.isEmpty }
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["late"])
    }

    @Test(
        "rule 1: one deadline spans all of it, TLS included",
        arguments: ["", "INFO {}", "INFO {}\r\n", "INFO {}\r\n+OK\r\n", "INFO {\"tls_required\":true}\r\n"]
    )
    func oneDeadlineSpansIt(_ words: String) async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.connectTimeout = .milliseconds(100) }
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        // On a slow machine the deadline may have passed already.
        try? await peer.send(words)
        let error = await #expect(throws: NATSError.self) { try await connected.get() }
        #expect(error?.code == .connectTimeout, "\(error?.message ?? "none")")
        try await peer.closed()
        #expect(try await harness.on { connection, _ in connection.state } == .closed)
    }

    /// Giving up closes the socket, which fails its connect at once; that must not become the reason.
    @Test("rule 1: the deadline spans the TCP connection, and is the reason then")
    func theDeadlineIsTheReasonWhenTCPHangs() throws {
        let loop = EmbeddedEventLoop()
        let recorder = Recorder()
        let connection = NATSConnection(
            configuration: NATSConnectionConfiguration(),
            eventLoop: loop,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            delegate: recorder
        )
        var channels: [EmbeddedChannel] = []
        connection.connector = { _, handler in
            let opened = loop.makePromise(of: Void.self)
            channels.append(EmbeddedChannel(handlers: [FailOnClose(opened), handler], loop: loop))
            return opened.futureResult
        }
        var code: NATSError.Code?
        connection.connect().assumeIsolated().whenFailure { code = ($0 as? NATSError)?.code }
        loop.advanceTime(by: .milliseconds(4999))
        #expect(code == nil && connection.state == .connecting)
        loop.advanceTime(by: .milliseconds(1))
        #expect(code == .connectTimeout)
        #expect(connection.state == .closed)
        #expect(recorder.events.count == 1)
        #expect(channels.map(\.isActive) == [false])
    }

    /// As a socket that is still connecting does.
    private final class FailOnClose: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        private let opened: EventLoopPromise<Void>

        init(_ opened: EventLoopPromise<Void>) {
            self.opened = opened
        }

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            opened.fail(ChannelError.ioOnClosedChannel)
            context.close(mode: mode, promise: promise)
        }
    }

    @Test(
        "rule 1: each way of failing has its code",
        arguments: [
            ("-ERR 'Authorization Violation'\r\n", NATSError.Code.authorization),
            ("INFO {}\r\n-ERR 'Authorization Violation'\r\n", .authorization),
            ("INFO {}\r\n-ERR 'Authentication Timeout'\r\n", .authorization),
            ("INFO {}\r\n-ERR 'maximum connections exceeded'\r\n", .serverError),
            ("INFO {\"tls_required\":true}\r\nPING\r\n", .protocolViolation),
            // The beginning of an operation that encrypted bytes would complete.
            ("INFO {\"tls_required\":true}\r\n-ERR 'inj", .protocolViolation),
            ("INFO nonsense\r\n", .protocolViolation),
            ("HTTP/1.1 400 Bad Request\r\n", .protocolViolation),
            ("PONG\r\n", .protocolViolation),
            ("PING\r\n", .protocolViolation),
            ("+OK\r\n", .protocolViolation),
            ("MSG a 1 0\r\n\r\n", .protocolViolation),
        ]
    )
    func failsByKind(_ words: String, _ code: NATSError.Code) async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send(words)
        #expect(await failureCode(of: connected) == code)
        try await peer.closed()
        #expect(try await harness.on { connection, _ in connection.state } == .closed)
        #expect(try await harness.events().count == 1)
    }

    @Test func aServerThatClosesAtOnceIsAFailure() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let connected = try await harness.start { connection, _ in connection.connect() }
        try await server.accept().close()
        #expect(await failureCode(of: connected) == .disconnected)
    }

    @Test func nobodyListening() async throws {
        let server = try await MockServer.start()
        try await server.stop()
        let harness = try await ConnectionHarness([server.address])
        let connected = try await harness.start { connection, _ in connection.connect() }
        #expect(await failureCode(of: connected) == .connectFailed)
        #expect(await failureCode(of: try await harness.start { connection, _ in connection.connect() }) == .closed)
    }

    @Test("rule 13: a server that is not there is passed over at once")
    func triesTheNextServer() async throws {
        let dead = try await MockServer.start()
        try await dead.stop()
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([dead.address, server.address])
        _ = try await harness.connect(to: server)
        #expect(try await harness.events().count == 2)
    }

    /// Wrong credentials do not get better by trying again.
    @Test("rule 16: wrong credentials end the first connection at once")
    func anAuthorizationFailureEndsItWhateverIsConfigured() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.retryOnFailedConnect = true }
        let connected = try await harness.start { connection, _ in connection.connect() }
        try await server.accept().send("INFO {}\r\n-ERR 'Authorization Violation'\r\n")
        #expect(await failureCode(of: connected) == .authorization)
    }

    @Test("rule 2: CONNECT mirrors the headers of INFO") func withoutHeadersTheClientDoesNotAskForThem() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send("INFO {}\r\n")
        let words = try await peer.read(through: "PING\r\n")
        #expect(words.contains("\"headers\":false,\"no_responders\":false"))
        try await peer.send("PONG\r\n")
        try await connected.get()
        #expect(try await harness.publish("x", to: "a", headers: ["A": "b"]) == .headersUnsupported)
        #expect(try await harness.publish("x", to: "a") == nil)
    }

    @Test("rule 27: retry on failed connect") func keepsTryingUntilAServerIsThere() async throws {
        let placeholder = try await MockServer.start()
        try await placeholder.stop()
        let harness = try await ConnectionHarness([placeholder.address]) { $0.retryOnFailedConnect = true }
        try await harness.subscribe("a.b")
        let connected = try await harness.start { connection, _ in connection.connect() }
        #expect(try await harness.publish("early", to: "x") == nil)
        // The server's limit is not known yet; the buffer's counts.
        let large = String(repeating: "x", count: 2 << 20)
        #expect(try await harness.publish(large, to: "y") == nil)
        try await harness.eventually("three tries") { _, recorder in recorder.events.count >= 3 }
        for (index, event) in try await harness.events().prefix(3).enumerated() {
            guard case .retryingConnect(let attempt, let error) = event else {
                Issue.record("unexpected \(event)")
                continue
            }
            #expect(attempt == index + 1)
            #expect(error.code == .connectFailed)
        }
        let server = try await MockServer.start(port: placeholder.port)
        let peer = try await server.acceptHandshake(info: MockServer.info.replacingMaxPayload(with: 4 << 20))
        try await connected.get()
        #expect(try await peer.read(through: "early\r\n") == "SUB a.b 1\r\nPUB x 5\r\nearly\r\n")
        #expect(try await peer.read(through: "x\r\n") == "PUB y \(2 << 20)\r\n\(large)\r\n")
        guard case .connected? = try await harness.events().last else {
            Issue.record("the first connection is not a reconnect")
            return
        }
    }
}

extension String {
    func replacingMaxPayload(with size: Int) -> String {
        String(
            decoding: split(separator: "1048576", omittingEmptySubsequences: false).joined(separator: "\(size)").utf8,
            as: UTF8.self
        )
    }
}
