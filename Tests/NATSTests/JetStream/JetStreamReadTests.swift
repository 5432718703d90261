// Reading in order, on a real server.

import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct JetStreamReadTests {
    private func texts(_ messages: JetStreamOrderedMessages, _ count: Int = .max) async throws -> [String] {
        var texts: [String] = []
        var iterator = messages.makeAsyncIterator()
        while texts.count < count, let message = try await iterator.next() { texts.append(message.text) }
        return texts
    }

    private func publish(_ js: JetStreamContext, _ numbers: Range<Int>) async throws {
        var receipts: [JetStreamPublishReceipt] = []
        for number in numbers {
            receipts.append(try await js.publishLater("\(number)", to: "a.\(number % 3)", options: .unique()))
        }
        for receipt in receipts { _ = try await receipt.ack() }
    }

    @Test("J17: all messages come in order, up to the last one, and nothing is left at the server")
    func toTheEnd() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        var options = JetStreamReadOptions()
        options.end = .last
        // An empty stream has an end, too.
        #expect(try await texts(try await stream.read(options)) == [])
        try await publish(js, 0..<5000)
        #expect(try await texts(try await stream.read(options)) == (0..<5000).map { "\($0)" })
        options.filters = ["a.1"]
        #expect(try await texts(try await stream.read(options)) == (0..<5000).filter { $0 % 3 == 1 }.map { "\($0)" })
        options.filters = ["a.1", "a.2"]
        options.start = .fromSequence(4990)
        #expect(
            try await texts(try await stream.read(options)) == ["4990", "4991", "4993", "4994", "4996", "4997", "4999"]
        )
        options.start = .lastPerSubject
        options.filters = []
        options.headersOnly = true
        #expect(try await texts(try await stream.read(options)) == ["", "", ""])
        #expect(try await eventually { try await stream.consumerNames().isEmpty })
        #expect(await jetStreamCode { _ = try await js.stream("none").read() } == .noStream)
        #expect(
            await jetStreamCode {
                options.filters = ["a b"]
                _ = try await stream.read(options)
            } == .invalidName
        )
    }

    @Test("J17: it waits for what is new, and ends when it is dropped, with its consumer")
    func new() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        try await publish(js, 0..<10)
        var options = JetStreamReadOptions()
        options.start = .new
        do {
            let messages = try await stream.read(options)
            try await publish(js, 10..<20)
            #expect(try await texts(messages, 10) == (10..<20).map { "\($0)" })
            let info = try await stream.consumers()
            #expect(info.count == 1 && info[0].configuration.acks.policy == .none && info[0].configuration.isInMemory)
        }
        #expect(try await eventually { try await stream.consumerNames().isEmpty })
    }

    @Test("J17: the consumer is deleted, again and again: nothing is missing and nothing comes twice")
    func deleted() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        var options = JetStreamReadOptions()
        options.messages = 10
        let messages = try await stream.read(options)
        let publishing = Task { try await publish(js, 0..<3000) }
        var texts: [String] = []
        var iterator = messages.makeAsyncIterator()
        while texts.count < 3000, let message = try await iterator.next() {
            texts.append(message.text)
            if texts.count == 100 || texts.count == 1500 {
                for name in try await stream.consumerNames() { try await stream.consumer(name).delete() }
            }
        }
        #expect(texts == (0..<3000).map { "\($0)" })
        try await publishing.value
    }

    @Test("J17: what is taken while there is no consumer makes room at the next one")
    func takenBetween() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        var options = JetStreamReadOptions()
        options.messages = 10
        let messages = try await stream.read(options)
        // One less than it may hold: a pull is left that tells of the deletion.
        try await publish(js, 0..<9)
        let name = try #require(try await stream.consumerNames().first)
        #expect(try await eventually { try await stream.consumer(name).info().pending == 0 })
        try await stream.consumer(name).delete()
        // With this answer the end of the pull is there, too. The next consumer is made most of a second later.
        _ = try await stream.consumerNames()
        try await publish(js, 9..<40)
        #expect(try await texts(messages, 40) == (0..<40).map { "\($0)" })
    }

    @Test("D54: over a killed server nothing is missing and nothing comes twice, and one consumer is left")
    func killed() async throws {
        let server = try JetStreamServer()
        let js = try await server.context(timeout: .seconds(50))
        let stream = try await js.makeStream("S", ["a.*"]) { $0.storage = .file }
        try await publish(js, 0..<500)
        let messages = try await stream.read()
        let received = NIOLockedValueBox<[String]>([])
        let reading = Task {
            for try await message in messages {
                let count = received.withLockedValue { received in
                    received.append(message.text)
                    return received.count
                }
                if count == 1500 { return }
            }
        }
        for round in 1...2 {
            #expect(try await eventually { received.withLockedValue { $0.count >= round * 500 } })
            server.server.kill()
            try server.server.start()
            try await publish(js, (round * 500)..<(round * 500 + 500))
        }
        try await reading.value
        #expect(received.withLockedValue { $0 } == (0..<1500).map { "\($0)" })
        #expect(try await stream.consumerNames().count == 1)
    }

    @Test("J17: the end of what was sent is lost with a connection: the heartbeat tells, and it comes again")
    func lostTail() async throws {
        let server = try JetStreamServer()
        let proxy = try await FaultProxy(to: server.server.port)
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        let client = try await NATSClient.connect(TestClient.configuration(proxy.port), logger: TestClient.logger)
        let messages = try await client.jetStream(timeout: .seconds(50)).stream("S").read()
        var iterator = messages.makeAsyncIterator()
        try await publish(js, 0..<1)
        #expect(try await iterator.next()?.text == "0")
        // The server sends the others to a dead link, and counts them as delivered.
        proxy.blackhole()
        try await publish(js, 1..<20)
        let name = try #require(try await stream.consumerNames().first)
        #expect(try await eventually { try await stream.consumer(name).info().pending == 0 })
        await client.reconnect()
        for number in 1..<20 { #expect(try await iterator.next()?.text == "\(number)") }
        await client.close()
        try await proxy.stop()
    }

    @Test("J19: the stream is deleted and created again: told, and read from its first message")
    func otherStream() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        try await publish(js, 0..<5)
        let restarts = NIOLockedValueBox(0)
        var options = JetStreamReadOptions()
        options.onRestart = { restarts.withLockedValue { $0 += 1 } }
        let messages = try await stream.read(options)
        var iterator = messages.makeAsyncIterator()
        for number in 0..<5 { #expect(try await iterator.next()?.text == "\(number)") }
        try await stream.delete()
        try await js.makeStream("S", ["a.*"])
        try await publish(js, 100..<103)
        for number in 100..<103 {
            let message = try await iterator.next()
            #expect(message?.text == "\(number)" && message?.sequence == UInt64(number - 99))
        }
        #expect(restarts.withLockedValue { $0 } == 1)
    }

    @Test("J20: it is brought on although nobody reads, and a client that closes ends it")
    func unread() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"])
        try await publish(js, 0..<3)
        var options = JetStreamReadOptions()
        options.messages = 10
        let messages = try await stream.read(options)
        let names = try await stream.consumerNames()
        for name in names { try await stream.consumer(name).delete() }
        #expect(try await eventually { try await stream.consumerNames().contains { !names.contains($0) } })
        try await publish(js, 3..<100)
        // It is full, and asks for nothing: only a reader can bring it on.
        for name in try await stream.consumerNames() { try await stream.consumer(name).delete() }
        #expect(try await texts(messages, 100) == (0..<100).map { "\($0)" })
        let end = Task { try await texts(messages) }
        await js.client.close()
        #expect(try await end.value.isEmpty)
    }
}
