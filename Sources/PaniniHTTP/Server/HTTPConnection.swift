// Owns: one connection: its requests one after another, its time limits, and the bytes that go out. Loop-bound, the handler
// of its channel, behind that of TLS only. Knows neither routes nor what answers.

import Glibc
package import NIOCore
import NIOHTTP1
import NIOTLS

/// One HTTP/1.1 connection.
///
/// What changes with every request is left out of Swift's dynamic checks of exclusive access, as in the host's `Listener`: only
/// the loop comes here, and nothing of it is handed on `inout` to what could come back.
package final class HTTPConnection: ChannelInboundHandler, RemovableChannelHandler, HTTPResponder, HTTPServerConnection
{
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private enum Phase {
        /// Between requests.
        case idle
        /// A request's first bytes have arrived.
        case head
        case body
        /// The delegate has the request.
        case answering
        /// The head of the answer is out, its body follows in pieces.
        case streaming(isChunked: Bool)
        /// The same for a file: what of it is left to be sent.
        case sending(HTTPFile, Range<Int>)
        /// What is left to be written is; nothing more is read.
        case closing
        /// The channel is somebody else's.
        case upgraded

        /// What waits is looked at once the request is answered.
        var mayReadLater: Bool {
            switch self {
            case .idle, .answering, .streaming, .sending: true
            case .head, .body, .closing, .upgraded: false
            }
        }
    }

    private let server: HTTPServer
    private let parser: HTTPRequestParser
    @exclusivity(unchecked) private var context: ChannelHandlerContext?
    @exclusivity(unchecked) private var phase = Phase.idle
    /// The server's tick at which the phase began.
    @exclusivity(unchecked) private var since: UInt64 = 0
    @exclusivity(unchecked) private var request: HTTPRequest?
    @exclusivity(unchecked) private var requestNumber: UInt64 = 0
    @exclusivity(unchecked) private var keepsAlive = true
    @exclusivity(unchecked) private var isHead = false
    @exclusivity(unchecked) private var is10 = false
    @exclusivity(unchecked) private var hasEncoding = false
    @exclusivity(unchecked) private var isOffer = false
    @exclusivity(unchecked) private var hasBody = false
    /// The parser is between the head and the end of a message.
    @exclusivity(unchecked) private var isInMessage = false
    @exclusivity(unchecked) private var isParsing = false
    /// Bytes since the request began, before its head was complete.
    @exclusivity(unchecked) private var headBytes = 0
    /// Bytes behind a request that is not answered yet.
    @exclusivity(unchecked) private var unread = ByteBuffer()
    @exclusivity(unchecked) private var isReadingPaused = false
    /// In the middle of a burst of reads: what is to be written goes out at its end.
    @exclusivity(unchecked) private var isReading = false
    @exclusivity(unchecked) private var inputClosed = false
    @exclusivity(unchecked) private var out = ByteBuffer()
    @exclusivity(unchecked) private var address = ""
    /// Everything has been written; only the client's end is awaited.
    private var isOutputShut = false
    // For the access log, when there is one.
    @exclusivity(unchecked) private var begun = NIODeadline.distantPast
    @exclusivity(unchecked) private var answeredStatus = 0
    @exclusivity(unchecked) private var answeredBytes = 0
    /// What it makes the server hold, and the client's pace.
    @exclusivity(unchecked) var holding = HTTPHolding()
    /// Its place in the server's list.
    var index: Int?

    /// How many bytes of pipelined requests may wait before the socket is left alone.
    private static let maximumUnreadBytes = 64 << 10
    /// From here on answers to pipelined requests are given to the channel before the next request is read.
    private static let largeOutput = 64 << 10
    /// Memory for answers that is kept for the next ones.
    private static let keptOutput = 16 << 10
    /// How many bytes may come behind the head of an upgrade before it is answered.
    private static let maximumEarlyBytes = 128 << 10

    init(server: HTTPServer) {
        self.server = server
        parser = HTTPRequestParser(
            maximumBytes: server.configuration.maximumHeaderBytes,
            maximumFields: server.configuration.maximumHeaderCount
        )
    }

    // MARK: - Channel

    package func channelActive(context: ChannelHandlerContext) {
        self.context = context
        since = server.tick
        guard server.add(self) else {
            phase = .closing
            write(.failure(503, "too many connections"), keepAlive: false)
            return closeAfterRest()
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        // In the moment between the two, what comes behind may have closed it.
        if isUpgraded { return context.fireChannelInactive() }
        self.context = nil
        server.remove(self)
        if case .sending(let file, _) = phase { file.close() }
        phase = .closing
        unread.clear()
        if let request {
            self.request = nil
            request.connection = nil
            request.closeEncoder()
            server.delegate.server(server, lost: request)
        }
    }

    /// Of TLS, or of the socket.
    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isUpgraded { return context.fireErrorCaught(error) }
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, event == .handshakeCompleted(negotiatedProtocol: "h2") {
            return becomeHTTP2()
        }
        guard case ChannelEvent.inputClosed = event, !isUpgraded else {
            return context.fireUserInboundEventTriggered(event)
        }
        inputClosed = true
        switch phase {
        // What came before is answered first.
        case .idle where holding.isBlocked: break
        case .idle, .head, .body: inputEnded()
        case .answering, .streaming, .sending: if unread.readableBytes == 0 { keepsAlive = false }
        case .closing, .upgraded: break
        }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if requestNumber == 0, takePreface(&bytes) { return }
        guard bytesArrived(bytes.readableBytes) else { return }
        guard !isParsing, unread.readableBytes == 0, isReady else {
            unread.discardReadBytes()
            unread.writeBuffer(&bytes)
            if !isOffer, !isReadingPaused, unread.readableBytes > Self.maximumUnreadBytes {
                isReadingPaused = true
                context.channel.setOption(.autoRead, value: false).whenFailure { _ in }
            }
            return
        }
        parse(&bytes)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
        if isHolding {
            account()
            server.readEnded()
        }
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        holding.isBlocked = !context.channel.isWritable
        if !holding.isBlocked {
            switch phase {
            case .streaming: if let request { server.delegate.server(server, canWrite: request) }
            case .sending: sendFile()
            // Pipelined requests that had to wait.
            case .idle: if !isParsing { readOn() }
            default: break
            }
            if holding.bytes != 0 { account() }
        }
        context.fireChannelWritabilityChanged()
    }

    // MARK: - Memory

    var remoteAddress: String {
        address.isEmpty ? context?.channel.remoteAddress?.ipAddress ?? "" : address
    }

    /// Whether anything may wait for the client, or for the rest of its request; between two requests nothing does.
    private var isHolding: Bool {
        if case .idle = phase { return holding.isBlocked || holding.bytes != 0 || unread.readableBytes > 0 }
        return true
    }

    /// Counts what is held.
    private func account() {
        // What is in no list of the server's would never be taken off.
        guard index != nil else { return }
        var bytes = 0
        if unread.readableBytes > 0 { bytes += unread.storageCapacity }
        if out.readableBytes > 0 { bytes += out.storageCapacity }
        if let request { bytes += request.heldBytes }
        if holding.isBlocked, let context {
            bytes += (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        }
        holding.set(bytes, in: server.share)
    }

    /// The same outside of a read.
    private func accountUnsent() {
        account()
        server.checkMemory()
    }

    func shed(_ answer: HTTPAnswer) {
        unread = ByteBuffer()
        switch phase {
        case .head where !holding.isBlocked, .body where !holding.isBlocked: refuse(answer)
        default: close()
        }
    }

    // MARK: - HTTP/2

    /// Looks whether the first bytes of a connection are those of HTTP/2 without TLS (RFC 9113, section 3.4). Bytes that may
    /// become them wait for those that follow.
    ///
    /// - Returns: False when HTTP/1 is spoken; the bytes are all that have come.
    private func takePreface(_ bytes: inout ByteBuffer) -> Bool {
        guard server.configuration.speaksHTTP2, server.configuration.tls == nil else { return false }
        switch phase {
        case .idle: break
        case .head where unread.readableBytes > 0:
            unread.writeBuffer(&bytes)
            swap(&bytes, &unread)
            unread.clear()
        default: return false
        }
        switch HTTP2Preface(bytes) {
        case .none: return false
        case .part: if bytesArrived(bytes.readableBytes) { unread = bytes }
        case .whole: becomeHTTP2(bytes)
        }
        return true
    }

    /// The client speaks HTTP/2: gives the channel and the place in the server's list to what speaks it.
    private func becomeHTTP2(_ bytes: ByteBuffer? = nil) {
        guard let context else { return }
        let pipeline = context.pipeline.syncOperations
        let (handler, http2) = HTTP2Connection.handlers(server, context.eventLoop)
        do {
            self.context = nil
            phase = .upgraded
            server.replace(self, with: http2)
            try pipeline.addHandlers([handler, http2], position: .after(self))
            if let bytes { context.fireChannelRead(wrapInboundOut(bytes)) }
            pipeline.removeHandler(self, promise: nil)
        } catch {
            server.remove(http2)
            context.close(promise: nil)
        }
    }

    /// Bytes have come from the socket; false when they are not to be looked at.
    func bytesArrived(_ count: Int) -> Bool {
        isReading = true
        switch phase {
        case .idle:
            // What has to wait for its turn begins when that comes.
            guard !holding.isBlocked else { return true }
            phase = .head
            since = server.tick
            headBytes = count
        case .head:
            headBytes += count
            // A read may hold a head and a body: only what cannot be both is refused here.
            if headBytes > server.configuration.maximumHeaderBytes + (256 << 10) {
                refuse(.failure(.headTooLarge))
            }
        case .body: break
        case .answering, .streaming, .sending:
            guard isOffer else { break }
            // For what is spoken after the upgrade; a client waits for its answer before it says much.
            headBytes += count
            if headBytes > Self.maximumEarlyBytes { close() }
        case .closing, .upgraded: return false
        }
        if case .closing = phase { return false }
        return true
    }

    // MARK: - Requests

    private var isUpgraded: Bool { if case .upgraded = phase { true } else { false } }

    /// Whether further bytes can be looked at.
    private var isReady: Bool {
        switch phase {
        case .idle: !holding.isBlocked
        case .head, .body: true
        case .answering, .streaming, .sending, .closing, .upgraded: false
        }
    }

    /// Reads requests, as far as they can be served now; the rest waits.
    ///
    /// One level only: an answer given at once comes back here and finds it running.
    private func parse(_ bytes: inout ByteBuffer) {
        isParsing = true
        while isReady, isInMessage || bytes.readableBytes > 0 {
            if !isInMessage, case .idle = phase {
                if out.readableBytes >= Self.largeOutput {
                    flush()
                    guard isReady else { break }
                }
                phase = .head
                since = server.tick
                headBytes = bytes.readableBytes
            }
            let (event, count) = bytes.withUnsafeReadableBytes { parser.read($0) }
            if let request, case .body = phase { takeBody(request, bytes) }
            bytes.moveReaderIndex(forwardBy: count)
            switch event {
            case .head:
                isInMessage = true
                begin(parser.facts)
            case .end:
                isInMessage = false
                guard let request, case .body = phase else { break }
                if let refusal = request.finishBody() {
                    refuse(refusal)
                    break
                }
                phase = .answering
                // Whoever answers may ask for what follows.
                if bytes.readableBytes > 0 { swap(&bytes, &unread) }
                server.turns.take(request, of: server)
                if unread.readableBytes > 0 { swap(&bytes, &unread) }
            case .needsMore:
                isParsing = false
                return
            case .malformed: refuse(.failure(parser.refusal ?? .notHTTP))
            case .overflow: refuse(.failure(.headTooLarge))
            }
        }
        isParsing = false
        if bytes.readableBytes > 0, phase.mayReadLater { unread = bytes }
    }

    private func takeBody(_ request: HTTPRequest, _ bytes: ByteBuffer) {
        for piece in parser.pieces {
            let slice = bytes.getSlice(at: bytes.readerIndex + piece.lowerBound, length: piece.count)
            if let refusal = slice.flatMap({ request.append($0) }) { return refuse(refusal) }
        }
    }

    private func begin(_ facts: HTTPRequestParser.Facts) {
        guard let context else { return }
        var head = parser.takeHead()
        let isConnect = head.method == .CONNECT
        let refusal = facts.refusal(
            of: &head,
            isConnect: isConnect,
            maximumBytes: server.configuration.maximumHeaderBytes
        )
        server.countRequest()
        requestNumber &+= 1
        is10 = head.version == .http1_0
        isHead = head.method == .HEAD
        // What follows an offer to speak something else may be in that other protocol. Nothing else is spoken here.
        isOffer = isConnect || facts.offersUpgrade
        hasBody = facts.isChunked || facts.hasOtherEncoding || facts.lengths > 0 && facts.length != 0
        keepsAlive = facts.keepsAlive && !server.isStopping && !isOffer
        if address.isEmpty { address = context.channel.remoteAddress?.ipAddress ?? "" }
        let request = HTTPRequest(
            head: head,
            connection: self,
            number: requestNumber,
            remoteAddress: address,
            compressor: server.compressor
        )
        self.request = request
        phase = .body
        since = server.tick
        if server.configuration.reportsAnswers { begun = .now() }
        answeredBytes = 0
        if let refusal { return refuse(.failure(refusal)) }
        if facts.hasContentEncoding, let refusal = request.setUpDecoding() { return refuse(refusal) }
        if let answer = server.delegate.server(server, admits: request) { return refuse(answer) }
        if let length = facts.length, length > request.maximumBody {
            return refuse(413, "the request's body is larger than \(request.maximumBody) bytes")
        }
        guard !is10, facts.length != 0, facts.expectation != .none else { return }
        guard facts.expectation == .continue else {
            return refuse(417, "the only expectation that is met is 100-continue")
        }
        out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
        if !isReading { flush() }
    }

    private func refuse(_ status: Int, _ text: String) { refuse(.failure(status, text)) }

    /// Answers without the delegate. The connection is kept only where nothing of the request is left to read.
    private func refuse(_ answer: HTTPAnswer) {
        server.countRefusal(answer.status)
        if begun == .distantPast, server.configuration.reportsAnswers { begun = .now() }
        if request != nil, answer.status < 400 || [404, 405, 501].contains(answer.status), !hasBody {
            phase = .answering
            finish(answer)
            return
        }
        phase = .closing
        write(answer, keepAlive: false)
        report()
        request = nil
        closeAfterRest()
    }

    private func report() {
        guard server.configuration.reportsAnswers else { return }
        server.report(request, status: answeredStatus, bytes: answeredBytes, address, begun)
        begun = .distantPast
    }

    /// Closes once everything is written. The client gets to read it: its own bytes are dropped for a moment meanwhile, as
    /// closing at once would reset the connection (RFC 9112, section 9.6).
    private func closeAfterRest() {
        guard let context else { return }
        flush()
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in box.value.shutOutput() }
    }

    private func closeWhenWritten() {
        phase = .closing
        unread.clear()
        closeAfterRest()
    }

    /// Nothing more comes, and everything that came has been looked at.
    private func inputEnded() {
        guard case .idle = phase else {
            let mayEnd = parser.mayEnd && unread.readableBytes == 0
            return mayEnd ? closeWhenWritten() : refuse(.failure(.incomplete))
        }
        closeWhenWritten()
    }

    private func shutOutput() {
        guard let context else { return }
        isOutputShut = true
        since = server.tick
        if inputClosed || server.isStopping { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
    }

    // MARK: - Answers

    package func isWaiting(for number: UInt64) -> Bool {
        guard number == requestNumber, request != nil else { return false }
        switch phase {
        case .answering, .streaming: return true
        default: return false
        }
    }

    package func answer(
        _ number: UInt64,
        status: Int,
        headers: [(name: String, value: String)],
        body: UnsafeRawBufferPointer
    ) {
        guard isWaiting(for: number), case .answering = phase else { return }
        write(status, headers, body, keepAlive: keepsAlive)
        ended()
    }

    /// Leaves HTTP: answers 101, and gives the channel and the place in the server's list to what speaks from here on.
    ///
    /// - Returns: The connection, which reads nothing before ``WebSocketConnection/begin()``. Nil when it is too late for that.
    package func upgrade(
        _ number: UInt64,
        headers: [(name: String, value: String)],
        settings: WebSocketSettings
    ) -> WebSocketConnection? {
        guard isWaiting(for: number), case .answering = phase, let context, !server.isStopping, !inputClosed else {
            return nil
        }
        let next = WebSocketConnection(server: server, settings: settings)
        let pipeline = context.pipeline.syncOperations
        guard (try? pipeline.addHandler(next, position: .after(self))) != nil else { return nil }
        writeHead(101, headers, length: 0, keepAlive: true)
        flush()
        // Writing may have met the end of the connection: what comes next would never hear of it.
        guard self.context != nil else { return nil }
        report()
        request = nil
        phase = .upgraded
        server.replace(self, with: next)
        self.context = nil
        if isReadingPaused { context.channel.setOption(.autoRead, value: true).whenFailure { _ in } }
        // What came behind the request.
        next.hold(unread)
        unread = ByteBuffer()
        pipeline.removeHandler(self, promise: nil)
        return next
    }

    private func finish(_ answer: HTTPAnswer) {
        write(answer, keepAlive: keepsAlive)
        ended()
    }

    package func beginStream(_ number: UInt64, status: Int, headers: [(name: String, value: String)]) {
        guard isWaiting(for: number), case .answering = phase else { return }
        if is10 { keepsAlive = false }
        answeredBytes = 0
        writeHead(status, headers, length: nil, keepAlive: keepsAlive)
        phase = .streaming(isChunked: !is10)
        if !isReading { flush() }
    }

    package func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard isWaiting(for: number), case .streaming(let isChunked) = phase, let context else { return false }
        guard !isHead, !bytes.isEmpty else { return keepsUp(context.channel) }
        if isChunked {
            out.writeString(String(bytes.count, radix: 16))
            out.writeStaticString("\r\n")
        }
        out.writeBytes(bytes)
        answeredBytes += bytes.count
        if isChunked { out.writeStaticString("\r\n") }
        flush()
        return keepsUp(context.channel)
    }

    /// Whether the client takes what it is sent. A channel that is closed has room again before it says that it is.
    private func keepsUp(_ channel: any Channel) -> Bool { channel.isWritable && channel.isActive }

    package func endStream(_ number: UInt64, isComplete: Bool) {
        guard isWaiting(for: number), case .streaming(let isChunked) = phase else { return }
        guard isComplete else {
            flush()
            return close()
        }
        if isChunked, !isHead { out.writeStaticString("0\r\n\r\n") }
        ended()
    }

    // MARK: - Files

    package func answer(
        _ number: UInt64,
        status: Int,
        headers: [(name: String, value: String)],
        file: HTTPFile,
        range: Range<Int>
    ) {
        guard isWaiting(for: number), case .answering = phase else { return file.close() }
        answeredBytes = 0
        writeHead(status, headers, length: range.count, keepAlive: keepsAlive)
        guard !isHead, !range.isEmpty else {
            file.close()
            return ended()
        }
        flush()
        guard context != nil else { return file.close() }
        phase = .sending(file, range)
        sendFile()
    }

    private static let pieceBytes = 65536

    /// Sends on, as far as the client takes it. Reading blocks for as long as the disk takes, as sending from it would.
    private func sendFile() {
        while case .sending(let file, let range) = phase, let context, context.channel.isWritable {
            var piece = context.channel.allocator.buffer(capacity: Self.pieceBytes)
            let wanted = min(range.count, Self.pieceBytes)
            let count = piece.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { bytes in
                max(0, pread(file.descriptor, bytes.baseAddress, wanted, off_t(range.lowerBound)))
            }
            // Shorter than it was: the client must see that something is missing.
            guard count > 0 else { return close() }
            answeredBytes += count
            // Before the write, which may come back here when it makes room.
            guard count < range.count else {
                phase = .answering
                file.close()
                context.writeAndFlush(wrapOutboundOut(piece), promise: nil)
                if case .answering = phase { ended() }
                return
            }
            phase = .sending(file, (range.lowerBound + count)..<range.upperBound)
            context.writeAndFlush(wrapOutboundOut(piece), promise: nil)
        }
        if holding.isBlocked { accountUnsent() }
    }

    private func write(_ answer: HTTPAnswer, keepAlive: Bool) {
        answer.body.withUnsafeBytes { write(answer.status, answer.headers, $0, keepAlive: keepAlive) }
    }

    private func write(
        _ status: Int,
        _ headers: [(name: String, value: String)],
        _ body: UnsafeRawBufferPointer,
        keepAlive: Bool
    ) {
        let hasBody = !isHead && status != 204 && status != 304
        answeredBytes = hasBody ? body.count : 0
        writeHead(status, headers, length: body.count, body: hasBody ? body : nil, keepAlive: keepAlive)
    }

    /// Writes all of a head, and what follows it at once.
    ///
    /// - Parameter length: Of the body, in bytes; nil: it comes in pieces.
    private func writeHead(
        _ status: Int,
        _ headers: [(name: String, value: String)],
        length: Int?,
        body: UnsafeRawBufferPointer? = nil,
        keepAlive: Bool
    ) {
        answeredStatus = status
        let own = request?.answerHeaders ?? []
        var room = HTTPHeadWriter.room + (body?.count ?? 0)
        for (name, value) in headers { room += name.utf8.count + value.utf8.count + 4 }
        for (name, value) in own { room += name.utf8.count + value.utf8.count + 4 }
        out.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            var writer = HTTPHeadWriter(start)
            writer.writeStatusLine(status)
            server.writeDate(&writer)
            for (name, value) in headers { writer.writeHeader(name, value) }
            for (name, value) in own { writer.writeHeader(name, value) }
            if let length {
                if status != 204, status != 304, status >= 200 {
                    writer.write("content-length: ")
                    writer.writeDecimal(length)
                    writer.write("\r\n")
                }
            } else if !is10 {
                writer.write("transfer-encoding: chunked\r\n")
            }
            if !keepAlive {
                writer.write("connection: close\r\n")
            } else if is10 {
                writer.write("connection: keep-alive\r\n")
            }
            writer.write("\r\n")
            if let body { writer.write(body) }
            assert(writer.at - start <= room)
            return writer.at - start
        }
    }

    /// An answer is complete: the next request, or the end.
    private func ended() {
        report()
        request = nil
        guard keepsAlive, !server.isStopping else { return closeWhenWritten() }
        phase = .idle
        since = server.tick
        if !isReading { flush() }
        if !isParsing { readOn() }
    }

    /// Looks at what came while the last request was answered.
    private func readOn() {
        if unread.readableBytes > 0 {
            var bytes = ByteBuffer()
            swap(&bytes, &unread)
            parse(&bytes)
            if !isReading { flush() }
        }
        if isReadingPaused, unread.readableBytes == 0, let context {
            isReadingPaused = false
            context.channel.setOption(.autoRead, value: true).whenFailure { _ in }
        }
        if inputClosed, isReady { inputEnded() }
    }

    private func flush() {
        guard out.readableBytes > 0, let context else { return }
        // Taken out first: a write that makes room may come back here.
        var data = ByteBuffer()
        swap(&data, &out)
        context.writeAndFlush(wrapOutboundOut(data), promise: nil)
        if holding.isBlocked { return accountUnsent() }
        if out.readableBytes == 0, data.capacity <= Self.keptOutput {
            data.clear()
            out = data
        }
    }

    // MARK: - Time and the end

    /// Called at each tick of the server.
    func checkTime() {
        let passed = server.tick &- since
        if holding.bytes != 0 { account() }
        if let context, !context.channel.isWritable { return checkWriting(context.channel, passed) }
        switch phase {
        case .idle:
            if passed > 0, out.readableBytes == 0, out.capacity > 0 { out = ByteBuffer() }
            guard passed > server.idleTicks else { return }
            server.countIdle()
            close()
        case .head: if passed > server.headerTicks { refuse(408, "the request's head did not come in time") }
        case .body: if passed > server.bodyTicks { refuse(408, "the request's body did not come in time") }
        case .answering, .streaming, .sending: break
        // A client that does not close.
        case .closing: if isOutputShut, passed > server.lingerTicks { close() }
        case .upgraded: break
        }
    }

    /// A client may read slowly, as long as it reads.
    private func checkWriting(_ channel: any Channel, _ passed: UInt64) {
        let buffered = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        if buffered != holding.lastBuffered {
            holding.lastBuffered = buffered
            since = server.tick
        } else if passed > server.idleTicks {
            server.countIdle()
            close()
        }
    }

    /// The server stops: answers what was asked, and closes.
    func stop() {
        keepsAlive = false
        unread.clear()
        if isOutputShut { return close() }
        if case .idle = phase { closeWhenWritten() }
    }

    func close() {
        if case .sending(let file, _) = phase { file.close() }
        phase = .closing
        context?.close(promise: nil)
    }
}

@available(*, unavailable)
extension HTTPConnection: Sendable {}

extension String {
    /// Compares with a name in lower case, without a copy.
    func isHeader(_ name: StaticString) -> Bool {
        guard utf8.count == name.utf8CodeUnitCount else { return false }
        return name.withUTF8Buffer { name in
            zip(utf8, name).allSatisfy { ((65...90).contains($0) ? $0 | 0x20 : $0) == $1 }
        }
    }
}
