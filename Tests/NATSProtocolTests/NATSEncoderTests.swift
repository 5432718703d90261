// The client's encoder, byte by byte.

import NATSProtocol
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct NATSEncoderTests {
    private func publish(_ subject: String, reply: String = "", headers: String = "", payload: String) -> String {
        var buffer = ByteBuffer()
        Array(subject.utf8).withUnsafeBytes { subject in
            Array(reply.utf8).withUnsafeBytes { reply in
                Array(headers.utf8).withUnsafeBytes { headers in
                    Array(payload.utf8).withUnsafeBytes { payload in
                        NATSEncoder.publish(
                            subject: subject,
                            reply: reply,
                            headers: headers,
                            payload: payload,
                            into: &buffer
                        )
                    }
                }
            }
        }
        return String(buffer: buffer)
    }

    @Test("rule 4: PUB, with and without a reply subject, also empty")
    func publishes() {
        #expect(publish("a.b", payload: "hello") == "PUB a.b 5\r\nhello\r\n")
        #expect(publish("a.b", payload: "") == "PUB a.b 0\r\n\r\n")
        #expect(publish("a.b", reply: "r", payload: "x") == "PUB a.b r 1\r\nx\r\n")
    }

    @Test(
        "rule 4: PUB with every size",
        arguments: [1, 9, 10, 11, 99, 100, 101, 999, 1000, 12345, 999_999, 1_000_000]
    )
    func writesEverySizeInDecimal(_ size: Int) {
        let payload = String(repeating: "p", count: size)
        #expect(publish("s", payload: payload) == "PUB s \(size)\r\n\(payload)\r\n")
    }

    @Test("rule 4: HPUB counts its header block and the whole")
    func publishesHeaders() {
        let block = String(decoding: (["A": "b"] as NATSHeaders).encoded(), as: UTF8.self)
        #expect(publish("a", headers: block, payload: "ok") == "HPUB a 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nok\r\n")
        #expect(
            publish("a", reply: "r", headers: block, payload: "") == "HPUB a r 18 18\r\nNATS/1.0\r\nA: b\r\n\r\n\r\n"
        )
    }

    @Test("rule 8: SUB with and without a queue, UNSUB with and without a maximum")
    func subscribesAndUnsubscribes() {
        var buffer = ByteBuffer()
        NATSEncoder.subscribe(subject: "a.*", queue: nil, sid: 1, into: &buffer)
        NATSEncoder.subscribe(subject: "b.>", queue: "workers", sid: 23, into: &buffer)
        NATSEncoder.unsubscribe(sid: 1, into: &buffer)
        NATSEncoder.unsubscribe(sid: 23, maximum: 5, into: &buffer)
        NATSEncoder.ping(into: &buffer)
        NATSEncoder.pong(into: &buffer)
        #expect(
            String(buffer: buffer)
                == "SUB a.* 1\r\nSUB b.> workers 23\r\nUNSUB 1\r\nUNSUB 23 5\r\nPING\r\nPONG\r\n"
        )
    }

    @Test("rule 2: CONNECT with what it always says")
    func connects() throws {
        var options = NATSConnectOptions()
        options.name = "a \"b\"\n"
        options.version = "1.2.3"
        var buffer = ByteBuffer()
        NATSEncoder.connect(options, into: &buffer)
        #expect(
            String(buffer: buffer)
                == "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"a \\\"b\\\"\\u000a\","
                + "\"lang\":\"swift\",\"version\":\"1.2.3\",\"protocol\":1,\"echo\":true,\"headers\":true,"
                + "\"no_responders\":true}\r\n"
        )
    }

    /// A server drops a client that asks for no-responders without headers.
    @Test("rule 2: no_responders is not asked for without headers")
    func asksForNoRespondersOnlyWithHeaders() throws {
        var options = NATSConnectOptions()
        options.headers = false
        let json = try options.encoded().withUnsafeBytes { try JSONValue(parsing: $0) }
        #expect(json["headers"] == .bool(false))
        #expect(json["no_responders"] == .bool(false))
    }

    @Test func keepsOnlyWholePublishesOfABuffer() {
        var buffer = ByteBuffer(
            string:
                "SUB a 1\r\nPUB x 4\r\nPING\r\nPING\r\nHPUB y in.box 12 14\r\nNATS/1.0\r\n\r\nok\r\nPONG\r\nUNSUB 1\r\n"
        )
        buffer.writeString("PUB z in.box 0\r\n\r\nPUB w other 1\r\nP\r\nCONNECT {}\r\n")
        let all = PublishFrames.filter(buffer) { _ in true }
        #expect(all.count == 4)
        #expect(
            String(buffer: all.frames)
                == "PUB x 4\r\nPING\r\nHPUB y in.box 12 14\r\nNATS/1.0\r\n\r\nok\r\n"
                + "PUB z in.box 0\r\n\r\nPUB w other 1\r\nP\r\n"
        )
        let some = PublishFrames.filter(buffer) { String(decoding: $0.reply, as: UTF8.self) != "in.box" }
        #expect(String(buffer: some.frames) == "PUB x 4\r\nPING\r\nPUB w other 1\r\nP\r\n")
        var seen: [String] = []
        _ = PublishFrames.filter(buffer) { frame in
            seen.append("\(frame.size)\(frame.hasHeaders ? "h" : "") \(frame.range.count)")
            return false
        }
        #expect(seen == ["4 15", "14h 37", "0 18", "1 18"])
        #expect(PublishFrames.filter(ByteBuffer()) { _ in true }.count == 0)
    }
}
