// Owns: one HTTP/2 connection: which streams are open, its idle time, its end. Loop-bound; the handler behind NIO's, which
// knows frames and flow control.

import NIOCore
import NIOHTTP2

/// One HTTP/2 connection. Its requests come over streams.
final class HTTP2Connection: ChannelInboundHandler, HTTPServerConnection {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    let server: HTTPServer
    private var context: ChannelHandlerContext?
    private var streams: [HTTP2Stream] = []
    /// The server's tick at which the last stream ended.
    private var since: UInt64
    /// The newest stream: what a client hears of when the connection is to end.
    private var lastStream = HTTP2StreamID.rootStream
    private var isEnding = false
    private var lastBuffered = 0
    var index: Int?

    init(server: HTTPServer) {
        self.server = server
        since = server.tick
    }

    /// Handlers for a connection on which HTTP/2 was agreed: NIO's, and one of this class.
    static func handlers(_ server: HTTPServer, _ eventLoop: any EventLoop) -> (NIOHTTP2Handler, HTTP2Connection) {
        let connection = HTTP2Connection(server: server)
        let limits = server.configuration
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.maximumStreams),
            // What is a little too large is answered 431 by the stream; this here ends the connection. HPACK counts 32 bytes
            // for each field.
            HTTP2Setting(
                parameter: .maxHeaderListSize,
                value: limits.maximumHeaderBytes + 32 * limits.maximumHeaderCount + 16384
            ),
        ]
        let box = NIOLoopBound(connection, eventLoop: eventLoop)
        // Resets of streams are limited by NIO: 200 in half a minute, then the connection ends (CVE-2023-44487).
        let handler = NIOHTTP2Handler(
            mode: .server,
            eventLoop: eventLoop,
            connectionConfiguration: configuration,
            streamConfiguration: .init(),
            inboundStreamInitializer: { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(HTTP2Stream(box.value))
                }
            }
        )
        return (handler, connection)
    }

    // MARK: - Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// Frames of the connection itself, which NIO has acted upon.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        server.remove(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Of one stream: the others go on.
        if error is NIOHTTP2Errors.StreamError { return }
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        isEnding = true
        closeIfDone()
    }

    // MARK: - Streams

    func opened(_ stream: HTTP2Stream, _ id: HTTP2StreamID?) {
        if let id, id > lastStream { lastStream = id }
        stream.index = streams.count
        streams.append(stream)
    }

    func closed(_ stream: HTTP2Stream) {
        guard let index = stream.index else { return }
        stream.index = nil
        let last = streams.removeLast()
        if last !== stream {
            streams[index] = last
            last.index = index
        }
        since = server.tick
        closeIfDone()
    }

    private func closeIfDone() {
        guard isEnding, streams.isEmpty, let context else { return }
        // From the next turn of the loop: the last stream's frames go out first.
        let box = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.execute { box.value.close(promise: nil) }
    }

    // MARK: - Time and the end

    func checkTime() {
        for index in streams.indices.reversed() where index < streams.count { streams[index].checkTime() }
        guard let context else { return }
        let passed = server.tick &- since
        if !context.channel.isWritable {
            let buffered = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
            if buffered != lastBuffered {
                lastBuffered = buffered
                since = server.tick
            } else if passed > server.idleTicks {
                server.countIdle()
                close()
            }
        } else if streams.isEmpty, passed > server.idleTicks {
            server.countIdle()
            stop()
        }
    }

    /// Tells the client to ask elsewhere, answers what was asked, and closes.
    func stop() {
        guard !isEnding, let context else { return }
        isEnding = true
        let frame = HTTP2Frame(
            streamID: .rootStream,
            payload: .goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil)
        )
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        closeIfDone()
    }

    func close() { context?.close(promise: nil) }
}

@available(*, unavailable)
extension HTTP2Connection: Sendable {}
