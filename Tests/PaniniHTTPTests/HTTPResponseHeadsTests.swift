// Heads of answers as servers send them.

import NIOCore
import Testing

@testable import PaniniHTTP

@Suite("Heads of answers")
struct HTTPResponseHeadsTests {
    /// What the parser gets of bytes that come in pieces.
    private func read(_ text: String, piece: Int = .max) -> String {
        var heads = HTTPResponseHeads()
        heads.begin()
        let bytes = Array(text.utf8)
        var out = ByteBuffer()
        for start in stride(from: 0, to: bytes.count, by: min(piece, bytes.count)) {
            let end = min(bytes.count, start + min(piece, bytes.count))
            if let part = heads.take(ByteBuffer(bytes: bytes[start..<end])) { out.writeImmutableBuffer(part) }
        }
        if let rest = heads.end() { out.writeImmutableBuffer(rest) }
        return String(buffer: out)
    }

    @Test(
        "What can mean one thing only is put in order",
        arguments: [
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nx", "HTTP/1.1 200 OK\r\nA: b c\r\n\r\nx"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\t c \r\n  d\r\nE: f\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b c d\r\nE: f\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\nA:\r\n b\r\n\r\n", "HTTP/1.1 200 OK\r\nA:  b\r\n\r\n"),
            ("HTTP/1.1 200 OK\nA: b\n\nx\ny\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nx\ny\n\n"),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\nx", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nx"),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            ("HTTP/1.1  200   OK then\r\n\r\n", "HTTP/1.1 200 OK then\r\n\r\n"),
            ("\r\n\nHTTP/1.1 200 OK\n\nx", "HTTP/1.1 200 OK\r\n\r\nx"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\nx",
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"),
            (
                "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\n\n\n",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\n"
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nA: b\r\n c\r\n\r\nHTTP/1.1 200\n\n",
                "HTTP/1.1 103 Early Hints\r\nA: b c\r\n\r\nHTTP/1.1 200 \r\n\r\n"
            ),
        ]
    )
    func mended(text: String, expected: String) {
        #expect(read(text) == expected)
        for length in 1..<text.utf8.count { #expect(read(text, piece: length) == expected, "by \(length)") }
    }

    @Test(
        "Everything else is the parser's",
        arguments: [
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\nx", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n",
            "HTTP/1.0 404 Not Found\r\n\r\n",
            "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1,\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\nContent-Length: +1\r\n\r\n", "SSH-2.0-x\r\n", "<html>\n\n",
            "HTTPS\n\n", "", "HT",
            "HTTP/1.1 200 OK\r\nA: b", "HTTP/1.1 101 Switching\r\n\r\n\u{1}\n\n: y",
        ]
    )
    func left(text: String) {
        guard !text.isEmpty else { return }
        #expect(read(text) == text)
        for length in 1..<text.utf8.count { #expect(read(text, piece: length) == text, "by \(length)") }
    }

    @Test("What is no head is not waited for, and no head for ever")
    func bounded() {
        var heads = HTTPResponseHeads()
        heads.begin()
        #expect(heads.take(ByteBuffer(string: "SSH")) == ByteBuffer(string: "SSH"))
        heads.begin()
        #expect(heads.take(ByteBuffer(string: "HTTP/1.1 200 OK\r\n")) == nil)
        var count = 0
        for _ in 0..<100 {
            count += heads.take(ByteBuffer(string: String(repeating: "a", count: 1000)))?.readableBytes ?? 0
        }
        #expect(count > HTTPResponseHeads.maximumBytes)
    }

    @Test("A body is left alone, and the next head is not")
    func again() {
        var heads = HTTPResponseHeads()
        heads.begin()
        #expect(
            heads.take(ByteBuffer(string: "HTTP/1.1 200 OK\n\na")) == ByteBuffer(string: "HTTP/1.1 200 OK\r\n\r\na")
        )
        #expect(heads.take(ByteBuffer(string: "A : b\n\n")) == ByteBuffer(string: "A : b\n\n"))
        heads.begin()
        #expect(heads.take(ByteBuffer(string: "HTTP/1.1 200 OK\n\n")) == ByteBuffer(string: "HTTP/1.1 200 OK\r\n\r\n"))
    }
}
