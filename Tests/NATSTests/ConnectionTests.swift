// A connection that is up, against a scripted server: messages, flush, errors, INFO, draining, limits, and callbacks that
// use the connection while it is in the middle of a read.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ConnectionTests {
    private func connected(
        _ configure: @escaping @Sendable (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> (MockServer, ConnectionHarness, MockPeer) {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address], configure)
        let peer = try await harness.connect(to: server)
        return (server, harness, peer)
    }

    // MARK: Messages

    @Test("rule 7: messages with all their parts; rule 8: an unknown sid is ignored")
    func deliversMessagesWithAllTheirParts() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a.*", queue: "q")
        try await harness.subscribe("b")
        #expect(try await peer.read(through: "SUB b 2\r\n") == "SUB a.* q 1\r\nSUB b 2\r\n")
        try await peer.send(
            "MSG a.x 1 5\r\nhello\r\nHMSG b 2 re.ply 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nok\r\nMSG c 99 1\r\n?\r\nMSG b 2 0\r\n\r\n"
        )
        try await harness.eventually("three messages") { $1.messages.count == 3 }
        #expect(
            try await harness.on { $1.messages } == [
                .init(sid: 1, subject: "a.x", payload: "hello"),
                .init(sid: 2, subject: "b", reply: "re.ply", headers: "NATS/1.0\r\nA: b\r\n\r\n", payload: "ok"),
                .init(sid: 2, subject: "b", payload: ""),
            ]
        )
        let statistics = try await harness.on { connection, _ in connection.statistics }
        #expect(statistics.messagesIn == 4)
        #expect(statistics.unclaimedMessages == 1)
    }

    @Test func aLargeMessageInManyReads() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("big")
        let payload = String(repeating: "0123456789ab\r\nPING\r\n", count: 200_000)
        let bytes = Array("MSG big 1 \(payload.utf8.count)\r\n\(payload)\r\nMSG big 1 4\r\nnext\r\n".utf8)
        for chunk in stride(from: 0, to: bytes.count, by: 700_001) {
            try await peer.send(Array(bytes[chunk..<min(bytes.count, chunk + 700_001)]))
        }
        try await harness.eventually("both messages") { $1.messages.count == 2 }
        let payloads = try await harness.on { $1.messages.map(\.payload) }
        #expect(payloads[0] == payload)
        #expect(payloads[1] == "next")
    }

    @Test("rule 7: a message beyond the limit ends the connection")
    func refusesAMessageLargerThanItsLimit() async throws {
        let (_, harness, peer) = try await connected { $0.maxInboundMessageBytes = 1000 }
        try await harness.subscribe("a")
        let large = String(repeating: "x", count: 1001)
        try await peer.send("MSG a 1 1001\r\n\(large)\r\nMSG a 1 r.\u{1} 5000\r\n")
        for _ in 0..<5 { try await peer.send(String(repeating: "\r\n", count: 500)) }
        try await peer.send("\r\nMSG a 1 2\r\nhi\r\n")
        try await harness.eventually("the one that is small enough") { $1.messages.map(\.payload) == ["hi"] }
        #expect(try await harness.on { connection, _ in connection.statistics.oversizedMessages } == 2)
        let told = try await harness.events().filter { $0 == .messageSkipped(subject: "a", limit: 1000) }
        #expect(told.count == 2)
        #expect(try await harness.on { connection, _ in connection.isConnected })
        // It counts for a maximum, as it does at the server.
        try await harness.on { connection, _ in
            connection.unsubscribe(connection.subscriptions.sorted()[0], after: 4)
        }
        try await peer.send("MSG a 1 1001\r\n\(large)\r\n")
        try await harness.eventually("the end") { $1.ends == [.init(sid: 1, reason: .maximumReached)] }
    }

    @Test("rule 9: a PING is answered") func answersPings() async throws {
        let (_, harness, peer) = try await connected()
        try await peer.send("PING\r\n")
        #expect(try await peer.read(through: "\r\n") == "PONG\r\n")
        #expect(try await harness.on { connection, _ in connection.isConnected })
    }

    /// All that a read causes goes out in one write.
    @Test func writesOncePerReadBurst() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        _ = try await peer.read(through: "SUB a 1\r\n")
        try await harness.on { connection, recorder in
            recorder.onMessage = { [unowned connection] _ in connection.publish("answer", to: "b") }
        }
        let before = try await harness.on { connection, recorder in (connection.statistics, recorder.bursts) }
        try await peer.send(String(repeating: "MSG a 1 1\r\nx\r\n", count: 50) + "PING\r\n")
        let words = try await peer.read(through: "PONG\r\n")
        #expect(words == String(repeating: "PUB b 6\r\nanswer\r\n", count: 50) + "PONG\r\n")
        let after = try await harness.on { connection, recorder in (connection.statistics, recorder.bursts) }
        // The kernel may cut what was sent into several reads; each is one burst and one write.
        #expect(after.0.writes - before.0.writes == UInt64(after.1 - before.1))
        #expect(after.0.messagesOut - before.0.messagesOut == 50)
    }

    @Test func writesOncePerTickOutsideOfBursts() async throws {
        let (_, harness, peer) = try await connected()
        let before = try await harness.on { connection, _ in connection.statistics.writes }
        try await harness.on { connection, _ in
            for _ in 0..<100 {
                connection.publish("x", to: "a")
            }
        }
        #expect(try await peer.read(through: String(repeating: "PUB a 1\r\nx\r\n", count: 100)).utf8.count == 1200)
        #expect(try await harness.on { connection, _ in connection.statistics.writes } - before == 1)
    }

    @Test("rule 4: bad subjects and sizes are refused before sending") func refusesBadSubjectsAndSizes() async throws {
        let (_, harness, _) = try await connected()
        for subject in ["", "a b", "a\tb", "a\rb", "a\nb", "a..b", "a.*", ">", "a\r\nPUB x"] {
            #expect(try await harness.publish("x", to: subject) == .invalidSubject)
            #expect(try await harness.request("x", to: subject, context: 1) == .refused(.invalidSubject))
        }
        for reply in ["b c", "b\tc", "b\rc", "b\nc", "b..c", "*"] {
            #expect(
                try await harness.on { connection, _ in connection.publish("x", to: "a", reply: reply) }
                    == .invalidReply
            )
        }
        let limit = 1_048_576
        #expect(try await harness.publish(String(repeating: "x", count: limit), to: "a") == nil)
        #expect(try await harness.publish(String(repeating: "x", count: limit + 1), to: "a") == .tooLarge(limit: limit))
        // Headers count.
        #expect(
            try await harness.publish(String(repeating: "x", count: limit), to: "a", headers: ["A": "b"])
                == .tooLarge(limit: limit)
        )
        for (subject, queue, code) in [
            ("", nil, NATSError.Code.invalidSubject), ("a b", nil, .invalidSubject), ("a", "", .invalidQueue),
            ("a", "b c", .invalidQueue),
        ] {
            let error = await #expect(throws: NATSError.self) { try await harness.subscribe(subject, queue: queue) }
            #expect(error?.code == code)
        }
    }

    @Test func refusesToPublishWhenTheServerTakesNothing() async throws {
        let (_, harness, peer) = try await connected { $0.maxPendingOutboundBytes = 2 << 20 }
        try await peer.setReading(false)
        let payload = String(repeating: "x", count: 100_000)
        var refusal: NATSPublishError?
        var accepted = 0
        while refusal == nil, accepted < 10_000 {
            refusal = try await harness.publish(payload, to: "a")
            if refusal == nil { accepted += 1 }
        }
        #expect(refusal == .bufferExceeded)
        // And goes on when the server does, with everything that was accepted.
        try await peer.setReading(true)
        let flush = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        let words = try await peer.read(through: "PING\r\n")
        #expect(words.utf8.count == accepted * ("PUB a 100000\r\n".utf8.count + 100_002) + 6)
        try await peer.send("PONG\r\n")
        try await flush.get()
        #expect(try await harness.publish(payload, to: "a") == nil)
    }

    // MARK: Re-entrance

    @Test("rule 25: close in the middle of a read, with what was published before")
    func aHandlerMayCloseInTheMiddleOfARead() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        try await harness.on { connection, recorder in
            recorder.onMessage = { [unowned connection] _ in
                connection.publish("last", to: "b")
                connection.close()
            }
        }
        _ = try await peer.read(through: "SUB a 1\r\n")
        try await peer.send("MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nPING\r\n")
        try await peer.closed()
        #expect(peer.received == "PUB b 4\r\nlast\r\n")
        #expect(try await harness.on { $1.messages.count } == 1)
        let events = try await harness.events()
        #expect(Array(events.dropFirst()) == [.disconnected(nil), .closed(nil)])
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .closed)])
    }

    @Test("rule 8: SUB and UNSUB in the middle of a read, sids count up")
    func aHandlerMayUnsubscribeAndSubscribeInTheMiddleOfARead() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        try await harness.on { connection, recorder in
            recorder.onMessage = { [unowned connection, unowned recorder] subscription in
                guard subscription.subject == "a" else { return }
                connection.unsubscribe(subscription)
                for _ in 0..<100 {
                    _ = try? connection.subscribe(subject: "b", queue: nil, handler: recorder)
                }
            }
        }
        try await peer.send("MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nMSG b 50 1\r\n3\r\n")
        try await harness.eventually("two messages") { $1.messages.map(\.payload) == ["1", "3"] }
        let words = try await peer.read(through: "SUB b 101\r\n")
        #expect(words.hasPrefix("SUB a 1\r\nUNSUB 1\r\nSUB b 2\r\nSUB b 3\r\n"))
    }

    @Test("rule 22: a subscription ends after its maximum") func endsAfterItsMaximum() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        try await harness.on { connection, _ in
            connection.unsubscribe(connection.subscriptions.sorted()[0], after: 2)
        }
        #expect(try await peer.read(through: "UNSUB 1 2\r\n") == "SUB a 1\r\nUNSUB 1 2\r\n")
        try await peer.send("MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nMSG a 1 1\r\n3\r\nPING\r\n")
        _ = try await peer.read(through: "PONG\r\n")
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["1", "2"])
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .maximumReached)])
        // A maximum that is reached already ends it at once.
        try await harness.subscribe("b")
        try await peer.send("MSG b 2 1\r\n1\r\nMSG b 2 1\r\n2\r\nPING\r\n")
        _ = try await peer.read(through: "PONG\r\n")
        try await harness.on { connection, _ in
            connection.unsubscribe(connection.subscriptions.sorted()[0], after: 1)
        }
        #expect(try await peer.read(through: "\r\n") == "UNSUB 2\r\n")
        #expect(try await harness.on { connection, _ in connection.subscriptions.count } == 0)
    }

    @Test func comingAndGoingSubscriptionsLeaveNothingBehind() async throws {
        let (_, harness, _) = try await connected()
        try await harness.subscribe("stays")
        try await harness.on { connection, recorder in
            for _ in 0..<20_000 {
                connection.unsubscribe(try connection.subscribe(subject: "goes", queue: nil, handler: recorder))
            }
            #expect(connection.subscriptions.capacity == 16)
            #expect(connection.subscriptions.lastSID == 20_001)
        }
    }

    // MARK: Flush

    @Test("rule 10: flushes complete in order, who gave up leaves an empty place")
    func flushesInOrderWithAnEmptySlotForWhoGaveUp() async throws {
        let (_, harness, peer) = try await connected()
        let first = try await harness.start { connection, _ in connection.flush(deadline: .now() + .milliseconds(30)) }
        let second = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        #expect(try await peer.read(through: "PING\r\nPING\r\n") == "PING\r\nPING\r\n")
        #expect(await failureCode(of: first) == .timeout)
        // The first PONG belongs to the one that gave up.
        try await peer.send("PONG\r\nMSG x 9 0\r\n\r\n")
        try await harness.eventually("the PONG") { connection, _ in connection.statistics.messagesIn == 1 }
        #expect(try await harness.on { connection, _ in connection.pongs.count } == 1)
        try await peer.send("PONG\r\n")
        try await second.get()
        // One too many is ignored.
        try await peer.send("PONG\r\nPING\r\n")
        _ = try await peer.read(through: "PONG\r\n")
    }

    @Test func aFlushLearnsThatItsPublishWasDenied() async throws {
        let (_, harness, peer) = try await connected()
        let text = "Permissions Violation for Publish to \"secret.x\""
        let watching = try await harness.start { connection, _ in
            connection.publish("x", to: "secret.x")
            return connection.flush(deadline: .now() + .seconds(60), watching: ["secret.x"])
        }
        let other = try await harness.start { connection, _ in
            connection.flush(deadline: .now() + .seconds(60), watching: ["open"])
        }
        _ = try await peer.read(through: "PING\r\nPING\r\n")
        try await peer.send("-ERR '\(text)'\r\nPONG\r\nPONG\r\n")
        #expect(await failureCode(of: watching) == .permissionViolation)
        try await other.get()
        #expect(try await harness.events().last == .publishViolation(subject: "secret.x", text: text))
        #expect(try await harness.on { connection, _ in connection.isConnected })
    }

    // MARK: Errors and INFO

    @Test("rule 17: a denied subscription ends") func aDeniedSubscriptionEnds() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        try await harness.subscribe("a", queue: "q")
        try await harness.subscribe("b")
        let bySubject = "Permissions Violation for Subscription to \"a\" using queue \"q\""
        let bySID = "Permissions Violation for Subscription to \"b\" (sid \"3\")"
        try await peer.send(
            "-ERR '\(bySubject)'\r\n-ERR '\(bySID)'\r\n-ERR 'Permissions Violation for Subscription to \"zz\"'\r\n"
        )
        try await harness.eventually("both ends") { $1.ends.count == 2 }
        #expect(
            try await harness.on { $1.ends } == [
                .init(sid: 2, reason: .permissionViolation(bySubject)),
                .init(sid: 3, reason: .permissionViolation(bySID)),
            ]
        )
        #expect(try await harness.on { connection, _ in connection.subscriptions.count } == 1)
    }

    @Test("rule 16: unknown errors keep the connection") func unknownErrorsKeepTheConnection() async throws {
        let (_, harness, peer) = try await connected()
        let texts = [
            "Something New", "maximum subscriptions exceeded", "Invalid Subject", "Invalid Publish Subject",
            "message headers not supported", "",
        ]
        try await peer.send(texts.map { "-ERR '\($0)'\r\n" }.joined() + "-ERR 'Slow Consumer'\r\nPING\r\n")
        _ = try await peer.read(through: "PONG\r\n")
        #expect(
            Array(try await harness.events().dropFirst())
                == texts.map { .serverError($0) } + [.slowConsumer("Slow Consumer")]
        )
        #expect(try await harness.on { connection, _ in connection.statistics.serverErrors } == 7)
    }

    @Test("rule 3: INFO is read again whenever it comes") func rereadsInfo() async throws {
        let (_, harness, peer) = try await connected()
        #expect(try await harness.publish("123456", to: "a") == nil)
        let info = "INFO {\"headers\":true,\"max_payload\":5,\"ldm\":true,\"connect_urls\":[\"10.0.0.1:4222\"]}\r\n"
        try await peer.send(info + info + "PING\r\n")
        _ = try await peer.read(through: "PONG\r\n")
        #expect(try await harness.publish("123456", to: "a") == .tooLarge(limit: 5))
        #expect(try await harness.publish("12345", to: "a") == nil)
        #expect(
            Array(try await harness.events().dropFirst()) == [.discoveredServers(["10.0.0.1:4222"]), .lameDuck]
        )
    }

    // MARK: Drain

    @Test("rule 20: a subscription drains") func drainsASubscription() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        let drained = try await harness.start { connection, _ in
            connection.drain(connection.subscriptions.sorted()[0])
        }
        #expect(try await peer.read(through: "PING\r\n") == "SUB a 1\r\nUNSUB 1\r\nPING\r\n")
        try await peer.send("MSG a 1 1\r\n1\r\nPONG\r\nMSG a 1 1\r\n2\r\n")
        try await drained.get()
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["1"])
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .drained)])
    }

    @Test("rule 20: the connection drains step by step") func drainsTheConnectionStepByStep() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        try await harness.request("?", to: "s", context: 1)
        let words = try await peer.read(through: "?\r\n")
        let reply = String(words.split(separator: " ").first { $0.hasPrefix("_INBOX.") && !$0.hasSuffix("*") } ?? "")
        let drained = try await harness.start { connection, _ in connection.drain(timeout: .seconds(60)) }
        let again = try await harness.start { connection, _ in connection.drain(timeout: .seconds(60)) }
        #expect(try await peer.read(through: "PING\r\n") == "UNSUB 1\r\nPING\r\n")
        await #expect(throws: NATSError.self) { try await harness.subscribe("new") }
        try await peer.send("MSG a 1 1\r\n1\r\nPONG\r\n")
        try await harness.eventually("the end of the subscription") { $1.ends.count == 1 }
        // Handlers may still publish, and requests still get replies.
        #expect(try await harness.publish("late", to: "b") == nil)
        try await peer.send("MSG \(reply) 2 4\r\ndone\r\n")
        #expect(try await peer.read(through: "PING\r\n") == "PUB b 4\r\nlate\r\nUNSUB 2\r\nPING\r\n")
        #expect(try await harness.publish("too late", to: "b") == .draining)
        try await peer.send("PONG\r\n")
        try await drained.get()
        try await again.get()
        try await peer.closed()
        #expect(try await harness.on { $1.outcomes.map(\.reply) } == ["done"])
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["1"])
        #expect(try await harness.events().last == .closed(nil))
        try await harness.start { connection, _ in connection.drain() }.get()
    }

    @Test("rule 20: draining has a limit")
    func drainingHasALimit() async throws {
        let (_, harness, peer) = try await connected()
        let drained = try await harness.start { connection, _ in connection.drain(timeout: .milliseconds(30)) }
        #expect(await failureCode(of: drained) == .drainTimeout)
        try await peer.closed()
    }

    @Test("rule 20: draining without a connection closes") func drainingWithoutAConnectionCloses() async throws {
        let (server, harness, peer) = try await connected()
        try await server.stop()
        try await peer.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        let drained = try await harness.start { connection, _ in connection.drain() }
        #expect(await failureCode(of: drained) == .disconnected)
        #expect(try await harness.on { connection, _ in connection.state } == .closed)
    }

    @Test("rule 20: losing the connection ends a drain")
    func losingTheConnectionEndsADrain() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.subscribe("a")
        let drained = try await harness.start { connection, _ in connection.drain(timeout: .seconds(60)) }
        _ = try await peer.read(through: "PING\r\n")
        try await peer.close()
        #expect(await failureCode(of: drained) == .disconnected)
        #expect(try await harness.on { connection, _ in connection.state } == .closed)
    }

    @Test("rule 25: close completes everything that waits, once") func closeCompletesEverythingThatWaits() async throws
    {
        let (_, harness, _) = try await connected()
        try await harness.subscribe("a")
        let draining = try await harness.start { connection, _ in
            connection.drain(connection.subscriptions.sorted()[0])
        }
        let flush = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        try await harness.request("?", to: "s", context: 1)
        let drained = try await harness.start { connection, _ in connection.drain() }
        try await harness.on { connection, _ in
            connection.close()
            connection.close()
        }
        #expect(await failureCode(of: draining) == .closed)
        #expect(await failureCode(of: flush) == .closed)
        #expect(await failureCode(of: drained) == .closed)
        #expect(try await harness.on { $1.outcomes.map(\.failure) } == [.closed])
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .closed)])
        #expect(Array(try await harness.events().dropFirst()) == [.disconnected(nil), .closed(nil)])
    }
}
