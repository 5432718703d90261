// PINGs of a peer that does not read: the rule as a value, and the connection and its WebSocket that follow it.

import NIOCore
import NIOEmbedded
import NIOWebSocket
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

    private final class Errors: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var codes: [NATSError.Code] = []

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if let error = error as? NATSError { codes.append(error.code) }
        }
    }

    private func pongs(_ channel: EmbeddedChannel) throws -> [String] {
        var texts: [String] = []
        while let frame = try channel.readOutbound(as: WebSocketFrame.self) {
            if frame.opcode == .pong { texts.append(String(buffer: frame.unmaskedData)) }
        }
        return texts
    }

    private func ping(_ channel: EmbeddedChannel, _ text: String) throws {
        try channel.writeInbound(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer(string: text)))
    }

    @Test("of the pings of a WebSocket that does not read, the newest is answered")
    func newestPing() throws {
        let errors = Errors()
        let channel = EmbeddedChannel(handlers: [WebSocketByteStream(maximumOwedPongs: 3), errors])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try ping(channel, "a")
        try ping(channel, "b")
        #expect(try pongs(channel) == ["a", "b"])
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        for text in ["c", "d", "e"] { try ping(channel, text) }
        #expect(try pongs(channel) == [])
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        #expect(try pongs(channel) == ["e"])
        try ping(channel, "f")
        #expect(try pongs(channel) == ["f"])
        #expect(errors.codes.isEmpty)
        channel.isWritable = false
        for text in ["g", "h", "i", "j"] { try ping(channel, text) }
        #expect(errors.codes == [.protocolViolation])
        _ = try? channel.finish()
    }
}
