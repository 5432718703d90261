// Subscriptions of NATSClient: rules 21 and 22 of the notes, and what other clients got wrong about streams (F.1, F.3).

import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ClientStreamTests {
    /// The slow-consumer events that came up to the end of the client.
    private func slowSubjects(_ events: NATSEventStream) async -> [String] {
        var subjects: [String] = []
        for await event in events {
            if case .subscriptionTooSlow(let subject, _) = event { subjects.append(subject) }
        }
        return subjects
    }

    @Test func rule21_slowConsumerTellsOncePerEpisode() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let events = client.events
        let messages = try await client.subscribe("slow", bufferLimit: 3)
        var iterator = messages.makeAsyncIterator()
        var received: [String] = []
        for episode in 0..<2 {
            for index in 0..<10 { try client.publish("\(episode).\(index)", to: "slow") }
            try await client.flush()
            for index in 10..<20 { try client.publish("\(episode).\(index)", to: "slow") }
            try await client.flush()
            for _ in 0..<3 { received.append(try #require(try await iterator.next()).text) }
        }
        try client.publish("last", to: "slow")
        try await client.flush()
        received.append(try #require(try await iterator.next()).text)
        #expect(received == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2", "last"])
        #expect(messages.droppedMessages == 34)
        let statistics = await client.statistics()
        #expect(statistics.droppedMessages == 34)
        #expect(statistics.slowConsumers == 2)
        await client.close()
        #expect(await slowSubjects(events) == ["slow", "slow"])
    }

    @Test func rule21_bytesAreLimited() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let messages = try await client.subscribe("slow", byteLimit: 10_000)
        for _ in 0..<20 { try client.publish(String(repeating: "x", count: 999), to: "slow") }
        try await client.drain()
        #expect(try await messages.reduce(0) { count, _ in count + 1 } == 10)
        #expect(messages.droppedMessages == 10)
    }

    @Test func rule21_publishingGoesOnBesideASlowConsumer() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let slow = try await client.subscribe("a", bufferLimit: 1)
        let quick = try await client.subscribe("a")
        for index in 0..<1000 { try client.publish("\(index)", to: "a") }
        try await client.drain()
        #expect(try await quick.reduce(0) { count, _ in count + 1 } == 1000)
        #expect(try await slow.reduce(0) { count, _ in count + 1 } == 1)
    }

    @Test func rule22_autoUnsubscribe() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let limited = try await client.subscribe("a")
        try limited.unsubscribe(after: 10)
        // The last call wins.
        try limited.unsubscribe(after: 4)
        let capped = try await client.subscribe("a", bufferLimit: 2)
        try capped.unsubscribe(after: 5)
        for maximum in [0, -1] {
            let error = #expect(throws: NATSError.self) { try limited.unsubscribe(after: maximum) }
            #expect(error?.code == .invalidArgument)
        }
        for index in 0..<20 { try client.publish("\(index)", to: "a") }
        try await client.flush()
        #expect(try await limited.reduce(into: []) { $0.append($1.text) } == ["0", "1", "2", "3"])
        // Dropped messages count to the maximum.
        #expect(try await capped.reduce(into: []) { $0.append($1.text) } == ["0", "1"])
        #expect(capped.droppedMessages == 3)
        let reached = try await client.subscribe("b")
        for _ in 0..<3 { try client.publish("x", to: "b") }
        try await client.flush()
        try reached.unsubscribe(after: 2)
        #expect(try await reached.reduce(0) { count, _ in count + 1 } == 3)
        await client.close()
    }

    @Test func rule22_autoUnsubscribeFromACallback() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let seen = NIOLockedValueBox<[String]>([])
        let subscription = NIOLockedValueBox<NATSCallbackSubscription?>(nil)
        let made = try await client.subscribe("a") { message in
            seen.withLockedValue { $0.append(message.text) }
            try? subscription.withLockedValue { $0 }?.unsubscribe(after: 1)
        }
        subscription.withLockedValue { $0 = made }
        for index in 0..<3 {
            try client.publish("\(index)", to: "a")
            try await client.flush()
        }
        #expect(try await TestClient.subscriptions(client) == 0)
        #expect(seen.withLockedValue { $0 } == ["0"])
        subscription.withLockedValue { $0 = nil }
        await client.close()
    }

    @Test func callbacksAnswerInOrder() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let service = try await client.subscribe("echo", queue: "q") { [weak client] message in
            guard let reply = message.reply else { return }
            try? client?.publish(message.payload.readableBytesView, to: reply)
        }
        for index in 0..<100 {
            #expect(try await client.request("\(index)", to: "echo").text == "\(index)")
        }
        try await service.drain()
        let error = await #expect(throws: NATSError.self) { try await client.request("x", to: "echo") }
        #expect(error?.code == .noResponders)
        await client.close()
    }

    @Test func f1_closeEndsEveryStream() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let streams = [try await client.subscribe("a"), try await client.subscribe("b")]
        let readers = streams.map { stream in Task { try await stream.reduce(0) { count, _ in count + 1 } } }
        try client.publish("x", to: "a")
        try await client.flush()
        await client.close()
        #expect(try await readers[0].value == 1)
        #expect(try await readers[1].value == 0)
    }

    @Test func f1_twoIteratorsShareAStream() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let messages = try await client.subscribe("a")
        let readers = (0..<4).map { _ in Task { try await messages.reduce(into: []) { $0.append($1.text) } } }
        for index in 0..<500 {
            try client.publish("\(index)", to: "a")
            if index % 50 == 0 { try await client.flush() }
        }
        try await client.drain()
        var all: [String] = []
        for reader in readers { all += try await reader.value }
        #expect(all.count == 500)
        #expect(Set(all).count == 500)
    }

    @Test func f1_cancellingOneReaderLeavesTheOthers() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let messages = try await client.subscribe("a")
        let cancelled = Task { try await messages.reduce(0) { count, _ in count + 1 } }
        let before = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await messages.reduce(0) { count, _ in count + 1 }
        }
        #expect(try await before.value == 0)
        cancelled.cancel()
        #expect(try await cancelled.value == 0)
        let stays = Task { try await messages.reduce(0) { count, _ in count + 1 } }
        try client.publish("x", to: "a")
        try await client.drain()
        #expect(try await stays.value == 1)
    }

    @Test func payloadsOfOneBurstStayApart() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let messages = try await client.subscribe("a.>")
        let sizes = [0, 1, 16, 4095, 4096, 4097, 100, 0, 20_000, 3]
        for round in 0..<50 {
            for (index, size) in sizes.enumerated() {
                let letter = UInt8(97 + (round + index) % 26)
                try client.publish([UInt8](repeating: letter, count: size), to: "a.\(index)", reply: "r.\(round)")
            }
        }
        try await client.drain()
        var count = 0
        for try await message in messages {
            let (round, index) = (count / sizes.count, count % sizes.count)
            let letter = UInt8(97 + (round + index) % 26)
            #expect(message.subject == "a.\(index)" && message.reply == "r.\(round)")
            #expect(message.payload == ByteBuffer(repeating: letter, count: sizes[index]))
            count += 1
        }
        #expect(count == 500)
    }
}
