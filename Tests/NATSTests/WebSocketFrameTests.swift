// Rule 28, frame by frame against a scripted server: the upgrade, what each write becomes, and whatever frames a server may
// choose.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct WebSocketFrameTests {
    private func harness(
        _ server: MockServer,
        path: String = "",
        _ configure: @escaping @Sendable (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> ConnectionHarness {
        try await ConnectionHarness(
            [try NATSServerAddress(parsing: "ws://127.0.0.1:\(server.port)\(path)")],
            configure
        )
    }

    private func connect(_ harness: ConnectionHarness, _ server: MockServer) async throws -> MockWebSocket {
        let connected = try await harness.start { connection, _ in connection.connect() }
        let socket = try await MockWebSocket.acceptHandshake(server)
        try await connected.get()
        return socket
    }

    @Test("rule 28: the upgrade is plain RFC 6455, without a subprotocol")
    func upgrade() async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server, path: "/nats/here?a=b")
        let socket = try await connect(harness, server)
        #expect(socket.request.first == "GET /nats/here?a=b HTTP/1.1")
        let headers = socket.request.map { $0.lowercased() }
        #expect(headers.contains("host: 127.0.0.1:\(server.port)"))
        #expect(headers.contains("upgrade: websocket"))
        #expect(headers.contains("connection: upgrade"))
        #expect(headers.contains("sec-websocket-version: 13"))
        #expect(!headers.contains { $0.hasPrefix("sec-websocket-protocol") || $0.hasPrefix("sec-websocket-ext") })
    }

    @Test("rule 12: over WebSocket the servers of ws_connect_urls count")
    func discovery() async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server, path: "/nats")
        let socket = try await connect(harness, server)
        let urls = "\"connect_urls\":[\"tcp:4222\"],\"ws_connect_urls\":[\"web:8080\"],\"proto\""
        try await socket.send(MockServer.info.replacing("\"proto\"", with: urls))
        try await harness.eventually("the event") { _, recorder in
            recorder.events.last == .discoveredServers(["web:8080"])
        }
        let found = try await harness.on { connection, _ in connection.pool.servers.last?.address }
        #expect(found?.scheme == .ws && found?.path == "/nats")
    }

    @Test("rule 28: one write is one binary frame, masked with a new key")
    func writes() async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server)
        let connected = try await harness.start { connection, _ in connection.connect() }
        let socket = try await MockWebSocket.accept(server)
        try await socket.send(MockServer.info)
        let hello = try await socket.read()
        #expect(hello.text == MockServer.connect)
        #expect(hello.opcode == MockWebSocket.Opcode.binary && hello.isFinal)
        try await socket.send("PONG\r\n")
        try await connected.get()
        var masks = [hello.mask]
        for count in [0, 1, 200, 70_000] {
            let text = String(repeating: "x", count: count)
            #expect(try await harness.publish(text, to: "a") == nil)
            let frame = try await socket.read()
            #expect(frame.text == "PUB a \(count)\r\n\(text)\r\n")
            #expect(frame.opcode == MockWebSocket.Opcode.binary && frame.isFinal)
            masks.append(frame.mask)
        }
        #expect(!masks.contains(nil) && Set(masks).count == masks.count)
        try await harness.on { connection, _ in
            connection.publish("1", to: "a")
            connection.publish("2", to: "a")
        }
        #expect(try await socket.read().text == "PUB a 1\r\n1\r\nPUB a 1\r\n2\r\n")
    }

    @Test("rule 28: a NATS line may span frames, messages may be fragmented, control frames come in between")
    func fragments() async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server)
        try await harness.subscribe("a")
        let connected = try await harness.start { connection, _ in connection.connect() }
        let socket = try await MockWebSocket.accept(server)
        for character in MockServer.info {
            try await socket.send(String(character))
        }
        #expect(try await socket.read().text == MockServer.connect)
        try await socket.send("PO", isFinal: false)
        try await socket.send("are you there?", MockWebSocket.Opcode.ping)
        try await socket.send("", MockWebSocket.Opcode.continuation, isFinal: false)
        try await socket.send("NG\r\nMSG a ", MockWebSocket.Opcode.continuation)
        // An answer nobody asked for, a frame of text, an empty one.
        try await socket.send("", MockWebSocket.Opcode.pong)
        try await socket.send("1 ", MockWebSocket.Opcode.text)
        try await socket.send("")
        try await socket.send("5\r\nhe", MockWebSocket.Opcode.binary)
        try await socket.send("llo\r\nMSG a 1 2\r\nyo\r\nMSG a 1 3\r\nbye\r\n")
        try await connected.get()
        try await harness.eventually("the messages") { $1.messages.count == 3 }
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["hello", "yo", "bye"])
        let pong = try await socket.read()
        #expect(pong.opcode == MockWebSocket.Opcode.pong && pong.text == "are you there?" && pong.mask != nil)
        #expect(try await socket.read().text == "SUB a 1\r\n")
        let large = String(repeating: "y", count: 300_000)
        try await socket.send("MSG a 1 \(large.utf8.count)\r\n\(large)\r\n")
        try await harness.eventually("the large message") { $1.messages.count == 4 }
        #expect(try await harness.on { $1.messages.last?.payload.utf8.count } == large.utf8.count)
    }

    @Test("rule 28: a close frame is answered, and the connection made again")
    func closedByServer() async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server)
        let socket = try await connect(harness, server)
        // 1001: the server is going away.
        try await socket.send([0x03, 0xE9], MockWebSocket.Opcode.close)
        let answer = try await socket.read()
        #expect(answer.opcode == MockWebSocket.Opcode.close && answer.payload == [0x03, 0xE9])
        try await socket.peer.closed()
        _ = try await MockWebSocket.acceptHandshake(server)
        try await harness.eventually("the reconnect") { connection, _ in connection.state == .connected }
        #expect(try await harness.on { connection, _ in connection.statistics.reconnects } == 1)
    }

    @Test("rule 28: closing says so in a frame, after what was published")
    func closedByClient() async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server)
        let socket = try await connect(harness, server)
        try await harness.on { connection, _ in
            connection.publish("last", to: "a")
            connection.close()
        }
        #expect(try await socket.read().text == "PUB a 4\r\nlast\r\n")
        let farewell = try await socket.read()
        #expect(farewell.opcode == MockWebSocket.Opcode.close && farewell.payload == [0x03, 0xE8])
        try await socket.peer.closed()
    }

    @Test(
        "rule 28: an answer that is no upgrade fails at once, in one line",
        arguments: [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200"),
            ("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n", "403"),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n", "does not fit"
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", "does not fit"),
            ("INFO {}\r\n", "not HTTP"),
        ]
    )
    func refusals(_ answer: String, _ hint: String) async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server)
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        _ = try await peer.read(through: "\r\n\r\n")
        try await peer.send(answer)
        let error = await #expect(throws: NATSError.self) { try await connected.get() }
        #expect(error?.code == .connectFailed)
        #expect(error?.message.contains(hint) == true, "\(error?.message ?? "none")")
        try await peer.closed()
    }

    @Test("rule 28: a server that hangs up, or says nothing, before the upgrade")
    func noAnswer() async throws {
        let server = try await MockServer.start()
        let gone = try await harness(server)
        let failing = try await gone.start { connection, _ in connection.connect() }
        try await server.accept().close()
        #expect(await failureCode(of: failing) == .connectFailed)
        let silent = try await harness(server) { $0.connectTimeout = .milliseconds(100) }
        let waiting = try await silent.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        #expect(await failureCode(of: waiting) == .connectTimeout)
        try await peer.closed()
    }

    @Test(
        "frames without end that carry next to nothing end the connection, with a reason",
        arguments: [
            // Empty pieces of one message, empty messages, pings, pongs that nobody asked for.
            ([0x02, 0x00], [0x00, 0x00]), ([], [0x82, 0x00]), ([], [0x89, 0x00]), ([], [0x8A, 0x00]),
        ] as [([UInt8], [UInt8])]
    )
    func tinyFrames(_ first: [UInt8], _ frame: [UInt8]) async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server) { $0.reconnect = false }
        let socket = try await connect(harness, server)
        try await socket.peer.send(first + (0...TinyFrames.limit).flatMap { _ in frame })
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        let messages = try await harness.on { _, recorder in
            recorder.events.compactMap { event -> String? in
                if case .closed(let error) = event { error?.message } else { nil }
            }
        }
        #expect(messages.count == 1 && messages[0].contains("carry next to nothing"), "\(messages)")
    }

    @Test("so many tiny frames are taken in a second, and again in the next; whole operations make up for some")
    func tinyFramesAllowed() {
        var frames = TinyFrames()
        var now = NIODeadline.uptimeNanoseconds(1)
        func fill() {
            for number in 0..<TinyFrames.limit {
                let isTaken = frames.takes(number % TinyFrames.shortest)
                #expect(isTaken)
            }
            let isTaken = frames.takes(0)
            #expect(!isTaken)
        }
        fill()
        frames.settle(at: now)
        now = now + TinyFrames.interval - .nanoseconds(1)
        frames.settle(at: now)
        #expect(frames.count == TinyFrames.limit)
        now = now + .nanoseconds(1)
        frames.settle(at: now)
        fill()
        for _ in 0..<TinyFrames.limit {
            let isTaken = frames.takes(TinyFrames.shortest) && frames.takes(0)
            #expect(isTaken)
        }
        let isTaken = frames.takes(0)
        #expect(!isTaken)
    }

    @Test(
        "rule 28: frames that break the rules, or are too large, end the connection",
        arguments: [
            // A fragmented ping, a ping of 126 bytes, a frame of 2^40 bytes.
            [0x09, 0x00], [0x89, 0x7E, 0x00, 0x7E], [0x82, 0x7F, 0, 0, 1, 0, 0, 0, 0, 0],
        ] as [[UInt8]]
    )
    func badFrames(_ bytes: [UInt8]) async throws {
        let server = try await MockServer.start()
        let harness = try await harness(server) { $0.reconnect = false }
        let socket = try await connect(harness, server)
        try await socket.peer.send(bytes)
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        let codes = try await harness.on { _, recorder in
            recorder.events.compactMap { event -> NATSError.Code? in
                if case .closed(let error) = event { error?.code } else { nil }
            }
        }
        #expect(codes == [.protocolViolation])
    }
}
