// The client's parser: what each input means, that cuts between reads change nothing, and that bad input is refused by
// kind.

import NATSFuzzSupport
import NATSProtocol
import Testing

@Suite(.timeLimit(.minutes(5))) struct NATSOperationParserTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let input: String
        let expected: [Seen]
        var testDescription: String { input.debugDescription }

        init(_ input: String, _ expected: Seen...) {
            self.input = input
            self.expected = expected
        }
    }

    static let good: [Case] = [
        Case("PING\r\n", .ping),
        Case("ping\r\n", .ping),
        Case("PiNg  \r\n", .ping),
        Case("PING\n", .ping),
        Case("PONG\r\n", .pong),
        Case("+OK\r\n", .ok),
        Case("+ok\r\n", .ok),
        Case("PING\r\nPONG\r\n+OK\r\n", .ping, .pong, .ok),
        Case("INFO {}\r\n", .info("{}")),
        Case("info\t{\"a\":1} \r\n", .info("{\"a\":1}")),
        Case("INFO\r\n", .info("")),
        Case("-ERR 'Stale Connection'\r\n", .error("'Stale Connection'")),
        Case("-err  'x' \r\n", .error("'x'")),
        Case("-ERR\r\n", .error("")),
        Case("MSG a 1 0\r\n\r\n", .message(sid: 1, subject: "a", reply: "", headers: "", payload: "")),
        Case("MSG a.b 12 5\r\nhello\r\n", .message(sid: 12, subject: "a.b", reply: "", headers: "", payload: "hello")),
        Case(
            "MSG a.b 12 re.ply 5\r\nhello\r\n",
            .message(sid: 12, subject: "a.b", reply: "re.ply", headers: "", payload: "hello")
        ),
        Case(
            "msg \t a.b  12\tre.ply   5 \r\nhello\r\n",
            .message(sid: 12, subject: "a.b", reply: "re.ply", headers: "", payload: "hello")
        ),
        Case("MSG a 1 5\nhello\r\n", .message(sid: 1, subject: "a", reply: "", headers: "", payload: "hello")),
        // A reply subject that is a number is still a reply subject.
        Case("MSG a 1 7 2\r\nok\r\n", .message(sid: 1, subject: "a", reply: "7", headers: "", payload: "ok")),
        // Line ends inside a payload mean nothing.
        Case(
            "MSG a 1 8\r\nPING\r\n\r\n\r\nPING\r\n",
            .message(sid: 1, subject: "a", reply: "", headers: "", payload: "PING\r\n\r\n"),
            .ping
        ),
        Case(
            "HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
            .message(sid: 1, subject: "a", reply: "", headers: "NATS/1.0\r\n\r\n", payload: "")
        ),
        Case(
            "hmsg a 1 r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nok\r\n",
            .message(sid: 1, subject: "a", reply: "r", headers: "NATS/1.0\r\nA: b\r\n\r\n", payload: "ok")
        ),
        Case(
            "HMSG a 1 0 2\r\nok\r\n",
            .message(sid: 1, subject: "a", reply: "", headers: "", payload: "ok")
        ),
        Case(
            "MSG a 1 1\r\nx\r\nMSG b 2 r 1\r\ny\r\nPING\r\n",
            .message(sid: 1, subject: "a", reply: "", headers: "", payload: "x"),
            .message(sid: 2, subject: "b", reply: "r", headers: "", payload: "y"),
            .ping
        ),
    ]

    /// What a server passes on from other clients.
    static let strange: [Case] = [
        Case("MSG a\u{1}b 1 1\r\nx\r\n", .message(sid: 1, subject: "a\u{1}b", reply: "", headers: "", payload: "x")),
        Case(
            "MSG \u{0} 1 \u{7f} 1\r\nx\r\n",
            .message(sid: 1, subject: "\0", reply: "\u{7f}", headers: "", payload: "x")
        ),
        Case("MSG a\rb 1 \r 1\r\nx\r\n", .message(sid: 1, subject: "a\rb", reply: "\r", headers: "", payload: "x")),
        Case("MSG a\r 1 1\r\nx\r\n", .message(sid: 1, subject: "a\r", reply: "", headers: "", payload: "x")),
        Case(
            "HMSG \u{b}\u{c} 1 \u{1b}[2J 12 13\r\nNATS/1.0\r\n\r\nx\r\nPING\r\n",
            .message(sid: 1, subject: "\u{b}\u{c}", reply: "\u{1b}[2J", headers: "NATS/1.0\r\n\r\n", payload: "x"),
            .ping
        ),
    ]

    static let bad: [Case] = [
        Case("NOPE\r\n", .failure(.unknownOperation)),
        Case("\r\n", .failure(.unknownOperation)),
        Case("PINGX\r\n", .failure(.unknownOperation)),
        Case("PUB a 1\r\nx\r\n", .failure(.unknownOperation)),
        Case("MSGX a 1 1\r\nx\r\n", .failure(.unknownOperation)),
        Case("PING\r\nPO\r\n", .ping, .failure(.unknownOperation)),
        Case("MSG\r\n", .failure(.badArguments)),
        Case("HMSG\r\n", .failure(.badArguments)),
        Case("MSG \r\n", .failure(.badArguments)),
        Case("MSG a\r\n", .failure(.badArguments)),
        Case("MSG a 1\r\n", .failure(.badArguments)),
        Case("MSG a 1 b 2 3\r\n", .failure(.badArguments)),
        Case("HMSG a 1 12\r\n", .failure(.badArguments)),
        Case("HMSG a 1 b c 1 2\r\n", .failure(.badArguments)),
        Case("MSG a 1 1\rx\r\n", .failure(.badNumber)),
        Case("MSG a 1\u{1} 1\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a x 1\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a 1 x\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a 1 -1\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a 1 +1\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a 1 1.0\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a 1 9999999999999999999999999\r\nx\r\n", .failure(.badNumber)),
        Case("MSG a 18446744073709551617 1\r\nx\r\n", .failure(.badNumber)),
        Case("HMSG a 1 r x 12\r\n", .failure(.badNumber)),
        Case("HMSG a 1 x 12\r\n", .failure(.badNumber)),
        Case("MSG a 1 999999999999\r\nx\r\n", .failure(.payloadTooLarge)),
        Case("MSG a 1 268435457\r\n", .failure(.payloadTooLarge)),
        Case("HMSG a 1 13 12\r\nNATS/1.0\r\n\r\n\r\n", .failure(.headersTooLarge)),
        Case("MSG a 1 1\r\nxy\r\n", .failure(.missingPayloadEnd)),
        Case("MSG a 1 3\r\nx\r\nPING\r\n", .failure(.missingPayloadEnd)),
        Case("MSG a 1 1\r\nx\n\r", .failure(.missingPayloadEnd)),
    ]

    @Test(
        "rule 7: what each operation means or is refused for, however the reads are cut",
        arguments: good + strange + bad
    )
    func meansTheSameHoweverTheReadsAreCut(_ test: Case) {
        #expect(OperationCollector.parse([test.input]) == test.expected)
        let bytes = Array(test.input.utf8)
        for cut in 0...bytes.count {
            var collector = OperationCollector()
            collector.read(bytes[..<cut])
            collector.read(bytes[cut...])
            #expect(collector.seen == test.expected, "cut at \(cut)")
        }
        for first in 0..<bytes.count {
            for second in first..<bytes.count {
                var collector = OperationCollector()
                collector.read(bytes[..<first])
                collector.read(bytes[first..<second])
                collector.read(bytes[second...])
                #expect(collector.seen == test.expected, "cut at \(first) and \(second)")
            }
        }
        var collector = OperationCollector()
        for byte in bytes {
            collector.read([byte])
        }
        #expect(collector.seen == test.expected, "byte by byte")
    }

    /// The words of a message's line as plainly as can be: what blanks and tabs leave, without the line end.
    private static func words(_ line: [UInt8]) -> [[UInt8]] {
        line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }.map(Array.init)
    }

    /// Parses one MSG in reads of `pieces` bytes; nil when it is refused.
    private static func parsed(_ bytes: [UInt8], pieces: Int) -> (subject: [UInt8], reply: [UInt8], payload: [UInt8])? {
        var parser = NATSOperationParser()
        var count = min(pieces, bytes.count)
        while true {
            let exact = Array(bytes[..<count])
            let operation = exact.withUnsafeBytes { parser.next($0.baseAddress!, count: count) }
            switch operation {
            case .incomplete where count < bytes.count: count = min(count + pieces, bytes.count)
            case .message:
                let message = parser.message
                guard parser.consumed == bytes.count else { return nil }
                return (
                    Array(bytes[message.subjectStart..<message.subjectEnd]),
                    Array(bytes[message.replyStart..<message.replyEnd]),
                    Array(bytes[message.payloadStart..<message.payloadStart + message.totalLength])
                )
            default: return nil
            }
        }
    }

    @Test("every byte that a server may pass on is part of its word, wherever it stands and however the reads are cut")
    func takesEveryByte() {
        let separators = Set(Array(" \t\n".utf8))
        for byte in UInt8.min...UInt8.max where !separators.contains(byte) {
            for word in [[byte], [byte, 0x61], [0x61, byte], [0x61, byte, 0x62], [byte, byte]] {
                for line in [
                    Array("MSG ".utf8) + word + Array(" 7 2".utf8),
                    Array("MSG a 7 ".utf8) + word + Array(" 2".utf8),
                    Array("MSG ".utf8) + word + Array("\t 7  ".utf8) + word + Array(" 2".utf8),
                ] {
                    let words = Self.words(line)
                    for pieces in [1, 2, 3, 100] {
                        let seen = Self.parsed(line + Array("\r\nok\r\n".utf8), pieces: pieces)
                        #expect(seen?.subject == words[1], "byte \(byte), \(pieces) at a time")
                        #expect(seen?.reply == (words.count == 5 ? words[3] : []), "byte \(byte), \(pieces) at a time")
                        #expect(seen?.payload == Array("ok".utf8), "byte \(byte), \(pieces) at a time")
                    }
                }
            }
        }
    }

    @Test("random words come out as a plain splitter has them") func splitsAsAPlainSplitterDoes() {
        var random = SeededGenerator(seed: 16)
        func word() -> [UInt8] {
            (0..<Int.random(in: 1...12, using: &random)).map { _ in
                while true {
                    let byte = UInt8.random(in: 0...255, using: &random)
                    if ![0x20, 0x09, 0x0A].contains(byte) { return byte }
                }
            }
        }
        for _ in 0..<5000 {
            let line =
                Array("MSG ".utf8) + word() + Array(" 7 ".utf8) + (Bool.random(using: &random) ? word() + [0x20] : [])
                + Array("3".utf8)
            let words = Self.words(line)
            let end = Bool.random(using: &random) ? "\r\n" : "\n"
            let seen = Self.parsed(
                line + Array(end.utf8) + [0x0D, 0x0A, 0x20] + Array("\r\n".utf8),
                pieces: Int.random(in: 1...9, using: &random)
            )
            #expect(seen?.subject == words[1], "\(line)")
            #expect(seen?.reply == (words.count == 5 ? words[3] : []), "\(line)")
            #expect(seen?.payload == [0x0D, 0x0A, 0x20], "\(line)")
        }
    }

    @Test func aWholeConversationByteByByte() {
        let conversation = Self.good.map(\.input).joined()
        #expect(OperationCollector.parse(conversation.map(String.init)) == Self.good.flatMap(\.expected))
    }

    @Test func acceptsTheLargestMessageAndRefusesOneMore() {
        var limits = NATSOperationParser.Limits()
        limits.message = 10
        let good = "MSG a 1 10\r\n0123456789\r\n"
        #expect(
            OperationCollector.parse([good], limits: limits)
                == [.message(sid: 1, subject: "a", reply: "", headers: "", payload: "0123456789")]
        )
        // One more is passed over, and what follows is whole.
        for line in [
            "MSG a 1 11\r\n01234567890\r\n", "HMSG a 1 r 12 11000\r\n\(String(repeating: "M", count: 11_000))\r\n",
        ] {
            let expected: [Seen] = [.oversized(sid: 1, subject: "a"), .ping]
            #expect(OperationCollector.parse([line + "PING\r\n"], limits: limits) == expected)
            #expect(OperationCollector.parse((line + "PING\r\n").map(String.init), limits: limits) == expected)
        }
        limits.skipped = 12
        #expect(OperationCollector.parse(["MSG a 1 13\r\n"], limits: limits) == [.failure(.payloadTooLarge)])
    }

    @Test(arguments: ["MSG ", "HMSG ", "-ERR ", "XYZ", "PING "])
    func limitsTheControlLineHoweverItIsCut(_ start: String) {
        var limits = NATSOperationParser.Limits()
        limits.controlLine = 100
        let line = start + String(repeating: "a", count: 200) + "\r\n"
        #expect(OperationCollector.parse([line], limits: limits) == [.failure(.controlLineTooLong)])
        #expect(OperationCollector.parse(line.map(String.init), limits: limits) == [.failure(.controlLineTooLong)])
        // Without a line end as well, or a peer could make us keep its bytes for ever.
        let endless = start + String(repeating: "a", count: 200)
        #expect(OperationCollector.parse([endless], limits: limits) == [.failure(.controlLineTooLong)])
    }

    @Test func aLineThatIsTooLongAndBrokenIsTooLongHoweverItIsCut() {
        var limits = NATSOperationParser.Limits()
        limits.controlLine = 100
        for length in [80, 99, 100, 101, 200] {
            let line = "MSG a 1\u{1}" + String(repeating: "a", count: length - 9) + "\r\n"
            let expected: [Seen] = [
                .failure(line.utf8.count <= 100 ? .badArguments : .controlLineTooLong)
            ]
            #expect(OperationCollector.parse([line], limits: limits) == expected, "\(length) bytes")
            #expect(OperationCollector.parse(line.map(String.init), limits: limits) == expected, "\(length) bytes")
        }
    }

    @Test func infoHasALimitOfItsOwn() {
        var limits = NATSOperationParser.Limits()
        limits.controlLine = 20
        limits.info = 100
        let text = String(repeating: "i", count: 60)
        #expect(OperationCollector.parse(["INFO \(text)\r\n"], limits: limits) == [.info(text)])
        #expect(OperationCollector.parse(["-ERR \(text)\r\n"], limits: limits) == [.failure(.controlLineTooLong)])
        let long = String(repeating: "i", count: 200)
        #expect(OperationCollector.parse(["INFO \(long)\r\n"], limits: limits) == [.failure(.controlLineTooLong)])
    }

    @Test func saysHowManyBytesAMessageNeeds() {
        var collector = OperationCollector()
        collector.read("MSG a 1 100\r\nxyz".utf8)
        #expect(collector.parser.needed == 13 + 100 + 2)
        collector.read((String(repeating: "y", count: 97) + "\r\n").utf8)
        #expect(collector.parser.needed == 0)
        #expect(collector.seen.count == 1)
    }

    /// Mutated input never traps, and gives the same operations in one read as in many.
    @Test func survivesMutations() {
        var random = SeededGenerator(seed: 20_261_123)
        let seeds = (Self.good + Self.bad).map { Array($0.input.utf8) }
        let alphabet = Array("MSGHPINO+-ERK \t\r\n0123456789{}'.*>\u{0}\u{1}x".utf8)
        var refused = 0
        var limits = NATSOperationParser.Limits()
        limits.controlLine = 200
        limits.message = 1000
        for _ in 0..<40_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes += seeds.randomElement(using: &random)!
            }
            for _ in 0..<Int.random(in: 0...6, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] = alphabet.randomElement(using: &random)!
                case 1: bytes.insert(alphabet.randomElement(using: &random)!, at: index)
                case 2: bytes[index] = UInt8.random(in: 0...255, using: &random)
                default: if bytes.count > 1 { bytes.remove(at: index) }
                }
            }
            // An end that completes every line, so that the verdict is final.
            bytes += Array("\r\n".utf8)
            var whole = OperationCollector(limits: limits)
            whole.read(bytes)
            var cut = OperationCollector(limits: limits)
            var position = 0
            while position < bytes.count {
                let next = min(bytes.count, position + Int.random(in: 1...8, using: &random))
                cut.read(bytes[position..<next])
                position = next
            }
            #expect(whole.seen == cut.seen, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
            if case .failure? = whole.seen.last { refused += 1 }
        }
        // The mutations must reach the refusals, not only the good paths.
        #expect(refused > 10_000)
    }
}
