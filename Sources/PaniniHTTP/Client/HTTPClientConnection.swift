// Owns: one connection to another server: the request that is under way on it, and holding its reading up. Loop-bound, the last
// handler of its channel.

import NIOCore
import NIOHTTP1
import NIOSSL
import NIOTLS

/// A connection that serves one request after another.
final class HTTPClientConnection: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPClientRequestPart

    private let pool: HTTPClientPool
    /// In front of the parser.
    let heads = HTTPResponseHeadHandler()
    private var context: ChannelHandlerContext?
    /// Succeeds when requests can be sent: with TLS after its handshake.
    private var ready: EventLoopPromise<Void>?
    /// It counts among the pool's connections.
    var wasReady = false
    private let isSecure: Bool
    private var run: HTTPFetchRun?
    private var hasHead = false
    private var keepsAlive = true
    private var isRequestWritten = true
    /// Why it is about to close.
    private var problem: (any Error)?
    private var isPaused = false
    private var hasPendingRead = false
    private(set) var isOpen = true
    /// It has served a request: the server may close it at any time.
    private(set) var isUsed = false
    /// Ends it when nobody has used it for a while.
    var idleTimer: Scheduled<Void>?

    init(_ pool: HTTPClientPool, isSecure: Bool, ready: EventLoopPromise<Void>) {
        self.pool = pool
        self.isSecure = isSecure
        self.ready = ready
    }

    // MARK: - Requests

    /// Sends a request. There is one at a time.
    func send(_ hop: HTTPFetch, for run: HTTPFetchRun) {
        guard let context else { return }
        self.run = run
        heads.begin()
        hasHead = false
        keepsAlive = true
        isPaused = false
        isRequestWritten = false
        let head = HTTPRequestHead(
            version: .http1_1,
            method: HTTPMethod(rawValue: hop.method),
            uri: hop.url.target,
            headers: Self.headers(hop)
        )
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if let body = hop.body, body.readableBytes > 0 {
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenSuccess { box.value.isRequestWritten = true }
    }

    private static func headers(_ hop: HTTPFetch) -> HTTPHeaders {
        var headers = HTTPHeaders()
        if !hop.headers.contains("host") { headers.add(name: "host", value: hop.url.authority) }
        for (name, value) in hop.headers { headers.add(name: name, value: value) }
        if let body = hop.body {
            headers.add(name: "content-length", value: String(body.readableBytes))
        } else if !["GET", "HEAD", "DELETE", "OPTIONS"].contains(hop.method) {
            headers.add(name: "content-length", value: "0")
        }
        return headers
    }

    /// The run takes no more for now: the server is held up.
    func pause() { isPaused = true }

    func resume() {
        guard isPaused else { return }
        isPaused = false
        guard hasPendingRead else { return }
        hasPendingRead = false
        context?.read()
    }

    /// Nobody wants the response any more, so nothing can follow it here.
    func close() {
        run = nil
        isOpen = false
        context?.close(promise: nil)
    }

    // MARK: - Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelActive(context: ChannelHandlerContext) {
        if !isSecure { becomeReady() }
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { becomeReady() }
        context.fireUserInboundEventTriggered(event)
    }

    private func becomeReady() {
        ready?.succeed()
        ready = nil
    }

    /// There is no channel, and will be none.
    func couldNotConnect(_ error: any Error) {
        isOpen = false
        ready?.fail(error)
        ready = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        isOpen = false
        idleTimer?.cancel()
        let problem = problem ?? HTTPClientClosedError()
        ready?.fail(problem)
        ready = nil
        let run = run
        self.run = nil
        pool.closed(self)
        run?.broken(problem)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A server that ends TLS without saying so has ended all the same.
        if error as? NIOSSLError == .uncleanShutdown { return }
        if problem == nil { problem = error }
        context.close(promise: nil)
    }

    func read(context: ChannelHandlerContext) {
        if isPaused { hasPendingRead = true } else { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What nobody asked for makes the connection useless.
        guard let run else { return context.close(promise: nil) }
        switch unwrapInboundIn(data) {
        case .head(let head):
            hasHead = true
            keepsAlive = head.isKeepAlive
            run.head(head)
        case .body(let bytes): run.bytes(bytes)
        case .end:
            self.run = nil
            isUsed = true
            isPaused = false
            if keepsAlive, isRequestWritten, isOpen {
                pool.free(self)
            } else {
                isOpen = false
                context.close(promise: nil)
            }
            run.end()
        }
    }
}

@available(*, unavailable)
extension HTTPClientConnection: Sendable {}

/// The server has closed a connection.
struct HTTPClientClosedError: Error {}

/// The certificates to trust cannot be read.
struct HTTPClientTLSError: Error {}
