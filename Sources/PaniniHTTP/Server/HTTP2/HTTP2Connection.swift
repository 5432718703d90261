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
    /// What its streams make the server hold, and the client's pace.
    var holding = HTTPHolding()
    private var load = HTTP2Load()
    /// Streams whose requests are complete, and wait until the client has taken answers.
    private var waiting = CircularBuffer<HTTP2Stream>()
    private var isResuming = false
    private(set) var remoteAddress = ""
    /// The server's tick at which the client was last seen to take something, or to say that it will.
    private(set) var movedAt: UInt64
    var index: Int?

    /// Beyond this no further request is begun.
    private static let maximumUnsent = 1 << 20

    init(server: HTTPServer) {
        self.server = server
        since = server.tick
        movedAt = server.tick
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

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        remoteAddress = context.channel.remoteAddress?.ipAddress ?? ""
    }

    /// Frames of the connection itself, which NIO has acted upon.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .windowUpdate = unwrapInboundIn(data).payload { moved() }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        server.readEnded()
        context.fireChannelReadComplete()
    }

    /// A client that does not read gets no further answers, neither to requests nor to pings and settings: nothing more is
    /// read of it.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        if holding.isBlocked == isWritable {
            holding.isBlocked = !isWritable
            try? context.channel.syncOptions?.setOption(.autoRead, value: isWritable)
            account()
        }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        waiting.removeAll()
        server.remove(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Of one stream: the others go on.
        if error is NIOHTTP2Errors.StreamError { return }
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is NIOHTTP2WindowUpdatedEvent { moved() }
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
        stream.load.set(body: 0, unsent: 0, in: &load)
        if !waiting.isEmpty { waiting.removeAll { $0 === stream } }
        account()
        resume()
        closeIfDone()
    }

    // MARK: - What waits

    /// The client takes something, or makes room for it.
    func moved() { movedAt = server.tick }

    /// A stream holds another number of bytes than before.
    func changed(_ stream: HTTP2Stream, body: Int, unsent: Int) {
        guard stream.load.set(body: body, unsent: unsent, in: &load), !holding.isEnded else { return }
        account()
        server.checkMemory()
        let limit = server.configuration.maximumConnectionMemory
        // The largest alone is within what a request or an answer may be.
        guard load.total > limit, load.total - (streams.map(\.load.total).max() ?? 0) > limit else { return }
        server.shed(self, .connection(limit: limit))
    }

    private func account() {
        // What is in no list of the server's would never be taken off.
        guard index != nil else { return }
        var bytes = load.total
        if holding.isBlocked, let context {
            bytes += (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        }
        holding.set(bytes, in: server.share)
    }

    /// Whether a request that is complete may begin; otherwise its stream is called when it may.
    func admits(_ stream: HTTP2Stream) -> Bool {
        guard load.unsent > Self.maximumUnsent else { return true }
        waiting.append(stream)
        return false
    }

    /// Lets the requests that waited stand in line again.
    private func resume() {
        guard !isResuming, load.unsent <= Self.maximumUnsent, !waiting.isEmpty else { return }
        isResuming = true
        // Those that still find no room come back.
        for _ in 0..<waiting.count where load.unsent <= Self.maximumUnsent { waiting.popFirst()?.proceed() }
        isResuming = false
    }

    func shed(_ answer: HTTPAnswer) {
        guard let context else { return }
        isEnding = true
        let frame = HTTP2Frame(
            streamID: .rootStream,
            payload: .goAway(lastStreamID: lastStream, errorCode: .enhanceYourCalm, opaqueData: nil)
        )
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        context.close(promise: nil)
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
            if buffered != holding.lastBuffered {
                holding.lastBuffered = buffered
                since = server.tick
                moved()
                account()
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
