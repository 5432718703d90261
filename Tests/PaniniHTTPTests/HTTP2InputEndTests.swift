// How a connection of HTTP/2 ends whose client sends no more: neither requests nor room for responses.

import Testing

@testable import PaniniHTTP

@Suite("HTTP/2 connection: a client that sends no more")
struct HTTP2InputEndTests {
    @Test("what waits behind a closed window is given up, and the connection ends")
    func closedWindow() throws {
        let session = try HTTP2Session(window: 10)
        session.isQuick = true
        session.send(.request("/more-than-ten-bytes", on: 1))
        #expect(session.isOpen && session.body(1) == nil)
        session.endInput()
        #expect(session.reset(1) == 8 && !session.isOpen)
        #expect(session.end())
    }

    @Test("what the windows have room for comes first, however late it is there")
    func room() throws {
        let session = try HTTP2Session(window: 10)
        session.send(.request("/a", on: 1), .request("/more-than-ten-bytes", on: 3), .request("/b", on: 5))
        session.respond(to: "/more-than-ten-bytes")
        session.endInput()
        #expect(session.isOpen && session.reset(3) == 8)
        session.wait(seconds: 40)
        session.respond(to: "/b")
        #expect(session.isOpen && session.body(5) == "/b")
        session.respond(to: "/a")
        #expect(session.body(1) == "/a" && session.reset(1) == nil && !session.isOpen)
        #expect(session.lost == 0)
        #expect(session.end())
    }

    @Test("a response that comes after the end and has no room is given up")
    func lateWithoutRoom() throws {
        let session = try HTTP2Session(window: 10)
        session.send(.request("/a", on: 1))
        session.endInput()
        #expect(session.isOpen)
        session.respond(to: "/a", "more than ten bytes")
        #expect(session.reset(1) == 8 && !session.isOpen)
        #expect(session.end())
    }

    @Test("requests that lack something are refused")
    func incomplete() throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1, isPost: true, isLast: false), .data("part", on: 1))
        session.send(.request("/b", on: 3))
        session.endInput()
        let body = try #require(session.body(1))
        #expect(body.contains("\"code\":400") && body.contains("\"incomplete\""))
        #expect(session.isOpen && session.server?.counters.refusedRequests == [400: 1])
        session.respond(to: "/b")
        #expect(session.body(3) == "/b" && !session.isOpen)
        #expect(session.end())
    }

    @Test("a frame that lacks its last byte is none")
    func partOfFrame() throws {
        let session = try HTTP2Session()
        session.receive(bytes: TestFrame.request("/a", on: 1).bytes.dropLast())
        session.endInput()
        #expect(!session.isOpen && session.waiting.isEmpty)
        #expect(session.end())
    }

    @Test("a stream goes on while it has room, and its writer hears when it has none")
    func streaming() throws {
        let session = try HTTP2Session(window: 20000)
        session.send(.request("/a", on: 1))
        let request = try #require(session.waiting.first)
        request.beginStream(status: 200, headers: [])
        let piece = [UInt8](repeating: 7, count: 5000)
        func write() -> Bool { piece.withUnsafeBytes { request.write($0) } }
        #expect(write())
        session.turn()
        session.endInput()
        for _ in 0..<3 {
            #expect(write())
            session.turn()
            #expect(session.isOpen)
        }
        #expect(session.frames.filter { $0.kind == .data }.map(\.payload.count).reduce(0, +) == 20000)
        // What comes now waits for a window that nobody opens.
        _ = write()
        session.turn()
        #expect(session.isOpen && session.lost == 0)
        #expect(!write())
        session.turn()
        #expect(session.reset(1) == 8 && session.lost == 1 && !request.isOpen && !session.isOpen)
        #expect(session.end())
    }

    @Test("a full socket is no closed window")
    func fullSocket() throws {
        let session = try HTTP2Session(window: 10)
        session.send(.request("/a", on: 1), .request("/more-than-ten-bytes", on: 3))
        session.takes(false)
        session.respond(to: "/a")
        session.respond(to: "/more-than-ten-bytes")
        session.endInput()
        session.wait(seconds: 5)
        #expect(session.isOpen && session.reset(1) == nil && session.reset(3) == nil)
        session.takes(true)
        #expect(session.body(1) == "/a" && session.reset(3) == 8 && !session.isOpen)
        #expect(session.end())
    }

    @Test(
        "the connection is closed when the last response is written, not before",
        arguments: ["the client", "the server"]
    )
    func written(end: String) throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1))
        session.socket.isHolding = true
        session.respond(to: "/a")
        // There is more in the socket than it takes.
        session.takes(false)
        if end == "the client" { session.endInput() } else { session.server?.stop {} }
        session.turn()
        session.wait(seconds: 20)
        #expect(session.isOpen)
        session.socket.takeAll()
        session.turn()
        #expect(session.body(1) == "/a" && !session.isOpen)
        #expect(session.end())
    }

    @Test(
        "a client that takes nothing, and has no response to take, is not waited for",
        arguments: ["the client", "the server"]
    )
    func owesNothing(end: String) throws {
        let session = try HTTP2Session()
        session.isQuick = true
        session.send(.request("/a", on: 1))
        #expect(session.body(1) == "/a")
        session.wait(seconds: 2)
        session.socket.isHolding = true
        session.send(TestFrame(kind: .ping, payload: [UInt8](repeating: 1, count: 8)))
        session.takes(false)
        if end == "the client" { session.endInput() } else { session.server?.stop {} }
        session.turn()
        #expect(!session.isOpen)
        #expect(session.end())
    }

    @Test("a client that takes nothing of the last response is given up")
    func takesNothing() throws {
        let session = try HTTP2Session()
        session.send(.request("/a", on: 1))
        session.socket.isHolding = true
        session.respond(to: "/a")
        session.takes(false)
        session.endInput()
        session.wait(seconds: 50)
        #expect(session.isOpen)
        session.wait(seconds: 20)
        #expect(!session.isOpen && session.server?.counters.idleClosed == 1)
        #expect(session.end())
    }
}
