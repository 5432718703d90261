// Owns: the way from HTTP to WebSocket (RFC 6455) when a connection begins: the request, the check of the response, and the
// handlers that stay. Loop-bound; may not know the NATS protocol or who uses the bytes.

import NIOCore
import NIOHTTP1
import NIOWebSocket

enum WebSocketUpgrade {
    /// What a connection over WebSocket needs to know beside the server.
    struct Settings: Sendable {
        /// A frame may hold many messages, but a server never collects more than this.
        let frameLimit: Int
        /// How many pings of the server may wait for their answer.
        let maximumOwedPongs: Int

        init(maximumMessageBytes: Int, maximumOwedPongs: Int) {
            frameLimit = min(maximumMessageBytes + (1 << 20), Int(UInt32.max))
            self.maximumOwedPongs = maximumOwedPongs
        }
    }

    /// Adds what upgrades the connection and then puts `last` at its end.
    ///
    /// - Parameters:
    ///   - describe: makes an error for people of one from below.
    ///   - upgraded: told when the connection speaks WebSocket, or why it does not.
    static func add<Last: ChannelHandler>(
        to pipeline: ChannelPipeline.SynchronousOperations,
        _ address: NATSServerAddress,
        _ settings: Settings,
        last: NIOLoopBound<Last>,
        describe: @escaping (any Error) -> NATSError,
        upgraded: EventLoopPromise<Void>
    ) throws {
        let upgrader = NIOWebSocketClientUpgrader(maxFrameSize: settings.frameLimit, automaticErrorHandling: false) {
            channel,
            _ in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers([
                    WebSocketByteStream(maximumOwedPongs: settings.maximumOwedPongs), last.value,
                ])
                upgraded.succeed()
            }
        }
        let request = WebSocketUpgradeRequest(address, describe, upgraded)
        let bound = NIOLoopBound(request, eventLoop: last.eventLoop)
        let upgrade: NIOHTTPClientUpgradeConfiguration = (
            upgraders: [upgrader],
            completionHandler: { context in
                context.pipeline.syncOperations.removeHandler(bound.value, promise: nil)
            }
        )
        try pipeline.addHTTPClientHandlers(leftOverBytesStrategy: .forwardBytes, withClientUpgrade: upgrade)
        try pipeline.addHandler(request)
    }
}

/// Sends the request, and stays to hear why it was refused; gone once the connection is upgraded.
private final class WebSocketUpgradeRequest: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let address: NATSServerAddress
    private let describe: (any Error) -> NATSError
    private let upgraded: EventLoopPromise<Void>

    init(
        _ address: NATSServerAddress,
        _ describe: @escaping (any Error) -> NATSError,
        _ upgraded: EventLoopPromise<Void>
    ) {
        self.address = address
        self.describe = describe
        self.upgraded = upgraded
    }

    func channelActive(context: ChannelHandlerContext) {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: address.path)
        head.headers.add(name: "Host", value: address.description)
        head.headers.add(name: "Content-Length", value: "0")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = unwrapInboundIn(data) else { return }
        fail(
            context,
            NATSError(.connectFailed, "\(address) does not speak WebSocket: it answered HTTP \(head.status.code)")
        )
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(context, NATSError(.connectFailed, "\(address) closed the connection before it was a WebSocket"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let reason = describe(error)
        if reason.code == .tlsFailed { return fail(context, reason) }
        let what =
            switch error {
            case is HTTPParserError: "its answer is not HTTP"
            case is NIOHTTPClientUpgradeError: "its answer does not fit the request"
            default: reason.message
            }
        fail(context, NATSError(.connectFailed, "\(address) does not speak WebSocket: \(what)"))
    }

    private func fail(_ context: ChannelHandlerContext, _ error: NATSError) {
        upgraded.fail(error)
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension WebSocketUpgradeRequest: Sendable {}
