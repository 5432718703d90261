// An HTTP/1 connection on a channel without a socket: what goes out for what comes in, in whatever pieces that is.

import NIOCore
import NIOEmbedded
import Testing

@testable import PaniniHTTP

/// A server with one client, and who responds.
private final class Session: HTTPDelegate {
    let loop = EmbeddedEventLoop()
    let channel: EmbeddedChannel
    private var server: HTTPServer?
    var waiting: [HTTPRequest] = []
    /// Respond at once, instead of when the test says so.
    var isQuick = true
    var lost = 0
    var reports: [Int] = []

    init() throws {
        channel = EmbeddedChannel(loop: loop)
        var configuration = HTTPServerConfiguration()
        configuration.reportsResponses = true
        let server = HTTPServer(configuration: configuration, eventLoop: loop, delegate: self)
        self.server = server
        try server.serve(channel)
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
    }

    func receive(_ text: String) {
        channel.pipeline.fireChannelRead(ByteBuffer(string: text))
        channel.pipeline.fireChannelReadComplete()
        loop.run()
    }

    func sent() throws -> String {
        var text = ""
        while let data = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: data) }
        return text
    }

    func respond(_ request: HTTPRequest) {
        request.respond(HTTPResponse(status: 200, body: Array(request.path.utf8)))
        loop.run()
    }

    /// The client does not read, or does again.
    func reads(_ isWritable: Bool) {
        channel.isWritable = isWritable
        channel.pipeline.fireChannelWritabilityChanged()
        loop.run()
    }

    func end() {
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        loop.run()
        _ = try? channel.finish(acceptAlreadyClosed: true)
        #expect(server?.connectionCount == 0 && server?.heldBytes == 0)
        server = nil
    }

    func admits(_ request: HTTPRequest) -> HTTPResponse? {
        request.maximumBody = 5
        return nil
    }

    func received(_ request: HTTPRequest) {
        if isQuick { respond(request) } else { waiting.append(request) }
    }

    func lost(_ request: HTTPRequest) { lost += 1 }
    func responded(_ report: HTTPAccessReport) { reports.append(report.status) }
    func canWrite(_ request: HTTPRequest) {}
    func shed(_ shedding: HTTPShedding) {}
    func webMemoryCalmedDown() {}
}

extension String {
    fileprivate func occurrences(of text: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}

@Suite("HTTP/1 connection")
struct HTTP1ConnectionTests {
    @Test("a request that is refused for two reasons gets one response")
    func refusedOnce() throws {
        let session = try Session()
        // Larger than it may be, and behind that no chunk: both are met in one read.
        session.receive("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6\r\n123456\r\nzz\r\n")
        let sent = try session.sent()
        #expect(sent.hasPrefix("HTTP/1.1 413 ") && sent.occurrences(of: "HTTP/1.1 ") == 1, "\(sent)")
        #expect(session.reports == [413])
        session.end()
    }

    @Test("pipelined requests, in pieces of any length, have their responses in order", arguments: 0..<20)
    func inOrder(seed: UInt64) throws {
        var generator = SplitMix64(state: seed)
        let session = try Session()
        var text = ""
        var paths: [String] = []
        for number in 0..<40 {
            paths.append("/request-\(number)")
            text +=
                Bool.random(using: &generator)
                ? "GET \(paths[number]) HTTP/1.1\r\nhost: a\r\n\r\n"
                : "POST \(paths[number]) HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n12345"
        }
        var sent = ""
        var rest = Array(text.utf8)[...]
        var isReading = true
        while !rest.isEmpty || !session.waiting.isEmpty || !isReading {
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: session.isQuick.toggle()
            case 1:
                isReading.toggle()
                session.reads(isReading)
            case 2: if !session.waiting.isEmpty { session.respond(session.waiting.removeFirst()) }
            default:
                let piece = rest.prefix(Int.random(in: 1..<200, using: &generator))
                rest = rest.dropFirst(piece.count)
                if !piece.isEmpty { session.receive(String(decoding: piece, as: UTF8.self)) }
            }
            #expect(session.waiting.count <= 1, "the next request began before the response to the one before")
            sent += try session.sent()
        }
        #expect(sent.occurrences(of: "HTTP/1.1 200 OK") == paths.count)
        var found = sent[...]
        for path in paths {
            let range = try #require(found.firstRange(of: path), "\(path) is not in its place")
            found = found[range.upperBound...]
        }
        #expect(session.reports == Array(repeating: 200, count: paths.count))
        session.end()
        #expect(session.lost == 0)
    }

    @Test("a request whose client goes is told as lost, once")
    func lostOnce() throws {
        let session = try Session()
        session.isQuick = false
        session.receive("GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n")
        let request = try #require(session.waiting.first)
        #expect(request.isOpen)
        _ = try session.channel.finish(acceptAlreadyClosed: true)
        #expect(session.lost == 1 && !request.isOpen && session.waiting.count == 1)
        session.respond(request)
        session.end()
        #expect(session.lost == 1)
    }

    @Test("100-continue, then the response")
    func continues() throws {
        let session = try Session()
        session.receive("POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        #expect(try session.sent() == "HTTP/1.1 100 Continue\r\n\r\n")
        session.receive("123")
        let sent = try session.sent()
        #expect(sent.hasPrefix("HTTP/1.1 200 OK\r\n") && sent.hasSuffix("\r\n\r\n/a"))
        session.end()
    }
}
