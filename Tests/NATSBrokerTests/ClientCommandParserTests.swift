// The server-side parser: every command, leniency, limits and refusals, each at every split point of its input.

import NATSBroker
import NATSFuzzSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct ClientCommandParserTests {
    /// A command with its texts instead of positions, so that results of different splits can be compared.
    enum Spoken: Equatable {
        case connect(String)
        case publish(subject: String, reply: String, headers: String, payload: String, hpub: Bool)
        case subscribe(subject: String, queue: String, sid: String)
        case unsubscribe(sid: String, maximum: Int?)
        case ping
        case pong
        case ignored

        init(_ command: ClientCommand, in bytes: UnsafeRawBufferPointer) {
            func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
            switch command {
            case .connect(let options): self = .connect(text(options))
            case .publish(let publication):
                self = .publish(
                    subject: text(publication.subject),
                    reply: text(publication.reply),
                    headers: text(publication.headers),
                    payload: text(publication.payload),
                    hpub: publication.isHeaderPublication
                )
            case .subscribe(let subject, let queue, let sid):
                self = .subscribe(subject: text(subject), queue: text(queue), sid: text(sid))
            case .unsubscribe(let sid, let maximum): self = .unsubscribe(sid: text(sid), maximum: maximum)
            case .ping: self = .ping
            case .pong: self = .pong
            case .ignored: self = .ignored
            }
        }
    }

    /// What a parser makes of `pieces` arriving one after another.
    static func parse(
        _ pieces: [ArraySlice<UInt8>],
        maximumControlLine: Int = 4096,
        maximumPayload: Int = 1 << 20
    ) -> (commands: [Spoken], error: ClientProtocolError?) {
        var parser = ClientCommandParser(maximumControlLine: maximumControlLine, maximumPayload: maximumPayload)
        var commands: [Spoken] = []
        var pending: [UInt8] = []
        for piece in pieces {
            pending += piece
            do {
                while let (spoken, length) = try pending.withUnsafeBytes({ bytes throws -> (Spoken, Int)? in
                    guard let parsed = try parser.next(in: bytes) else { return nil }
                    return (Spoken(parsed.command, in: bytes), parsed.length)
                }) {
                    commands.append(spoken)
                    pending.removeFirst(length)
                }
            } catch let error as ClientProtocolError {
                return (commands, error)
            } catch {
                Issue.record(error)
            }
        }
        return (commands, nil)
    }

    static let conversations: [(input: String, commands: [Spoken])] = [
        ("PING\r\n", [.ping]),
        ("ping\r\nPoNg\r\n", [.ping, .pong]),
        ("PING\n", [.ping]),
        ("PING  \r\nPINGxyz\r\n", [.ping, .ping]),
        ("+OK\r\nINFO {}\r\n", [.ignored, .ignored]),
        ("CONNECT {}\r\n", [.connect("{}")]),
        ("CONNECT \t {\"a\": 1} \r\n", [.connect("{\"a\": 1} ")]),
        ("SUB foo 1\r\n", [.subscribe(subject: "foo", queue: "", sid: "1")]),
        ("sub\tfoo.*.>  workers\t 12x\r\n", [.subscribe(subject: "foo.*.>", queue: "workers", sid: "12x")]),
        ("UNSUB 1\r\n", [.unsubscribe(sid: "1", maximum: nil)]),
        ("UNSUB 1 5\r\nUNSUB a x\r\n", [.unsubscribe(sid: "1", maximum: 5), .unsubscribe(sid: "a", maximum: nil)]),
        ("PUB foo 0\r\n\r\n", [.publish(subject: "foo", reply: "", headers: "", payload: "", hpub: false)]),
        ("PUB foo 5\r\nhello\r\n", [.publish(subject: "foo", reply: "", headers: "", payload: "hello", hpub: false)]),
        (
            "PUB foo 8\r\nPING\r\n\r\n\r\nPING\r\n",
            [.publish(subject: "foo", reply: "", headers: "", payload: "PING\r\n\r\n", hpub: false), .ping]
        ),
        (
            "pub  foo\tbar.baz   2 \r\nhi\r\nPUB a 1\nx\r\n",
            [
                .publish(subject: "foo", reply: "bar.baz", headers: "", payload: "hi", hpub: false),
                .publish(subject: "a", reply: "", headers: "", payload: "x", hpub: false),
            ]
        ),
        (
            "HPUB foo 22 24\r\nNATS/1.0\r\nBar: Baz\r\n\r\nhi\r\nhpub a b 12 12\r\nNATS/1.0\r\n\r\n\r\n",
            [
                .publish(subject: "foo", reply: "", headers: "NATS/1.0\r\nBar: Baz\r\n\r\n", payload: "hi", hpub: true),
                .publish(subject: "a", reply: "b", headers: "NATS/1.0\r\n\r\n", payload: "", hpub: true),
            ]
        ),
        ("HPUB a 0 2\r\nhi\r\n", [.publish(subject: "a", reply: "", headers: "", payload: "hi", hpub: true)]),
    ]

    @Test(arguments: conversations) func readsTheSameCommandsAtEverySplit(_ input: String, _ expected: [Spoken]) {
        let bytes = Array(input.utf8)
        for split in 0...bytes.count {
            let result = Self.parse([bytes[..<split], bytes[split...]])
            #expect(result.commands == expected, "split at \(split)")
            #expect(result.error == nil, "split at \(split)")
        }
        let single = Self.parse(bytes.indices.map { bytes[$0...$0] })
        #expect(single.commands == expected)
    }

    @Test func readsAllConversationsInOneStreamAtEveryPairOfSplits() {
        let bytes = Array(Self.conversations.map(\.input).joined().utf8)
        let expected = Self.conversations.flatMap(\.commands)
        for first in stride(from: 0, through: bytes.count, by: 3) {
            for second in stride(from: first, through: bytes.count, by: 11) {
                let result = Self.parse([bytes[..<first], bytes[first..<second], bytes[second...]])
                guard result.commands == expected, result.error == nil else {
                    Issue.record("splits at \(first) and \(second) gave \(result)")
                    return
                }
            }
        }
    }

    static let refusals: [(input: String, error: ClientProtocolError)] = [
        ("\r\n", .unknownOperation),
        ("\n", .unknownOperation),
        (" PING\r\n", .unknownOperation),
        ("GET / HTTP/1.1\r\n\r\n", .unknownOperation),
        ("G", .unknownOperation),
        ("PX", .unknownOperation),
        ("PIN\r\n", .unknownOperation),
        ("PUBLISH foo 0\r\n\r\n", .unknownOperation),
        ("SUBfoo 1\r\n", .unknownOperation),
        ("MSG a 1 1\r\nx\r\n", .unknownOperation),
        ("+NO\r\n", .unknownOperation),
        ("\u{0}\u{0}\u{0}", .unknownOperation),
        ("-ERR 'x'\r\n", .clientError),
        ("CONNECT\r\n", .malformedArguments(usage: .connect)),
        ("CONNECT  \r\n", .malformedArguments(usage: .connect)),
        ("SUB\r\n", .malformedArguments(usage: .sub)),
        ("SUB foo\r\n", .malformedArguments(usage: .sub)),
        ("SUB foo a b c\r\n", .malformedArguments(usage: .sub)),
        ("SUB foo a b c d e f g\r\n", .malformedArguments(usage: .sub)),
        ("SUB fo\ro 1\r\n", .malformedArguments(usage: .sub)),
        ("PUB foo 1\r\r\nx\r\n", .malformedArguments(usage: .pub)),
        ("UNSUB\r\n", .malformedArguments(usage: .unsub)),
        ("UNSUB 1 2 3\r\n", .malformedArguments(usage: .unsub)),
        ("PUB foo\r\n", .malformedArguments(usage: .pub)),
        ("PUB foo bar baz 1\r\nx\r\n", .malformedArguments(usage: .pub)),
        ("PUB foo x\r\n", .malformedArguments(usage: .pub)),
        ("PUB foo -1\r\n", .malformedArguments(usage: .pub)),
        ("PUB foo +1\r\nx\r\n", .malformedArguments(usage: .pub)),
        ("PUB foo 99999999999999999999\r\n", .malformedArguments(usage: .pub)),
        ("PUB foo 1048577\r\n", .payloadTooLarge(size: 1_048_577)),
        ("PUB foo 999999999999999999\r\n", .payloadTooLarge(size: 999_999_999_999_999_999)),
        ("PUB foo 2\r\nhiX", .unknownOperation),
        ("PUB foo 2\r\nhi\rX", .unknownOperation),
        ("PUB foo 2\r\nhi\nPING\r\n", .unknownOperation),
        ("PUB foo 2\r\nhiho\r\n", .unknownOperation),
        ("HPUB foo 12\r\n", .malformedArguments(usage: .hpub)),
        ("HPUB foo 14 12\r\n", .malformedArguments(usage: .hpub)),
        ("HPUB foo x 12\r\n", .malformedArguments(usage: .hpub)),
        ("HPUB foo a b 12 12\r\n", .malformedArguments(usage: .hpub)),
        ("HPUB foo 12 1048577\r\n", .payloadTooLarge(size: 1_048_577)),
    ]

    @Test(arguments: refusals) func refusesAtEverySplit(_ input: String, _ error: ClientProtocolError) {
        // A good command before it is carried out in any case.
        let bytes = Array("PING\r\n\(input)".utf8)
        for split in 0...bytes.count {
            let result = Self.parse([bytes[..<split], bytes[split...]])
            #expect(result.commands == [.ping], "split at \(split)")
            #expect(result.error == error, "split at \(split)")
        }
    }

    @Test func takesAControlLineOfTheLimitAndNoLonger() {
        func line(_ argumentBytes: Int) -> [UInt8] {
            Array("SUB \(String(repeating: "a", count: argumentBytes - 2)) 1\r\n".utf8)
        }
        let good = Self.parse([line(100)[...]], maximumControlLine: 100)
        #expect(good.commands.count == 1)
        let long = line(101)
        for split in 0...long.count {
            let bad = Self.parse([long[..<split], long[split...]], maximumControlLine: 100)
            #expect(bad.error == .controlLineTooLong, "split at \(split)")
        }
        // Blanks in front do not count, but they have an end.
        #expect(
            Self.parse([Array("SUB    ".utf8)[...], line(100).dropFirst(4)], maximumControlLine: 100).commands.count
                == 1
        )
        let blanks = Array("SUB\(String(repeating: " ", count: 300))".utf8)
        #expect(Self.parse([blanks[...]], maximumControlLine: 100).error == .controlLineTooLong)
        // It is refused before the line ends, so that nobody can fill the memory with one.
        #expect(
            Self.parse([long[..<long.count], long[...]].map { $0.prefix(90) }, maximumControlLine: 100).error
                == .controlLineTooLong
        )
    }

    @Test func takesAPayloadOfTheLimitAndNoLarger() {
        let good = Array("PUB a 10\r\n0123456789\r\n".utf8)
        #expect(Self.parse([good[...]], maximumPayload: 10).commands.count == 1)
        let withHeaders = Array("HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n".utf8)
        #expect(Self.parse([withHeaders[...]], maximumPayload: 13).commands.count == 1)
        #expect(Self.parse([withHeaders[...]], maximumPayload: 12).error == .payloadTooLarge(size: 13))
    }

    @Test func survivesRandomBytes() {
        var generator = SeededGenerator(seed: 7)
        let fragments = [
            "PUB ", "HPUB ", "SUB ", "foo", " ", "\r\n", "3", "12", "\n", "\r", "NATS/1.0", "{", "\u{FF}", "PING\r\n",
            "-1",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 1...12, using: &generator))
                .map { _ in fragments.randomElement(using: &generator) ?? "" }.joined()
            let bytes = Array(text.utf8)
            let whole = Self.parse([bytes[...]])
            let split = Int.random(in: 0...bytes.count, using: &generator)
            let parts = Self.parse([bytes[..<split], bytes[split...]])
            #expect(
                whole.commands == parts.commands && whole.error == parts.error,
                "\(text.debugDescription) split at \(split)"
            )
        }
    }
}
