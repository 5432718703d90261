// A read that breaks off: bytes have come, the channel ends, and the end of the read is never told. Nothing of a connection may be
// left then, whoever still holds one of its requests.

import NIOCore
import NIOEmbedded
import Testing

@testable import PaniniHTTP

/// A server with one client of HTTP/1.
private final class Session: HTTPDelegate {
    let loop = EmbeddedEventLoop()
    let channel: EmbeddedChannel
    private(set) var server: HTTPServer?
    var requests: [HTTPRequest] = []
    var upgrades = false
    private(set) weak var webSocket: WebSocketConnection?
    private(set) var lost = 0
    weak var connection: HTTP1Connection?

    init() throws {
        channel = EmbeddedChannel(loop: loop)
        let server = HTTPServer(configuration: HTTPServerConfiguration(), eventLoop: loop, delegate: self)
        self.server = server
        try server.serve(channel)
        connection = try channel.pipeline.syncOperations.handler(type: HTTP1Connection.self)
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
    }

    func receive(_ bytes: [UInt8], isWhole: Bool = true) {
        channel.pipeline.fireChannelRead(ByteBuffer(bytes: bytes))
        if isWhole { channel.pipeline.fireChannelReadComplete() }
    }

    /// The channel ends.
    func end() {
        _ = try? channel.finish(acceptAlreadyClosed: true)
        loop.run()
    }

    func admits(_ request: HTTPRequest) -> HTTPResponse? { nil }

    func received(_ request: HTTPRequest) {
        guard upgrades, let connection = request.connection as? HTTP1Connection else { return requests.append(request) }
        let next = connection.upgrade(request.number, headers: [], settings: WebSocketSettings())
        next?.delegate = Listener()
        webSocket = next
        next?.begin()
    }

    func lost(_ request: HTTPRequest) { lost += 1 }
    func responded(_ report: HTTPAccessReport) {}
    func canWrite(_ request: HTTPRequest) {}
    func shed(_ shedding: HTTPShedding) {}
    func webMemoryCalmedDown() {}
}

/// Answers each message with the same, and lets go of the connection at its end, as the host does.
private final class Listener: WebSocketDelegate {
    func webSocket(
        _ connection: WebSocketConnection,
        received kind: WebSocketKind,
        _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        _ = connection.send(kind, bytes)
        return true
    }

    func webSocketIsWritable(_ connection: WebSocketConnection) {}
    func webSocketEnded(_ connection: WebSocketConnection) {}
    func webSocketReadBurstEnded(_ connection: WebSocketConnection) {}
}

@Suite("A read that breaks off")
struct BrokenReadTests {
    /// What the last read of a client of HTTP/2 brings.
    enum HTTP2Read: String, CaseIterable {
        case request = "a request"
        case answered = "a request that is answered at once"
        case body = "a part of a body"
        case behindWindow = "a request whose answer has no room"
        case reset = "an error of a stream"
        case frame = "a part of a frame"
        case ping = "a ping"
        case fault = "an error of the connection"
    }

    @Test("nothing is left of an HTTP/2 connection and its streams", arguments: HTTP2Read.allCases)
    func http2(read: HTTP2Read) throws {
        let session = try HTTP2Session(window: read == .behindWindow ? 0 : nil)
        session.send(.request("/before", on: 1))
        let request = try #require(session.waiting.first)
        weak let stream = request.connection
        #expect(session.connection != nil && stream != nil)
        session.isQuick = read == .answered || read == .behindWindow
        switch read {
        case .request, .answered, .behindWindow: session.receive(.request("/a", on: 3))
        case .body:
            session.receive(.request("/a", on: 3, isPost: true, isLast: false))
            session.receive(.data("part", on: 3))
        case .reset: session.receive(.window(0, on: 1))
        case .frame: session.receive(bytes: TestFrame.request("/a", on: 3).bytes.dropLast(), isWhole: false)
        case .ping: session.receive(TestFrame(kind: .ping, payload: [UInt8](repeating: 1, count: 8)))
        case .fault: session.receive(.window(0, on: 0))
        }
        weak let other = session.waiting.last?.connection
        #expect(session.end())
        #expect(session.lost == (read == .request || read == .body ? 2 : 1))
        // Handlers may hold their requests for long.
        #expect(!request.isOpen && request.connection == nil)
        #expect(session.connection == nil, "the connection is left")
        #expect(stream == nil && other == nil, "a stream is left")
    }

    @Test(
        "nothing is left of an HTTP/1 connection",
        arguments: [
            "GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n12", "GET /a HT",
            "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n12\r\n",
            "nothing that is HTTP\r\n\r\n",
        ]
    )
    func http1(read: String) throws {
        let session = try Session()
        #expect(session.connection != nil)
        session.receive(Array(read.utf8), isWhole: false)
        session.end()
        #expect(session.server?.connectionCount == 0 && session.server?.heldBytes == 0)
        #expect(session.requests.allSatisfy { !$0.isOpen && $0.connection == nil })
        #expect(session.lost == (read.contains("host") ? 1 : 0))
        #expect(session.connection == nil, "the connection is left")
    }

    @Test(
        "nothing is left of a WebSocket",
        arguments: [
            [0x81, 0x81, 0, 0, 0, 0, 0x61], [0x81, 0x85, 0, 0, 0, 0, 0x61], [0x81], [0x89, 0x80, 0, 0, 0, 0],
            [0x88, 0x80, 0, 0, 0, 0], [0xFF, 0x80, 0, 0, 0, 0], [0x01, 0x81, 0, 0, 0, 0, 0x61],
        ] as [[UInt8]]
    )
    func webSocket(read: [UInt8]) throws {
        let session = try Session()
        session.upgrades = true
        session.receive(Array("GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".utf8))
        session.loop.run()
        #expect(session.connection == nil && session.webSocket?.isOpen == true)
        session.receive(read, isWhole: false)
        session.end()
        #expect(session.server?.connectionCount == 0 && session.server?.heldBytes == 0)
        #expect(session.webSocket == nil, "the connection is left")
    }
}

extension HTTP2Session {
    /// Bytes of a read whose end is not told.
    fileprivate func receive(_ frame: TestFrame) { receive(bytes: frame.bytes, isWhole: false) }
}
