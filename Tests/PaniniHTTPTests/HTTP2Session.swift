// A server with one client of HTTP/2 on a channel without a socket: the client's frames are bytes that the test makes, and the server's
// are read as a client reads them.

import NIOCore
import NIOEmbedded

@testable import PaniniHTTP

/// One frame, as it lies on the wire (RFC 9113, section 4.1).
struct TestFrame: Equatable {
    enum Kind: UInt8 {
        case data, headers, priority, rstStream, settings, pushPromise, ping, goAway, windowUpdate, continuation
    }

    var kind: Kind
    var payload: [UInt8] = []
    var flags: UInt8 = 0
    var stream: UInt32 = 0

    static let endStream: UInt8 = 1
    static let endHeaders: UInt8 = 4
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    var bytes: [UInt8] {
        let size = payload.count
        return [UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255), kind.rawValue, flags]
            + Self.number(stream) + payload
    }

    static func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

    /// The four bytes at a place of the payload, such as an error code.
    func number(at index: Int) -> UInt32 { payload[index..<(index + 4)].reduce(0) { $0 << 8 | UInt32($1) } }

    var isLast: Bool { (kind == .data || kind == .headers) && flags & Self.endStream != 0 }

    // MARK: - What a client sends

    /// The head of a request, without any compression (RFC 7541, section 6.2.2).
    static func request(
        _ path: String,
        on stream: UInt32,
        isPost: Bool = false,
        isLast: Bool = true,
        _ fields: [(String, String)] = []
    ) -> TestFrame {
        var block: [UInt8] = [isPost ? 0x83 : 0x82, 0x86, 0x04] + text(path) + [0x01] + text("x")
        for (name, value) in fields { block += [0x00] + text(name) + text(value) }
        return TestFrame(
            kind: .headers,
            payload: block,
            flags: endHeaders | (isLast ? endStream : 0),
            stream: stream
        )
    }

    private static func text(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

    static func data(_ text: String, on stream: UInt32, isLast: Bool = false) -> TestFrame {
        TestFrame(kind: .data, payload: Array(text.utf8), flags: isLast ? endStream : 0, stream: stream)
    }

    static func window(_ increment: UInt32, on stream: UInt32) -> TestFrame {
        TestFrame(kind: .windowUpdate, payload: number(increment), stream: stream)
    }

    /// The window that each stream begins with.
    static func initialWindow(_ size: UInt32) -> TestFrame {
        TestFrame(kind: .settings, payload: [0, 4] + number(size))
    }
}

/// In front of all handlers: a socket that takes what it is given only when it is told to.
final class HeldSocket: ChannelOutboundHandler {
    typealias OutboundIn = NIOAny

    var isHolding = false
    private var held: [(NIOAny, EventLoopPromise<Void>?)] = []
    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isHolding { held.append((data, promise)) } else { context.write(data, promise: promise) }
    }

    func takeAll() {
        isHolding = false
        for (data, promise) in held { context?.write(data, promise: promise) }
        held = []
        context?.flush()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        held = []
        context.close(mode: mode, promise: promise)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        for (_, promise) in held { promise?.fail(ChannelError.ioOnClosedChannel) }
        held = []
    }
}

final class HTTP2Session: HTTPDelegate {
    let loop = EmbeddedEventLoop()
    let channel: EmbeddedChannel
    let socket = HeldSocket()
    private(set) var server: HTTPServer?
    /// Requests whose response the test gives.
    var waiting: [HTTPRequest] = []
    /// Respond at once with the path, instead of when the test says so.
    var isQuick = false
    private(set) var lost = 0
    private(set) var shed: [HTTPShedding.Reason] = []
    private(set) weak var connection: HTTP2Connection?
    private var received: [UInt8] = []
    private(set) var frames: [TestFrame] = []

    init(window: UInt32? = nil) throws {
        channel = EmbeddedChannel(handler: socket, loop: loop)
        let server = HTTPServer(configuration: HTTPServerConfiguration(), eventLoop: loop, delegate: self)
        self.server = server
        try server.serve(channel)
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
        receive(bytes: TestFrame.preface)
        send(window.map { .initialWindow($0) } ?? TestFrame(kind: .settings))
        connection = try channel.pipeline.syncOperations.handler(type: HTTP2Connection.self)
    }

    /// What the client sends arrives in one read.
    func send(_ frames: TestFrame...) { receive(bytes: frames.flatMap(\.bytes)) }

    func receive(bytes: [UInt8], isWhole: Bool = true) {
        channel.pipeline.fireChannelRead(ByteBuffer(bytes: bytes))
        if isWhole { channel.pipeline.fireChannelReadComplete() }
        turn()
    }

    /// Some turns of the loop, and what the server has said meanwhile.
    func turn() {
        for _ in 0..<4 { loop.advanceTime(by: .microseconds(5)) }
        while let data = try? channel.readOutbound(as: ByteBuffer.self) { received += data.readableBytesView }
        while received.count >= 9 {
            let size = Int(received[0]) << 16 | Int(received[1]) << 8 | Int(received[2])
            guard received.count >= 9 + size, let kind = TestFrame.Kind(rawValue: received[3]) else { return }
            frames.append(
                TestFrame(
                    kind: kind,
                    payload: Array(received[9..<(9 + size)]),
                    flags: received[4],
                    stream: received[5..<9].reduce(0) { $0 << 8 | UInt32($1) }
                )
            )
            received.removeFirst(9 + size)
        }
    }

    /// The client's end: it sends no more, and may read.
    func endInput() {
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        turn()
    }

    /// The socket is full, or has room again.
    func takes(_ isWritable: Bool) {
        channel.isWritable = isWritable
        channel.pipeline.fireChannelWritabilityChanged()
        turn()
    }

    func respond(to path: String, _ body: String? = nil) {
        guard let index = waiting.firstIndex(where: { $0.path == path }) else { return }
        waiting.remove(at: index).respond(HTTPResponse(status: 200, body: Array((body ?? path).utf8)))
        turn()
    }

    func wait(seconds: Int64) {
        loop.advanceTime(by: .seconds(seconds))
        turn()
    }

    // MARK: - What came

    /// How the server has reset a stream.
    func reset(_ stream: UInt32) -> UInt32? {
        frames.first { $0.kind == .rstStream && $0.stream == stream }?.number(at: 0)
    }

    /// The codes of its GOAWAYs.
    var goAways: [UInt32] { frames.filter { $0.kind == .goAway }.map { $0.number(at: 4) } }

    /// The body of a response, with its end.
    func body(_ stream: UInt32) -> String? {
        guard frames.contains(where: { $0.stream == stream && $0.isLast }) else { return nil }
        return String(
            decoding: frames.filter { $0.kind == .data && $0.stream == stream }.flatMap(\.payload),
            as: UTF8.self
        )
    }

    var isOpen: Bool { channel.isActive }

    /// The server forgets its client, and everything of it.
    func end() -> Bool {
        _ = try? channel.finish(acceptAlreadyClosed: true)
        turn()
        defer { server = nil }
        return server?.connectionCount == 0 && server?.heldBytes == 0
    }

    // MARK: - HTTPDelegate

    func admits(_ request: HTTPRequest) -> HTTPResponse? { nil }

    func received(_ request: HTTPRequest) {
        if isQuick {
            request.respond(HTTPResponse(status: 200, body: Array(request.path.utf8)))
        } else {
            waiting.append(request)
        }
    }

    func lost(_ request: HTTPRequest) { lost += 1 }
    func responded(_ report: HTTPAccessReport) {}
    func canWrite(_ request: HTTPRequest) {}
    func shed(_ shedding: HTTPShedding) { shed.append(shedding.reason) }
    func webMemoryCalmedDown() {}
}

@available(*, unavailable)
extension HTTP2Session: Sendable {}
