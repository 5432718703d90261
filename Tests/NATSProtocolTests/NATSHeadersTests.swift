// Header rules of ADR-4, in both directions.

import NATSFuzzSupport
import NATSProtocol
import Testing

@Suite(.timeLimit(.minutes(5))) struct NATSHeadersTests {
    private func parse(_ block: String) -> NATSHeaders {
        Array(block.utf8).withUnsafeBytes { NATSHeaders(block: $0) }
    }

    @Test("rule 5: order, case and repeats are kept, names are found exactly; rule 4: one line per value")
    func keepsOrderCaseAndRepeats() {
        var headers = NATSHeaders()
        headers.add("B", "1")
        headers.add("a", "2")
        headers.add("B", "3")
        #expect(headers.fields.map(\.name) == ["B", "a", "B"])
        #expect(headers["B"] == "1")
        #expect(headers["b"] == nil)
        #expect(headers.values(of: "B") == ["1", "3"])
        #expect(String(decoding: headers.encoded(), as: UTF8.self) == "NATS/1.0\r\nB: 1\r\na: 2\r\nB: 3\r\n\r\n")
        headers["B"] = "4"
        #expect(headers.fields.map(\.value) == ["2", "4"])
        headers["a"] = nil
        #expect(headers.fields.map(\.name) == ["B"])
    }

    @Test("rule 4: no headers, no header block")
    func emptyHeadersHaveNoBlock() {
        #expect(NATSHeaders().encoded().isEmpty)
        #expect(NATSHeaders().isEmpty)
        #expect(parse("").isEmpty)
    }

    @Test(
        "rule 5: names of bytes 33 to 126 without a colon",
        arguments: ["a", "A-b_c", "!#$%&'*+-.^_`|~", "Nats-Msg-Id", "\"(),/;<=>?@[\\]{}"]
    )
    func allowsPrintableNames(_ name: String) {
        var headers = NATSHeaders()
        let isAdded = headers.add(name, "v")
        #expect(isAdded)
    }

    @Test(
        "rule 5: other names are refused",
        arguments: ["", "a b", "a:b", ":", "a\r", "a\nb", "ä", "a\u{7F}", "\t"]
    )
    func refusesOtherNames(_ name: String) {
        var headers = NATSHeaders()
        let isAdded = headers.add(name, "v")
        #expect(!isAdded)
        #expect(headers.isEmpty)
    }

    @Test(
        "rule 5: a value cannot forge a line",
        arguments: ["a\r\nX: y", "a\n", "\r", "a\u{0}"]
    )
    func refusesValuesThatForgeLines(_ value: String) {
        var headers = NATSHeaders()
        let isAdded = headers.add("A", value)
        #expect(!isAdded)
        headers["A"] = value
        #expect(headers.isEmpty)
    }

    @Test("rule 5: the space after the colon is no part of the value")
    func readsABlock() {
        let headers = parse("NATS/1.0\r\nA: b\r\nC:d\r\nE:   f g  \r\nA: \r\nUrl: http://x:1\r\n\r\n")
        #expect(headers.fields.map(\.name) == ["A", "C", "E", "A", "Url"])
        #expect(headers.fields.map(\.value) == ["b", "d", "f g", "", "http://x:1"])
        #expect(headers.status == nil)
    }

    @Test("rule 6: status and description stand apart from the headers behind them")
    func readsTheStatusLine() {
        #expect(parse("NATS/1.0 503\r\n\r\n").status == 503)
        #expect(parse("NATS/1.0 503\r\n\r\n").statusDescription == nil)
        let headers = parse("NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\n\r\n")
        #expect(headers.status == 408)
        #expect(headers.statusDescription == "Request Timeout")
        #expect(headers["Nats-Pending-Messages"] == "1")
        #expect(headers.fields.count == 1)
        #expect(parse("NATS/1.0   100 FlowControl Request\r\n\r\n").status == 100)
        #expect(parse("NATS/1.0 5034\r\n\r\n").status == nil)
        #expect(parse("NATS/1.0 5x3\r\n\r\n").status == nil)
        #expect(parse("NATS/1.0 50\r\n\r\n").status == nil)
    }

    /// A peer's odd header costs that header, not the others, and never more.
    @Test("rule 5: an odd line costs that line, not the others")
    func leavesOutWhatIsNoHeader() {
        let headers = parse("NATS/1.0\r\nno colon\r\n: empty\r\nb\u{e4}d: 1\r\na b: 2\r\nGood: 3\r\n\r\n")
        #expect(headers.fields.map(\.name) == ["Good"])
        #expect(headers.isDamaged)
        #expect(headers == ["Good": "3"])
        #expect(!parse("NATS/1.0 503\r\nGood: 3\r\nempty:\r\n\r\n").isDamaged)
        #expect(!parse("").isDamaged)
        #expect(parse("HTTP/1.1\r\nA: b\r\n\r\n").isDamaged)
        #expect(parse("HTTP/1.1\r\nA: b\r\n\r\n").isEmpty)
        #expect(parse("NATS/1.0").isEmpty)
        #expect(parse("NATS/1.0\r\nA: b").fields.map(\.value) == ["b"])
    }

    @Test("rule 5: bytes that are no text are repaired")
    func repairsText() {
        var block = Array("NATS/1.0\r\nA: ".utf8)
        block += [0xFF, 0x41, 0x0D, 0x0A, 0x0D, 0x0A]
        let headers = block.withUnsafeBytes { NATSHeaders(block: $0) }
        #expect(headers["A"] == "\u{FFFD}A")
    }

    @Test func comesBackFromItsOwnBlock() {
        let headers: NATSHeaders = ["A": "1", "b-c": "x: y", "A": "2"]
        let again = headers.encoded().withUnsafeBytes { NATSHeaders(block: $0) }
        #expect(again == headers)
    }

    @Test func walksLinesWithoutAValue() {
        Array("NATS/1.0 200 OK\r\nA: 1\r\nB: 2\r\n\r\n".utf8).withUnsafeBytes { block in
            let lines = NATSHeaderLines(block)
            #expect(lines.status == 200)
            #expect(lines.firstValue(of: "B").map { String(decoding: $0, as: UTF8.self) } == "2")
            #expect(lines.firstValue(of: "b") == nil)
        }
    }

    @Test func survivesMutations() {
        var random = SeededGenerator(seed: 4)
        let seed = Array("NATS/1.0 503 No Responders\r\nA: b\r\nLong-Name: value value\r\nA: c\r\n\r\n".utf8)
        for _ in 0..<20_000 {
            var block = seed
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                block[Int.random(in: 0..<block.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            block.removeLast(Int.random(in: 0..<block.count, using: &random))
            let headers = block.withUnsafeBytes { NATSHeaders(block: $0) }
            for field in headers {
                #expect(NATSHeaders.isValidName(field.name))
            }
        }
    }
}
