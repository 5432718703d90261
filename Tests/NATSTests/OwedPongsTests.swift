// PINGs of a peer that does not read: the rule as a value, and the connection and its WebSocket that follow it.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct OwedPongsTests {
    @Test func eachPingIsAnsweredWhileThereIsRoom() {
        var pongs = OwedPongs(limit: 2)
        for _ in 0..<10 {
            let answer = pongs.ping(hasRoom: true)
            #expect(answer == .now)
        }
        let isDue = pongs.settle()
        #expect(!isDue)
    }

    @Test func onePongAnswersAllThatCameWithoutRoom() {
        var pongs = OwedPongs(limit: 2)
        var answers = (0..<3).map { _ in pongs.ping(hasRoom: false) }
        #expect(answers == [.later, .later, .tooMany])
        var isDue = pongs.settle()
        #expect(isDue)
        isDue = pongs.settle()
        #expect(!isDue)
        // Room that nobody has told of yet: the order of answers stays.
        answers = [pongs.ping(hasRoom: false), pongs.ping(hasRoom: true)]
        #expect(answers == [.later, .later])
        #expect(pongs.error.code == .protocolViolation)
    }

    /// A peer that reads nothing, with the socket full.
    private func unread(_ limit: Int) async throws -> (MockServer, ConnectionHarness, MockPeer) {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.maxOwedPongs = limit }
        let peer = try await harness.connect(to: server)
        try await peer.setReading(false)
        let payload = String(repeating: "x", count: 100_000)
        let deadline = ContinuousClock.now + .seconds(60)
        while try await harness.on({ connection, _ in connection.unsentBytes }) == 0 {
            try await harness.publish(payload, to: "s")
            try #require(ContinuousClock.now < deadline)
        }
        return (server, harness, peer)
    }

    @Test func pingsWithoutRoomTakeNothingAndAreAnsweredTogether() async throws {
        let (_, harness, peer) = try await unread(1000)
        let before = try await harness.on { connection, _ in connection.unsentBytes }
        try await peer.send(String(repeating: "PING\r\n", count: 900))
        try await harness.eventually("all pings") { connection, _ in connection.statistics.joinedPongs == 900 }
        #expect(try await harness.on { connection, _ in connection.unsentBytes } == before)
        try await peer.setReading(true)
        _ = try await peer.read(through: "PONG\r\n")
        try await peer.send("PING\r\n")
        let rest = try await peer.read(through: "PONG\r\n")
        #expect(!rest.dropLast(6).contains("PONG"))
        #expect(try await harness.on { connection, _ in connection.statistics.joinedPongs } == 900)
    }

    @Test func aServerThatAsksOnAndOnIsLeft() async throws {
        let (server, harness, peer) = try await unread(1000)
        try await peer.send(String(repeating: "PING\r\n", count: 1001))
        try await harness.eventually("the loss") { _, recorder in
            recorder.events.contains {
                if case .disconnected(let error) = $0 { error?.code == .protocolViolation } else { false }
            }
        }
        // And a new connection is made, which owes nothing.
        let next = try await server.acceptHandshake()
        try await next.send("PING\r\n")
        _ = try await next.read(through: "PONG\r\n")
        #expect(try await harness.on { connection, _ in connection.statistics.joinedPongs } == 1000)
    }

    // MARK: - WebSocket

    /// The same over a WebSocket.
    private func unreadWebSocket(_ limit: Int) async throws -> (MockServer, ConnectionHarness, MockWebSocket) {
        let server = try await MockServer.start()
        let address = try NATSServerAddress(parsing: "ws://127.0.0.1:\(server.port)")
        let harness = try await ConnectionHarness([address]) { $0.maxOwedPongs = limit }
        let connected = try await harness.start { connection, _ in connection.connect() }
        let socket = try await MockWebSocket.acceptHandshake(server)
        try await connected.get()
        try await socket.peer.setReading(false)
        let payload = String(repeating: "x", count: 100_000)
        let deadline = ContinuousClock.now + .seconds(60)
        while try await harness.on({ connection, _ in connection.unsentBytes }) == 0 {
            try await harness.publish(payload, to: "s")
            try #require(ContinuousClock.now < deadline)
        }
        return (server, harness, socket)
    }

    @Test("of the pings of a WebSocket that does not read, the newest is answered")
    func newestPing() async throws {
        let (_, harness, socket) = try await unreadWebSocket(100)
        for text in ["c", "d", "e"] { try await socket.send(text, MockWebSocket.Opcode.ping) }
        // What was sent before has arrived when this has.
        try await socket.send("PING\r\n")
        try await harness.eventually("the ping") { connection, _ in connection.statistics.joinedPongs == 1 }
        try await socket.peer.setReading(true)
        var pongs: [String] = []
        while pongs.isEmpty {
            let frame = try await socket.read()
            if frame.opcode == MockWebSocket.Opcode.pong { pongs.append(frame.text) }
        }
        try await socket.send("f", MockWebSocket.Opcode.ping)
        while pongs.count < 2 {
            let frame = try await socket.read()
            if frame.opcode == MockWebSocket.Opcode.pong { pongs.append(frame.text) }
        }
        #expect(pongs == ["e", "f"])
    }

    @Test("a WebSocket that pings on and on and does not read is left")
    func tooManyPings() async throws {
        let (_, harness, socket) = try await unreadWebSocket(3)
        for text in ["g", "h", "i", "j"] { try await socket.send(text, MockWebSocket.Opcode.ping) }
        try await harness.eventually("the loss") { _, recorder in
            recorder.events.contains {
                if case .disconnected(let error) = $0 { error?.code == .protocolViolation } else { false }
            }
        }
    }
}
