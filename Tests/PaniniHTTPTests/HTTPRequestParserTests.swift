// Reading requests of HTTP/1: the same whatever the pieces they come in, and the same as NIO's own decoder.

import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import PaniniHTTP

/// What a parser made of some bytes.
private enum Met: Equatable, CustomStringConvertible {
    case head(String, String, [String])
    case body([UInt8])
    case end
    case malformed
    case overflow

    var description: String {
        switch self {
        case .head(let method, let target, let fields): "\(method) \(target) \(fields)"
        case .body(let bytes): "body \(String(decoding: bytes, as: UTF8.self))"
        case .end: "end"
        case .malformed: "malformed"
        case .overflow: "overflow"
        }
    }
}

/// Feeds a parser with pieces of a length.
private func read(
    _ bytes: [UInt8],
    piece: Int = .max,
    maximumBytes: Int = 16384,
    maximumFields: Int = 100
) -> [Met] {
    let parser = HTTPRequestParser(maximumBytes: maximumBytes, maximumFields: maximumFields)
    var met: [Met] = []
    var body: [UInt8] = []
    var start = 0
    var isInMessage = false
    while start < bytes.count {
        let end = piece >= bytes.count - start ? bytes.count : start + piece
        var at = start
        while at < end || isInMessage {
            let part = Array(bytes[at..<end])
            let (event, count) = part.withUnsafeBytes { parser.read($0) }
            for piece in parser.pieces { body += part[piece] }
            at += count
            switch event {
            case .needsMore: break
            case .head:
                isInMessage = true
                let offers = parser.facts.offersUpgrade
                let head = parser.takeHead().decoded
                guard head.version.major == 1 else { return met + [.malformed] }
                met.append(.head(head.method.rawValue, head.uri, head.headers.map { "\($0.name): \($0.value)" }))
                // What follows may be in another protocol.
                if offers || head.method == .CONNECT { return met }
            case .end:
                isInMessage = false
                if !body.isEmpty { met.append(.body(body)) }
                body = []
                met.append(.end)
            case .malformed: return met + (body.isEmpty ? [] : [.body(body)]) + [.malformed]
            case .overflow: return met + [.overflow]
            }
            if event == .needsMore { break }
        }
        start = end
    }
    return met + (body.isEmpty ? [] : [.body(body)])
}

/// The same, as NIO reads it.
private func readByNIO(_ bytes: [UInt8]) -> [Met] {
    let channel = EmbeddedChannel(handler: ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
    defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
    var isMalformed = false
    do { try channel.writeInbound(ByteBuffer(bytes: bytes)) } catch { isMalformed = true }
    var met: [Met] = []
    var body: [UInt8] = []
    while let part = try? channel.readInbound(as: HTTPServerRequestPart.self) {
        switch part {
        case .head(let head):
            let fields = head.headers.map { name, value in
                "\(name): \(value.reversed().drop { $0 == " " || $0 == "\t" }.reversed().map(String.init).joined())"
            }
            // NIO leaves the hyphen out.
            let method = head.method == .MSEARCH ? "M-SEARCH" : head.method.rawValue
            met.append(.head(method, head.uri, fields))
            if head.method == .CONNECT || head.headers.contains(name: "upgrade") { return met }
        case .body(let piece): body += piece.readableBytesView
        case .end:
            if !body.isEmpty { met.append(.body(body)) }
            body = []
            met.append(.end)
        }
    }
    return met + (body.isEmpty ? [] : [.body(body)]) + (isMalformed ? [.malformed] : [])
}

/// What NIO's decoder takes for a method.
private let nioMethods: Set<String> = [
    "ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE",
    "MKACTIVITY",
    "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT",
    "QUERY", "REBIND",
    "REPORT", "SEARCH", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
]

/// Whether a parser has no request under way behind some bytes.
private func mayEnd(_ all: [UInt8]) -> Bool {
    let parser = HTTPRequestParser(maximumBytes: 16384, maximumFields: 100)
    var at = 0
    while true {
        let (event, count) = all[at...].withUnsafeBytes { parser.read($0) }
        at += count
        switch event {
        case .needsMore: return parser.mayEnd
        case .malformed, .overflow: return true
        case .head, .end: break
        }
    }
}

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private let requests = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/b?c=d&e HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Spaces: \t b c \t \r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\nTrailer: t\r\n\r\n",
    "\r\n\r\nDELETE /y HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /z HTTP/1.1\r\nHost: b\r\n\r\n",
    "PUT /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n!GET /q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "M-SEARCH * HTTP/1.1\r\nHOST: a\r\n\r\nPATCH /%C3 HTTP/1.1\r\nhost: \u{20ac}\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\u{1}\u{2}",
]

@Suite("Requests of HTTP/1")
struct HTTPRequestParserTests {
    @Test("A request means the same in whatever pieces it comes", arguments: requests)
    func pieces(_ request: String) {
        let whole = read(bytes(request))
        #expect(!whole.contains(.malformed))
        for length in 1..<request.utf8.count { #expect(read(bytes(request), piece: length) == whole, "by \(length)") }
    }

    @Test("Of trailers every byte counts, also the blanks that no field has", arguments: [1, 3, 100, .max])
    func trailers(_ piece: Int) {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
        let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        for field in ["T:\r\n", "T: v\r\n", "T:\(String(repeating: " ", count: 95))v\r\n", "Tttttttttttt: \t \r\n"] {
            let most = (512 - 2) / field.utf8.count
            let few = head + String(repeating: field, count: most) + "\r\n" + next
            let met = read(bytes(few), piece: piece, maximumBytes: 512)
            #expect(met.suffix(2) == [.head("GET", "/next", ["Host: a"]), .end], "\(met)")
            let many = head + String(repeating: field, count: most + 1) + "\r\n" + next
            #expect(read(bytes(many), piece: piece, maximumBytes: 512).last == .overflow)
        }
    }

    @Test("Requests mean what NIO's decoder finds in them", arguments: requests)
    func sameAsNIO(_ request: String) { #expect(read(bytes(request)) == readByNIO(bytes(request))) }

    @Test("Damaged requests, too")
    func damaged() {
        var random = SystemRandom(seed: 20_261_128)
        let pool = bytes("\r\n\t :;,/?%#@\0\u{7f}GETHOSTPcl0129afx-\u{e9}")
        let inserts = [
            "\r\n", "\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", " chunked", "Host: c\r\n", ": ",
            "\r\n ", "HTTP/2.0",
            "HTTP/0.9", "Connection: close\r\n", "Upgrade: x\r\n", "-1", "ffffffffffffffffff", "+5",
        ].map(bytes)
        var others = 0
        var cuts = 0
        for _ in 0..<10_000 {
            var input = bytes(requests[random.below(requests.count)])
            if random.below(3) == 0 { input += bytes(requests[random.below(requests.count)]) }
            for _ in 0...random.below(3) {
                let at = random.below(input.count)
                switch random.below(5) {
                case 0: input.remove(at: at)
                case 1: input[at] = pool[random.below(pool.count)]
                case 2: input.insert(pool[random.below(pool.count)], at: at)
                case 3: input.insert(contentsOf: inserts[random.below(inserts.count)], at: at)
                default: input.removeSubrange(at..<min(input.count, at + random.below(8)))
                }
                if input.isEmpty { input = [13] }
            }
            let met = read(input)
            // Methods that NIO does not know are malformed to it.
            let isOther = met.contains {
                if case .head(let method, _, _) = $0 { !nioMethods.contains(method) } else { false }
            }
            if isOther {
                others += 1
            } else {
                let theirs = readByNIO(input)
                // What ends in the middle of a request line may be of any method; NIO knows that it is none of its own.
                let isCut = met + [.malformed] == theirs && !mayEnd(input)
                if isCut { cuts += 1 }
                #expect(met == theirs || isCut, "\(String(decoding: input, as: UTF8.self).debugDescription)")
            }
            #expect(read(input, piece: 1 + random.below(9)) == met)
        }
        #expect(others > 10 && others < 2000 && cuts < 500)
    }

    @Test(
        "A method may be any",
        arguments: [
            "BREW", "get", "DESCRIBE", "X", "PRI", "VERSION-CONTROL", String(repeating: "M", count: 64),
            "A!#$%&'*+-.^_`|~9",
        ]
    )
    func anyMethod(method: String) {
        let text = "\(method) /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
        let one: [Met] = [.head(method, "/a", ["Host: a", "Content-Length: 2"]), .body(bytes("hi")), .end]
        let get = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
        let two: [Met] = [.head("GET", "/b", ["Host: a"]), .end]
        #expect(read(bytes(text + get + text)) == one + two + one)
        for length in 1..<9 {
            #expect(read(bytes(text + get + text), piece: length) == one + two + one, "by \(length)")
        }
    }

    @Test(
        "What is wrong with a request is told",
        arguments: [
            ("G(T / HTTP/1.1\r\n\r\n", .method, .invalid), (" GET / HTTP/1.1\r\n\r\n", .method, .invalid),
            ("\u{16}\u{3}", .method, .invalid), (String(repeating: "M", count: 65), .method, .unsupported),
            ("GET a HTTP/1.1\r\n\r\n", .target, .invalid), ("GET / HTTP/9.9\r\n\r\n", .version, .invalid),
            ("GET / SMTP/1.1\r\n\r\n", .version, .invalid), ("GET / RTSP/1.0\r\n\r\n", .version, .invalid),
            ("SOURCE / ICE/1.0\r\n\r\n", .version, .invalid), ("GET / HTTP/1.1\r\na b: c\r\n\r\n", .header, .invalid),
            ("GET / HTTP/1.1\r\n: c\r\n\r\n", .header, .invalid),
            ("GET / HTTP/1.1\r\na: \u{1}\r\n\r\n", .header, .invalid),
            ("GET / HTTP/1.1\r\nContent-Length: a\r\n\r\n", .contentLength, .invalid),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", .contentLength, .repeated),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz", .chunk, .invalid),
        ] as [(String, HTTPRefusalError.Part, HTTPRefusalError.Kind)]
    )
    func refusals(text: String, part: HTTPRefusalError.Part, kind: HTTPRefusalError.Kind) {
        let parser = HTTPRequestParser(maximumBytes: 16384, maximumFields: 100)
        let all = bytes(text)
        var at = 0
        while true {
            let (event, count) = all[at...].withUnsafeBytes { parser.read($0) }
            at += count
            guard event == .head else {
                #expect(event == .malformed)
                break
            }
        }
        #expect(parser.refusal?.part == part && parser.refusal?.kind == kind)
        #expect(parser.refusal?.status == (kind == .unsupported ? 501 : 400))
    }

    @Test("A head is kept as a script is given it")
    func kept() throws {
        let parser = HTTPRequestParser(maximumBytes: 16384, maximumFields: 100)
        let text = bytes("GET /a?b HTTP/1.1\r\nHost: h\r\nX:  y \r\nX: \r\n\r\n")
        let (event, count) = text.withUnsafeBytes { parser.read($0) }
        #expect(event == .head)
        #expect(count == text.count)
        let head = parser.takeHead()
        #expect(String(decoding: head.bytes, as: UTF8.self) == "/a?bHost:h\nX:y\nX:\n")
        #expect(head.targetLength == 4)
        #expect(head.pathLength == 2)
        #expect(head.method == .GET)
        #expect(head.version == .http1_1)
        let decoded = head.decoded
        #expect(decoded.uri == "/a?b")
        #expect(decoded.headers.map { "\($0.name)=\($0.value)" } == ["Host=h", "X=y", "X="])
        let again = HTTPHead(decoded)
        #expect(again.bytes == head.bytes)
        #expect(again.pathLength == head.pathLength)
    }

    private func facts(_ lines: String, version: String = "1.1") -> HTTPRequestParser.Facts {
        let parser = HTTPRequestParser(maximumBytes: 16384, maximumFields: 100)
        let (event, _) = bytes("POST / HTTP/\(version)\r\n\(lines)\r\n").withUnsafeBytes { parser.read($0) }
        #expect(event == .head)
        return parser.facts
    }

    @Test("What the server has to know of a head")
    func facts() {
        #expect(facts("HOST: a\r\nhost: b\r\n").hosts == 2)
        #expect(!facts("Host: a:80\r\n").hasBadHost && facts("Host: a b\r\n").hasBadHost)
        #expect(facts("Content-Length: 007 \r\n").length == 7)
        #expect(facts("Content-Length: 7\r\n").lengths == 1)
        #expect(facts("Transfer-Encoding: Chunked\r\n").isChunked)
        #expect(facts("Transfer-Encoding: gzip, chunked\r\n").hasOtherEncoding)
        #expect(facts("Content-Encoding: gzip\r\n").hasContentEncoding)
        #expect(facts("Expect: 100-Continue\r\n").expectation == .continue)
        #expect(facts("Expect: 200\r\n").expectation == .other)
        #expect(facts("Upgrade: h2c\r\n").offersUpgrade)
        #expect(facts("").keepsAlive)
        #expect(!facts("Connection: x, Close\r\n").keepsAlive)
        #expect(!facts("", version: "1.0").keepsAlive)
        #expect(facts("Connection: Keep-Alive\r\n", version: "1.0").keepsAlive)
        // Nothing of one head is left for the next.
        let parser = HTTPRequestParser(maximumBytes: 16384, maximumFields: 100)
        let two = bytes("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n") + bytes("GET / HTTP/1.1\r\n\r\n")
        var at = 0
        var heads: [HTTPRequestParser.Facts] = []
        while heads.count < 2 {
            let (event, count) = two[at...].withUnsafeBytes { parser.read($0) }
            at += count
            if event == .head { heads.append(parser.facts) }
        }
        #expect(heads[0].hosts == 1)
        #expect(heads[1] == HTTPRequestParser.Facts(keepsAlive: true))
    }

    @Test("Limits of a head, and of what a body has beside its bytes")
    func limits() {
        let long = "GET /\(String(repeating: "a", count: 200)) HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(read(bytes(long), maximumBytes: 300).last == .end)
        #expect(read(bytes(long), maximumBytes: 200) == [.overflow])
        let many = "GET / HTTP/1.1\r\n\(String(repeating: "A: b\r\n", count: 11))\r\n"
        #expect(read(bytes(many), maximumFields: 11).last == .end)
        #expect(read(bytes(many), maximumFields: 10) == [.overflow])
        let start = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        let extended = "\(start)1;\(String(repeating: "x", count: 400))\r\na\r\n0\r\n\r\n"
        #expect(read(bytes(extended), maximumBytes: 500).last == .end)
        #expect(read(bytes(extended), maximumBytes: 300).last == .overflow)
        let trailed = "\(start)0\r\n\(String(repeating: "T: uuuuuu\r\n", count: 50))\r\n"
        // With a colon, a blank and a line end each: small ones are as large as long ones.
        #expect(read(bytes(trailed), maximumBytes: 600).last == .end)
        #expect(read(bytes(trailed), maximumBytes: 500).last == .overflow)
    }

    @Test("Whether the bytes may end")
    func ends() {
        #expect(mayEnd(bytes("")))
        #expect(mayEnd(bytes("\r\n")))
        #expect(!mayEnd(bytes("GET")))
        #expect(!mayEnd(bytes("GET / HTTP/1.1\r\nHost: a\r\n")))
        #expect(mayEnd(bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n")))
        #expect(!mayEnd(bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")))
    }
}

/// Numbers that are the same in every run.
private struct SystemRandom {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func below(_ limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(limit))
    }
}
