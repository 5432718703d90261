// What becomes of publishes that were accepted and had not left when the connection ended: over sockets whose buffers are
// full, and over one that refuses to write.

import Glibc
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct UnsentTests {
    static let filling = String(repeating: "x", count: 1000)

    /// Publishes numbered messages while the peer reads nothing, until the socket, the channel and the client's own
    /// buffer hold some; returns how many, and how many bytes the kernel has not got.
    private func fill(_ harness: ConnectionHarness) async throws -> (count: Int, unsent: Int) {
        var count = 0
        while true {
            let first = count
            let waiting = try await harness.on { connection, _ in
                for number in first..<first + 50 {
                    #expect(connection.publish("\(number) \(Self.filling)", to: "n") == nil)
                }
                return connection.unsentBytes
            }
            count += 50
            if waiting > 300_000 { break }
        }
        let unsent = try await harness.on { connection, _ in
            (connection.link?.bufferedBytes ?? 0) + connection.unsentBytes
        }
        return (count, unsent)
    }

    /// The numbers of the whole publishes in `text`.
    private func numbers(_ text: String) -> [Int] {
        var numbers: [Int] = []
        for part in text.split(separator: "PUB n ") {
            let lines = part.utf8.split(separator: 13)
            guard lines.count >= 2, let size = Int(String(lines[0]) ?? ""), lines[1].count == size + 1,
                let number = Int(String(lines[1].dropFirst().prefix { $0 != 32 }) ?? "")
            else { continue }
            numbers.append(number)
        }
        return numbers
    }

    @Test("rule 15: after an orderly end, the next connection begins with the frame the last one did not finish")
    func nothingIsLostOrSentTwice() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.setReading(false)
        let count = try await fill(harness).count
        try await first.endOutput()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        try await first.setReading(true)
        try await first.closed()
        let second = try await server.acceptHandshake()
        #expect(try await harness.publish("last", to: "end") == nil)
        let resent = try await second.read(through: "PUB end 4\r\nlast\r\n")
        #expect(resent.hasPrefix("PUB n "))
        let read = numbers(first.received)
        #expect(!read.isEmpty)
        #expect(read + numbers(resent) == Array(0..<count))
        #expect(try await harness.on { connection, _ in connection.statistics.lostPublishes } == 0)
        #expect(try await harness.on { connection, _ in connection.unwritten.isEmpty })
    }

    @Test("rule 15: after a reset, everything the kernel had not taken goes over the next connection, whole")
    func resendsAfterAReset() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.setReading(false)
        let (count, unsent) = try await fill(harness)
        try await first.close()
        let second = try await server.acceptHandshake()
        #expect(try await harness.publish("last", to: "end") == nil)
        let resent = try await second.read(through: "PUB end 4\r\nlast\r\n")
        #expect(resent.utf8.count >= unsent)
        let numbers = numbers(resent)
        #expect(numbers == Array((numbers.first ?? 0)..<count))
    }

    @Test func aSocketThatRefusesToWriteCostsNothing() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await harness.on { connection, _ in
            try Self.endWriting(connection)
            #expect(connection.publish("one", to: "s") == nil)
            connection.flushOutbound()
            #expect(connection.state == .reconnecting)
            #expect(connection.publish("two", to: "s") == nil)
        }
        let second = try await server.acceptHandshake()
        #expect(try await second.read(through: "two\r\n") == "PUB s 3\r\none\r\nPUB s 3\r\ntwo\r\n")
        #expect(first.received.isEmpty)
        #expect(try await harness.on { connection, _ in connection.statistics.lostPublishes } == 0)
    }

    @Test func whatMayHaveBeenSentIsCountedAndNotSentAgain() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.setReading(false)
        let (count, _) = try await fill(harness)
        try await harness.on { connection, _ in try Self.endWriting(connection) }
        let second = try await server.acceptHandshake()
        #expect(try await harness.publish("last", to: "end") == nil)
        let resent = numbers(try await second.read(through: "PUB end 4\r\nlast\r\n"))
        #expect(!resent.isEmpty)
        #expect(resent == Array((resent.first ?? 0)..<count))
        try await first.setReading(true)
        try await first.closed()
        let read = numbers(first.received)
        let lost = try await harness.on { connection, _ in connection.statistics.lostPublishes }
        #expect(lost > 0)
        // Some of those counted may have arrived.
        #expect(read.count + resent.count + Int(lost) >= count)
        #expect(Set(read).isDisjoint(with: resent))
        let told = try await harness.events().compactMap { event -> (Int, NATSError.Code)? in
            guard case .publishesLost(let count, let error) = event else { return nil }
            return (count, error.code)
        }
        #expect(told.map(\.0) == [Int(lost)])
        #expect(told.map(\.1) == [.disconnected])
    }

    @Test func whatTheNextServerWouldNotTakeIsDroppedAndCounted() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        #expect(try await harness.publish("small", to: "a") == nil)
        #expect(try await harness.publish(Self.filling, to: "b") == nil)
        #expect(try await harness.publish("h", to: "c", headers: ["A": "b"]) == nil)
        #expect(try await harness.publish("exactly10b", to: "d") == nil)
        let info = "INFO {\"server_id\":\"other\",\"headers\":false,\"max_payload\":10}\r\n"
        let second = try await server.acceptHandshake(info: info)
        try await harness.eventually("the reconnect") { connection, _ in connection.isConnected }
        #expect(try await harness.publish("end", to: "e") == nil)
        #expect(
            try await second.read(through: "end\r\n")
                == "PUB a 5\r\nsmall\r\nPUB d 10\r\nexactly10b\r\nPUB e 3\r\nend\r\n"
        )
        #expect(try await harness.on { connection, _ in connection.statistics.lostPublishes } == 2)
        let told = try await harness.events().compactMap { event -> NATSError.Code? in
            guard case .publishesLost(2, let error) = event else { return nil }
            return error.code
        }
        #expect(told == [.messageTooLarge])
    }

    /// Also what a client had accepted that does not know yet of the server it is connected to.
    @Test func whatWaitsInAClientIsDroppedToo() async throws {
        let server = try await MockServer.start()
        var configuration = NATSConnectionConfiguration(servers: [server.address])
        configuration.reconnectWait = .milliseconds(10)
        let (client, first) = try await withThrowingTaskGroup(of: MockPeer.self) { [configuration] group in
            group.addTask { try await server.acceptHandshake() }
            let client = try await NATSClient.connect(configuration)
            return (client, try #require(try await group.next()))
        }
        let box = client.bound
        // On the loop, so that the client's own threads hear of nothing before both are published.
        try await client.eventLoop.submit {
            let connection = box.value.connection
            connection.maximumPayload = 10
            try client.publish(Self.filling, to: "a")
            try client.publish("small", to: "a")
            box.value.sendOutbox()
            #expect(connection.statistics.lostPublishes == 1)
            #expect(throws: NATSError.self) { try client.publish(Self.filling, to: "a") }
        }.get()
        #expect(try await first.read(through: "small\r\n") == "PUB a 5\r\nsmall\r\n")
        await client.close()
    }

    @Test func whatAClosingClientHadAcceptedIsTold() async throws {
        let server = try await MockServer.start()
        let (client, first) = try await withThrowingTaskGroup(of: MockPeer.self) { group in
            group.addTask { try await server.acceptHandshake() }
            let client = try await NATSClient.connect(NATSConnectionConfiguration(servers: [server.address]))
            return (client, try #require(try await group.next()))
        }
        let events = client.events
        let box = client.bound
        try await client.eventLoop.submit {
            try client.publish("x", to: "a")
            box.value.connection.close()
            #expect(box.value.connection.statistics.lostPublishes == 1)
        }.get()
        var told: [NATSError.Code] = []
        for await event in events {
            if case .publishesLost(1, let error) = event { told.append(error.code) }
        }
        #expect(told == [.closed])
        try await first.closed()
    }

    /// What was accepted until a drain ends by its limit still goes out.
    @Test func aDrainThatTakesTooLongSendsWhatWasAccepted() async throws {
        let server = try await MockServer.start()
        let (client, first) = try await withThrowingTaskGroup(of: MockPeer.self) { group in
            group.addTask { try await server.acceptHandshake() }
            let client = try await NATSClient.connect(NATSConnectionConfiguration(servers: [server.address]))
            return (client, try #require(try await group.next()))
        }
        let box = client.bound
        try await client.eventLoop.submit {
            _ = box.value.connection.drain(timeout: .seconds(60))
            try client.publish("last", to: "a")
            box.value.connection.drainTimedOut()
        }.get()
        #expect(try await first.read(through: "last\r\n").hasSuffix("PUB a 4\r\nlast\r\n"))
        try await first.closed()
    }

    @Test func headersAreDroppedForAServerWithoutThem() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        #expect(try await harness.publish("h", to: "c", headers: ["A": "b"]) == nil)
        #expect(try await harness.publish("x", to: "a") == nil)
        let peer = try await harness.connect(
            to: server,
            info: "INFO {\"server_id\":\"old\",\"headers\":false,\"max_payload\":1000}\r\n"
        )
        #expect(try await peer.read(through: "x\r\n") == "PUB a 1\r\nx\r\n")
        guard case .publishesLost(1, let error) = try await harness.events().first else {
            Issue.record("no event")
            return
        }
        #expect(error.code == .headersUnsupported)
    }

    @Test func closingWithoutAConnectionTellsWhatIsLost() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.reconnectWait = .seconds(60) }
        let first = try await harness.connect(to: server)
        try await first.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        #expect(try await harness.publish("one", to: "a") == nil)
        #expect(try await harness.publish("two", to: "a") == nil)
        try await harness.on { connection, _ in connection.close() }
        #expect(try await harness.on { connection, _ in connection.statistics.lostPublishes } == 2)
        let events = try await harness.events().suffix(2)
        guard case .publishesLost(2, let error) = events.first, case .closed(nil) = events.last else {
            Issue.record("unexpected \(events)")
            return
        }
        #expect(error.code == .closed)
    }

    /// Makes every further write to the connection's socket fail.
    private static func endWriting(_ connection: NATSConnection) throws {
        let port = try #require(connection.link?.context?.channel.localAddress?.port)
        for descriptor in Int32(3)..<4096 {
            var address = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let isSocket = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) == 0 }
            }
            if isSocket, Int(UInt16(bigEndian: address.sin_port)) == port {
                #expect(shutdown(descriptor, Int32(SHUT_WR)) == 0)
                return
            }
        }
        Issue.record("the socket was not found")
    }
}

@Suite(.timeLimit(.minutes(5))) struct UnwrittenFramesTests {
    private func chunk(_ numbers: ClosedRange<Int>) -> ByteBuffer {
        ByteBuffer(string: numbers.map { "PUB a 1\r\n\($0)\r\n" }.joined())
    }

    @Test func keepsWhatTheChannelHolds() {
        var frames = UnwrittenFrames()
        frames.current = chunk(1...3)
        let held = frames.current
        #expect(frames.written(isKept: true) == nil)
        frames.current = chunk(4...5)
        // Nobody else holds it: it is written, and its memory is free.
        #expect(frames.written(isKept: true)?.readableBytes == 0)
        #expect(!frames.isEmpty)
        frames.forgetWritten()
        #expect(!frames.isEmpty)
        withExtendedLifetime(held) {}
    }

    @Test func forgetsWhatTheChannelHasLetGo() {
        var frames = UnwrittenFrames()
        var held: ByteBuffer? = chunk(1...1)
        frames.current = held ?? ByteBuffer()
        #expect(frames.written(isKept: true) == nil)
        frames.forgetWritten()
        #expect(!frames.isEmpty)
        held = nil
        frames.forgetWritten()
        #expect(frames.isEmpty)
    }

    @Test(arguments: 0...36) func tellsWhichFramesNeverLeftWhole(_ buffered: Int) {
        var frames = UnwrittenFrames()
        let held = [chunk(1...2), chunk(3...3)]
        for chunk in held {
            frames.current = chunk
            #expect(frames.written(isKept: true) == nil)
        }
        let (unsent, uncertain) = frames.end(buffered: buffered)
        // A frame has 12 bytes.
        let whole = (36 - buffered) / 12
        #expect(unsent == (whole < 3 ? chunk((whole + 1)...3) : ByteBuffer()))
        #expect(uncertain.readableBytes == 0)
        #expect(frames.isEmpty)
    }

    @Test func whoDoesNotKnowSaysSo() {
        var frames = UnwrittenFrames()
        let held = chunk(1...2)
        frames.current = held
        #expect(frames.written(isKept: true) == nil)
        frames.current = chunk(3...3)
        let (unsent, uncertain) = frames.end(buffered: nil)
        #expect(uncertain == held)
        #expect(unsent == chunk(3...3))
    }
}
