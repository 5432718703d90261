// A server that says what no server should: the client drops the message or the connection, never itself.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(10))) struct NonsenseTests {
    /// Numbers that are the same in every run.
    private struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    /// What breaks a connection: nothing of it can be believed any more.
    private static let breaking: [ScriptedServer.Script] = [
        .init("FOO bar\r\n"),
        .init("\r\n\r\n"),
        .init("MSG s 1 x\r\nabc\r\n"),
        .init("MSG s x 3\r\nabc\r\n"),
        .init("MSG s 1 -3\r\nabc\r\n"),
        .init("MSG s\r\n"),
        .init("MSG s 1 3\r\nabcde\r\n"),
        .init("MSG s 1 99999999999999999999\r\n"),
        .init("MSG s 1 1073741824\r\n"),
        .init("HMSG s 1 20 10\r\n0123456789\r\n"),
        .init("INFO {\"max_payload\":\r\n"),
        .init("INFO []\r\n"),
        .init(String(repeating: "A", count: 1 << 20)),
        .init([0, 0xFF, 0xFE, 13, 10, 0x80]),
    ]

    @Test("rule 7: what is not the protocol ends the connection with protocolViolation, and the next one works")
    func breaks() async throws {
        for script in Self.breaking {
            let server = try ScriptedServer([script])
            defer { server.stop() }
            let client = NATSClient(configuration: Faults.configuration(server.port), logger: Faults.logger)
            let diary = EventDiary(client)
            let running = Task { try await client.run() }
            let what = String(decoding: script.bytes.prefix(40), as: UTF8.self)
            try await until("the loss after \(what)") { diary.losses.count == 1 }
            #expect(diary.losses[0].code == .protocolViolation, "\(what)")
            try await Faults.flush(client)
            #expect(server.connectionCount == 2, "\(what)")
            await client.close()
            try await running.value
        }
    }

    @Test("an operation cut off by the server's end is not delivered, and the next connection begins afresh")
    func truncated() async throws {
        let whole = "MSG s 1 5\r\nhello\r\nHMSG s 1 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n"
        let scripts = stride(from: 1, to: whole.utf8.count, by: 3).map {
            ScriptedServer.Script(Array(whole.utf8.prefix($0)), closes: true)
        }
        let server = try ScriptedServer(scripts)
        defer { server.stop() }
        let client = NATSClient(configuration: Faults.configuration(server.port), logger: Faults.logger)
        let received = Collected<String>()
        try await client.subscribe("s") { received.append($0.text) }
        let running = Task { try await client.run() }
        try await until("the last connection") { server.connectionCount == scripts.count + 1 }
        try await Faults.flush(client)
        let first = "MSG s 1 5\r\nhello\r\n".utf8.count
        #expect(received.all == Array(repeating: "hello", count: scripts.count { $0.bytes.count >= first }))
        await client.close()
        try await running.value
    }

    @Test("rule 5: a bad header block costs at most its message; junk that the protocol allows costs nothing")
    func lives() async throws {
        let blocks = [
            "NATS/1.0\r\nGood: one\r\n\r\n",
            "NOT/1.0\r\nA: b\r\n\r\n",
            "NATS/1.0\r\nno colon here\r\n\r\n",
            "NATS/1.0\r\n: no name\r\n\r\n",
            "NATS/1.0 5xx what\r\n\r\n",
            "NATS/1.0 99999999999999999999 \r\n\r\n",
            "NATS/1.0\r\nÜmläut: ß\r\n\r\n",
            "NATS/1.0\r\nA: b",
            "NATS/1.0",
            "\r\n\r\n",
            "",
        ]
        var bytes: [UInt8] = []
        for block in blocks {
            let count = block.utf8.count
            bytes += Array("HMSG s 1 \(count) \(count + 4)\r\n\(block)body\r\n".utf8)
        }
        bytes += Array("HMSG s 1 16 20\r\nNATS/1.0\r\n".utf8) + [0xFF, 0xC0, 0x80, 0, 1, 2, 98, 111, 100, 121, 13, 10]
        bytes += Array("MSG s 77 4\r\nbody\r\nMSG other.inbox 1 4\r\nbody\r\n".utf8)
        bytes += Array("+OK\r\nping\r\n-ERR 'Something New'\r\n-ERR\r\nPONG\r\n".utf8)
        // An INFO far longer than any control line may be.
        let urls = (0..<20_000).map { "\"10.0.\($0 / 250).\($0 % 250 + 1):4222\"" }.joined(separator: ",")
        bytes += Array("INFO {\"server_id\":\"x\",\"headers\":true,\"connect_urls\":[\(urls)]}\r\n".utf8)
        bytes += Array("Msg\ts  1\t 4\r\nlast\r\n".utf8)
        let server = try ScriptedServer([.init(bytes)])
        defer { server.stop() }
        let client = NATSClient(
            configuration: Faults.configuration(server.port) { $0.ignoresDiscoveredServers = true },
            logger: Faults.logger
        )
        let diary = EventDiary(client)
        let received = Collected<String>()
        try await client.subscribe("s") { received.append($0.text) }
        let running = Task { try await client.run() }
        try await until("the last message") { received.all.last == "last" }
        try await client.flush()
        #expect(diary.losses.isEmpty)
        #expect(server.connectionCount == 1)
        #expect(Set(received.all) == ["body", "last"])
        // The good ones at least: the first block, and the message of the subscription under another subject.
        #expect(received.count >= 3)
        #expect(await client.statistics().unclaimedMessages == 1)
        #expect(diary.events.contains { if case .serverError("Something New") = $0 { true } else { false } })
        await client.close()
        try await running.value
    }

    @Test("a server that never gets through the handshake is left for the next attempt")
    func badHandshakes() async throws {
        let server = try ScriptedServer([
            .init(greeting: "HTTP/1.1 400 Bad Request\r\n\r\n"),
            .init(greeting: "INFO {\r\n"),
            .init(greeting: "INFO \r\n"),
            .init(greeting: "-ERR 'maximum connections exceeded'\r\n", closes: true),
            .init(greeting: "", closes: true),
            .init(greeting: "IN", closes: true),
            // Says nothing, and stays.
            .init(greeting: ""),
            .init(greeting: "MSG s 1 1\r\nx\r\n"),
            .init(greeting: "PONG\r\nPONG\r\n"),
            .init(greeting: "SSH-2.0-OpenSSH\r\n"),
            .init(greeting: String(repeating: "x", count: 100_000)),
        ])
        defer { server.stop() }
        let configuration = Faults.configuration(server.port) {
            $0.connectTimeout = .seconds(1)
            $0.retryOnFailedConnect = true
        }
        let client = NATSClient(configuration: configuration, logger: Faults.logger)
        let diary = EventDiary(client)
        let running = Task { try await client.run() }
        try await Faults.flush(client)
        #expect(server.connectionCount == 12)
        var codes: [NATSError.Code] = []
        for case .retryingConnect(_, let error) in diary.events { codes.append(error.code) }
        #expect(codes.count == 11)
        #expect(codes.contains(.connectTimeout) && codes.contains(.protocolViolation))
        await client.close()
        try await running.value
    }

    @Test("two hundred connections of random bytes: the client goes on after each")
    func randomBytes() async throws {
        var random = Random(state: 42)
        let words = [
            "MSG ", "HMSG ", "s ", "1 ", "5", "\r\n", "INFO {", "}", "PING", "-ERR ", "+OK", "NATS/1.0", "\"a\":",
            "hello",
        ]
        let scripts = (0..<200).map { _ in
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                if Bool.random(using: &random) {
                    bytes += Array(words[Int.random(in: 0..<words.count, using: &random)].utf8)
                } else {
                    bytes += (0..<Int.random(in: 1...8, using: &random)).map { _ in
                        UInt8.random(in: .min ... .max, using: &random)
                    }
                }
            }
            return ScriptedServer.Script(bytes, closes: true)
        }
        let server = try ScriptedServer(scripts)
        defer { server.stop() }
        let client = NATSClient(
            configuration: Faults.configuration(server.port) {
                $0.reconnectWait = .milliseconds(1)
                $0.reconnectWaitMaximum = .milliseconds(1)
            },
            logger: Faults.logger
        )
        let messages = try await client.subscribe("s")
        let running = Task { try await client.run() }
        try await until("the last connection") { server.connectionCount == 201 }
        try await Faults.flush(client)
        messages.unsubscribe()
        await client.close()
        try await running.value
    }
}
