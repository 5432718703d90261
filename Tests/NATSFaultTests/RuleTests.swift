// Servers whose rules change while clients are connected: passwords, permissions, sizes; and readers too slow for what comes.

import Foundation
import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(10))) struct RuleTests {
    private static func users(_ password: String) -> String {
        "authorization { users: [ { user: me, password: \"\(password)\" } ] }"
    }

    @Test(
        "rule 23: a password changed at run time: the provider is asked again, and the client is back with its subscriptions"
    )
    func newPassword() async throws {
        let server = try NATSServerProcess(Self.users("first"))
        let password = NIOLockedValueBox("first")
        let challenges = Collected<String>()
        let client = try await Faults.connect(server.port) {
            $0.authentication = .provider { challenge in
                challenges.append(challenge.server)
                return .user("me", password: password.withLockedValue { $0 })
            }
        }
        let diary = EventDiary(client)
        let messages = try await client.subscribe("after")
        try await client.flush()
        for (round, next) in ["second", "third"].enumerated() {
            password.withLockedValue { $0 = next }
            try server.reload(Self.users(next))
            try await until("the loss") { diary.losses.count > round }
            try await until("the reconnect") { diary.reconnects > round }
        }
        try await Faults.flush(client)
        try client.publish("x", to: "after")
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "x")
        #expect(challenges.all == Array(repeating: "127.0.0.1:\(server.port)", count: 3))
        #expect(diary.losses.allSatisfy { $0.code == .authorization })
        await client.close()
    }

    @Test(
        "rule 16: a password that is known late: with ignoresAuthenticationErrors the client keeps asking, else its time is over"
    )
    func latePassword() async throws {
        let server = try NATSServerProcess(Self.users("first"))
        let password = NIOLockedValueBox("first")
        let patient = try await Faults.connect(server.port) {
            $0.ignoresAuthenticationErrors = true
            $0.authenticationRetryTime = .zero
            $0.authentication = .provider { _ in .user("me", password: password.withLockedValue { $0 }) }
        }
        let strict = try await Faults.connect(server.port) {
            $0.authentication = .user("me", password: "first")
            $0.authenticationRetryTime = .milliseconds(200)
        }
        let diary = EventDiary(patient)
        let end = EventDiary(strict)
        try server.reload(Self.users("second"))
        try await until("the end of the client that cannot know") { end.end == .authorization }
        try await until("refusals") {
            diary.events.count {
                if case .retryingConnect(_, let error) = $0 { error.code == .authorization } else { false }
            } >= 3
        }
        password.withLockedValue { $0 = "second" }
        try await until("the reconnect") { diary.reconnects == 1 }
        try await patient.flush()
        #expect(await Faults.code { () throws(NATSError) in try strict.publish("", to: "x") } == .closed)
        await patient.close()
        await strict.close()
    }

    private static func permissions(_ publish: String, _ subscribe: String) -> String {
        """
        authorization { users: [ { user: a, password: b, permissions: {
          publish: { deny: [\(publish)] }, subscribe: { deny: [\(subscribe)] } } } ] }
        """
    }

    @Test(
        "rule 17: denials are told to whom they concern, also when they come with a reload, and are over with the next"
    )
    func permissions() async throws {
        let server = try NATSServerProcess(Self.permissions("\"secret.>\"", "\"secret.>\""))
        let client = try await Faults.connect(server.port) { $0.authentication = .user("a", password: "b") }
        let diary = EventDiary(client)
        // Denied from the beginning: event, typed error, end of the stream. Nobody else notices.
        let allowed = try await client.subscribe("open.x")
        try client.publish("", to: "secret.publish")
        try await until("the event of the publish") {
            diary.events.contains { if case .publishViolation("secret.publish", _) = $0 { true } else { false } }
        }
        #expect(
            await Faults.code { () throws(NATSError) in _ = try await client.request("", to: "secret.request") }
                == .permissionViolation
        )
        #expect(try await end(of: client.subscribe("secret.subscribe")) == .permissionViolation)
        try await until("the event of the subscription") {
            diary.events.contains {
                if case .subscriptionViolation("secret.subscribe", _, _) = $0 { true } else { false }
            }
        }
        try client.publish("1", to: "open.x")
        var iterator = allowed.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "1")
        #expect(diary.losses.isEmpty)
        // Taken away while it is in use.
        try server.reload(Self.permissions("\"secret.>\"", "\"open.>\""))
        try await until("the revocation") {
            diary.events.contains { if case .subscriptionViolation("open.x", _, _) = $0 { true } else { false } }
        }
        #expect(await end(of: allowed) == .permissionViolation)
        // And given again: what was denied works.
        try server.reload(Self.permissions("\"nothing\"", "\"nothing\""))
        try await Faults.flush(client)
        let again = try await client.subscribe("open.x")
        let secret = try await client.subscribe("secret.subscribe")
        try client.publish("2", to: "open.x")
        try client.publish("3", to: "secret.subscribe")
        var first = again.makeAsyncIterator()
        var second = secret.makeAsyncIterator()
        #expect(try await first.next()?.text == "2")
        #expect(try await second.next()?.text == "3")
        await client.close()
    }

    /// How a stream ends.
    private func end(of messages: NATSMessageStream) async -> NATSError.Code? {
        await Faults.code { () throws(NATSError) in
            var iterator = messages.makeAsyncIterator()
            while try await iterator.next() != nil {}
        }
    }

    @Test(
        "rule 3: a smaller max_payload after a reload: too much is refused as messageTooLarge, and the connection stays then"
    )
    func smallerMaxPayload() async throws {
        let server = try NATSServerProcess("max_payload: 100000")
        let client = try await Faults.connect(server.port)
        let diary = EventDiary(client)
        let large = [UInt8](repeating: 1, count: 5000)
        try client.publish(large, to: "large")
        try await client.flush()
        try server.reload("max_payload: 1000")
        // nats-server 2.15 does not announce the limit but drops whoever exceeds it, so that it is known after that.
        try await until("the refusal") {
            let code = await Faults.code { () throws(NATSError) in try client.publish(large, to: "large") }
            #expect(code == nil || code == .messageTooLarge)
            return code == .messageTooLarge
        }
        // What was accepted while there was no connection may cost another.
        try await Faults.flush(client)
        let losses = diary.losses.count
        let messages = try await client.subscribe("small")
        for _ in 0..<100 {
            #expect(
                await Faults.code { () throws(NATSError) in try client.publish(large, to: "large") } == .messageTooLarge
            )
        }
        try client.publish([UInt8](repeating: 1, count: 1000), to: "small")
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.payload.readableBytes == 1000)
        #expect(diary.losses.count == losses)
        #expect(await client.serverInfo()?.maxPayload == 1000)
        await client.close()
    }

    @Test("rule 3: a smaller max_payload that is announced: refused from then on, without a loss")
    func announcedMaxPayload() async throws {
        let server = try ScriptedServer([.init("INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":1000}\r\n")])
        defer { server.stop() }
        let client = try await Faults.connect(server.port)
        let diary = EventDiary(client)
        try await client.flush()
        #expect(await client.serverInfo()?.maxPayload == 1000)
        let code = await Faults.code { () throws(NATSError) in
            try client.publish([UInt8](repeating: 1, count: 1001), to: "x")
        }
        #expect(code == .messageTooLarge)
        try client.publish([UInt8](repeating: 1, count: 1000), to: "x")
        try await client.flush()
        #expect(diary.losses.isEmpty)
        await client.close()
    }

    @Test("rule 21: a stalled reader under a million messages: bounded memory, drops counted, everybody else goes on")
    func stalledReader() async throws {
        let server = try NATSServerProcess()
        let client = try await Faults.connect(server.port)
        let diary = EventDiary(client)
        let publisher = try await Faults.connect(server.port)
        let limit = 10_000
        let stalled = try await client.subscribe("flood", bufferLimit: limit)
        let steady = Collected<Int>()
        try await client.subscribe("steady") { message in
            if let number = Int(message.text) { steady.append(number) }
        }
        try await client.flush()
        let total = 1_000_000
        let batch = 10_000
        let payload = [UInt8](repeating: 7, count: 128)
        var before = 0
        var most = 0
        for number in 0..<(total / batch) {
            for _ in 0..<batch { try publisher.publish(payload, to: "flood") }
            try publisher.publish("\(number)", to: "steady")
            try await publisher.flush(timeout: .seconds(60))
            try await client.flush(timeout: .seconds(60))
            // After the first tenth every buffer has its size.
            if number == total / batch / 10 { before = try Faults.residentBytes() }
            most = max(most, try Faults.residentBytes())
        }
        try await until("all") { await client.statistics().messagesIn == UInt64(total + total / batch) }
        #expect(most - before < 16 << 20, "grew by \((most - before) >> 20) MiB")
        #expect(stalled.droppedMessages == total - limit)
        #expect(await client.statistics().droppedMessages == UInt64(total - limit))
        #expect(steady.all == Array(0..<(total / batch)))
        #expect(diary.losses.isEmpty)
        let told = diary.events.count { if case .subscriptionTooSlow("flood", _) = $0 { true } else { false } }
        #expect(told == 1)
        // What was kept is the oldest, and there is room again.
        var iterator = stalled.makeAsyncIterator()
        for _ in 0..<limit { #expect(try await iterator.next() != nil) }
        try publisher.publish("new", to: "flood")
        #expect(try await iterator.next()?.text == "new")
        await publisher.close()
        await client.close()
    }
}
