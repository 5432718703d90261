// Owns: one connection: its requests one after another, its time limits, and the bytes that go out. Loop-bound, a handler
// of its channel. Knows neither routes nor what answers.

import Glibc
package import NIOCore
package import NIOHTTP1
import NIOTLS

/// One HTTP/1.1 connection.
///
/// What changes with every request is left out of Swift's dynamic checks of exclusive access, as in the host's `Listener`: only
/// the loop comes here, and nothing of it is handed on `inout` to what could come back.
package final class HTTPConnection: ChannelInboundHandler, RemovableChannelHandler, HTTPResponder, HTTPServerConnection
{
    package typealias InboundIn = HTTPServerRequestPart
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
    }

    private let server: HTTPServer
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
    /// Bytes since the request began, before its head was complete.
    @exclusivity(unchecked) private var headBytes = 0
    /// Parts of further requests that came before this one was answered.
    @exclusivity(unchecked) private var waiting: [HTTPServerRequestPart] = []
    private var isReadingPaused = false
    /// In the middle of a burst of reads: what is to be written goes out at its end.
    @exclusivity(unchecked) private var isReading = false
    private var inputClosed = false
    @exclusivity(unchecked) private var out = ByteBuffer()
    private var address = ""
    /// Everything has been written; only the client's end is awaited.
    private var isOutputShut = false
    // For the access log, when there is one.
    @exclusivity(unchecked) private var begun = NIODeadline.distantPast
    @exclusivity(unchecked) private var answeredStatus = 0
    @exclusivity(unchecked) private var answeredBytes = 0
    /// What was still to be written at the last look.
    private var lastBuffered = 0
    /// Its place in the server's list.
    var index: Int?

    /// How many parts of pipelined requests may wait before the socket is left alone.
    private static let maximumWaitingParts = 64
    /// How many bytes may come behind the head of an upgrade before it is answered.
    private static let maximumEarlyBytes = 128 << 10

    init(server: HTTPServer) { self.server = server }

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
        self.context = nil
        server.remove(self)
        if case .sending(let file, _) = phase { file.close() }
        phase = .closing
        waiting = []
        if let request {
            self.request = nil
            request.connection = nil
            request.closeEncoder()
            server.delegate.server(server, lost: request)
        }
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is HTTPParserError else { return context.close(promise: nil) }
        switch phase {
        case .idle, .head, .body:
            let status = (error as? HTTPParserError) == .headerOverflow ? 431 : 400
            refuse(status, status == 431 ? "the request's head is too large" : "this is not HTTP/1.1")
        case .answering, .streaming, .sending:
            // Requests before the malformed one are answered first.
            keepsAlive = false
            waiting = []
            inputClosed = true
        case .closing, .upgraded: break
        }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, event == .handshakeCompleted(negotiatedProtocol: "h2") {
            return becomeHTTP2()
        }
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        inputClosed = true
        switch phase {
        case .idle, .head, .body: closeWhenWritten()
        case .answering, .streaming, .sending: keepsAlive = !waiting.isEmpty && keepsAlive
        case .closing, .upgraded: break
        }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch phase {
        case .closing, .upgraded: return
        case .answering, .streaming, .sending:
            waiting.append(part)
            if waiting.count > Self.maximumWaitingParts, !isReadingPaused {
                isReadingPaused = true
                context.channel.setOption(.autoRead, value: false).whenFailure { _ in }
            }
        default: take(part)
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            switch phase {
            case .streaming: if let request { server.delegate.server(server, canWrite: request) }
            case .sending: sendFile()
            default: break
            }
        }
        context.fireChannelWritabilityChanged()
    }

    // MARK: - HTTP/2

    /// The client speaks HTTP/2: this object only passes bytes on from here on.
    private(set) var isHTTP2 = false

    /// Whether the first bytes of a connection are those of HTTP/2 without TLS (RFC 9113, section 3.4).
    func isPreface(_ bytes: ByteBuffer) -> Bool {
        guard case .idle = phase, requestNumber == 0, server.configuration.speaksHTTP2, server.configuration.tls == nil
        else {
            return false
        }
        return bytes.readableBytesView.starts(with: "PRI * HTTP/2.0".utf8)
    }

    func becomeHTTP2() {
        guard let context else { return }
        let pipeline = context.pipeline.syncOperations
        let (handler, http2) = HTTP2Connection.handlers(server, context.eventLoop)
        do {
            let counter = try pipeline.handler(type: HTTPByteCounter.self)
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            isHTTP2 = true
            self.context = nil
            phase = .closing
            server.replace(self, with: http2)
            try pipeline.addHandlers([handler, http2], position: .after(counter))
            pipeline.removeHandler(decoder, promise: nil)
            pipeline.removeHandler(self, promise: nil)
        } catch {
            context.close(promise: nil)
        }
    }

    /// Bytes have come from the socket; false when they are not to be looked at.
    func bytesArrived(_ count: Int) -> Bool {
        isReading = true
        switch phase {
        case .idle:
            phase = .head
            since = server.tick
            headBytes = count
        case .head:
            headBytes += count
            // A read may hold a head and a body: only what cannot be both is refused here.
            if headBytes > server.configuration.maximumHeaderBytes + (256 << 10) {
                refuse(431, "the request's head is too large")
            }
        case .body: break
        case .answering, .streaming, .sending:
            guard isOffer else { break }
            // Kept for what is spoken after the upgrade; a client waits for its answer before it says much.
            headBytes += count
            if headBytes > Self.maximumEarlyBytes { close() }
        case .closing, .upgraded: return false
        }
        if case .closing = phase { return false }
        return true
    }

    // MARK: - Requests

    private func take(_ part: HTTPServerRequestPart) {
        switch part {
        case .head(let head): begin(head)
        case .body(let bytes):
            guard let request, case .body = phase else { return }
            if let refusal = request.append(bytes) { refuse(refusal) }
        case .end:
            guard let request, case .body = phase else { return }
            if let refusal = request.finishBody() { return refuse(refusal) }
            phase = .answering
            server.turns.take(request)
        }
    }

    private func begin(_ head: HTTPRequestHead) {
        guard let context else { return }
        server.countRequest()
        requestNumber &+= 1
        is10 = head.version == .http1_0
        isHead = head.method == .HEAD
        // The parser takes what follows an offer to speak something else for that other protocol: nothing of it would be
        // answered. Nothing else is spoken here.
        isOffer = head.method == .CONNECT || head.headers.contains(name: "upgrade")
        keepsAlive = head.isKeepAlive && !server.isStopping && !isOffer
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
        if let problem = problem(head) { return refuse(problem.status, problem.text) }
        if hasEncoding, let refusal = request.setUpDecoding() { return refuse(refusal) }
        if let answer = server.delegate.server(server, admits: request) {
            // Small bodies are read to their end, so that the connection can be kept; others are not waited for.
            return refuse(answer)
        }
        guard let length = head.headers.first(name: "content-length").flatMap({ Int($0) }) else {
            return continueIfExpected(head)
        }
        guard length <= request.maximumBody else {
            return refuse(413, "the request's body is larger than \(request.maximumBody) bytes")
        }
        if length > 0 { continueIfExpected(head) }
    }

    private func continueIfExpected(_ head: HTTPRequestHead) {
        guard !is10, head.headers.contains(name: "expect") else { return }
        guard head.headers.first(name: "expect")?.lowercased() == "100-continue" else {
            return refuse(417, "the only expectation that is met is 100-continue")
        }
        out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
        if !isReading { flush() }
    }

    /// What the parser lets pass and the protocol does not (RFC 9112, sections 3.2 and 6.3).
    private func problem(_ head: HTTPRequestHead) -> (status: Int, text: String)? {
        guard head.version == .http1_1 || is10 else { return (505, "HTTP/1.0 and HTTP/1.1 are spoken here") }
        var size = head.uri.utf8.count + 16
        var hosts = 0
        var lengths = 0
        var isChunked = false
        hasEncoding = false
        for (name, value) in head.headers {
            size += name.utf8.count + value.utf8.count + 4
            switch name.utf8.count {
            case 4 where name.isHeader("host"): hosts += 1
            case 14 where name.isHeader("content-length"):
                lengths += 1
                if value.isEmpty || !value.utf8.allSatisfy({ (48...57).contains($0) }) || Int(value) == nil {
                    return (400, "content-length is no number")
                }
            case 16 where name.isHeader("content-encoding"): hasEncoding = true
            case 17 where name.isHeader("transfer-encoding"):
                guard value.isHeader("chunked"), !isChunked, !is10 else {
                    return (is10 ? 400 : 501, "transfer-encoding can only be chunked")
                }
                isChunked = true
            default: break
            }
        }
        if size > server.configuration.maximumHeaderBytes { return (431, "the request's head is too large") }
        if lengths > 1 || lengths == 1 && isChunked { return (400, "a body has one length") }
        if hosts != 1, !(is10 && hosts == 0) { return (400, "a request names one host") }
        return nil
    }

    private func refuse(_ status: Int, _ text: String) { refuse(.failure(status, text)) }

    /// Answers without the delegate. The connection is kept only where nothing of the request is left to read.
    private func refuse(_ answer: HTTPAnswer) {
        server.countRefusal(answer.status)
        if begun == .distantPast, server.configuration.reportsAnswers { begun = .now() }
        if let request, answer.status < 400 || answer.status == 404 || answer.status == 405, !hasBody(request.head) {
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

    private func hasBody(_ head: HTTPRequestHead) -> Bool {
        if head.headers.contains(name: "transfer-encoding") { return true }
        return head.headers.first(name: "content-length").map { $0 != "0" } ?? false
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
        waiting = []
        closeAfterRest()
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
    /// - Returns: Nil when it is too late for that.
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
        guard let decoder = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self),
            let counter = try? pipeline.handler(type: HTTPByteCounter.self),
            (try? pipeline.addHandler(next, position: .after(self))) != nil
        else { return nil }
        answeredStatus = 101
        out.writeStatusLine(101)
        server.writeDate(&out)
        for (name, value) in headers { out.writeHeader(name, value) }
        if let own = request?.answerHeaders { for (name, value) in own { out.writeHeader(name, value) } }
        out.writeStaticString("\r\n")
        flush()
        report()
        request = nil
        phase = .upgraded
        server.replace(self, with: next)
        pipeline.removeHandler(counter, promise: nil)
        pipeline.removeHandler(self, promise: nil)
        // Last: what it holds of bytes behind the request goes to the next handler.
        pipeline.removeHandler(decoder, promise: nil)
        self.context = nil
        return next
    }

    private func finish(_ answer: HTTPAnswer) {
        write(answer, keepAlive: keepsAlive)
        ended()
    }

    package func beginStream(_ number: UInt64, status: Int, headers: [(name: String, value: String)]) {
        guard isWaiting(for: number), case .answering = phase else { return }
        if is10 { keepsAlive = false }
        answeredStatus = status
        out.writeStatusLine(status)
        server.writeDate(&out)
        for (name, value) in headers { out.writeHeader(name, value) }
        if let own = request?.answerHeaders { for (name, value) in own { out.writeHeader(name, value) } }
        if !is10 { out.writeStaticString("transfer-encoding: chunked\r\n") }
        writeConnection(keepAlive: keepsAlive)
        out.writeStaticString("\r\n")
        phase = .streaming(isChunked: !is10)
        if !isReading { flush() }
    }

    package func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard isWaiting(for: number), case .streaming(let isChunked) = phase, let context else { return false }
        guard !isHead, !bytes.isEmpty else { return context.channel.isWritable }
        if isChunked {
            out.writeString(String(bytes.count, radix: 16))
            out.writeStaticString("\r\n")
        }
        out.writeBytes(bytes)
        answeredBytes += bytes.count
        if isChunked { out.writeStaticString("\r\n") }
        flush()
        return context.channel.isWritable
    }

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
        writeHead(status, headers, length: range.count, keepAlive: keepsAlive)
        guard !isHead, !range.isEmpty else {
            file.close()
            return ended()
        }
        flush()
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
        writeHead(status, headers, length: body.count, keepAlive: keepAlive)
        guard !isHead, status != 204, status != 304 else { return }
        answeredBytes = body.count
        out.writeBytes(body)
    }

    private func writeHead(
        _ status: Int,
        _ headers: [(name: String, value: String)],
        length: Int,
        keepAlive: Bool
    ) {
        answeredStatus = status
        answeredBytes = 0
        out.writeStatusLine(status)
        server.writeDate(&out)
        for (name, value) in headers { out.writeHeader(name, value) }
        if let own = request?.answerHeaders { for (name, value) in own { out.writeHeader(name, value) } }
        if status != 204, status != 304, status >= 200 {
            out.writeStaticString("content-length: ")
            out.writeDecimal(length)
            out.writeStaticString("\r\n")
        }
        writeConnection(keepAlive: keepAlive)
        out.writeStaticString("\r\n")
    }

    private func writeConnection(keepAlive: Bool) {
        if !keepAlive {
            out.writeStaticString("connection: close\r\n")
        } else if is10 {
            out.writeStaticString("connection: keep-alive\r\n")
        }
    }

    /// An answer is complete: the next request, or the end.
    private func ended() {
        report()
        request = nil
        guard keepsAlive, !server.isStopping else {
            phase = .closing
            waiting = []
            return closeAfterRest()
        }
        phase = .idle
        since = server.tick
        if !isReading { flush() }
        nextWaiting()
    }

    private func nextWaiting() {
        guard !waiting.isEmpty else {
            if inputClosed { closeWhenWritten() }
            return
        }
        // One level only: an answer given at once comes back here and finds the loop running.
        guard !isTakingWaiting else { return }
        isTakingWaiting = true
        while !waiting.isEmpty {
            switch phase {
            case .idle, .head, .body: break
            case .answering, .streaming, .sending, .closing, .upgraded:
                isTakingWaiting = false
                return
            }
            if case .idle = phase { phase = .head }
            take(waiting.removeFirst())
        }
        isTakingWaiting = false
        if !isReading { flush() }
        if isReadingPaused, let context {
            isReadingPaused = false
            context.channel.setOption(.autoRead, value: true).whenFailure { _ in }
        }
        if inputClosed, case .idle = phase { closeWhenWritten() }
    }

    private var isTakingWaiting = false

    private func flush() {
        guard out.readableBytes > 0, let context else { return }
        // Taken out first: a write that makes room may come back here.
        var data = ByteBuffer()
        swap(&data, &out)
        context.writeAndFlush(wrapOutboundOut(data), promise: nil)
        if out.readableBytes == 0 {
            data.clear()
            out = data
        }
    }

    // MARK: - Time and the end

    /// Called at each tick of the server.
    func checkTime() {
        let passed = server.tick &- since
        if let context, !context.channel.isWritable { return checkWriting(context.channel, passed) }
        switch phase {
        case .idle:
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
        if buffered != lastBuffered {
            lastBuffered = buffered
            since = server.tick
        } else if passed > server.idleTicks {
            server.countIdle()
            close()
        }
    }

    /// The server stops: answers what was asked, and closes.
    func stop() {
        keepsAlive = false
        waiting = []
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

/// Stands before the parser, and tells the connection how much a request's head has taken so far.
final class HTTPByteCounter: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: HTTPConnection

    init(connection: HTTPConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if connection.isHTTP2 { return context.fireChannelRead(data) }
        let bytes = unwrapInboundIn(data)
        if connection.isPreface(bytes) {
            connection.becomeHTTP2()
            return context.fireChannelRead(data)
        }
        if connection.bytesArrived(bytes.readableBytes) { context.fireChannelRead(data) }
    }
}

@available(*, unavailable)
extension HTTPByteCounter: Sendable {}
