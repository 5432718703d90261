// Consuming on a real server: the sequence, settling, and what servers do to those who read for months.

import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct JetStreamConsumeTests {
    private func prepare(
        _ server: JetStreamServer,
        messages: Int = 0,
        storage: JetStreamStream.Storage = .memory,
        _ change: (inout JetStreamConsumer.Configuration) -> Void = { _ in }
    ) async throws -> JetStreamConsumer {
        let js = try await server.context(timeout: .seconds(50))
        let stream = try await js.makeStream("S", ["a.>"]) { $0.storage = storage }
        for number in 0..<messages { _ = try await js.publishLater("\(number)", to: "a.\(number % 3)") }
        var configuration = JetStreamConsumer.Configuration.durable("d")
        change(&configuration)
        try await stream.createConsumer(configuration)
        #expect(try await eventually { try await stream.info().state.messages == UInt64(messages) })
        return try stream.consumer("d")
    }

    /// Reads and acknowledges so many.
    private func read(_ messages: JetStreamMessages, _ count: Int) async throws -> [String] {
        var texts: [String] = []
        var iterator = messages.makeAsyncIterator()
        while texts.count < count, let message = try await iterator.next() {
            texts.append(message.text)
            try message.ack()
        }
        return texts
    }

    @Test(
        "D8: ten thousand messages come once each, in order, and few are asked for at a time",
        arguments: [1, 2, 16, 100]
    )
    func many(_ limit: Int) async throws {
        let server = try JetStreamServer()
        let count = limit == 1 ? 500 : 10_000
        let consumer = try await prepare(server, messages: count)
        var options = JetStreamConsumeOptions()
        options.messages = limit
        let messages = try await consumer.messages(options)
        #expect(try await read(messages, count) == (0..<count).map { "\($0)" })
        #expect(try await eventually { try await consumer.info().pendingAcks == 0 })
        let info = try await consumer.info()
        #expect(info.pending == 0 && info.redelivered == 0 && info.acknowledged.streamSequence == UInt64(count))
        #expect(info.waitingPulls <= 4)
        withExtendedLifetime(messages) {}
    }

    @Test("A6: a message has its subject, headers, payload and what the server says about the delivery")
    func wholeMessage() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server) { $0.filters = ["a.b"] }
        try await consumer.context.publish([0, 255], to: "a.b", headers: ["H": "1"])
        try await consumer.context.publish("not wanted", to: "a.c")
        // A stored message that looks like a status.
        var headers = NATSHeaders()
        headers.add("Status", "408")
        try await consumer.context.publish("", to: "a.b", headers: headers)
        var iterator = try await consumer.messages().makeAsyncIterator()
        let first = try #require(try await iterator.next())
        #expect(first.subject == "a.b" && first.payload == ByteBuffer(bytes: [0, 255]) && first.headers == ["H": "1"])
        let metadata = first.metadata
        #expect(
            metadata.stream == "S" && metadata.consumer == "d" && metadata.deliveries == 1 && !metadata.isRedelivered
        )
        #expect(metadata.streamSequence == 1 && metadata.consumerSequence == 1 && metadata.pending == 1)
        let second = try #require(try await iterator.next())
        #expect(second.headers == ["Status": "408"] && second.metadata.streamSequence == 3)
        try first.ack()
        try second.ack()
    }

    @Test("D7: with the longer subjects of acknowledgements the meaning is the same", arguments: [false, true])
    func acknowledgementSubjects(_ isLong: Bool) async throws {
        let server = try JetStreamServer(isLong ? "feature_flags { js_ack_fc_v2: true }" : "")
        let consumer = try await prepare(server, messages: 10)
        var iterator = try await consumer.messages().makeAsyncIterator()
        for number in 1...10 {
            let message = try #require(try await iterator.next())
            #expect(message.settler.reply.split(separator: ".").count == (isLong ? 11 : 9))
            let metadata = message.metadata
            #expect(
                metadata.stream == "S" && metadata.consumer == "d" && metadata.deliveries == 1 && metadata.domain == ""
            )
            #expect(metadata.streamSequence == UInt64(number) && metadata.consumerSequence == UInt64(number))
            #expect(metadata.pending == UInt64(10 - number))
            try await message.ackConfirmed()
        }
        #expect(try await consumer.info().pendingAcks == 0)
    }

    @Test("J12: a consumer of a work queue that is made again begins with what is left")
    func recreatedWorkQueue() async throws {
        let server = try JetStreamServer()
        let js = try await server.context(timeout: .seconds(50))
        let stream = try await js.makeStream("W", ["w"]) { $0.retention = .workQueue }
        for number in 0..<40 { try await js.publish("\(number)", to: "w") }
        try await stream.createConsumer(.durable("d"))
        var options = JetStreamConsumeOptions()
        options.messages = 10
        options.heartbeat = .milliseconds(500)
        options.onDeleted = .recreate(.durable("d"))
        let messages = try await stream.consumer("d").messages(options)
        let seen = NIOLockedValueBox<Set<String>>([])
        let reading = Task {
            for try await message in messages {
                try message.ack()
                if seen.withLockedValue({ $0.insert(message.text).inserted && $0.count == 20 }) {
                    try await stream.consumer("d").delete()
                }
            }
        }
        // What was acknowledged to the consumer that was gone already comes again, and nothing is left out.
        #expect(try await eventually { try await stream.info().state.messages == 0 })
        #expect(seen.withLockedValue { $0.count } == 40)
        messages.stop()
        try await reading.value
    }

    @Test("J21: each delivery is settled once")
    func once() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 4)
        let messages = try await consumer.fetch(4)
        #expect(messages.count == 4)
        try messages[0].ack()
        #expect(throws: JetStreamError.self) { try messages[0].ack() }
        #expect(throws: JetStreamError.self) { try messages[0].inProgress() }
        try await messages[1].ackConfirmed()
        #expect(await jetStreamCode { try await messages[1].ackConfirmed() } == .settled)
        try messages[2].inProgress()
        try messages[2].term(reason: "bad")
        #expect(throws: JetStreamError.self) { try messages[3].term(reason: "a\nb") }
        try messages[3].nak()
        #expect(throws: JetStreamError.self) { try messages[3].nak() }
        let again = try await consumer.fetch(4, wait: .milliseconds(500))
        #expect(again.map(\.text) == ["3"] && again.first?.metadata.deliveries == 2)
    }

    @Test("J24: a NAK comes back at once, or after the delay that was asked for, whatever the consumer's backoff")
    func delays() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 1) { $0.acks.backoff = [.seconds(1), .seconds(4)] }
        var iterator = try await consumer.messages().makeAsyncIterator()
        try #require(try await iterator.next()).nak()
        let clock = ContinuousClock()
        for delivery in [2, 4] {
            let message = try #require(try await iterator.next())
            #expect(message.metadata.deliveries == delivery)
            let start = clock.now
            try message.nak(delay: .seconds(2))
            let next = try #require(try await iterator.next())
            let time = clock.now - start
            #expect(time > .milliseconds(1800) && time < .milliseconds(3500), "\(time) at delivery \(delivery)")
            try next.nak()
        }
    }

    @Test("J23: a message that is handled for long is not delivered again, nor those that wait behind it")
    func extensions() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 5) { $0.acks.wait = .seconds(1) }
        var iterator = try await consumer.messages().makeAsyncIterator()
        let first = try #require(try await iterator.next())
        try await Task.sleep(for: .seconds(4))
        try first.ack()
        for number in 1..<5 {
            let message = try #require(try await iterator.next())
            #expect(message.text == "\(number)" && message.metadata.deliveries == 1)
            try message.ack()
        }
        #expect(try await eventually { try await consumer.info().acknowledged.streamSequence == 5 })
        #expect(try await consumer.info().delivered.consumerSequence == 5)
    }

    @Test("J23: beyond the limit no more time is asked for")
    func extensionsEnd() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 1) { $0.acks.wait = .seconds(1) }
        var options = JetStreamConsumeOptions()
        options.extends = .milliseconds(1500)
        var iterator = try await consumer.messages(options).makeAsyncIterator()
        _ = try #require(try await iterator.next())
        #expect(try #require(try await iterator.next()).metadata.deliveries == 2)
    }

    @Test("D38: what was not taken at a stop goes to a peer at once, and what was can still be acknowledged")
    func givesBack() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 50)
        let messages = try await consumer.messages()
        var iterator = messages.makeAsyncIterator()
        let taken = try #require(try await iterator.next())
        #expect(try await eventually { try await consumer.info().pendingAcks == 50 })
        messages.stop()
        #expect(try await iterator.next() == nil)
        try taken.ack()
        let peer = try await consumer.messages()
        var texts: [String] = []
        let start = ContinuousClock.now
        for try await message in peer {
            texts.append(message.text)
            try message.ack()
            if texts.count == 49 { break }
        }
        // Long before the 30 s after which the server would do that by itself.
        #expect(ContinuousClock.now - start < .seconds(15))
        #expect(Set(texts) == Set((1..<50).map { "\($0)" }))
        #expect(try await eventually { try await consumer.info().pendingAcks == 0 })
    }

    @Test("J28: a sequence that is dropped stops, and leaves nothing behind")
    func dropped() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 3)
        let client = consumer.context.client
        let before = try await TestClient.subscriptions(client)
        do {
            var iterator = try await consumer.messages().makeAsyncIterator()
            try #require(try await iterator.next()).ack()
        }
        #expect(try await eventually { try await TestClient.subscriptions(client) == before })
        #expect(try await eventually { try await consumer.info().waitingPulls == 0 })
        let bound = client.bound
        #expect(try await client.eventLoop.submit { bound.value.jetStreamReaders.count }.get() == 0)
        #expect(try await consumer.fetch(5, wait: .seconds(2)).count == 2)
    }

    @Test("J28: draining the client lets the reader finish its message, and gives the others back")
    func drained() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 20)
        let messages = try await consumer.messages()
        let begun = NIOLockedValueBox(false)
        let reader = Task {
            var count = 0
            for try await message in messages {
                begun.withLockedValue { $0 = true }
                try await Task.sleep(for: .milliseconds(500))
                try message.ack()
                count += 1
            }
            return count
        }
        #expect(try await eventually { begun.withLockedValue { $0 } })
        try await consumer.context.client.drain()
        let count = try await reader.value
        #expect(count >= 1 && count < 20)
        let other = try await server.context().stream("S").consumer("d")
        #expect(try await eventually { try await other.info().acknowledged.streamSequence == UInt64(count) })
        var rest = try await other.fetch(20, wait: .seconds(3))
        #expect(rest.count == 20 - count)
        rest.removeAll()
    }

    @Test("D24: the server is killed and comes back: handling goes on, nothing is lost")
    func killed() async throws {
        let server = try JetStreamServer()
        // What was acknowledged to a server that was dying comes again after this time.
        let consumer = try await prepare(server, messages: 2000, storage: .file) { $0.acks.wait = .seconds(2) }
        let messages = try await consumer.messages()
        var seen: [String: Int] = [:]
        var iterator = messages.makeAsyncIterator()
        while seen.count < 2000, let message = try await iterator.next() {
            seen[message.text, default: 0] += 1
            try message.ack()
            if seen.count == 700 || seen.count == 1400, seen[message.text] == 1 {
                server.server.kill()
                try server.server.start()
            }
        }
        #expect(seen.count == 2000)
        #expect(seen.values.allSatisfy { $0 <= 3 })
        let rest = Task { [iterator] in
            var iterator = iterator
            while let message = try await iterator.next() { try message.ack() }
        }
        defer { rest.cancel() }
        #expect(try await eventually { (try? await consumer.info().acknowledged.streamSequence) == 2000 })
    }

    @Test("D30: a consumer that an operator deletes is made again behind what is settled")
    func recreated() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 100)
        var options = JetStreamConsumeOptions()
        options.messages = 10
        options.onDeleted = .recreate(.durable("d"))
        let messages = try await consumer.messages(options)
        var iterator = messages.makeAsyncIterator()
        var texts: [String] = []
        while texts.count < 100, let message = try await iterator.next() {
            texts.append(message.text)
            try message.ack()
            if texts.count == 50 { try await consumer.delete() }
        }
        // In order, and what was settled did not come again.
        #expect(texts == (0..<100).map { "\($0)" })
        #expect(try await eventually { try await consumer.info().acknowledged.streamSequence == 100 })
    }

    @Test("J12: a deleted consumer ends the sequence, unless it is waited for")
    func deleted() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 1)
        var waiting = JetStreamConsumeOptions()
        waiting.onDeleted = .wait
        let ends = try await consumer.messages()
        let waits = try await consumer.messages(waiting)
        var ending = ends.makeAsyncIterator()
        var wait = waits.makeAsyncIterator()
        // Both have a pull there before it goes.
        #expect(try await eventually { try await consumer.info().waitingPulls >= 1 })
        try await consumer.delete()
        let code = await jetStreamCode {
            while let message = try await ending.next() { try message.ack() }
        }
        #expect(code == .noConsumer)
        #expect(try await ending.next() == nil)
        try await consumer.stream.createConsumer(.durable("d"))
        try await consumer.context.publish("later", to: "a.x")
        var text: String?
        while text != "later", let message = try await wait.next() {
            text = message.text
            try message.ack()
        }
        #expect(text == "later")
        #expect(await jetStreamCode { _ = try await consumer.stream.consumer("none").messages() } == .noConsumer)
    }

    @Test("D34: a paused consumer is no error, and delivers when it goes on")
    func paused() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 3)
        try await consumer.pause(for: .seconds(100))
        var options = JetStreamConsumeOptions()
        options.heartbeat = .milliseconds(300)
        options.expires = .seconds(2)
        let messages = try await consumer.messages(options)
        let reading = Task { try await read(messages, 3) }
        try await Task.sleep(for: .seconds(3))
        try await consumer.resume()
        #expect(try await reading.value == ["0", "1", "2"])
    }

    @Test("D36: where too many pulls wait the missing beat is noticed, and pulling goes on without spinning")
    func tooManyPulls() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server) { $0.pulls.maxWaiting = 1 }
        // Somebody else's pull takes the only place.
        let other = try await server.context().stream("S").consumer("d")
        let blocking = Task { try await other.fetch(1, wait: .seconds(6)) }
        #expect(try await eventually { try await consumer.info().waitingPulls == 1 })
        var options = JetStreamConsumeOptions()
        options.heartbeat = .milliseconds(500)
        let sent = await consumer.context.client.statistics().messagesOut
        let messages = try await consumer.messages(options)
        #expect(try await blocking.value.isEmpty)
        #expect(await consumer.context.client.statistics().messagesOut - sent < 40)
        try await consumer.context.publish("x", to: "a.x")
        #expect(try await read(messages, 1) == ["x"])
    }

    @Test("D35: a consumer that begins anew delivers all again")
    func reset() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 5)
        let messages = try await consumer.messages()
        #expect(try await read(messages, 5).count == 5)
        try await consumer.reset(to: 1)
        #expect(try await read(messages, 5) == ["0", "1", "2", "3", "4"])
    }

    @Test("J15: bytes are the limit, and a message that is larger comes all the same")
    func bytes() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server)
        for size in [10, 400, 5000, 10, 10] {
            try await consumer.context.publish(String(repeating: "x", count: size), to: "a.x")
        }
        var options = JetStreamConsumeOptions()
        options.bytes = 1000
        let messages = try await consumer.messages(options)
        #expect(try await read(messages, 5).map(\.utf8.count) == [10, 400, 5000, 10, 10])
    }

    @Test("A6: a fetch gives what there is, waits for the rest, and says when there is no such consumer")
    func fetch() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 5)
        let first = try await consumer.fetch(3)
        #expect(first.map(\.text) == ["0", "1", "2"])
        for message in first { try message.ack() }
        let start = ContinuousClock.now
        let rest = try await consumer.fetch(10, wait: .milliseconds(400))
        #expect(rest.map(\.text) == ["3", "4"] && ContinuousClock.now - start >= .milliseconds(350))
        for message in rest { try message.ack() }
        #expect(try await consumer.next(wait: .milliseconds(50)) == nil)
        try await consumer.context.publish(String(repeating: "x", count: 5000), to: "a.x")
        #expect(await jetStreamCode { try await consumer.fetch(1, wait: .seconds(1), bytes: 1000) } == .messageTooLarge)
        #expect(try await consumer.next()?.text.utf8.count == 5000)
        #expect(await jetStreamCode { _ = try await consumer.stream.consumer("none").fetch(1) } == .noConsumer)
        #expect(await jetStreamCode { _ = try await consumer.fetch(0) } == .invalidArgument)
    }

    @Test("A5: headers only, and a consumer without acknowledgements")
    func kinds() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 3) {
            $0.acks.policy = .none
            $0.headersOnly = true
        }
        let messages = try await consumer.messages()
        var iterator = messages.makeAsyncIterator()
        for _ in 0..<3 {
            let message = try #require(try await iterator.next())
            #expect(message.text.isEmpty && message.headers["Nats-Msg-Size"] == "1")
            try message.ack()
            #expect(throws: JetStreamError.self) { try message.ack() }
        }
    }

    @Test("A6: of pinned clients one has the messages, and another one when that has stopped")
    func pinned() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 10) {
            $0.priority = JetStreamConsumer.Priority(group: "g", policy: .pinnedClient, timeout: .seconds(2))
        }
        var options = JetStreamConsumeOptions()
        options.group = JetStreamConsumeOptions.Group("g")
        options.messages = 2
        options.expires = .seconds(1)
        options.heartbeat = .milliseconds(300)
        let first = try await consumer.messages(options)
        #expect(try await read(first, 5) == ["0", "1", "2", "3", "4"])
        let second = try await consumer.messages(options)
        #expect(try await read(first, 3) == ["5", "6", "7"])
        first.stop()
        #expect(Set(try await read(second, 2)) == ["8", "9"])
        // Without a group the server refuses.
        let without = try await consumer.messages()
        #expect(await jetStreamCode { _ = try await read(without, 1) } == .invalidArgument)
    }

    @Test("J1: thousands of messages with several readers of one consumer come once each")
    func peers() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, messages: 5000)
        var options = JetStreamConsumeOptions()
        options.messages = 7
        let counts = NIOLockedValueBox<[String: Int]>([:])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                let messages = try await consumer.messages(options)
                group.addTask {
                    for try await message in messages {
                        try message.ack()
                        let isDone = counts.withLockedValue { counts in
                            counts[message.text, default: 0] += 1
                            return counts.count == 5000
                        }
                        if isDone { return }
                    }
                }
            }
            try await group.next()
            group.cancelAll()
        }
        #expect(counts.withLockedValue { $0.values.allSatisfy { $0 == 1 } && $0.count == 5000 })
    }

    @Test(
        "D37: a link that is dead without a word is noticed by the missing beats, and consuming goes on over another one"
    )
    func deadLink() async throws {
        let server = try JetStreamServer()
        // What the server sends to the dead link comes again after this time.
        let consumer = try await prepare(server, messages: 3) { $0.acks.wait = .seconds(3) }
        let proxy = try await FaultProxy(to: server.server.port)
        let client = try await NATSClient.connect(TestClient.configuration(proxy.port), logger: TestClient.logger)
        var options = JetStreamConsumeOptions()
        options.heartbeat = .milliseconds(500)
        options.expires = .seconds(5)
        let behindProxy = try client.jetStream(timeout: .seconds(20)).stream("S").consumer("d")
        let messages = try await behindProxy.messages(options)
        #expect(try await read(messages, 3).count == 3)
        #expect(try await eventually { try await consumer.info().pendingAcks == 0 })
        // The client's pings would take minutes.
        proxy.blackhole()
        let start = ContinuousClock.now
        try await consumer.context.publish("later", to: "a.x")
        #expect(try await read(messages, 1) == ["later"])
        #expect(ContinuousClock.now - start < .seconds(25))
        #expect(await client.statistics().reconnects >= 1)
        await client.close()
        try await proxy.stop()
    }

    @Test(
        "D24: a broker that is killed again and again under load: every message is handled, duplicates are the exception"
    )
    func killedAgainAndAgain() async throws {
        let server = try JetStreamServer()
        let consumer = try await prepare(server, storage: .file) { $0.acks.wait = .seconds(3) }
        let js = consumer.context
        let messages = try await consumer.messages()
        let counts = NIOLockedValueBox<[String: Int]>([:])
        let reading = Task {
            for try await message in messages {
                try? message.ack()
                counts.withLockedValue { $0[message.text, default: 0] += 1 }
            }
        }
        let total = 3000
        let publishing = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<total {
                    group.addTask {
                        var options = JetStreamPublishOptions(id: "\(number)")
                        options.timeout = .seconds(60)
                        try await js.publish("\(number)", to: "a.\(number % 3)", options: options)
                    }
                    if number % 100 == 99 { try await Task.sleep(for: .milliseconds(100)) }
                }
                try await group.waitForAll()
            }
        }
        for _ in 0..<10 {
            try await Task.sleep(for: .milliseconds(250))
            server.server.kill()
            try server.server.start()
        }
        try await publishing.value
        #expect(try await eventually { try await consumer.info().acknowledged.streamSequence == UInt64(total) })
        messages.stop()
        try await reading.value
        let seen = counts.withLockedValue { $0 }
        #expect(seen.count == total)
        #expect(try await consumer.stream.info().state.messages == UInt64(total))
        // What was delivered, or acknowledged, when the server died.
        #expect(seen.values.reduce(0, +) < total + 10 * 200)
    }
}
