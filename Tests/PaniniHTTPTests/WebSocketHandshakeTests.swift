// Upgrades: which requests are one, what is answered (RFC 6455, section 4), and that the parser agrees.

import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import PaniniHTTP

private let good: [(String, String)] = [
    ("Host", "example.com"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]

private func head(
    without: String? = nil,
    _ more: [(String, String)] = [],
    method: HTTPMethod = .GET,
    version: HTTPVersion = .http1_1
) -> HTTPRequestHead {
    var headers = HTTPHeaders(good.filter { $0.0 != without })
    headers.add(contentsOf: more)
    return HTTPRequestHead(version: version, method: method, uri: "/", headers: headers)
}

private func status(
    _ head: HTTPRequestHead,
    origins: [String] = ["self"],
    protocols: [String] = [],
    isSecure: Bool = false
) -> Int {
    var terms = WebSocketHandshake.Terms()
    terms.origins = origins
    terms.subprotocols = protocols
    switch WebSocketHandshake.check(head, terms, isSecure: isSecure) {
    case .success: return 101
    case .failure(let refusal): return refusal.response.status
    }
}

@Suite("WebSocket handshake")
struct WebSocketHandshakeTests {
    @Test("the key of the RFC's example")
    func key() {
        #expect(WebSocketHandshake.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(WebSocketHandshake.accept("x3JJHMbDL1EzLkh9GBhXDw==") == "HSmrc0sMlYUkAGmm5OPpG2HaGWk=")
    }

    @Test("what is no upgrade is 426, what is a wrong one 400")
    func refusals() {
        #expect(status(head()) == 101)
        #expect(status(head(method: .HEAD)) == 426)
        #expect(status(head(version: .http1_0)) == 426)
        #expect(status(head(version: .http2)) == 400)
        #expect(status(head(without: "Upgrade")) == 426)
        #expect(status(head(without: "Upgrade", [("Upgrade", "h2c")])) == 426)
        #expect(status(head(without: "Upgrade", [("Upgrade", "h2c, WebSocket")])) == 101)
        #expect(status(head(without: "Connection")) == 400)
        #expect(status(head(without: "Connection", [("Connection", "keep-alive")])) == 400)
        #expect(status(head(without: "Connection", [("Connection", "keep-alive, UPGRADE")])) == 101)
        #expect(status(head(without: "Sec-WebSocket-Version")) == 426)
        #expect(status(head(without: "Sec-WebSocket-Version", [("Sec-WebSocket-Version", "8")])) == 426)
        #expect(status(head([("Sec-WebSocket-Version", "13")])) == 426)
        #expect(status(head(without: "Sec-WebSocket-Key")) == 400)
        for key in [
            "", "abc", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j!Q==",
            "dGhlIHNhbXBsZSBub25jZQ==x",
        ] {
            #expect(status(head(without: "Sec-WebSocket-Key", [("Sec-WebSocket-Key", key)])) == 400, "\(key)")
        }
        #expect(status(head([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])) == 400)
        #expect(status(head([("Content-Length", "5")])) == 400)
        #expect(status(head([("Content-Length", "0")])) == 101)
        #expect(status(head([("Transfer-Encoding", "chunked")])) == 400)
    }

    @Test("subprotocols: the client's first one that is spoken")
    func subprotocols() throws {
        var terms = WebSocketHandshake.Terms()
        terms.subprotocols = ["v1", "v2"]
        func chosen(_ offered: [String]) throws -> String? {
            let headers = offered.map { ("Sec-WebSocket-Protocol", $0) }
            let handshake = try WebSocketHandshake.check(head(headers), terms, isSecure: false).get()
            #expect(
                handshake.headers.contains("sec-websocket-protocol") == (handshake.subprotocol != nil)
            )
            return handshake.subprotocol
        }
        #expect(try chosen([]) == nil)
        #expect(try chosen(["v3"]) == nil)
        #expect(try chosen(["v3, v2, v1"]) == "v2")
        #expect(try chosen(["v3", "v1"]) == "v1")
        #expect(try chosen(["V1"]) == nil)
    }

    @Test("origins: the page's own server, named ones, all")
    func origins() {
        func asks(
            _ origin: String?,
            host: String = "shop.example:8080",
            _ origins: [String],
            isSecure: Bool = false
        ) -> Bool {
            let own = origin.map { [("Origin", $0)] } ?? []
            return status(head(without: "Host", own + [("Host", host)]), origins: origins, isSecure: isSecure) == 101
        }
        #expect(asks(nil, ["self"]) && asks(nil, ["https://a.example"]))
        #expect(asks("http://shop.example:8080", ["self"]) && asks("https://shop.example:8080", ["self"]))
        #expect(asks("HTTP://Shop.Example:8080", ["self"]))
        #expect(
            !asks("http://shop.example", ["self"]) && !asks("http://evil.example", ["self"]) && !asks("null", ["self"])
        )
        #expect(!asks("http://shop.example:8080.evil.example", ["self"]))
        #expect(asks("http://shop.example", host: "shop.example:80", ["self"]))
        #expect(asks("https://shop.example", host: "shop.example:443", ["self"], isSecure: true))
        #expect(!asks("http://shop.example:8080", ["self"], isSecure: true))
        #expect(
            asks("https://a.example", ["https://a.example"]) && !asks("https://a.example.evil", ["https://a.example"])
        )
        #expect(asks("null", ["null"]) && asks("https://evil.example", ["*"]))
        #expect(status(head([("Origin", "http://example.com"), ("Origin", "http://example.com")])) == 403)
    }

    /// Takes what the parser gives, or the bytes behind it.
    private final class Sink: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        var parts = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { parts += 1 }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { parts += 1000 }
    }

    @Test(
        "the parser stops at everything that is accepted: what follows are not HTTP's bytes any more",
        arguments: [
            "Upgrade", "upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade, keep-alive", " Upgrade", "Upgrade ",
            "close,Upgrade",
            "x-upgrade", "upgradex", "x,  upgrade  ,y", "upgrade,", ",upgrade", "\tUpgrade", "Upgrade\t", "x\t,Upgrade",
            "upgrade;q=1", "\"upgrade\"",
            "up grade", "keep-alive upgrade", "", ",", "x,\tupgrade", "upgrade ,", "UpGrAdE,close",
        ]
    )
    func agreesWithTheParser(connection: String) throws {
        let head = head(without: "Connection", [("Connection", connection)])
        guard status(head) == 101 else { return }
        let channel = EmbeddedChannel()
        let sink = Sink()
        try channel.pipeline.syncOperations.addHandlers([
            ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)), sink,
        ])
        var request = ByteBuffer(string: "GET / HTTP/1.1\r\n")
        for (name, value) in head.headers { request.writeString("\(name): \(value)\r\n") }
        request.writeString("\r\n")
        // Would be a second request, were HTTP still spoken.
        request.writeString("GET / HTTP/1.1\r\nHost: x\r\n\r\n\u{81}\u{85}")
        try channel.writeInbound(request)
        #expect(sink.parts == 2, "head and end of the upgrade, nothing behind")
        _ = try channel.finish()
    }
}
