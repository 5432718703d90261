// A server that takes less than is sent: the gate and the backlog as values, and the connection that carries out what they
// say, over a socket whose peer does not read.

import Bytes
import NATSProtocol
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import NATS

@Suite struct CongestionGateTests {
    @Test func closesAtTheBoundAndOpensBelowIt() {
        var gate = CongestionGate(bound: 16 << 20)
        #expect(!gate.isClosed)
        let begins = gate.close(holding: true)
        #expect(begins)
        let beginsAgain = gate.close(holding: true)
        #expect(!beginsAgain)
        let reliefs = [16 << 20, (15 << 20) + 1, 15 << 20].map { gate.relieve(pending: $0) }
        #expect(reliefs == [CongestionGate.Relief(), CongestionGate.Relief(), CongestionGate.Relief(opens: true)])
        #expect(!gate.isClosed && gate.isEpisode)
        // Closed again before the server has caught up: no news.
        let isNews = gate.close(holding: true)
        #expect(!isNews)
        let last = gate.relieve(pending: 0)
        #expect(last == CongestionGate.Relief(opens: true, ends: true))
        let isNewEpisode = gate.close(holding: false)
        #expect(isNewEpisode)
    }

    @Test("a small bound opens at its half")
    func smallBound() {
        var gate = CongestionGate(bound: 1000)
        _ = gate.close(holding: false)
        let reliefs = [501, 500, 250].map { gate.relieve(pending: $0) }
        #expect(
            reliefs == [CongestionGate.Relief(), CongestionGate.Relief(opens: true), CongestionGate.Relief(ends: true)]
        )
        #expect(gate.isLow(500) && !gate.isLow(501))
        #expect(CongestionGate(bound: -1).isLow(0))
    }

    @Test("what is unread and what waits go first in turns")
    func turns() {
        var gate = CongestionGate(bound: 1000)
        var firsts: [Bool] = []
        for _ in 0..<4 {
            _ = gate.close(holding: true)
            _ = gate.relieve(pending: 0)
            let (wasHolding, readsFirst) = gate.open()
            #expect(wasHolding)
            firsts.append(readsFirst)
        }
        #expect(firsts == [false, true, false, true])
        let wasHolding = gate.open().wasHolding
        #expect(!wasHolding)
    }

    @Test("silence is explained by what is unread, as long as the server takes bytes")
    func silence() {
        var gate = CongestionGate(bound: 1000)
        var explained = [gate.explainsSilence(bytesOut: 10)]
        _ = gate.close(holding: true)
        for bytes: UInt64 in [20, 20, 21] { explained.append(gate.explainsSilence(bytesOut: bytes)) }
        gate.reset()
        #expect(!gate.isClosed && !gate.isEpisode && !gate.isHolding)
        explained.append(gate.explainsSilence(bytesOut: 30))
        #expect(explained == [false, true, false, true, false])
    }
}

@Suite struct OutboundBacklogTests {
    private func chunk(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }

    @Test func isFirstInFirstOutAndCountsItsBytes() {
        var backlog = OutboundBacklog()
        let none = backlog.popFirst()
        #expect(backlog.isEmpty && none == nil)
        backlog.append(chunk(""))
        #expect(backlog.isEmpty)
        for number in 0..<300 { backlog.append(chunk("\(number)")) }
        #expect(backlog.byteCount == 10 + 180 + 600)
        for number in 0..<250 {
            let popped = backlog.popFirst()
            #expect(popped == chunk("\(number)"))
        }
        backlog.prepend(chunk("first"))
        #expect(backlog.byteCount == 155)
        backlog.replace { $0.readableBytes > 3 ? $0 : $0.getSlice(at: $0.readerIndex, length: 0) ?? ByteBuffer() }
        #expect(backlog.byteCount == 5)
        var last = backlog.popFirst()
        #expect(last == chunk("first"))
        #expect(backlog.isEmpty)
        backlog.prepend(chunk("again"))
        last = backlog.popFirst()
        #expect(last == chunk("again"))
    }

    @Test("what is popped has no other owner: its memory can be told to be written")
    func ownership() {
        var backlog = OutboundBacklog()
        backlog.append(ByteBuffer(repeating: 1, count: 100_000))
        var popped = backlog.popFirst()
        let isOnlyOwner = popped?.modifyIfUniquelyOwned { _ in true }
        #expect(isOnlyOwner == true)
    }
}

@Suite struct CongestionTests {
    private static let bound = 1 << 20
    private static let payload = String(repeating: "x", count: 100_000)

    /// Connected to a peer that reads nothing, with the bound reached.
    private func congested() async throws -> (MockServer, ConnectionHarness, MockPeer) {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.maxPendingOutboundBytes = Self.bound }
        let peer = try await harness.connect(to: server)
        try await harness.subscribe("in")
        _ = try await peer.read(through: "SUB in 1\r\n")
        try await peer.setReading(false)
        let deadline = ContinuousClock.now + .seconds(60)
        while try await send(harness, .wait) == nil {
            try #require(ContinuousClock.now < deadline)
        }
        return (server, harness, peer)
    }

    private func send(_ harness: ConnectionHarness, _ room: NATSRoomPolicy) async throws -> NATSPublishError? {
        try await harness.on { connection, _ in
            Array("s".utf8).withUnsafeBytes { subject in
                Array(Self.payload.utf8).withUnsafeBytes {
                    connection.publish(subject: subject, reply: .none, headers: .none, payload: $0, room: room)
                }
            }
        }
    }

    @Test func whoCanWaitIsToldAndRepliesAreTaken() async throws {
        let (_, harness, peer) = try await congested()
        let before = try await harness.on { connection, _ in connection.unsentBytes }
        #expect(before <= Self.bound)
        #expect(try await harness.on { connection, recorder in connection.isCongested } == true)
        #expect(try await send(harness, .wait) == .bufferExceeded)
        for _ in 0..<20 { #expect(try await send(harness, .reply) == nil) }
        #expect(try await send(harness, .refuse) == .bufferExceeded)
        #expect(try await harness.on { connection, _ in connection.unsentBytes } > before + 2_000_000)
        #expect(try await harness.on { connection, _ in connection.statistics.refusedBufferFull } == 1)
        #expect(try await harness.on { _, recorder in recorder.congestion } == [.began])
        try await peer.setReading(true)
        try await harness.eventually("room") { _, recorder in recorder.congestion.contains(.room) }
        try await harness.eventually("the end") { _, recorder in recorder.congestion.contains(.ended) }
        #expect(try await send(harness, .wait) == nil)
        #expect(try await harness.on { connection, _ in connection.statistics.congestions } == 1)
    }

    @Test func messagesAreLeftUnreadUntilThereIsRoom() async throws {
        let (_, harness, peer) = try await congested()
        for number in 0..<50 { try await peer.send("MSG in 1 2\r\n\(10 + number)\r\n") }
        try await peer.send("PING\r\n")
        try await Task.sleep(for: .milliseconds(50))
        #expect(try await harness.on { _, recorder in recorder.messages.isEmpty } == true)
        try await peer.setReading(true)
        try await harness.eventually("all messages") { _, recorder in recorder.messages.count == 50 }
        #expect(try await harness.on { _, recorder in recorder.messages.map(\.payload) } == (10..<60).map { "\($0)" })
        _ = try await peer.read(through: "PONG\r\n")
    }

    @Test("a message that closes the gate is the last of its read; the others follow when it opens")
    func stopsInTheMiddleOfARead() async throws {
        let (_, harness, peer) = try await congested()
        try await peer.setReading(true)
        try await harness.eventually("the end") { connection, _ in connection.unsentBytes == 0 }
        try await peer.setReading(false)
        try await harness.on { connection, recorder in
            recorder.onMessage = { [unowned recorder, unowned connection] _ in
                // What the kernel takes is the kernel's: so much that it cannot be all.
                for _ in 0..<200 {
                    _ = Array("s".utf8).withUnsafeBytes { subject in
                        Array(Self.payload.utf8).withUnsafeBytes {
                            connection.publish(
                                subject: subject,
                                reply: .none,
                                headers: .none,
                                payload: $0,
                                room: .reply
                            )
                        }
                    }
                }
                recorder.onMessage = nil
            }
        }
        try await peer.send("MSG in 1 1\r\na\r\nMSG in 1 1\r\nb\r\nMSG in 1 1\r\nc\r\n")
        try await harness.eventually("the first") { _, recorder in !recorder.messages.isEmpty }
        try await Task.sleep(for: .milliseconds(20))
        #expect(try await harness.on { _, recorder in recorder.messages.map(\.payload) } == ["a"])
        try await peer.setReading(true)
        try await harness.eventually("the others") { _, recorder in recorder.messages.count == 3 }
        #expect(try await harness.on { _, recorder in recorder.messages.map(\.payload) } == ["a", "b", "c"])
    }

    @Test func aLostConnectionEndsTheWait() async throws {
        let (server, harness, peer) = try await congested()
        let published = try await harness.on { connection, _ in connection.statistics.messagesOut }
        try await peer.close()
        try await harness.eventually("the loss") { connection, _ in !connection.isConnected }
        #expect(try await harness.on { connection, _ in connection.isCongested } == false)
        let second = try await server.acceptHandshake()
        try await harness.eventually("the connection") { connection, _ in connection.isConnected }
        // What waited here goes over the next one, whole.
        try await harness.eventually("everything sent") { connection, _ in connection.unsentBytes == 0 }
        #expect(try await harness.publish("last", to: "end") == nil)
        let words = try await second.read(through: "PUB end 4\r\nlast\r\n")
        let resent = words.components(of: "PUB s 100000\r\n")
        #expect(resent > 5 && UInt64(resent) <= published)
        #expect(words.hasPrefix("SUB in 1\r\n"))
    }

    @Test("a message larger than the bound is sent when nothing else waits")
    func largerThanTheBound() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.maxPendingOutboundBytes = 50_000 }
        let peer = try await harness.connect(to: server)
        #expect(try await send(harness, .refuse) == .bufferExceeded)
        #expect(try await send(harness, .wait) == nil)
        _ = try await peer.read(through: Self.payload + "\r\n")
        #expect(try await send(harness, .wait) == nil)
    }
}

@Suite struct ClientRoomTests {
    private static let payload = [UInt8](repeating: 120, count: 100_000)

    private func client(_ server: MockServer) async throws -> (NATSClient, MockPeer) {
        var configuration = NATSConnectionConfiguration(servers: [server.address])
        configuration.maxPendingOutboundBytes = 1 << 20
        configuration.reconnectBufferBytes = 1 << 20
        configuration.reconnectWait = .milliseconds(10)
        configuration.reconnectWaitMaximum = .milliseconds(20)
        async let connected = NATSClient.connect(configuration)
        let peer = try await server.acceptHandshake()
        return (try await connected, peer)
    }

    @Test func aPublishWaitsForRoomAndNothingIsLost() async throws {
        let server = try await MockServer.start()
        let (client, peer) = try await client(server)
        try await peer.setReading(false)
        let publishing = Task {
            for number in 0..<300 {
                try await client.publish(Self.payload, to: "n.\(number)", waiting: .seconds(60))
            }
        }
        try await Task.sleep(for: .milliseconds(100))
        #expect(await client.statistics().congestions == 1)
        try await peer.setReading(true)
        try await publishing.value
        let words = try await peer.read(through: "PUB n.299 100000\r\n")
        #expect(words.components(of: "PUB n.") == 300)
        await client.close()
    }

    @Test func theWaitEndsAtItsLimitWithTheTaskAndWithTheClient() async throws {
        let server = try await MockServer.start()
        let (client, peer) = try await client(server)
        try await peer.setReading(false)
        let fill = await #expect(throws: NATSError.self) {
            for _ in 0..<10_000 { try await client.publish(Self.payload, to: "s", waiting: .milliseconds(50)) }
        }
        #expect(fill?.code == .bufferExceeded)
        let cancelled = Task { try await client.publish(Self.payload, to: "s", waiting: .seconds(60)) }
        try await Task.sleep(for: .milliseconds(20))
        cancelled.cancel()
        let cancellation = await #expect(throws: NATSError.self) { try await cancelled.value }
        #expect(cancellation?.code == .cancelled)
        let closed = Task { try await client.publish(Self.payload, to: "s", waiting: .seconds(60)) }
        try await Task.sleep(for: .milliseconds(20))
        await client.close()
        let end = await #expect(throws: NATSError.self) { try await closed.value }
        #expect(end?.code == .closed)
    }

    @Test func aPublishWaitsForAConnection() async throws {
        let server = try await MockServer.start()
        let (client, peer) = try await client(server)
        try await server.stop()
        try await peer.close()
        let publishing = Task {
            for number in 0..<30 {
                try await client.publish(Self.payload, to: "n.\(number)", waiting: .seconds(60))
            }
        }
        try await Task.sleep(for: .milliseconds(50))
        let again = try await MockServer.start(port: server.port)
        let second = try await again.acceptHandshake()
        _ = try await second.read(through: "PUB n.29 100000\r\n")
        try await publishing.value
        await client.close()
    }
}

extension String {
    /// How often `part` is in it.
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let found = rest.firstRange(of: part) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}

/// What is read beyond the turn of whoever it is for waits, here and in the socket, and loses neither its order nor itself.
@Suite struct TurnHoldTests {
    private func message(_ number: Int, _ sid: Int) -> String {
        let text = "\(number)"
        return "MSG a \(sid) \(text.utf8.count)\r\n\(text)\r\n"
    }

    @Test(.timeLimit(.minutes(5))) func messagesBeyondTheTurnWaitInOrder() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let peer = try await harness.connect(to: server)
        let sid = try await harness.subscribe("a")
        // Each delivery uses up the turn.
        let flag = try await harness.on { connection, recorder in
            let flag = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
            flag.initialize(to: Atomic(1))
            connection.turnFlag = flag
            recorder.holdsTurns = true
            return UInt(bitPattern: flag)
        }
        try await peer.send((0..<50).map { message($0, sid) }.joined())
        try await harness.eventually("the first message") { $1.messages.count == 1 }
        try await peer.send((50..<100).map { message($0, sid) }.joined())
        for count in 2...100 {
            try await harness.on { connection, recorder in
                #expect(recorder.messages.count == count - 1)
                connection.goOnWithTurn()
            }
            try await harness.eventually("message \(count)") { $1.messages.count == count }
        }
        let payloads = try await harness.on { $1.messages.map(\.payload) }
        #expect(payloads == (0..<100).map { "\($0)" })
        // Whoever has time gets all at once.
        try await harness.on { connection, _ in
            UnsafeMutablePointer<Atomic<UInt32>>(bitPattern: flag)?.pointee.store(0, ordering: .relaxed)
            connection.goOnWithTurn()
        }
        try await peer.send((100..<150).map { message($0, sid) }.joined())
        try await harness.eventually("the rest") { $1.messages.count == 150 }
        try await harness.on { connection, _ in connection.close() }
    }
}
