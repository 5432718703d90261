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
    /// It is closed at the end of the read, and nothing more is read of it.
    private(set) var isClosed = false
    /// The client has been given all that it gets. It may read that, and then closes; ``since`` is the tick at which that began.
    private var isLingering = false
    /// Streams have ended whose responses may not have left the channel.
    private var owesResponses = false
    /// The client sends no more: it opens no windows, and completes no requests.
    private var isInputClosed = false
    private var isSettling = false
    private weak var gate: HTTP2FrameGate?
    /// What its streams make the server hold.
    var holding = HTTPHolding()
    private var pace: HTTPPace
    private var load = HTTP2Load()
    /// How many bytes of a frame that is not complete have come.
    private var incompleteBytes = 0
    /// Streams whose requests are complete, and wait until the client has taken responses.
    private var waiting = CircularBuffer<HTTP2Stream>()
    private var isResuming = false
    private(set) var remoteAddress = ""
    var index: Int?

    /// Beyond this no further request is begun.
    private static let maximumUnsent = 1 << 20

    init(server: HTTPServer) {
        self.server = server
        since = server.tick
        pace = HTTPPace(now: server.tick)
    }

    /// Handlers for a connection on which HTTP/2 was agreed, in their order, and the last of them, which is of this class.
    static func handlers(
        _ server: HTTPServer,
        _ eventLoop: any EventLoop
    ) -> (handlers: [any ChannelHandler], connection: HTTP2Connection) {
        let connection = HTTP2Connection(server: server)
        let limits = server.configuration
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.maximumStreams),
            // What is a little too large gets a 431 of the stream; this here ends the connection. HPACK counts 32 bytes
            // for each field.
            HTTP2Setting(
                parameter: .maxHeaderListSize,
                value: limits.maximumHeaderBytes + 32 * limits.maximumHeaderCount + 16384
            ),
        ]
        // Frames may be under way to as many streams as there may be when they are reset; those to others end the connection.
        configuration.maximumRecentlyResetStreams = min(max(limits.maximumStreams, 32), 1024)
        let box = NIOLoopBound(connection, eventLoop: eventLoop)
        // Resets of streams are limited by NIO: 200 in half a minute, then the connection ends (CVE-2023-44487). So are streams
        // that NIO resets for what the client sends on them: 200 of a connection.
        let handler = NIOHTTP2Handler(
            mode: .server,
            eventLoop: eventLoop,
            connectionConfiguration: configuration,
            streamConfiguration: .init(),
            inboundStreamInitializer: { channel in
                channel.eventLoop.makeCompletedFuture {
                    // A stream begins with what its connection has. That does not read while its client does not, and nobody would
                    // let the stream read afterwards.
                    try channel.syncOptions?.setOption(.autoRead, value: true)
                    try channel.pipeline.syncOperations.addHandler(HTTP2Stream(box.value))
                }
            }
        )
        let gate = HTTP2FrameGate(connection)
        connection.gate = gate
        return ([gate, handler, connection], connection)
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

    /// A client that does not read gets no further responses, neither to requests nor to pings and settings: nothing more is
    /// read of it.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        if pace.isBlocked == isWritable {
            pace.isBlocked = !isWritable
            try? context.channel.syncOptions?.setOption(.autoRead, value: isWritable)
            account()
        }
        if isWritable { settleSoon() }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isLingering { ended() }
    }

    /// Its streams are about to be told that there is no channel for them any more: none of the requests that wait begins for
    /// the room that the others leave.
    func ends() {
        isClosed = true
        isEnding = true
        waiting.removeAll()
    }

    /// Drops what the client has not taken.
    func closeStreams() {
        for stream in streams { stream.close() }
    }

    /// There is no channel any more.
    func ended() {
        context = nil
        server.remove(self)
    }

    /// An error of HTTP/2. NIO tells those of a stream and those of the connection alike, by the same types.
    ///
    /// Before it tells one of the connection it says GOAWAY, which the gate sees: ``said(_:)``. It cannot where the server has said
    /// one before, for itself, or where its own state is broken; these have types of their own. All others are a stream's: that was
    /// reset, and the others go on.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is NIOHTTP2Errors.RaisedGoawayLastStreamID, is NIOHTTP2Errors.IOOnClosedConnection,
            is NIOHTTP2Errors.MissingPreface, is NIOHTTP2Errors.UnableToSerializeFrame:
            closeAfterRead(.lingering)
        default: break
        }
    }

    /// The client is told how a stream or the connection ends.
    func said(_ end: HTTP2SaidEnds.End) {
        switch end {
        case .stream(let code): if Self.blamesClient(code) { server.countBrokenStream() }
        case .connection(let code):
            let code = HTTP2ErrorCode(networkCode: Int(code))
            guard !isClosed, code != .noError else { return }
            server.countBrokenConnection()
            closeAfterRead(.lingering)
            // By this NIO tells of each of its bounds.
            if code == .enhanceYourCalm { server.shed(self, .flood) }
        }
    }

    /// Whether a stream is reset for what the client sent on it; otherwise the server gives it up.
    private static func blamesClient(_ code: UInt32) -> Bool {
        switch HTTP2ErrorCode(networkCode: Int(code)) {
        case .noError, .internalError, .refusedStream, .cancel: false
        default: true
        }
    }

    /// The channel is broken.
    func failed() { closeAfterRead(.lingering) }

    /// Closes when the read that goes on has ended: NIO's handler keeps its streams, and with them itself, for good when its
    /// channel is closed in the middle of a read (30 kB for each such connection, measured). What is read meanwhile is dropped.
    private func closeAfterRead(_ end: End) {
        guard let context, !isClosed else { return }
        isClosed = true
        isEnding = true
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute { box.value.finish(end) }
    }

    /// How a connection ends.
    private enum End {
        case atOnce
        /// The client may read first what it was sent, such as why the connection ends. It has as long as a client of HTTP/1 has
        /// after its last response.
        case lingering
        /// The same, when it has been told that the server lets go of all its requests.
        case shed
        /// The same, when all its requests are responded to: a client may read the last of that slowly, as long as it reads.
        case done
    }

    private func finish(_ end: End) {
        guard let context else { return }
        if end == .shed {
            // The resets come first: clients take nothing after a GOAWAY.
            closeStreams()
            sendGoAway(.enhanceYourCalm)
        }
        // Where it has responses to take, a client that takes nothing is waited for, also by the stop of a server.
        owesResponses = owesResponses && end == .done
        let isAwaited = owesResponses || end != .atOnce && context.channel.isWritable && !server.isStopping
        guard isAwaited, let gate else { return context.close(promise: nil) }
        isLingering = true
        since = server.tick
        gate.shut()
    }

    /// Everything is written.
    ///
    /// - Returns: Whether the client is not waited for.
    func saidAll() -> Bool {
        owesResponses = false
        since = server.tick
        return server.isStopping
    }

    private func sendGoAway(_ code: HTTP2ErrorCode) {
        let payload = HTTP2Frame.FramePayload.goAway(lastStreamID: lastStream, errorCode: code, opaqueData: nil)
        context?.writeAndFlush(wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: payload)), promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is NIOHTTP2WindowUpdatedEvent { moved() }
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        isEnding = true
        isInputClosed = true
        settleSoon()
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
        if !isClosed { owesResponses = true }
        stream.load.set(body: 0, unsent: 0, in: &load)
        if !waiting.isEmpty { waiting.removeAll { $0 === stream } }
        account()
        resume()
        closeIfDone()
    }

    // MARK: - What waits

    /// The server's tick at which the client was last seen to take something, or to say that it will.
    var movedAt: UInt64 { pace.movedAt }

    /// The client takes something, or makes room for it.
    func moved() { pace.moved(now: server.tick) }

    /// A stream holds another number of bytes than before.
    func changed(_ stream: HTTP2Stream, body: Int, unsent: Int) {
        guard stream.load.set(body: body, unsent: unsent, in: &load), !holding.isEnded else { return }
        account()
        server.checkMemory()
        let limit = server.configuration.maximumConnectionMemory
        // The largest alone is within what a request or a response may be.
        guard load.total > limit, load.total - (streams.map(\.load.total).max() ?? 0) > limit else { return }
        server.shed(self, .connection(limit: limit))
    }

    /// So many bytes have come of a frame that is not complete.
    func holds(incomplete bytes: Int) {
        // Small ones are part of what a connection takes anyway.
        let bytes = bytes < 4096 ? 0 : bytes
        guard bytes != incompleteBytes, !holding.isEnded else { return }
        incompleteBytes = bytes
        account()
        server.checkMemory()
    }

    private func account() {
        // What is in no list of the server's would never be taken off.
        guard index != nil else { return }
        var bytes = load.total + incompleteBytes
        if pace.isBlocked, let context {
            bytes += (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        }
        holding.set(bytes, in: server.share)
    }

    /// Whether a request that is complete may begin; otherwise its stream is called when it may.
    func admits(_ stream: HTTP2Stream) -> Bool {
        guard !isClosed else { return false }
        guard load.unsent > Self.maximumUnsent else { return true }
        waiting.append(stream)
        return false
    }

    /// Lets the requests that waited stand in line again.
    private func resume() {
        guard !isResuming, !isClosed, load.unsent <= Self.maximumUnsent, !waiting.isEmpty else { return }
        isResuming = true
        // Those that still find no room come back.
        for _ in 0..<waiting.count where load.unsent <= Self.maximumUnsent { waiting.popFirst()?.proceed() }
        isResuming = false
    }

    func shed(_ response: HTTPResponse) {
        if isLingering { context?.close(promise: nil) }
        isEnding = true
        closeAfterRead(.shed)
    }

    private func closeIfDone() {
        // From the next turn of the loop: the last stream's frames go out first.
        if isEnding, streams.isEmpty { closeAfterRead(.done) }
    }

    /// Ends what can never come to its end, where the client sends no more: requests that lack something, and responses behind
    /// windows that are closed. From the next turn of the loop: what may be written is written then.
    func settleSoon() {
        guard isInputClosed, !isSettling, !isClosed, let context else { return }
        isSettling = true
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute { box.value.settle() }
    }

    private func settle() {
        isSettling = false
        // What the socket has no room for may well have room in the windows.
        guard !isClosed, let context, context.channel.isWritable else { return }
        for stream in streams { stream.inputClosed() }
    }

    // MARK: - Time and the end

    func checkTime() {
        for index in streams.indices.reversed() where index < streams.count { streams[index].checkTime() }
        guard let context else { return }
        let passed = server.tick &- since
        let buffered = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        if isLingering {
            if owesResponses, pace.hasMoved(unsent: buffered, now: server.tick) {
                since = server.tick
                account()
            } else if passed > (owesResponses ? server.limits.idle : server.limits.linger) {
                if owesResponses { server.countIdle() }
                context.close(promise: nil)
            }
            return
        }
        if buffered == 0 { owesResponses = false }
        if !context.channel.isWritable {
            if pace.hasMoved(unsent: buffered, now: server.tick) {
                since = server.tick
                account()
            } else if passed > server.limits.idle {
                server.countIdle()
                close()
            }
        } else if streams.isEmpty, passed > server.limits.idle {
            server.countIdle()
            stop()
        }
    }

    /// Tells the client to ask elsewhere, responds to what was asked, and closes.
    func stop() {
        // The last responses go out first.
        if isLingering, !owesResponses { context?.close(promise: nil) }
        guard !isEnding, context != nil else { return }
        isEnding = true
        sendGoAway(.noError)
        closeIfDone()
    }

    func close() {
        if isLingering { context?.close(promise: nil) }
        closeAfterRead(.atOnce)
    }
}

@available(*, unavailable)
extension HTTP2Connection: Sendable {}
