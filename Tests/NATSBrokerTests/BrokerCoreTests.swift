// The core without sockets and without time: what it flushes when, and whom it pings and gives up.

import Logging
import NIOCore
import Synchronization
import Testing

@testable import NATSBroker

@Suite(.timeLimit(.minutes(5))) struct BrokerCoreTests {
    final class RecordingTransport: BrokerTransport {
        var flushes = 0
        var lastWords: [String?] = []

        func flush() { flushes += 1 }
        func end(lastWords: String?) { self.lastWords.append(lastWords) }
    }

    static func makeCore(_ change: (inout EmbeddedBroker.Configuration) -> Void = { _ in }) -> BrokerCore {
        var configuration = EmbeddedBroker.Configuration()
        change(&configuration)
        return BrokerCore(configuration: configuration, logger: Logger(label: "core") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Carries out the commands in `text` as one burst, up to the end of which nothing may be flushed.
    static func say(_ text: String, _ client: BrokerClient, to core: BrokerCore) {
        var parser = ClientCommandParser()
        Array(text.utf8).withUnsafeBytes { bytes in
            var start = 0
            while let parsed = try? parser.next(in: UnsafeRawBufferPointer(rebasing: bytes[start...])) {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
                guard core.execute(parsed.command, bytes: rest, from: client) else { return }
                start += parsed.length
            }
        }
    }

    @Test func flushesEachReceiverOnceInABurst() throws {
        let core = Self.makeCore()
        let (senderSide, receiverSide, idleSide) = (RecordingTransport(), RecordingTransport(), RecordingTransport())
        let sender = try #require(core.register(senderSide))
        let receiver = try #require(core.register(receiverSide))
        let idle = try #require(core.register(idleSide))
        sender.options.verbose = false
        receiver.options.verbose = false
        idle.options.verbose = false
        Self.say("SUB a 1\r\n", receiver, to: core)
        Self.say(String(repeating: "PUB a 1\r\nx\r\n", count: 100), sender, to: core)
        #expect(receiverSide.flushes == 0)
        core.endBurst()
        #expect(receiverSide.flushes == 1)
        #expect(senderSide.flushes == 0)
        #expect(idleSide.flushes == 0)
        #expect(receiver.outbound.byteCount == 100 * "MSG a 1 1\r\nx\r\n".utf8.count)
        core.endBurst()
        #expect(receiverSide.flushes == 1)
    }

    @Test func givesUpAClientThatAnswersNoPing() throws {
        let core = Self.makeCore { $0.maximumPingsOutstanding = 2 }
        let transport = RecordingTransport()
        let client = try #require(core.register(transport))
        core.pingClients()
        core.pingClients()
        #expect(transport.lastWords.isEmpty)
        #expect(client.outbound.byteCount == 2 * "PING\r\n".utf8.count)
        core.pingClients()
        #expect(transport.lastWords == ["Stale Connection"])
        #expect(core.statistics.staleConnections == 1)
        core.pingClients()
        #expect(transport.lastWords.count == 1)
    }

    @Test func keepsAClientThatAnswers() throws {
        let core = Self.makeCore { $0.maximumPingsOutstanding = 1 }
        let transport = RecordingTransport()
        let client = try #require(core.register(transport))
        client.options.verbose = false
        for _ in 0..<10 {
            core.pingClients()
            Self.say("PONG\r\n", client, to: core)
        }
        #expect(transport.lastWords.isEmpty)
        // Who is heard anyway is not even asked.
        let asked = client.outbound.byteCount
        client.wasHeard = true
        core.pingClients()
        #expect(client.outbound.byteCount == asked)
    }

    @Test func hasMemoryGivenBackWhenMuchLessIsHeld() throws {
        let calls = Atomic(0)
        let core = Self.makeCore {
            $0.maximumPendingBytesPerClient = 8 << 20
            $0.maximumUnreadBytes = 64 << 20
            $0.giveBackMemory = { calls.add(1, ordering: .relaxed) }
        }
        let sender = try #require(core.register(RecordingTransport()))
        let slow = try #require(core.register(RecordingTransport()))
        sender.options.verbose = false
        slow.options.verbose = false
        Self.say("SUB a 1\r\n", slow, to: core)
        let message = "PUB a 1000\r\n\(String(repeating: "x", count: 1000))\r\n"
        Self.say(String(repeating: message, count: 5000), sender, to: core)
        core.settleMemory()
        #expect(core.statistics.heldBytes > HighWaterMark.worthGivingBack)
        #expect(calls.load(ordering: .relaxed) == 0, "it is still held")
        core.unregister(slow)
        core.settleMemory()
        #expect(calls.load(ordering: .relaxed) == 1)
        core.settleMemory()
        #expect(calls.load(ordering: .relaxed) == 1, "nothing has become free since")
    }

    @Test func dropsASlowConsumerAtTheEndOfTheBurst() throws {
        let core = Self.makeCore { $0.maximumPendingBytesPerClient = 100 }
        let (senderSide, slowSide) = (RecordingTransport(), RecordingTransport())
        let sender = try #require(core.register(senderSide))
        let slow = try #require(core.register(slowSide))
        sender.options.verbose = false
        slow.options.verbose = false
        Self.say("SUB a 1\r\n", slow, to: core)
        Self.say("PUB a 20\r\n01234567890123456789\r\n", sender, to: core)
        #expect(!sender.shouldPause)
        Self.say("PUB a 20\r\n01234567890123456789\r\n", sender, to: core)
        #expect(sender.shouldPause)
        Self.say(String(repeating: "PUB a 20\r\n01234567890123456789\r\n", count: 5), sender, to: core)
        #expect(slowSide.lastWords.isEmpty)
        core.endBurst()
        #expect(slowSide.lastWords == ["Slow Consumer"])
        #expect(core.statistics.slowConsumers == 1)
        #expect(slow.outbound.byteCount == 0)
        #expect(senderSide.lastWords.isEmpty)
    }

    @Test func reusesSlotsOfEndedSubscriptions() throws {
        let core = Self.makeCore()
        let transport = RecordingTransport()
        let client = try #require(core.register(transport))
        client.options.verbose = false
        for number in 0..<1000 {
            Self.say("SUB a.\(number) \(number)\r\nUNSUB \(number)\r\n", client, to: core)
        }
        #expect(core.subscriptionSlotCount == 1)
        #expect(core.statistics.subscriptions == 0)
        #expect(client.subscriptions.isEmpty)
    }
}

/// What waits for clients is counted, whatever it is.
@Suite(.timeLimit(.minutes(5))) struct BrokerBoundTests {
    private typealias Base = BrokerCoreTests

    private func client(
        of core: BrokerCore,
        _ transport: BrokerCoreTests.RecordingTransport,
        verbose: Bool = false
    ) throws -> BrokerClient {
        let client = try #require(core.register(transport))
        client.options.verbose = verbose
        client.options.headers = true
        client.options.noResponders = true
        return client
    }

    @Test(arguments: ["PING\r\n", "SUB . 1\r\n", "PUB nobody i 0\r\n\r\n", "PUB own 1\r\nx\r\n", "PONG\r\nUNSUB 9\r\n"])
    func everyAnswerCountsForTheBound(_ command: String) throws {
        let core = Base.makeCore { $0.maximumPendingBytesPerClient = 1000 }
        let side = BrokerCoreTests.RecordingTransport()
        let client = try client(of: core, side, verbose: true)
        Base.say("SUB i 1\r\nSUB own 2\r\n", client, to: core)
        for _ in 0..<500 where !client.isEnding { Base.say(command, client, to: core) }
        core.endBurst()
        #expect(side.lastWords == ["Slow Consumer"])
        #expect(core.statistics.slowConsumers == 1)
        #expect(core.statistics.heldBytes == 0)
    }

    @Test func whoHoldsMostIsClosedWhenAllHoldTooMuch() throws {
        let core = Base.makeCore { $0.maximumHeldBytes = 10_000 }
        let sides = (0..<3).map { _ in BrokerCoreTests.RecordingTransport() }
        let clients = try sides.map { try client(of: core, $0) }
        clients[0].unfinishedBytes = 3000
        core.account(clients[0])
        clients[1].unfinishedBytes = 4000
        core.account(clients[1])
        core.endBurst()
        #expect(sides.allSatisfy { $0.lastWords.isEmpty })
        #expect(core.statistics.heldBytes == 7000)
        for _ in 0..<600 { Base.say("PING\r\n", clients[2], to: core) }
        core.endBurst()
        #expect(sides[1].lastWords == ["maximum memory exceeded"])
        #expect(sides[0].lastWords.isEmpty && sides[2].lastWords.isEmpty)
        #expect(core.statistics.shedClients == 1)
        for client in clients { core.unregister(client) }
        #expect(core.statistics.heldBytes == 0)
    }

    @Test func subscriptionsCountByTheirBytes() throws {
        let core = Base.makeCore { $0.maximumSubscriptionBytesPerClient = 10_000 }
        let side = BrokerCoreTests.RecordingTransport()
        let client = try client(of: core, side)
        Base.say("SUB \(Array(repeating: "a", count: 100).joined(separator: ".")) 1\r\n", client, to: core)
        #expect(core.statistics.refusedSubscriptions == 1)
        for number in 0..<100 { Base.say("SUB s \(number)\r\n", client, to: core) }
        #expect(core.statistics.subscriptions > 10 && core.statistics.subscriptions < 20)
        for number in 0..<100 { Base.say("UNSUB \(number)\r\n", client, to: core) }
        #expect(core.statistics.subscriptions == 0)
        #expect(client.subscriptionBytes == 0)
        #expect(side.lastWords.isEmpty)
    }

    @Test func anOutboxGivesItsBytesInOrderAndInChunks() {
        var outbox = ClientOutbox()
        var written = ByteBuffer()
        for number in 0..<40_000 {
            outbox.append("line \(number)\r\n")
            written.writeString("line \(number)\r\n")
        }
        #expect(outbox.byteCount == written.readableBytes)
        var read = ByteBuffer()
        var largest = 0
        while var chunk = outbox.popFirst() {
            largest = max(largest, chunk.readableBytes)
            read.writeBuffer(&chunk)
        }
        #expect(read == written)
        #expect(outbox.isEmpty)
        #expect(largest < ClientOutbox.chunkBytes + 100)
    }
}
