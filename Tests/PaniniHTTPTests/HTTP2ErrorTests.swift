// What an error of a stream of HTTP/2 costs, and what one of the connection.

import NIOCore
import Testing

@testable import PaniniHTTP

/// What a client does wrong on one stream, and the code by which that stream is reset (RFC 9113, sections 5.1, 6.9 and 8.1).
struct HTTP2StreamFault: Sendable, CustomTestStringConvertible {
    let name: String
    let code: UInt32
    /// On stream 3.
    let frames: @Sendable () -> [TestFrame]
    var testDescription: String { name }

    static let all = [
        HTTP2StreamFault(name: "a name in upper case", code: 1) { [.request("/b", on: 3, [("X-A", "b")])] },
        HTTP2StreamFault(name: "a field of the connection", code: 1) {
            [.request("/b", on: 3, [("connection", "close")])]
        },
        HTTP2StreamFault(name: "a name in upper case among the trailers", code: 1) {
            [
                .request("/b", on: 3, isPost: true, isLast: false),
                TestFrame(
                    kind: .headers,
                    payload: [0, 1] + Array("X".utf8) + [1] + Array("y".utf8),
                    flags: 5,
                    stream: 3
                ),
            ]
        },
        HTTP2StreamFault(name: "less than the content-length says", code: 1) {
            [
                .request("/b", on: 3, isPost: true, isLast: false, [("content-length", "5")]),
                .data("123", on: 3, isLast: true),
            ]
        },
        HTTP2StreamFault(name: "more than the content-length says", code: 1) {
            [
                .request("/b", on: 3, isPost: true, isLast: false, [("content-length", "2")]),
                .data("123", on: 3, isLast: true),
            ]
        },
        HTTP2StreamFault(name: "a window that grows by nothing", code: 1) {
            [.request("/b", on: 3), .window(0, on: 3)]
        },
        HTTP2StreamFault(name: "a window that grows too large", code: 3) {
            [.request("/b", on: 3), .window(.max >> 1, on: 3)]
        },
        HTTP2StreamFault(name: "DATA behind the end", code: 5) { [.request("/b", on: 3), .data("x", on: 3)] },
        HTTP2StreamFault(name: "HEADERS behind the end", code: 1) { [.request("/b", on: 3), .request("/b", on: 3)] },
    ]
}

@Suite("HTTP/2 connection: errors")
struct HTTP2ErrorTests {
    @Test("what is wrong with one stream resets that alone", arguments: HTTP2StreamFault.all)
    func streamError(fault: HTTP2StreamFault) throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1))
        session.receive(bytes: fault.frames().flatMap(\.bytes))
        session.send(.request("/c", on: 5))
        #expect(session.waiting.filter(\.isOpen).map(\.path) == ["/a", "/c"])
        session.respond(to: "/a")
        session.respond(to: "/c")
        #expect(session.reset(3) == fault.code)
        #expect(session.body(1) == "/a" && session.body(5) == "/c" && session.body(3) == nil)
        #expect(session.goAways.isEmpty && session.isOpen)
        #expect(session.server?.counters.brokenStreams == 1 && session.server?.counters.brokenConnections == 0)
        #expect(session.end())
    }

    @Test("a request that was begun on the stream is lost, once")
    func lost() throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1), .request("/b", on: 3))
        session.send(.window(0, on: 3))
        #expect(session.lost == 1)
        session.respond(to: "/b")
        #expect(session.body(3) == nil && session.lost == 1)
        #expect(session.end() && session.lost == 2)
    }

    @Test("the same while the socket is full: the reset is sent later")
    func blocked() throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1), .request("/b", on: 3))
        session.takes(false)
        session.send(.window(0, on: 3))
        #expect(session.isOpen && session.reset(3) == nil)
        session.takes(true)
        session.respond(to: "/a")
        #expect(session.reset(3) == 1 && session.body(1) == "/a" && session.goAways.isEmpty)
        #expect(session.end())
    }

    @Test(
        "what is wrong with the connection ends it",
        arguments: [
            (1, TestFrame.data("x", on: 3)), (3, .window(.max >> 1, on: 0)), (1, .window(0, on: 0)),
            (9, TestFrame(kind: .headers, payload: Array(repeating: 0xFF, count: 20), flags: 5, stream: 3)),
        ] as [(UInt32, TestFrame)]
    )
    func connectionError(code: UInt32, frame: TestFrame) throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1))
        session.send(frame)
        #expect(session.goAways == [code] && !session.isOpen && session.lost == 1)
        #expect(session.server?.counters.brokenConnections == 1 && session.server?.counters.brokenStreams == 0)
        #expect(session.end())
    }

    @Test("after the server's own GOAWAY: of a stream, then of the connection, which cannot be told any more")
    func afterGoAway() throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1), .request("/b", on: 3), .request("/c", on: 5))
        session.server?.stop {}
        session.turn()
        #expect(session.goAways == [0])
        session.send(.window(0, on: 3))
        session.respond(to: "/a")
        #expect(session.reset(3) == 1 && session.body(1) == "/a" && session.isOpen)
        session.send(.window(0, on: 0))
        #expect(!session.isOpen && session.lost == 2)
        #expect(session.end())
    }

    @Test("a client may make 200 errors of streams")
    func bound() throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1))
        for number in 0..<200 { session.send(.request("/b", on: 3 + 2 * UInt32(number), [("X-A", "b")])) }
        #expect(session.isOpen && session.goAways.isEmpty && session.server?.counters.brokenStreams == 200)
        #expect(session.shed.isEmpty)
        session.send(.request("/b", on: 1001, [("X-A", "b")]))
        #expect(!session.isOpen && session.goAways == [11] && session.shed == [.flood])
        #expect(session.server?.counters.brokenStreams == 200 && session.server?.counters.brokenConnections == 1)
        #expect(session.end())
    }

    @Test("what was under way to a stream that is reset is dropped, for as many streams as there may be")
    func recentlyReset() throws {
        let session = try HTTP2Session()
        let streams = (0..<100).map { 1 + 2 * UInt32($0) }
        for stream in streams {
            session.send(.request("/b", on: stream, isPost: true, isLast: false, [("content-length", "2")]))
        }
        for stream in streams { session.send(.data("123", on: stream)) }
        for stream in streams { session.send(.data("456", on: stream, isLast: true)) }
        #expect(session.isOpen && session.goAways.isEmpty)
        #expect(streams.allSatisfy { session.reset($0) == 1 })
        #expect(session.server?.counters.brokenStreams == 100)
        #expect(session.end())
    }

    @Test("the head of a response that is too large for a frame costs its own stream", arguments: [false, true])
    func largeHead(isStream: Bool) throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1), .request("/b", on: 3), .request("/c", on: 5), .request("/d", on: 7))
        // The letter takes 5 bits, each byte of the other more than 20.
        let heads = [
            String(repeating: "a", count: 25000), String(repeating: "a", count: 27000),
            String(repeating: "\u{C7}", count: 4000),
        ]
        for (request, head) in zip(session.waiting, heads) {
            if isStream {
                request.beginStream(status: 200, headers: [("x", head)])
                request.endStream(isComplete: true)
            } else {
                request.respond(HTTPResponse(status: 200, headers: [("x", head)], body: [1]))
            }
            #expect(!request.isOpen)
        }
        session.respond(to: "/d")
        #expect(session.body(1) != nil && session.body(7) == "/d")
        // 200 and 500 as places of HPACK's own table.
        let statuses = session.frames.filter { $0.kind == .headers }.map { $0.payload[0] & 0x7F }
        #expect(statuses == [8, 14, 14, 8])
        #expect(session.body(3)?.contains("headers are larger") == true)
        #expect(session.server?.counters.refusedRequests == [500: 2] && session.isOpen)
        #expect(session.end())
    }

    @Test("the gate tells frames from payloads that look like frames")
    func saidEnds() {
        var said = HTTP2SaidEnds()
        let goAway = TestFrame(kind: .goAway, payload: TestFrame.number(7) + TestFrame.number(11)).bytes
        let data = TestFrame(kind: .data, payload: goAway, stream: 1).bytes
        // The head and the payload, each in a buffer of its own.
        #expect(said.next(ByteBuffer(bytes: data[..<9])) == nil)
        #expect(said.next(ByteBuffer(bytes: goAway)) == nil)
        #expect(said.next(ByteBuffer(bytes: goAway)) == .connection(code: 11))
        // An empty payload is no buffer, or an empty one.
        #expect(said.next(ByteBuffer(bytes: TestFrame(kind: .data, flags: 1, stream: 1).bytes)) == nil)
        #expect(said.next(ByteBuffer()) == nil)
        let reset = TestFrame(kind: .rstStream, payload: TestFrame.number(8), stream: 3).bytes
        #expect(said.next(ByteBuffer(bytes: reset)) == .stream(code: 8))
        #expect(said.next(ByteBuffer(bytes: data)) == nil)
        #expect(said.next(ByteBuffer(bytes: reset)) == .stream(code: 8))
    }
}
