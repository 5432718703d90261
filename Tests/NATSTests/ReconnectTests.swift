// Losing the connection: what is restored in which order, what fails at once, what waits in the buffer, and when the
// client gives up.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ReconnectTests {
    @Test("rule 14: what is restored, in which order; rule 22: maxima count over reconnects")
    func restoresEverythingInOrderBeforeUserTraffic() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await harness.subscribe("plain")
        try await harness.subscribe("grouped", queue: "workers")
        try await harness.subscribe("limited")
        try await harness.subscribe("gone")
        try await harness.subscribe("draining")
        try await harness.on { connection, _ in
            let subscriptions = connection.subscriptions.sorted()
            connection.unsubscribe(subscriptions[2], after: 5)
            connection.unsubscribe(subscriptions[3])
            _ = connection.drain(subscriptions[4])
        }
        try await harness.request("?", to: "service", context: 1)
        _ = try await first.read(through: "?\r\n")
        let inbox = try await harness.on { connection, _ in connection.inboxSubject }
        try await first.send("MSG limited 3 1\r\n1\r\nMSG limited 3 1\r\n2\r\n")
        try await harness.eventually("two messages") { $1.messages.count == 2 }
        try await first.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        #expect(try await harness.publish("one", to: "news") == nil)
        try await harness.subscribe("new")
        #expect(try await harness.publish("two", to: "news", headers: ["A": "b"]) == nil)
        let second = try await server.acceptHandshake()
        #expect(
            try await second.read(through: "two\r\n")
                == "SUB plain 1\r\nSUB grouped workers 2\r\nSUB limited 3\r\nUNSUB 3 3\r\nSUB new 7\r\nSUB \(inbox) 6\r\n"
                + "PUB news 3\r\none\r\nHPUB news 18 21\r\nNATS/1.0\r\nA: b\r\n\r\ntwo\r\n"
        )
        try await harness.eventually("the event") { $1.events.count == 3 }
        let events = try await harness.events()
        guard case .connected = events[0], case .disconnected = events[1], case .reconnected = events[2] else {
            Issue.record("unexpected \(events)")
            return
        }
        #expect(try await harness.on { connection, _ in connection.statistics.reconnects } == 1)
        // The maximum counts over both connections.
        try await second.send(
            "MSG limited 3 1\r\n3\r\nMSG limited 3 1\r\n4\r\nMSG limited 3 1\r\n5\r\nMSG limited 3 1\r\n6\r\n"
        )
        try await harness.eventually("the end") { $1.ends.contains(.init(sid: 3, reason: .maximumReached)) }
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["1", "2", "3", "4", "5"])
        #expect(try await harness.on { $1.ends.contains(.init(sid: 5, reason: .disconnected)) })
        #expect(second.received.isEmpty)
    }

    @Test("rule 10: a loss fails all flushes, and requests (rule 11), at once")
    func whatWaitsFailsAtOnce() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.reconnectWait = .seconds(60) }
        let peer = try await harness.connect(to: server)
        try await harness.request("a", to: "s", context: 7)
        let flush = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        _ = try await peer.read(through: "PING\r\n")
        try await peer.close()
        #expect(await failureCode(of: flush) == .disconnected)
        #expect(
            try await harness.on { $1.outcomes } == [.init(context: 7, reply: nil, failure: .disconnected)]
        )
        // And what is asked for while there is no connection.
        let late = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        #expect(await failureCode(of: late) == .disconnected)
        #expect(try await harness.request("a", to: "s", context: 8) == .refused(.disconnected))
    }

    /// A request that was refused or has failed is not sent later behind its asker's back.
    @Test func requestsAreNotBuffered() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await harness.on { connection, recorder in
            // Not written yet when the connection breaks: all in one tick.
            connection.publish("keep", to: "a")
            _ = connection.request("drop", to: "s", context: 1, recorder)
            connection.publish("this", to: "b")
            if let link = connection.link { connection.linkLost(link, error: .disconnected) }
        }
        #expect(try await harness.on { $1.outcomes.map(\.failure) } == [.disconnected])
        let second = try await server.acceptHandshake()
        let inbox = try await harness.on { connection, _ in connection.inboxSubject }
        #expect(
            try await second.read(through: "this\r\n") == "SUB \(inbox) 1\r\nPUB a 4\r\nkeep\r\nPUB b 4\r\nthis\r\n"
        )
        try await first.closed()
    }

    @Test("rule 15: the reconnect buffer has a limit") func theReconnectBufferHasALimit() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.reconnectBufferBytes = 1000
            $0.reconnectWait = .seconds(60)
            $0.reconnectWaitMaximum = .seconds(60)
        }
        let peer = try await harness.connect(to: server)
        try await peer.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        let payload = String(repeating: "x", count: 400)
        #expect(try await harness.publish(payload, to: "a") == nil)
        #expect(try await harness.publish(payload, to: "a") == nil)
        #expect(try await harness.publish(payload, to: "a") == .bufferExceeded)
        #expect(try await harness.publish("small", to: "a") == nil)
        #expect(try await harness.on { connection, _ in connection.statistics.refusedBufferFull } == 1)
    }

    @Test("rule 15: the reconnect buffer can be off") func theReconnectBufferCanBeOff() async throws {
        let harness = try await ConnectionHarness([NATSServerAddress(host: "127.0.0.1", port: 1)]) {
            $0.reconnectBufferBytes = 0
        }
        #expect(try await harness.publish("", to: "a") == .bufferExceeded)
    }

    /// Cut in the middle of a large stream, the next connection must see whole frames only, in order, none twice.
    @Test("rule 15: never a part of a frame again") func neverSendsAPartOfAFrameAgain() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.setReading(false)
        let count = 200
        try await harness.on { connection, _ in
            let filler = String(repeating: "x", count: 100_000)
            for index in 0..<count {
                #expect(connection.publish("<\(index)>" + filler, to: "big") == nil)
            }
        }
        try await harness.eventually("a full socket") { connection, _ in connection.link?.isWritable == false }
        try await first.close()
        let second = try await server.acceptHandshake()
        let rest = try await second.read(through: "<\(count - 1)>" + String(repeating: "x", count: 100_000) + "\r\n")
        var expected = ""
        let firstIndex = try #require(
            rest.split(separator: "<").dropFirst().first?.split(separator: ">").first.flatMap { Int($0) }
        )
        for index in firstIndex..<count {
            let payload = "<\(index)>" + String(repeating: "x", count: 100_000)
            expected += "PUB big \(payload.utf8.count)\r\n\(payload)\r\n"
        }
        #expect(firstIndex > 0)
        #expect(rest == expected)
    }

    @Test("rule 18: gives up after the configured attempts") func givesUpAfterTheConfiguredAttempts() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.maxReconnectAttempts = 2 }
        let peer = try await harness.connect(to: server)
        try await harness.subscribe("a")
        try await server.stop()
        try await peer.close()
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        guard case .closed(let error)? = try await harness.events().last else {
            Issue.record("no closed event")
            return
        }
        #expect(error?.code == .reconnectsExhausted)
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .closed)])
        let tries = try await harness.events().filter { if case .retryingConnect = $0 { true } else { false } }
        #expect(tries.count == 1)
    }

    @Test("rule 13: no reconnect when told so")
    func doesNotReconnectWhenToldNotTo() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.reconnect = false }
        let peer = try await harness.connect(to: server)
        try await peer.close()
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        let events = try await harness.events()
        #expect(events.count == 3)
        guard case .disconnected(_?) = events[1], case .closed(_?) = events[2] else {
            Issue.record("unexpected \(events)")
            return
        }
    }

    @Test("rule 13: close ends the wait for the next try")
    func closeEndsTheWaitForTheNextTry() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let peer = try await harness.connect(to: server)
        try await server.stop()
        try await peer.close()
        try await harness.eventually("tries") { $1.events.count >= 4 }
        let count = try await harness.on { connection, recorder in
            connection.close()
            connection.close()
            return recorder.events.count
        }
        try await Task.sleep(for: .milliseconds(100))
        #expect(try await harness.events().count == count)
        #expect(try await harness.publish("x", to: "a") == .closed)
    }

    @Test("rule 16: refused credentials are tried again for a while") func refusalsAreToleratedForAWhile() async throws
    {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        try await harness.connect(to: server).close()
        for _ in 0..<5 {
            try await server.accept().send("INFO {}\r\n-ERR 'Authorization Violation'\r\n")
        }
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
        #expect(try await harness.on { connection, _ in connection.statistics.refusedCredentials } == 5)
        let told = try await harness.events().count {
            if case .retryingConnect(_, let error) = $0 { error.code == .authorization } else { false }
        }
        #expect(told == 5)
    }

    @Test("rule 16: refused credentials end it when their time is over", arguments: [0, 20] as [Int64])
    func refusalsEndItInTheEnd(_ milliseconds: Int64) async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authenticationRetryTime = .milliseconds(milliseconds)
        }
        try await harness.connect(to: server).close()
        let refusing = Task {
            while true { try await server.accept().send("INFO {}\r\n-ERR 'Authorization Violation'\r\n") }
        }
        defer { refusing.cancel() }
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        let refusals = try await harness.on { connection, _ in connection.statistics.refusedCredentials }
        #expect(milliseconds == 0 ? refusals == 1 : refusals > 1)
        guard case .closed(let error)? = try await harness.events().last else {
            Issue.record("no closed event")
            return
        }
        #expect(error?.code == .authorization)
    }

    @Test("rule 16: the last pause ends when the time is over", .timeLimit(.minutes(1)))
    func theLastPauseIsCut() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authenticationRetryTime = .milliseconds(50)
            $0.reconnectWait = .hours(1)
        }
        _ = try await harness.connect(to: server)
        try await harness.on { connection, _ in connection.reconnect() }
        let refusing = Task {
            while true { try await server.accept().send("INFO {}\r\n-ERR 'Authorization Violation'\r\n") }
        }
        defer { refusing.cancel() }
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        let refusals = try await harness.on { connection, _ in connection.statistics.refusedCredentials }
        #expect(refusals == 2)
    }

    @Test func badDataFromTheServerBreaksTheConnectionNotTheClient() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        try await harness.subscribe("a")
        let first = try await harness.connect(to: server)
        try await first.send("MSG a 1 1\r\nx\r\nMSG a 1 y\r\n")
        try await first.closed()
        let second = try await server.acceptHandshake()
        try await second.send("MSG a 1 1\r\nz\r\n")
        try await harness.eventually("both messages") { $1.messages.map(\.payload) == ["x", "z"] }
        guard case .disconnected(let error) = try await harness.events()[1] else {
            Issue.record("no disconnected event")
            return
        }
        #expect(error?.code == .protocolViolation)
    }

    @Test(
        "rule 16: errors after which the client connects again",
        arguments: [
            "Stale Connection", "maximum connections exceeded", "maximum account active connections exceeded",
            "connection throttling is active", "User Authentication Expired", "User Authentication Revoked",
            "Account Authentication Expired", "Authentication Timeout", "Authorization Violation",
        ]
    )
    func serverErrorsThatEndAConnection(_ text: String) async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.send("-ERR '\(text)'\r\n")
        try await first.closed()
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
    }

    /// Pings that stay unanswered end the connection; the next one starts counting from zero. The ticks are made by
    /// hand, so that a slow machine changes nothing.
    @Test("rule 9: unanswered pings count anew after a reconnect") func noticesAStaleServerAndForgetsItAfterwards()
        async throws
    {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        for _ in 0..<3 {
            try await harness.on { connection, _ in connection.pingTick(connection.epoch) }
        }
        try await first.closed()
        #expect(first.received == "PING\r\nPING\r\n")
        guard case .disconnected(let error) = try await harness.events()[1] else {
            Issue.record("no disconnected event")
            return
        }
        #expect(error?.code == .staleConnection)
        let second = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.isConnected }
        for _ in 0..<3 {
            for _ in 0..<2 {
                try await harness.on { connection, _ in connection.pingTick(connection.epoch) }
            }
            _ = try await second.read(through: "PING\r\nPING\r\n")
            try await second.send("PONG\r\nPONG\r\n")
            try await harness.eventually("the PONGs") { connection, _ in connection.outstandingPings == 0 }
        }
        #expect(try await harness.on { connection, _ in connection.isConnected })
        #expect(try await harness.on { connection, _ in connection.statistics.reconnects } == 1)
    }

    @Test("rule 9: the client pings by itself")
    func pingsByItself() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.pingInterval = .milliseconds(20)
            $0.maxPingsOutstanding = 1_000_000
        }
        let peer = try await harness.connect(to: server)
        _ = try await peer.read(through: "PING\r\nPING\r\nPING\r\n")
    }

    /// Those who are told of the loss may use the connection right away.
    @Test func callbacksOfALossMayPublishSubscribeAndClose() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await harness.on { connection, recorder in
            recorder.onOutcome = { [unowned connection, unowned recorder] context in
                if context == 1 {
                    #expect(connection.request("again", to: "s", context: 2, recorder) == .refused(.disconnected))
                    #expect(connection.publish("kept", to: "k") == nil)
                    _ = try? connection.subscribe(subject: "n", queue: nil, handler: recorder)
                }
            }
        }
        try await harness.request("x", to: "s", context: 1)
        _ = try await first.read(through: "x\r\n")
        try await first.close()
        let second = try await server.acceptHandshake()
        let words = try await second.read(through: "kept\r\n")
        #expect(words.hasPrefix("SUB n 2\r\nSUB _INBOX."))
        try await harness.on { connection, recorder in
            recorder.onEvent = { [unowned connection] event in
                if case .disconnected = event { connection.close() }
            }
        }
        try await second.close()
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
    }
}
