// Publishing with acknowledgement, on a real server.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct JetStreamPublishTests {
    private func publisher(_ js: JetStreamContext) async throws -> (pending: Int, foreign: UInt64) {
        let bound = js.client.bound
        return try await js.client.eventLoop.submit {
            (bound.value.publisher.pendingCount, bound.value.publisher.foreignReplies)
        }.get()
    }

    @Test(
        "D43: the same id is stored once, and the second acknowledgement says so; after the window it is stored again"
    )
    func duplicates() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a"]) { $0.duplicateWindow = .milliseconds(500) }
        let first = try await js.publish("x", to: "a", options: JetStreamPublishOptions(id: "1"))
        #expect(first.stream == "S" && first.sequence == 1 && !first.isDuplicate)
        let second = try await js.publish("x", to: "a", options: JetStreamPublishOptions(id: "1"))
        #expect(second.sequence == 1 && second.isDuplicate)
        #expect(try await stream.info().state.messages == 1)
        #expect(
            try await eventually {
                try await Task.sleep(for: .milliseconds(100))
                return try await !js.publish("x", to: "a", options: JetStreamPublishOptions(id: "1")).isDuplicate
            }
        )
        #expect(try await stream.info().state.messages == 2)
    }

    @Test("D44: each expectation is checked, and a stale sequence has its own code")
    func expectations() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        try await js.makeStream("S", ["a.*"])
        try await js.publish("x", to: "a.b", options: JetStreamPublishOptions(id: "1"))
        func publish(_ change: (inout JetStreamPublishOptions.Expectation) -> Void) async throws {
            var options = JetStreamPublishOptions()
            change(&options.expecting)
            try await js.publish("y", to: "a.b", options: options)
        }
        #expect(await jetStreamCode { try await publish { $0.lastSequence = 7 } } == .wrongSequence)
        #expect(await jetStreamCode { try await publish { $0.lastSubjectSequence = 0 } } == .wrongSequence)
        #expect(await jetStreamCode { try await publish { $0.lastMessageID = "2" } } == .wrongMessageID)
        #expect(await jetStreamCode { try await publish { $0.stream = "T" } } == .wrongStream)
        try await publish {
            $0.lastSequence = 1
            $0.lastMessageID = "1"
            $0.stream = "S"
        }
        try await publish {
            $0.lastSubjectSequence = 2
            $0.subjects = "a.*"
        }
    }

    @Test("D45: others that answer on a stream's subject are not taken for the stream")
    func foreignReplies() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a"])
        let other = try await server.connect()
        try await other.subscribe("a") { message in
            try? other.publish("{\"ok\":true}", to: message.reply ?? "")
        }
        try await other.flush()
        for number in 1...200 {
            let ack = try await js.publish("x", to: "a")
            #expect(ack.stream == "S" && ack.sequence == UInt64(number))
        }
        #expect(try await stream.info().state.messages == 200)
        #expect(try await eventually { try await self.publisher(js).pending == 0 })
    }

    @Test(
        "D46: what is too large for the server is refused before it is sent, and what is too large for the stream by it"
    )
    func tooLarge() async throws {
        let server = try JetStreamServer("max_payload: 2000")
        let js = try await server.context()
        try await js.makeStream("S", ["a"]) {
            $0.limits.messageSize = 1000
            $0.limits.messages = 1
            $0.limits.discard = .new
        }
        let text = String(repeating: "x", count: 2001)
        #expect(await jetStreamCode { try await js.publish(text, to: "a") } == .messageTooLarge)
        let refused = await #expect(throws: JetStreamError.self) {
            try await js.publish(String(text.prefix(1500)), to: "a")
        }
        #expect(refused?.code == .messageTooLarge && refused?.errorCode == 10054)
        try await js.publish("x", to: "a")
        #expect(await jetStreamCode { try await js.publish("x", to: "a") } == .streamFull)
        #expect(await js.client.statistics().reconnects == 0)
    }

    @Test("J30: where no stream takes the subject it is tried until the deadline")
    func noStream() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        var options = JetStreamPublishOptions()
        options.timeout = .milliseconds(800)
        #expect(await jetStreamCode { try await js.publish("x", to: "nowhere", options: options) } == .unavailable)
        // And it arrives when a stream comes meanwhile.
        options.timeout = .seconds(30)
        let publish = Task { [options] in try await js.publish("x", to: "later", options: options) }
        try await Task.sleep(for: .milliseconds(400))
        try await js.makeStream("S", ["later"])
        #expect(try await publish.value.sequence == 1)
    }

    @Test("D27: every publish with an id is stored exactly once although the server is killed in the middle")
    func killed() async throws {
        let server = try JetStreamServer()
        let js = try await server.context(timeout: .seconds(50))
        let stream = try await js.makeStream("S", ["a"]) { $0.storage = .file }
        let count = 2000
        let sequences = try await withThrowingTaskGroup(of: UInt64.self) { group in
            for number in 0..<count {
                group.addTask {
                    var options = JetStreamPublishOptions(id: "\(number)")
                    options.timeout = .seconds(50)
                    return try await js.publish("\(number)", to: "a", options: options).sequence
                }
                if number == count / 2 {
                    server.server.kill()
                    try server.server.start()
                }
            }
            return try await group.reduce(into: Set<UInt64>()) { $0.insert($1) }
        }
        #expect(sequences.count == count)
        #expect(try await stream.info().state.messages == UInt64(count))
    }

    @Test("D28: without an id an attempt whose answer is missing is not made again")
    func unknownOutcome() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        // Stores nothing that could be acknowledged, and answers nothing.
        let silent = try await server.connect()
        let heard = try await silent.subscribe("a")
        try await silent.flush()
        var options = JetStreamPublishOptions()
        options.timeout = .milliseconds(300)
        #expect(await jetStreamCode { try await js.publish("x", to: "a", options: options) } == .timeout)
        options.id = "1"
        options.timeout = .milliseconds(4500)
        #expect(await jetStreamCode { try await js.publish("y", to: "a", options: options) } == .timeout)
        try await silent.drain()
        let texts = try await heard.reduce(into: []) { $0.append($1.text) }
        #expect(texts == ["x", "y", "y"])
    }

    @Test("J33: without an id a publish whose connection is lost ends at once, and says that its outcome is unknown")
    func lostConnection() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let silent = try await server.connect()
        let heard = try await silent.subscribe("a")
        try await silent.flush()
        var iterator = heard.makeAsyncIterator()
        let publish = Task { try await js.publish("x", to: "a") }
        _ = try await iterator.next()
        server.server.kill()
        #expect(await jetStreamCode { try await publish.value } == .disconnected)
        try server.server.start()
    }

    @Test("J33: publishing later keeps pace with the stream, and every receipt has its acknowledgement")
    func publishLater() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a"])
        var receipts: [JetStreamPublishReceipt] = []
        for number in 0..<10_000 {
            receipts.append(try await js.publishLater("\(number)", to: "a"))
            if number % 1000 == 0 { #expect(try await publisher(js).pending <= 4001) }
        }
        for (index, receipt) in receipts.enumerated() {
            // In the order of the calls.
            #expect(try await receipt.ack().sequence == UInt64(index + 1))
        }
        #expect(try await stream.info().state.messages == 10_000)
        #expect(try await publisher(js).pending == 0)
    }

    @Test("J33: a cancelled publish leaves, and a closed client ends all")
    func ends() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let cancelled = Task { try await js.publish("x", to: "nowhere") }
        #expect(try await eventually { try await self.publisher(js).pending == 1 })
        cancelled.cancel()
        #expect(await jetStreamCode { try await cancelled.value } == .cancelled)
        #expect(try await publisher(js).pending == 0)
        let waiting = Task { try await js.publish("x", to: "nowhere") }
        #expect(try await eventually { try await self.publisher(js).pending == 1 })
        await js.client.close()
        #expect(await jetStreamCode { try await waiting.value } == .connection)
        #expect(await jetStreamCode { try await js.publish("x", to: "nowhere") } == .connection)
        #expect(await jetStreamCode { try await js.publish("x", to: "a b") } == .invalidName)
    }

    @Test("A8: the server denies the subject: told at once, not after the time")
    func denied() async throws {
        let server = try JetStreamServer(
            """
            authorization {
              users = [ { user: a, password: b, permissions: { publish: { deny: ["secret"] } } } ]
            }
            """
        )
        let js = try await server.context { $0.authentication = .user("a", password: "b") }
        #expect(await jetStreamCode { try await js.publish("x", to: "secret") } == .permission)
    }

    @Test("A8: a message lives as long as was asked, a rollup takes the place of all before it")
    func timeToLiveAndRollup() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"]) {
            $0.features.allowsMessageTTL = true
            $0.access.allowsRollup = true
        }
        var options = JetStreamPublishOptions()
        options.timeToLive = .after(.seconds(1))
        try await js.publish("short", to: "a.b", options: options)
        options.timeToLive = .after(.milliseconds(1500))
        try await js.publish("short", to: "a.b", options: options)
        options.timeToLive = .never
        try await js.publish("long", to: "a.b", options: options)
        #expect(try await stream.info().state.messages == 3)
        #expect(try await eventually { try await stream.info().state.messages == 1 })
        #expect(try await stream.lastMessage(of: "a.b").text == "long")
        try await js.publish("1", to: "a.c")
        try await js.publish("2", to: "a.c")
        var rollup = JetStreamPublishOptions()
        rollup.rollup = .subject
        try await js.publish("3", to: "a.c", options: rollup)
        #expect(try await stream.info(subjects: ">").state.subjects == ["a.b": 1, "a.c": 1])
        let other = try await js.makeStream("T", ["t"])
        options.timeToLive = .after(.seconds(1))
        #expect(await jetStreamCode { try await js.publish("x", to: "t", options: options) } == .invalidTTL)
        #expect(await jetStreamCode { try await js.publish("x", to: "t", options: rollup) } == .rollupRefused)
        #expect(try await other.info().state.messages == 0)
    }

    @Test("A8: counters add up, and other streams have none")
    func counters() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        try await js.makeStream("S", ["c.*"]) { $0.features.isCounter = true }
        #expect(try await js.increment("c.a") == "1")
        #expect(try await js.increment("c.a", by: 41) == "42")
        #expect(try await js.increment("c.a", by: -50) == "-8")
        #expect(try await js.increment("c.b", by: Int64.max) == "\(Int64.max)")
        #expect(try await js.increment("c.b", by: Int64.max) == "18446744073709551614")
        try await js.makeStream("T", ["t"])
        #expect(await jetStreamCode { try await js.increment("t") } == .counter)
    }

    @Test("D47: a batch is stored as a whole or not at all")
    func atomicBatches() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"]) { $0.features.allowsAtomicBatches = true }
        let messages = (1...100).map { JetStreamBatchMessage("\($0)", to: "a.\($0)") }
        let ack = try await js.publishAtomically(messages)
        #expect(ack.batchCount == 100 && ack.sequence == 100)
        #expect(try await stream.message(50).text == "50")
        let single = try await js.publishAtomically([JetStreamBatchMessage("x", to: "a.x")])
        #expect(single.batchCount == 1 && single.sequence == 101)
        #expect(try await js.publishAtomically(Array(messages.prefix(2))).sequence == 103)
        var bad = messages
        bad[70].options.expecting.lastSubjectSequence = 12_345
        #expect(await jetStreamCode { try await js.publishAtomically(bad) } == .wrongSequence)
        #expect(try await stream.info().state.messages == 103)
        let many = (0..<1001).map { _ in JetStreamBatchMessage("x", to: "a.x") }
        #expect(await jetStreamCode { try await js.publishAtomically(many) } == .invalidArgument)
        #expect(try await js.publishAtomically(Array(many.prefix(1000))).batchCount == 1000)
        try await js.makeStream("T", ["t"])
        let refused = [JetStreamBatchMessage("x", to: "t"), JetStreamBatchMessage("y", to: "t")]
        #expect(await jetStreamCode { try await js.publishAtomically(refused) } == .batch)
    }

    @Test("D48: a schedule is published once at its time, and one that is taken back never")
    func schedules() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["s.*", "t.*"]) { $0.features.allowsSchedules = true }
        func schedule(_ key: String, _ time: JetStreamSchedule.Time) async throws {
            var options = JetStreamPublishOptions()
            options.schedule = JetStreamSchedule(time, target: "t.\(key)")
            try await js.publish("hello", to: "s.\(key)", options: options)
        }
        let soon = NATSTimestamp(nanoseconds: NATSTimestamp.now().nanoseconds + 1_500_000_000)
        try await schedule("once", .at(soon))
        try await schedule("never", .at(soon))
        try await schedule("past", .at(NATSTimestamp(nanoseconds: 0)))
        #expect(try await stream.purge(subject: "s.never") == 1)
        #expect(try await eventually { (try? await stream.lastMessage(of: "t.once")) != nil })
        let product = try await stream.lastMessage(of: "t.once")
        #expect(product.text == "hello" && NATSTimestamp.now() >= soon)
        #expect(product.headers["Nats-Scheduler"] == "s.once")
        #expect(try await eventually { (try? await stream.lastMessage(of: "t.past")) != nil })
        #expect(await jetStreamCode { try await stream.lastMessage(of: "t.never") } == .noMessage)
        #expect(await jetStreamCode { try await schedule("bad", .cron("* * * * *")) } == .schedule)
        #expect(await jetStreamCode { try await schedule("bad", .every(.milliseconds(500))) } == .invalidArgument)
    }
}
