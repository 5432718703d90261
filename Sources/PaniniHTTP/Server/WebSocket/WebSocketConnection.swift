// Owns: one WebSocket on its channel, from the response 101 to its end: bytes in and out, back-pressure both ways, times.
// Loop-bound, a handler of its channel. Knows nothing of what the messages mean; outlives the script that looks at them.

package import NIOCore
import Synchronization

/// The number of the last connection, over all servers of the process.
private let numbers = Atomic<UInt64>(0)

/// Who looks at a connection's messages.
package protocol WebSocketDelegate: AnyObject {
    /// A message has come. The bytes are valid during the call.
    ///
    /// - Returns: False to have it kept: ``WebSocketConnection/popMessage()`` gives it later.
    func webSocket(
        _ connection: WebSocketConnection,
        received kind: WebSocketKind,
        _ bytes: UnsafeRawBufferPointer
    ) -> Bool
    /// The client reads on after it was slow.
    func webSocketIsWritable(_ connection: WebSocketConnection)
    /// The connection has ended, see ``WebSocketConnection/end``. Kept messages can still be taken; no more will come.
    func webSocketEnded(_ connection: WebSocketConnection)
    /// The messages of one read have been given.
    func webSocketReadBurstEnded(_ connection: WebSocketConnection)
}

/// One WebSocket connection of a server.
package final class WebSocketConnection: ChannelInboundHandler, HTTPFlushing {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// What became of a message that was to be sent.
    package enum SendResult: Equatable {
        case sent
        /// It is on its way, but the client does not keep up: wait before the next.
        case slow
        /// Too much waits already; the message was not taken.
        case full
        case closed
    }

    /// Given back by the delegate's owner when it needs no more of it.
    package var delegate: (any WebSocketDelegate)?
    /// Unique in this process.
    package let id: UInt64
    private let server: HTTPServer
    private var settings: WebSocketSettings
    private var context: ChannelHandlerContext?
    private var life: WebSocketLife
    private var reader: WebSocketReader
    /// What has come and is not read yet.
    private var pending = ByteBuffer()
    private var out = ByteBuffer()
    /// Messages that the delegate did not take.
    private var inbox = WebSocketInbox()
    /// In the middle of a burst of reads: what is to be written goes out at its end.
    private var isReading = false
    /// One level only: what a delegate does may come back here.
    private var isProcessing = false
    private var isAwaitingFlush = false
    private var needsFlush = false
    /// The response to the newest ping, while the client does not read (RFC 6455, section 5.5.3).
    private var latePong: ByteBuffer?
    /// What it makes the server hold.
    var holding = HTTPHolding()
    private var pace: HTTPPace
    /// Its place in the server's list.
    var index: Int?

    /// From here on what is to be written is given to the channel at once.
    private static let largeOutput = 64 << 10
    /// Frames of this size are not copied for each of their receivers.
    private static let sharedFrame = 8 << 10

    package init(server: HTTPServer, settings: WebSocketSettings) {
        self.server = server
        self.settings = settings
        id = numbers.add(1, ordering: .relaxed).newValue
        life = WebSocketLife(times: server.webSocketTimes(settings), now: server.tick)
        reader = WebSocketReader(maximumMessage: settings.maximumMessage)
        pace = HTTPPace(now: server.tick)
    }

    /// How it ended; nil while it is open.
    package var end: WebSocketEnd? { life.end }

    package var isOpen: Bool { life.isOpen }

    /// Takes other limits, for what comes from here on.
    package func apply(_ settings: WebSocketSettings) {
        self.settings = settings
        reader.maximumMessage = settings.maximumMessage
        timesChanged()
    }

    func timesChanged() { life.times = server.webSocketTimes(settings) }

    // MARK: - Channel

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        server.webSockets.opened &+= 1
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        server.remove(self)
        _ = life.lose("the connection was lost")
        pending = ByteBuffer()
        out = ByteBuffer()
        reader.drop()
        // Nobody could end it any more for what it holds.
        if server.share.memory.bytes + inbox.bytes > server.share.memory.limit / 2 { inbox.removeAll() }
        account()
        tellEnd()
    }

    deinit { holding.set(0, in: server.share) }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        life.closeInput()
        perform(life.inputRead(isDeaf: inbox.isPaused))
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        guard life.reads else { return }
        life.hear(now: server.tick)
        var bytes = unwrapInboundIn(data)
        if pending.readableBytes == 0 {
            pending = bytes
        } else {
            // Frames hardly ever end where a read does: without this the buffer would grow by everything that comes.
            pending.discardReadBytes()
            pending.writeBuffer(&bytes)
        }
        process()
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        delegate?.webSocketReadBurstEnded(self)
        flush()
        account()
        server.readEnded()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        pace.isBlocked = !context.channel.isWritable
        guard !pace.isBlocked else { return }
        pace.moved(now: server.tick)
        if let pong = latePong {
            latePong = nil
            writePong(pong)
        }
        delegate?.webSocketIsWritable(self)
        account()
    }

    // MARK: - Memory

    var remoteAddress: String { context?.channel.remoteAddress?.ipAddress ?? "" }

    /// Counts what is held.
    private func account() {
        // The messages that were kept outlive the connection; everything else goes with it.
        guard index != nil else { return holding.set(inbox.bytes, in: server.share) }
        var bytes = inbox.bytes + reader.heldBytes
        if pending.readableBytes > 0 { bytes += pending.storageCapacity }
        if out.readableBytes > 0 { bytes += out.storageCapacity }
        if pace.isBlocked, let context {
            bytes += (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        }
        holding.set(bytes, in: server.share)
    }

    func shed(_ response: HTTPResponse) {
        inbox.removeAll()
        pending = ByteBuffer()
        reader.drop()
        guard !pace.isBlocked else {
            perform(life.lose("the server is short of memory"))
            return
        }
        perform(life.fail(WebSocketCode.tryAgainLater, "the server is short of memory", now: server.tick))
    }

    // MARK: - Reading

    /// Takes what came behind the request for the upgrade, before this connection was made.
    func hold(_ bytes: ByteBuffer) { pending = bytes }

    /// Reads from here on, first what came with the request for the upgrade. To be called once, when the delegate is there:
    /// what it did not see it would never hear of.
    package func begin() {
        life.observe()
        process()
        tellEnd()
        if !isReading { delegate?.webSocketReadBurstEnded(self) }
    }

    private func process() {
        guard !isProcessing, life.isObserved else { return }
        isProcessing = true
        while !inbox.isPaused, life.reads, pending.readableBytes > 0 {
            let event = reader.next(&pending)
            guard event != .needsMore else { break }
            handle(event)
        }
        isProcessing = false
        if !life.reads || pending.readableBytes == 0 { pending = ByteBuffer() }
        perform(life.inputRead(isDeaf: inbox.isPaused))
    }

    private func handle(_ event: WebSocketReader.Event) {
        switch event {
        case .needsMore, .pong: break
        case .message(let kind): deliver(kind)
        case .ping:
            guard life.isOpen else { return }
            if pace.isBlocked { latePong = reader.control } else { writePong(reader.control) }
        case .close(let code, let reason): perform(life.receive(close: code, reason, now: server.tick))
        case .failed(let code, let reason):
            server.webSockets.failed[code, default: 0] &+= 1
            perform(life.fail(code, reason, now: server.tick))
        }
    }

    private func writePong(_ payload: ByteBuffer) {
        WebSocketFrame.writeHead(WebSocketFrame.pong, payload.readableBytes, into: &out)
        out.writeImmutableBuffer(payload)
        wantFlush()
    }

    private func deliver(_ kind: WebSocketKind) {
        let message = reader.takeMessage()
        // After this side has closed nobody wants it.
        guard life.isOpen else { return reader.giveBack(message) }
        server.webSockets.received &+= 1
        if inbox.isEmpty, let delegate {
            let isTaken = message.withUnsafeReadableBytes { delegate.webSocket(self, received: kind, $0) }
            if isTaken { return reader.giveBack(message) }
        }
        guard inbox.keep((kind, message), limits) else { return }
        server.webSockets.paused &+= 1
        try? context?.channel.syncOptions?.setOption(.autoRead, value: false)
    }

    private var limits: WebSocketInbox.Limits {
        WebSocketInbox.Limits(messages: settings.maximumQueue, bytes: settings.maximumMessage)
    }

    /// Reads again, first what has come already.
    private func continueReading() {
        guard inbox.resume() else { return }
        life.hear(now: server.tick)
        process()
        guard !inbox.isPaused, let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        if !isReading { flush() }
    }

    /// Whether messages wait to be taken.
    package var hasMessages: Bool { !inbox.isEmpty }

    /// Takes the oldest message that was kept.
    package func popMessage() -> (kind: WebSocketKind, bytes: ByteBuffer)? {
        guard let message = inbox.take() else { return nil }
        if context == nil { account() }
        if inbox.hasRoom(limits) { continueReading() }
        return message
    }

    // MARK: - Writing

    /// Sends one message.
    package func send(_ kind: WebSocketKind, _ bytes: UnsafeRawBufferPointer) -> SendResult {
        guard let result = admits(limit: settings.maximumUnsent) else {
            WebSocketFrame.writeHead(kind.rawValue, bytes.count, into: &out)
            out.writeBytes(bytes)
            return sent(bytes.count)
        }
        return result
    }

    /// Sends a whole frame, as ``WebSocketFrame/make(_:in:_:)`` makes it, that other connections may be sending, too.
    package func send(frame: ByteBuffer) -> SendResult {
        if let refused = admits(limit: settings.maximumUnsent) { return refused }
        if frame.readableBytes < Self.sharedFrame {
            out.writeImmutableBuffer(frame)
        } else {
            writeOut()
            needsFlush = true
            context?.write(wrapOutboundOut(frame), promise: nil)
        }
        return sent(frame.readableBytes)
    }

    /// Why nothing can be sent; nil when it can. A single message may be larger than the limit.
    private func admits(limit: Int) -> SendResult? {
        guard life.isOpen, let context else { return .closed }
        guard !context.channel.isWritable, unsentBytes > limit else { return nil }
        server.webSockets.refusedSends &+= 1
        return .full
    }

    private func sent(_ bytes: Int) -> SendResult {
        server.webSockets.sent &+= 1
        wantFlush()
        server.flusher.sent(bytes)
        return context?.channel.isWritable == false ? .slow : .sent
    }

    /// What the client has not taken yet, as far as this side knows.
    package var unsentBytes: Int {
        guard let context else { return 0 }
        return out.readableBytes + ((try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
    }

    private func wantFlush() {
        if out.readableBytes >= Self.largeOutput { return flush() }
        guard !isReading, !isAwaitingFlush else { return }
        isAwaitingFlush = true
        server.flusher.add(self)
    }

    func flushWaiting() {
        isAwaitingFlush = false
        flush()
    }

    private func flush() {
        writeOut()
        guard needsFlush, let context else { return }
        needsFlush = false
        context.flush()
        guard pace.isBlocked else { return }
        account()
        server.checkMemory()
    }

    private func writeOut() {
        guard out.readableBytes > 0, let context else { return }
        // Taken out first: a write that makes room may come back here.
        var data = ByteBuffer()
        swap(&data, &out)
        let isSmall = data.capacity <= Self.largeOutput
        needsFlush = true
        context.write(wrapOutboundOut(data), promise: nil)
        if out.readableBytes == 0, isSmall {
            data.clear()
            out = data
        }
    }

    // MARK: - The end

    /// Closes: a close frame goes out, and the peer's is awaited for a moment.
    ///
    /// - Parameter keepsMessages: Messages that wait are still given; otherwise they are dropped.
    package func close(_ code: UInt16, _ reason: String = "", keepsMessages: Bool = true) {
        if !keepsMessages {
            inbox.removeAll()
            if context == nil { account() }
        }
        perform(life.close(WebSocketEnd(code, reason), now: server.tick))
        // To see the peer's close frame everything before it has to be read.
        continueReading()
    }

    private func perform(_ action: WebSocketLife.Action) {
        switch action {
        case .none: return
        case .sendClose(let code, let reason, let thenShut):
            WebSocketFrame.writeClose(code, reason, into: &out)
            if thenShut { shut() } else { wantFlush() }
        case .shut: shut()
        case .shutOutput: context?.close(mode: .output, promise: nil)
        case .ping:
            WebSocketFrame.writeHead(WebSocketFrame.ping, 0, into: &out)
            wantFlush()
        case .drop: context?.close(promise: nil)
        }
        tellEnd()
    }

    /// Everything is said. The peer gets to read it: its own bytes are dropped meanwhile, as closing at once would reset the
    /// connection.
    private func shut() {
        guard let context else { return }
        // The delegate hears of the end; nothing more is read for it.
        if inbox.resume() { try? context.channel.syncOptions?.setOption(.autoRead, value: true) }
        flush()
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in
            let connection = box.value
            guard connection.context != nil else { return }
            connection.perform(connection.life.saidAll())
        }
    }

    private func tellEnd() {
        if life.tellsEnd() { delegate?.webSocketEnded(self) }
    }
}

@available(*, unavailable)
extension WebSocketConnection: Sendable {}

extension WebSocketConnection: HTTPServerConnection {
    /// Called at each tick of the server.
    func checkTime() {
        guard let context else { return }
        if holding.bytes != 0 { account() }
        let wasOpen = life.isOpen
        // A client may read slowly, as long as it reads.
        let buffered = wasOpen && context.channel.isWritable ? 0 : unsentBytes
        let isMoving = pace.hasMoved(unsent: buffered, now: server.tick)
        if buffered == 0 { pace.moved(now: server.tick) }
        if wasOpen, server.tick &- pace.movedAt > life.times.idle {
            server.webSockets.timedOut &+= 1
            return perform(life.lose("the peer did not read"))
        }
        let action = life.advance(now: server.tick, isDeaf: inbox.isPaused, isMoving: isMoving)
        if wasOpen, !life.isOpen { server.webSockets.timedOut &+= 1 }
        perform(action)
    }

    /// The server stops.
    func stop() { close(WebSocketCode.goingAway, "the service is stopping") }

    func close() {
        _ = life.lose("")
        context?.close(promise: nil)
        tellEnd()
    }
}
