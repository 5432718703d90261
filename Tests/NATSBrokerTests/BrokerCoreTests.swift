// The core without sockets and without time: what it flushes when, and whom it pings and gives up.

import Logging
import NIOCore
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
        #expect(receiver.outbound.readableBytes == 100 * "MSG a 1 1\r\nx\r\n".utf8.count)
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
        #expect(client.outbound.readableBytes == 2 * "PING\r\n".utf8.count)
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
        let asked = client.outbound.readableBytes
        client.wasHeard = true
        core.pingClients()
        #expect(client.outbound.readableBytes == asked)
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
        #expect(slowSide.lastWords == [nil])
        #expect(core.statistics.slowConsumers == 1)
        #expect(slow.outbound.readableBytes == 0)
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
