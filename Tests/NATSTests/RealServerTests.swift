// The client against a real nats-server: both faces, the async one and the loop-bound one.

import Logging
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct RealServerTests {
    private func connect(
        _ server: RealServer,
        _ configure: (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> NATSClient {
        var configuration = try NATSConnectionConfiguration(servers: [server.url])
        configuration.connectTimeout = .seconds(60)
        configuration.reconnectWait = .milliseconds(20)
        configuration.reconnectWaitMaximum = .milliseconds(50)
        configure(&configuration)
        return try await NATSClient.connect(
            configuration,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    private func text(_ message: NATSMessage) -> String { String(buffer: message.payload) }

    @Test func publishesAndReceives() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        #expect(await client.serverInfo()?.version.hasPrefix("2.") == true)
        let messages = try await client.subscribe("greet.*")
        try client.publish("hello", to: "greet.joe", reply: "answers.1")
        try client.publish("", to: "greet.empty")
        try client.publish("not for us", to: "greet.a.b")
        try await client.flush()
        var iterator = messages.makeAsyncIterator()
        let message = try #require(try await iterator.next())
        #expect(message.subject == "greet.joe")
        #expect(message.reply == "answers.1")
        #expect(text(message) == "hello")
        #expect(message.headers.isEmpty)
        let empty = try #require(try await iterator.next())
        #expect(empty.subject == "greet.empty" && empty.reply == nil && empty.payload.readableBytes == 0)
        let statistics = await client.statistics()
        #expect(statistics.messagesOut == 3 && statistics.messagesIn == 2)
        await client.close()
        #expect(try await iterator.next() == nil)
        #expect(throws: NATSError.closed) { try client.publish("x", to: "a") }
        await #expect(throws: NATSError.closed) { try await client.subscribe("a") }
        await #expect(throws: NATSError.closed) { try await client.flush() }
        await client.close()
    }

    @Test func wildcards() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let star = try await client.subscribe("a.*.c")
        let rest = try await client.subscribe("a.>")
        for subject in ["a.b.c", "a.x.c", "a.b.c.d", "a.b", "b.a.c"] {
            try client.publish(subject, to: subject)
        }
        try await client.drain()
        #expect(try await star.reduce(into: []) { $0.append($1.subject) } == ["a.b.c", "a.x.c"])
        #expect(try await rest.reduce(into: []) { $0.append($1.subject) } == ["a.b.c", "a.x.c", "a.b.c.d", "a.b"])
    }

    @Test func headers() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let messages = try await client.subscribe("h")
        var headers = NATSHeaders()
        headers.add("Trace", "1")
        headers.add("trace", "2: 3")
        headers.add("Trace", "")
        try client.publish("body", to: "h", headers: headers)
        try await client.drain()
        let received = try await messages.reduce(into: []) { $0.append($1) }
        #expect(received.count == 1)
        #expect(received.first?.headers == headers)
        #expect(received.first.map(text) == "body")
    }

    @Test func aQueueGroupGetsEachMessageOnce() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let workers = [
            try await client.subscribe("work", queue: "q"), try await client.subscribe("work", queue: "q"),
        ]
        let all = try await client.subscribe("work")
        for index in 0..<400 {
            try client.publish("\(index)", to: "work")
        }
        try await client.drain()
        var counts: [Int] = []
        var seen: Set<String> = []
        for worker in workers {
            let texts = try await worker.reduce(into: []) { $0.append(text($1)) }
            counts.append(texts.count)
            seen.formUnion(texts)
        }
        #expect(counts.reduce(0, +) == 400)
        #expect(seen.count == 400)
        // The server picks at random: neither member stays empty.
        #expect(counts.allSatisfy { $0 > 50 })
        #expect(try await all.reduce(0) { count, _ in count + 1 } == 400)
    }

    @Test func requests() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let messages = try await client.subscribe("double")
        let responder = Task {
            for try await message in messages {
                try client.publish(text(message) + text(message), to: message.reply ?? "")
            }
        }
        await withTaskGroup(of: Bool.self) { group in
            for index in 0..<200 {
                group.addTask {
                    (try? await client.request("<\(index)>", to: "double")).map(text) == "<\(index)><\(index)>"
                }
            }
            for await isRight in group {
                #expect(isRight)
            }
        }
        let noResponders = await #expect(throws: NATSError.self) { try await client.request("x", to: "nobody.there") }
        #expect(noResponders?.code == .noResponders)
        _ = try await client.subscribe("silent")
        let silent = try await client.subscribe("silent")
        let timeout = await #expect(throws: NATSError.self) {
            try await client.request("x", to: "silent", timeout: .milliseconds(30))
        }
        #expect(timeout?.code == .timeout)
        let cancelled = Task { try await client.request("x", to: "silent") }
        cancelled.cancel()
        let outcome = await cancelled.result
        #expect(throws: NATSError(.cancelled, "the task that waited for the reply was cancelled")) { try outcome.get() }
        silent.unsubscribe()
        try await client.drain()
        try await responder.value
    }

    @Test func refusesWhatTheServerWouldNotTake() async throws {
        let server = try RealServer(configuration: "max_payload: 1000\n")
        let client = try await connect(server)
        let messages = try await client.subscribe("a")
        try client.publish(String(repeating: "x", count: 1000), to: "a")
        let error = #expect(throws: NATSError.self) { try client.publish(String(repeating: "x", count: 1001), to: "a") }
        #expect(error?.code == .messageTooLarge)
        #expect(throws: NATSError.self) { try client.publish("x", to: "a b") }
        #expect(throws: NATSError.self) { try client.publish("x", to: "a", reply: "*") }
        let tooLarge = await #expect(throws: NATSError.self) {
            try await client.request(String(repeating: "x", count: 1001), to: "a")
        }
        #expect(tooLarge?.code == .messageTooLarge)
        try await client.flush()
        try await client.drain()
        #expect(try await messages.reduce(0) { count, _ in count + 1 } == 1)
    }

    private func isBufferFull(_ client: NATSClient, _ payload: ByteBufferView) async -> Bool {
        do {
            try client.publish(payload, to: "many")
            return false
        } catch {
            #expect(error.code == .bufferExceeded)
            return error.code == .bufferExceeded
        }
    }

    /// Ten thousand messages each way, with sizes around every boundary.
    @Test func manyMessagesOfManySizes() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let messages = try await client.subscribe("many")
        let reader = Task {
            try await messages.reduce(into: []) { $0.append($1.payload.readableBytes) }
        }
        let sizes = (0..<10_000).map { ($0 * 7919) % 5000 } + [65_535, 65_536, 65_537, 1_000_000, 1_048_576]
        let block = ByteBuffer(repeating: UInt8(ascii: "x"), count: 1_048_576)
        for size in sizes {
            // A full buffer is emptied and the publish made again.
            while await isBufferFull(client, block.readableBytesView.prefix(size)) {
                try await client.flush()
            }
        }
        try await client.drain()
        #expect(try await reader.value == sizes)
    }

    @Test func comesBackAfterTheServerWasKilled() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let plain = try await client.subscribe("plain")
        let grouped = try await client.subscribe("grouped", queue: "q")
        let limited = try await client.subscribe("limited")
        try limited.unsubscribe(after: 3)
        try client.publish("1", to: "plain")
        try client.publish("1", to: "limited")
        try await client.flush()
        server.kill()
        // Until the loss is noticed, nothing may hang.
        while await (try? client.flush(timeout: .seconds(5))) != nil {
            try await Task.sleep(for: .milliseconds(1))
        }
        try client.publish("2", to: "plain")
        try client.publish("2", to: "limited")
        try server.start()
        while await (try? client.flush(timeout: .seconds(5))) == nil {
            try await Task.sleep(for: .milliseconds(1))
        }
        #expect(await client.statistics().reconnects == 1)
        for _ in 0..<3 {
            try client.publish("3", to: "plain")
            try client.publish("3", to: "grouped")
            try client.publish("3", to: "limited")
        }
        try await client.drain()
        #expect(try await plain.reduce(into: []) { $0.append(text($1)) } == ["1", "2", "3", "3", "3"])
        #expect(try await grouped.reduce(into: []) { $0.append(text($1)) } == ["3", "3", "3"])
        #expect(try await limited.reduce(into: []) { $0.append(text($1)) } == ["1", "2", "3"])
    }

    @Test func learnsOfPermissions() async throws {
        let server = try RealServer(
            configuration: """
                authorization {
                  default_permissions { publish { deny: ["secret.>"] }, subscribe { deny: ["hidden.>"] } }
                  users = [ { user: "a", password: "b" } ]
                }
                no_auth_user: a
                """
        )
        let client = try await connect(server)
        let hidden = try await client.subscribe("hidden.x")
        var iterator = hidden.makeAsyncIterator()
        let denied = await #expect(throws: NATSError.self) { try await iterator.next() }
        #expect(denied?.code == .permissionViolation)
        #expect(try await iterator.next() == nil)
        let request = await #expect(throws: NATSError.self) { try await client.request("x", to: "secret.x") }
        #expect(request?.code == .permissionViolation)
        try await client.flush()
        // The loop-bound barrier that publish-and-confirm is made of.
        let harness = try await ConnectionHarness([NATSServerAddress(host: "127.0.0.1", port: server.port)])
        try await harness.start { connection, _ in connection.connect() }.get()
        let confirmed = try await harness.start { connection, _ in
            connection.publish("x", to: "secret.y")
            return connection.flush(deadline: .now() + .seconds(10), watching: ["secret.y"])
        }
        #expect(await failureCode(of: confirmed) == .permissionViolation)
        let open = try await harness.start { connection, _ in
            connection.publish("x", to: "open.y")
            return connection.flush(deadline: .now() + .seconds(10), watching: ["open.y"])
        }
        try await open.get()
        await client.close()
    }

    @Test func wrongCredentialsAreNotRetried() async throws {
        let server = try RealServer(configuration: "authorization { token: \"secret\" }\n")
        let error = await #expect(throws: NATSError.self) {
            try await connect(server) { $0.retryOnFailedConnect = true }
        }
        #expect(error?.code == .authorization)
    }

    @Test func noEchoAndNames() async throws {
        let server = try RealServer()
        let client = try await connect(server) {
            $0.echo = false
            $0.verbose = true
            $0.pedantic = true
            $0.name = "a \"strange\" näme\n"
        }
        let other = try await connect(server)
        let messages = try await client.subscribe("a")
        try await client.flush()
        try client.publish("own", to: "a")
        try await client.flush()
        try other.publish("other", to: "a")
        try await other.drain()
        try await client.drain()
        #expect(try await messages.reduce(into: []) { $0.append(text($1)) } == ["other"])
    }

    // MARK: The message stream

    @Test("rule 21: a full buffer drops the newest and counts them") func aFullBufferDropsTheNewestAndCountsThem()
        async throws
    {
        let server = try RealServer()
        let client = try await connect(server)
        let messages = try await client.subscribe("a", bufferLimit: 3)
        for index in 0..<10 {
            try client.publish("\(index)", to: "a")
        }
        try await client.drain()
        #expect(messages.droppedMessages == 7)
        #expect(try await messages.reduce(into: []) { $0.append(text($1)) } == ["0", "1", "2"])
    }

    @Test func cancellationEndsTheIteration() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let messages = try await client.subscribe("a")
        let before = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await messages.reduce(0) { count, _ in count + 1 }
        }
        #expect(try await before.value == 0)
        let during = Task { try await messages.reduce(0) { count, _ in count + 1 } }
        try client.publish("x", to: "a")
        try await client.flush()
        during.cancel()
        #expect(try await during.value <= 1)
        await client.close()
    }

    @Test func aDroppedStreamUnsubscribes() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        do {
            _ = try await client.subscribe("a")
        }
        var isGone = false
        for _ in 0..<2000 where !isGone {
            isGone = try await client.eventLoop.submit { client.bound.value.connection.subscriptions.count == 0 }.get()
            if !isGone { try await Task.sleep(for: .milliseconds(1)) }
        }
        #expect(isGone)
        await client.close()
    }

    @Test func aStreamDrainsOnItsOwn() async throws {
        let server = try RealServer()
        let client = try await connect(server)
        let messages = try await client.subscribe("a")
        for index in 0..<100 {
            try client.publish("\(index)", to: "a")
        }
        try await client.flush()
        try await messages.drain()
        #expect(try await messages.reduce(0) { count, _ in count + 1 } == 100)
        try client.publish("x", to: "a")
        try await client.drain()
    }

    @Test func aClientThatIsDroppedCloses() async throws {
        let server = try RealServer()
        let messages: NATSMessageStream
        let eventLoop: any EventLoop
        do {
            let client = try await connect(server)
            eventLoop = client.eventLoop
            messages = try await client.subscribe("a")
            // The stream keeps its client alive.
            try client.publish("x", to: "a")
            try await client.flush()
        }
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next() != nil)
        try await eventLoop.submit {}.get()
    }
}
