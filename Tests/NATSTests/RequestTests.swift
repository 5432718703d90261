// Requests over the shared inbox, against a scripted server.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct RequestTests {
    private func connected(
        _ configure: @escaping @Sendable (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> (MockServer, ConnectionHarness, MockPeer) {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address], configure)
        let peer = try await harness.connect(to: server)
        return (server, harness, peer)
    }

    /// The reply subjects of the requests in `words`, in order.
    private func replies(_ words: String) -> [String] {
        words.split(separator: "\r\n").compactMap { line in
            let parts = line.split(separator: " ")
            return parts.first == "PUB" && parts.count == 4 ? String(parts[2]) : nil
        }
    }

    @Test("rule 11: one inbox serves all requests") func oneInboxServesAllRequests() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.request("a", to: "s", context: 1)
        try await harness.request("b", to: "s", context: 2)
        try await harness.request("c", to: "s", context: 3)
        let words = try await peer.read(through: "c\r\n")
        let subjects = replies(words)
        try #require(subjects.count == 3)
        #expect(Set(subjects).count == 3)
        let inbox = try await harness.on { connection, _ in connection.inboxSubject }
        #expect(inbox.utf8.count == "_INBOX.".utf8.count + 22 + 2)
        #expect(words.hasPrefix("SUB \(inbox) 1\r\nPUB s \(subjects[0]) 1\r\na\r\n"))
        #expect(words.split(separator: "SUB").count == 1)
        try await peer.send("MSG \(subjects[2]) 1 1\r\nC\r\nMSG \(subjects[0]) 1 1\r\nA\r\n")
        try await harness.eventually("two replies") { $1.outcomes.count == 2 }
        // A second reply to the same request, and a late one, are nobody's; then the last.
        try await peer.send("MSG \(subjects[0]) 1 1\r\nZ\r\nMSG \(subjects[1]) 1 1\r\nB\r\n")
        try await harness.eventually("three replies") { $1.outcomes.count == 3 }
        #expect(
            try await harness.on { $1.outcomes } == [
                .init(context: 3, reply: "C", failure: nil), .init(context: 1, reply: "A", failure: nil),
                .init(context: 2, reply: "B", failure: nil),
            ]
        )
        #expect(try await harness.on { connection, _ in connection.statistics.unclaimedMessages } == 1)
        #expect(try await harness.on { connection, _ in connection.pendingRequests } == 0)
    }

    @Test("rule 11: a late reply is dropped, also when its place is taken")
    func aReusedSlotDoesNotTakeALateReply() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.request("a", to: "s", context: 1, timeout: .milliseconds(20))
        let first = replies(try await peer.read(through: "a\r\n"))[0]
        try await harness.eventually("the timeout") { $1.outcomes.count == 1 }
        try await harness.request("b", to: "s", context: 2)
        let second = replies(try await peer.read(through: "b\r\n"))[0]
        #expect(first != second)
        try await peer.send("MSG \(first) 1 4\r\nlate\r\nMSG \(second) 1 4\r\ngood\r\n")
        try await harness.eventually("the reply") { $1.outcomes.count == 2 }
        #expect(
            try await harness.on { $1.outcomes } == [
                .init(context: 1, reply: nil, failure: .timeout), .init(context: 2, reply: "good", failure: nil),
            ]
        )
    }

    @Test("rule 11: an empty 503 is \"no responders\"") func noResponders() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.request("a", to: "s", context: 1)
        try await harness.request("b", to: "s", context: 2)
        let subjects = replies(try await peer.read(through: "b\r\n"))
        // Only an empty payload with status 503 says so.
        try await peer.send(
            "HMSG \(subjects[0]) 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG \(subjects[1]) 1 16 17\r\nNATS/1.0 503\r\n\r\nx\r\n"
        )
        try await harness.eventually("both") { $1.outcomes.count == 2 }
        #expect(
            try await harness.on { $1.outcomes } == [
                .init(context: 1, reply: nil, failure: .noResponders), .init(context: 2, reply: "x", failure: nil),
            ]
        )
    }

    @Test("rule 11: a cancelled request is forgotten")
    func aCancelledRequestIsNotHeardOfAgain() async throws {
        let (_, harness, peer) = try await connected()
        guard case .started(let id) = try await harness.request("a", to: "s", context: 1) else {
            Issue.record("refused")
            return
        }
        let subject = replies(try await peer.read(through: "a\r\n"))[0]
        try await harness.on { connection, _ in
            connection.cancelRequest(id)
            connection.cancelRequest(id)
        }
        try await peer.send("MSG \(subject) 1 1\r\nA\r\nPING\r\n")
        _ = try await peer.read(through: "PONG\r\n")
        #expect(try await harness.on { $1.outcomes.isEmpty })
        #expect(try await harness.on { connection, _ in connection.pendingRequests } == 0)
    }

    @Test("rule 17: a denied publish fails its request") func aDeniedPublishFailsItsRequest() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.request("a", to: "open", context: 1)
        try await harness.request("b", to: "secret", context: 2)
        _ = try await peer.read(through: "b\r\n")
        let text = "Permissions Violation for Publish to \"secret\""
        try await peer.send("-ERR '\(text)'\r\n")
        try await harness.eventually("the failure") { $1.outcomes.count == 1 }
        #expect(
            try await harness.on { $1.outcomes } == [
                .init(context: 2, reply: nil, failure: .permissionViolation(text))
            ]
        )
    }

    @Test("rule 17: a denied reply subject fails its request")
    func aDeniedReplySubjectFailsItsRequest() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.request("a", to: "s", context: 1)
        try await harness.request("b", to: "s", context: 2)
        let subjects = replies(try await peer.read(through: "b\r\n"))
        let text = "Permissions Violation for Publish with Reply of \"\(subjects[0])\""
        try await peer.send("-ERR '\(text)'\r\n")
        try await harness.eventually("the failure") { $1.outcomes.count == 1 }
        #expect(try await harness.on { $1.outcomes.map(\.context) } == [1])
    }

    @Test("rule 17: a denied inbox fails all requests and is asked for again")
    func aDeniedInboxFailsAllAndIsAskedForAgain() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.request("a", to: "s", context: 1)
        try await harness.request("b", to: "s", context: 2)
        let inbox = try await harness.on { connection, _ in connection.inboxSubject }
        _ = try await peer.read(through: "b\r\n")
        try await peer.send("-ERR 'Permissions Violation for Subscription to \"\(inbox)\" (sid \"1\")'\r\n")
        try await harness.eventually("both failures") { $1.outcomes.count == 2 }
        try await harness.request("c", to: "s", context: 3)
        #expect(try await peer.read(through: "c\r\n").hasPrefix("SUB \(inbox) 2\r\n"))
    }

    @Test func thereIsALimitOnWaitingRequests() async throws {
        let (_, harness, _) = try await connected { $0.maxPendingRequests = 2 }
        for context in 1...2 {
            guard case .started = try await harness.request("a", to: "s", context: UInt64(context)) else {
                Issue.record("refused")
                return
            }
        }
        #expect(try await harness.request("a", to: "s", context: 3) == .refused(.tooManyRequests))
        #expect(try await harness.on { connection, _ in connection.statistics.refusedBufferFull } == 1)
    }

    @Test func aSinkMayRequestAgain() async throws {
        let (_, harness, peer) = try await connected()
        try await harness.on { connection, recorder in
            recorder.onOutcome = { [unowned connection, unowned recorder] context in
                if context < 5 { _ = connection.request("n\(context + 1)", to: "s", context: context + 1, recorder) }
            }
        }
        try await harness.request("n1", to: "s", context: 1)
        for index in 1...5 {
            let subject = replies(try await peer.read(through: "n\(index)\r\n"))[0]
            try await peer.send("MSG \(subject) 1 1\r\n\(index)\r\n")
        }
        try await harness.eventually("all") { $1.outcomes.count == 5 }
        #expect(try await harness.on { $1.outcomes.compactMap(\.reply) } == ["1", "2", "3", "4", "5"])
    }
}
