// Streams and consumers on a real server.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct JetStreamManagementTests {
    @Test(
        "D6: a server without JetStream, an account without it and a wrong domain are told apart from others, in one line"
    )
    func notEnabled() async throws {
        let plain = try RealServer()
        let js = try await TestClient.connect(plain).jetStream(timeout: .seconds(20))
        let missing = await #expect(throws: JetStreamError.self) { try await js.account() }
        #expect(missing?.code == .notEnabled)
        #expect(missing?.message == "nobody answers at $JS.API.INFO: the server has no JetStream")
        let server = try JetStreamServer(
            """
            accounts {
              A { users: [{ user: a, password: a }] }
              B { users: [{ user: b, password: b }], jetstream: enabled }
            }
            """
        )
        let without = try await server.context { $0.authentication = .user("a", password: "a") }
        #expect(await jetStreamCode { try await without.account() } == .notEnabled)
        #expect(await jetStreamCode { try await without.makeStream("S", ["a"]) } == .notEnabled)
        let with = try await server.context { $0.authentication = .user("b", password: "b") }
        #expect(try await with.account().apiLevel >= 1)
        let wrong = try with.client.jetStream(domain: "nowhere", timeout: .seconds(20))
        let domain = await #expect(throws: JetStreamError.self) { try await wrong.account() }
        #expect(domain?.code == .notEnabled)
        #expect(domain?.message == "nobody answers at $JS.nowhere.API.INFO: the domain \"nowhere\" is not there")
    }

    @Test("J36: where nobody answers a call ends at its deadline, and not at the first attempt")
    func deadline() async throws {
        let plain = try RealServer()
        let js = try await TestClient.connect(plain).jetStream(timeout: .milliseconds(700))
        let start = ContinuousClock.now
        #expect(await jetStreamCode { try await js.streamNames() } == .unavailable)
        // A pause that would end behind it is not begun.
        #expect(ContinuousClock.now - start >= .milliseconds(500))
    }

    @Test("J36: a call waits for a server that is down, and is cancelled with its task")
    func outage() async throws {
        let server = try JetStreamServer()
        let js = try await server.context(timeout: .seconds(50))
        try await js.makeStream("S", ["a"]) { $0.storage = .file }
        server.server.kill()
        let call = Task { try await js.streamNames() }
        let cancelled = Task { try await js.streamNames() }
        cancelled.cancel()
        #expect(await jetStreamCode { try await cancelled.value } == .cancelled)
        try await Task.sleep(for: .milliseconds(300))
        try server.server.start()
        #expect(try await call.value == ["S"])
    }

    @Test("A2: a stream is created once, updated, listed, found by its subject, purged and deleted")
    func streams() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        var configuration = JetStreamStream.Configuration(name: "S", subjects: ["a.>"])
        configuration.storage = .memory
        configuration.metadata = ["owner": "me"]
        let first = try await js.createStream(configuration)
        #expect(first.configuration.metadata == ["owner": "me"] && first.created != nil)
        let again = try await js.createStream(configuration)
        #expect(again.created == first.created)
        configuration.limits.messages = 10
        #expect(await jetStreamCode { try await js.createStream(configuration) } == .streamExists)
        #expect(try await js.createOrUpdateStream(configuration).configuration.limits.messages == 10)
        configuration.storage = .file
        #expect(await jetStreamCode { try await js.updateStream(configuration) } == .invalidConfiguration)
        #expect(await jetStreamCode { try await js.makeStream("T", ["a.b"]) } == .subjectsOverlap)
        try await js.makeStream("T", ["b"])
        #expect(try await js.streamNames().sorted() == ["S", "T"])
        #expect(try await js.streamNames(taking: "a.x") == ["S"])
        #expect(try await js.streams().map(\.configuration.name).sorted() == ["S", "T"])
        let stream = try js.stream("S")
        for number in 0..<5 { try await js.publish("\(number)", to: "a.\(number % 2)") }
        let info = try await stream.info(subjects: ">", withDeleted: true)
        #expect(
            info.state.messages == 5 && info.state.subjects == ["a.0": 3, "a.1": 2] && info.state.subjectCount == 2
        )
        try await stream.deleteMessage(2)
        #expect(await jetStreamCode { try await stream.deleteMessage(99) } == .noMessage)
        let deleted = try await stream.info(withDeleted: true).state
        #expect(deleted.deleted == [2] && deleted.deletedCount == 1 && deleted.messages == 4)
        #expect(try await stream.purge(subject: "a.1") == 1)
        #expect(try await stream.purge(.before(4)) == 2)
        #expect(try await stream.purge(.keep(0)) == 1)
        #expect(try await stream.info().state.messages == 0)
        try await stream.delete()
        #expect(await jetStreamCode { try await stream.delete() } == .noStream)
        #expect(await jetStreamCode { try await stream.info() } == .noStream)
        #expect(await jetStreamCode { _ = try js.stream("a b") } == .invalidName)
        await js.client.close()
    }

    @Test("A2: more streams and consumers than a page holds are all listed")
    func pages() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a"])
        for number in 0..<300 {
            try await stream.createConsumer(.durable("c\(number)"))
        }
        let names = try await stream.consumerNames()
        #expect(Set(names).count == 300)
        #expect(Set(try await stream.consumers().map(\.name)) == Set(names))
    }

    @Test("A2: messages are read from the leader and directly, and what is missing is told as such")
    func messages() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"]) { $0.access.allowsDirect = true }
        try await js.publish("one", to: "a.x", headers: ["H": "1", "Nats-Subject": "mine"])
        try await js.publish([0, 255, 10], to: "a.y")
        try await js.publish("three", to: "a.x")
        for reader in [JetStreamStream.Reader.leader, .any] {
            let first = try await stream.message(1, from: reader)
            #expect(first.text == "one" && first.subject == "a.x" && first.sequence == 1 && first.time != nil)
            #expect(first.headers == ["H": "1", "Nats-Subject": "mine"])
            #expect(try await stream.message(2, from: reader).payload == ByteBuffer(bytes: [0, 255, 10]))
            #expect(try await stream.lastMessage(of: "a.x", from: reader).sequence == 3)
            #expect(try await stream.lastMessage(of: "a.*", from: reader).sequence == 3)
            #expect(try await stream.nextMessage(of: "a.x", behind: 2, from: reader).sequence == 3)
            #expect(await jetStreamCode { try await stream.message(9, from: reader) } == .noMessage)
            #expect(await jetStreamCode { try await stream.lastMessage(of: "a.z", from: reader) } == .noMessage)
        }
        // A stream that takes no direct reads is asked by its leader.
        let other = try await js.makeStream("T", ["b"])
        try await js.publish("x", to: "b")
        #expect(try await other.message(1, from: .any).text == "x")
    }

    @Test("A9: the last messages of many subjects come together")
    func lastMessages() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.*"]) { $0.access.allowsDirect = true }
        for number in 0..<30 { try await js.publish("\(number)", to: "a.\(number % 10)") }
        #expect(try await stream.lastMessages(of: ["a.*"]).map(\.sequence) == Array(21...30))
        #expect(try await stream.lastMessages(of: ["a.3", "a.5"], upTo: 20).map(\.text) == ["13", "15"])
        #expect(try await stream.lastMessages(of: ["a.none"]).isEmpty)
    }

    @Test("A2: a consumer is created, updated, found, paused, reset and deleted")
    func consumers() async throws {
        let server = try JetStreamServer()
        let js = try await server.context()
        let stream = try await js.makeStream("S", ["a.>"])
        var configuration = JetStreamConsumer.Configuration.durable("d")
        configuration.filters = ["a.>"]
        configuration.acks.maxPending = 5
        let info = try await stream.createConsumer(configuration)
        #expect(
            info.name == "d" && info.stream == "S" && info.configuration.acks.maxPending == 5
                && info.configuration.isDurable
        )
        #expect(try await stream.createConsumer(configuration).created == info.created)
        configuration.acks.maxPending = 6
        #expect(await jetStreamCode { try await stream.createConsumer(configuration) } == .consumerExists)
        #expect(try await stream.updateConsumer(configuration).configuration.acks.maxPending == 6)
        configuration.deliver = .new
        #expect(
            await jetStreamCode { try await stream.createOrUpdateConsumer(configuration) } == .consumerUpdateRefused
        )
        #expect(await jetStreamCode { try await stream.updateConsumer(.durable("none")) } == .noConsumer)
        var several = JetStreamConsumer.Configuration(name: "several")
        several.filters = ["a.b", "a.c.>"]
        #expect(try await stream.createConsumer(several).configuration.filters == ["a.b", "a.c.>"])
        let unnamed = try await stream.createConsumer(JetStreamConsumer.Configuration())
        #expect(!unnamed.name.isEmpty && !unnamed.configuration.isDurable)
        let consumer = try stream.consumer("d")
        try await consumer.pause(for: .seconds(100))
        let paused = try await consumer.info()
        #expect(paused.pauseRemaining.map { $0 > .seconds(50) } == true && paused.configuration.pausedUntil != nil)
        try await consumer.resume()
        #expect(try await consumer.info().pauseRemaining == nil)
        #expect(try await consumer.reset().delivered.consumerSequence == 0)
        try await consumer.delete()
        #expect(await jetStreamCode { try await consumer.info() } == .noConsumer)
        #expect(await jetStreamCode { try await consumer.delete() } == .noConsumer)
        // A filter with wildcards stands in the subject: the server must not have complained.
        #expect(await js.client.statistics().serverErrors == 0)
    }
}
