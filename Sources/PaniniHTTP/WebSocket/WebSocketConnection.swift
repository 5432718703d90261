// Owns: one WebSocket on its channel, from the answer 101 to its end: bytes in and out, back-pressure both ways, times.
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
package final class WebSocketConnection: ChannelInboundHandler {
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
    /// Messages that the delegate did not take, oldest first.
    private var queue = CircularBuffer<(kind: WebSocketKind, bytes: ByteBuffer)>(initialCapacity: 0)
    private var queuedBytes = 0
    private var isPaused = false
    /// In the middle of a burst of reads: what is to be written goes out at its end.
    private var isReading = false
    /// Nobody looks yet: what comes is kept for ``begin()``.
    private var isHeld = true
    /// One level only: what a delegate does may come back here.
    private var isProcessing = false
    private var isAwaitingFlush = false
    private var needsFlush = false
    private var isEndTold = false
    private var isInputClosed = false
    private var isOutputShut = false
    /// The answer to the newest ping, while the client does not read (RFC 6455, section 5.5.3).
    private var latePong: ByteBuffer?
    /// What it makes the server hold, and the client's pace.
    var holding = HTTPHolding()
    /// When what was still to be written was another number.
    private var movedAt: UInt64
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
        movedAt = server.tick
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

    /// The server counts its ticks otherwise, or the limits are others.
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
        if server.share.memory.bytes + queuedBytes > server.share.memory.limit / 2 { dropMessages() }
        account()
        tellEnd()
    }

    deinit { holding.set(0, in: server.share) }

    private func dropMessages() {
        queue.removeAll()
        queuedBytes = 0
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        isInputClosed = true
        inputEnded()
    }

    /// The peer sends no more. What came before may still be waiting to be read, and ours to be written.
    private func inputEnded() {
        guard !isPaused else { return }
        if life.reads {
            perform(life.lose("the peer closed without a close frame"))
        } else if isOutputShut {
            context?.close(promise: nil)
        }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        guard life.reads else { return }
        life.hear(now: server.tick)
        var bytes = unwrapInboundIn(data)
        if pending.readableBytes == 0 {
            pending = bytes
        } else {
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
        holding.isBlocked = !context.channel.isWritable
        guard !holding.isBlocked else { return }
        movedAt = server.tick
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
        guard index != nil else { return holding.set(queuedBytes, in: server.share) }
        var bytes = queuedBytes + reader.heldBytes
        if pending.readableBytes > 0 { bytes += pending.storageCapacity }
        if out.readableBytes > 0 { bytes += out.storageCapacity }
        if holding.isBlocked, let context {
            bytes += (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        }
        holding.set(bytes, in: server.share)
    }

    func shed(_ answer: HTTPAnswer) {
        dropMessages()
        pending = ByteBuffer()
        reader.drop()
        guard !holding.isBlocked else {
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
        isHeld = false
        process()
        tellEnd()
        if !isReading { delegate?.webSocketReadBurstEnded(self) }
    }

    private func process() {
        guard !isProcessing, !isHeld else { return }
        isProcessing = true
        while !isPaused, life.reads, pending.readableBytes > 0 {
            let event = reader.next(&pending)
            guard event != .needsMore else { break }
            handle(event)
        }
        isProcessing = false
        if !life.reads || pending.readableBytes == 0 { pending = ByteBuffer() }
        if isInputClosed { inputEnded() }
    }

    private func handle(_ event: WebSocketReader.Event) {
        switch event {
        case .needsMore, .pong: break
        case .message(let kind): deliver(kind)
        case .ping:
            guard life.isOpen else { return }
            if holding.isBlocked { latePong = reader.control } else { writePong(reader.control) }
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
        if queue.isEmpty, let delegate {
            let isTaken = message.withUnsafeReadableBytes { delegate.webSocket(self, received: kind, $0) }
            if isTaken { return reader.giveBack(message) }
        }
        queue.append((kind, message))
        queuedBytes += message.readableBytes
        if queue.count >= settings.maximumQueue || queuedBytes >= settings.maximumMessage { pause() }
    }

    private func pause() {
        guard !isPaused, let context else { return }
        isPaused = true
        server.webSockets.paused &+= 1
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
    }

    private func unpause() {
        guard isPaused else { return }
        isPaused = false
        life.hear(now: server.tick)
        process()
        guard !isPaused, let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        if !isReading { flush() }
    }

    /// Whether messages wait to be taken.
    package var hasMessages: Bool { !queue.isEmpty }

    /// Takes the oldest message that was kept.
    package func popMessage() -> (kind: WebSocketKind, bytes: ByteBuffer)? {
        guard let message = queue.popFirst() else { return nil }
        queuedBytes -= message.bytes.readableBytes
        if context == nil { account() }
        if isPaused, queue.count * 2 <= settings.maximumQueue, queuedBytes * 2 <= settings.maximumMessage {
            unpause()
        }
        return message
    }

    // MARK: - Writing

    /// Sends one message.
    package func send(_ kind: WebSocketKind, _ bytes: UnsafeRawBufferPointer) -> SendResult {
        guard let result = admits(limit: settings.maximumUnsent) else {
            WebSocketFrame.writeHead(kind.rawValue, bytes.count, into: &out)
            out.writeBytes(bytes)
            return sent()
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
        return sent()
    }

    /// Why nothing can be sent; nil when it can. A single message may be larger than the limit.
    private func admits(limit: Int) -> SendResult? {
        guard life.isOpen, let context else { return .closed }
        guard !context.channel.isWritable, unsentBytes > limit else { return nil }
        server.webSockets.refusedSends &+= 1
        return .full
    }

    private func sent() -> SendResult {
        server.webSockets.sent &+= 1
        wantFlush()
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

    /// Called at the end of the loop's turn.
    func flushWaiting() {
        isAwaitingFlush = false
        flush()
    }

    private func flush() {
        writeOut()
        guard needsFlush, let context else { return }
        needsFlush = false
        context.flush()
        guard holding.isBlocked else { return }
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
            dropMessages()
            if context == nil { account() }
        }
        perform(life.close(WebSocketEnd(code, reason), now: server.tick))
        // To see the peer's close frame everything before it has to be read.
        unpause()
    }

    private func perform(_ action: WebSocketLife.Action) {
        switch action {
        case .none: return
        case .sendClose(let code, let reason, let thenShut):
            WebSocketFrame.writeClose(code, reason, into: &out)
            if thenShut { shut() } else { wantFlush() }
        case .shut: shut()
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
        if isPaused {
            isPaused = false
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        }
        flush()
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in box.value.shutOutput() }
    }

    private func shutOutput() {
        guard let context else { return }
        isOutputShut = true
        if isInputClosed { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
    }

    private func tellEnd() {
        guard life.end != nil, !isEndTold, !isHeld else { return }
        isEndTold = true
        delegate?.webSocketEnded(self)
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
        let isMoving = buffered != holding.lastBuffered
        holding.lastBuffered = buffered
        if isMoving || buffered == 0 {
            movedAt = server.tick
        } else if wasOpen, server.tick &- movedAt > life.times.idle {
            server.webSockets.timedOut &+= 1
            return perform(life.lose("the peer did not read"))
        }
        let action = life.advance(now: server.tick, isDeaf: isPaused, isMoving: isMoving)
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
