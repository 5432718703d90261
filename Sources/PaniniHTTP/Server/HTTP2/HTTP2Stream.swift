// Owns: one stream of an HTTP/2 connection: its one request, its time limits, and the frames of its answer. Loop-bound, the
// handler of the stream's channel. Knows neither routes nor what answers.

import Glibc
import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2

/// One request over HTTP/2.
final class HTTP2Stream: ChannelInboundHandler, HTTPResponder {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private enum Phase {
        case head, body
        /// The request is complete, and waits for its turn, or until the client has taken other answers.
        case queued
        /// The delegate has the request.
        case answering
        case streaming
        case sending(HTTPFile, Range<Int>)
        /// Everything is written, or will be when the client makes room.
        case ended
    }

    private let connection: HTTP2Connection
    private var server: HTTPServer { connection.server }
    private var context: ChannelHandlerContext?
    private var phase = Phase.head
    private var since: UInt64 = 0
    private var request: HTTPRequest?
    private var address = ""
    private var isHead = false
    /// The client has sent all of its request.
    private var isInputEnded = false
    /// Bytes of the request that came after its answer.
    private var dropped = 0
    private var begun = NIODeadline.distantPast
    private var answeredStatus = 0
    private var answeredBytes = 0
    /// Bytes of the answer that the client may not have taken.
    private var unsent = 0
    /// What it adds to what its connection holds.
    var load = HTTP2Load()
    /// Its place in the connection's list.
    var index: Int?

    /// There is one request per stream.
    private static let number: UInt64 = 1
    private static let pieceBytes = 65536
    private static let droppedBytes = 64 << 10

    init(_ connection: HTTP2Connection) { self.connection = connection }

    // MARK: - Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        since = server.tick
        address = context.channel.parent?.remoteAddress?.ipAddress ?? ""
        let id = try? context.channel.syncOptions?.getOption(HTTP2StreamChannelOptions.streamID)
        connection.opened(self, id)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        if case .sending(let file, _) = phase { file.close() }
        phase = .ended
        if let request {
            self.request = nil
            request.connection = nil
            request.closeEncoder()
            server.delegate.server(server, lost: request)
        }
        connection.closed(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame):
            if frame.endStream { isInputEnded = true }
            // The second block of a request are its trailers: nobody asks for them.
            if case .head = phase { begin(frame.headers) }
            if frame.endStream { end() }
        case .data(let frame):
            if frame.endStream { isInputEnded = true }
            if case .byteBuffer(let bytes) = frame.data, bytes.readableBytes > 0 { take(bytes) }
            if frame.endStream { end() }
        case .windowUpdate: connection.moved()
        default: break
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        since = server.tick
        guard context.channel.isWritable else { return }
        connection.moved()
        switch phase {
        case .streaming:
            unsent = 0
            account()
            if let request { server.delegate.server(server, canWrite: request) }
        case .sending: sentOn()
        default: break
        }
    }

    // MARK: - The request

    private func begin(_ fields: HPACKHeaders) {
        server.countRequest()
        let (head, refusal) = HTTP2RequestHead.read(fields, server.configuration)
        isHead = head.method == .HEAD
        let request = HTTPRequest(
            decoded: head,
            connection: self,
            number: Self.number,
            remoteAddress: address,
            compressor: server.compressor
        )
        self.request = request
        phase = .body
        since = server.tick
        if server.configuration.reportsAnswers { begun = .now() }
        if let refusal { return refuse(.failure(refusal)) }
        if let refusal = request.setUpDecoding() { return refuse(refusal) }
        if let answer = server.delegate.server(server, admits: request) { return refuse(answer) }
        if let length = fields.first(name: "content-length").flatMap({ Int($0) }), length > request.maximumBody {
            return refuse(.failure(413, "the request's body is larger than \(request.maximumBody) bytes"))
        }
        guard let expectation = fields.first(name: "expect"), !isInputEnded else { return }
        guard expectation.lowercased() == "100-continue" else {
            return refuse(.failure(417, "the only expectation that is met is 100-continue"))
        }
        send(.headers(.init(headers: [":status": "100"])))
    }

    private func take(_ bytes: ByteBuffer) {
        if case .ended = phase { return drop(bytes.readableBytes) }
        guard let request, case .body = phase else { return }
        if let refusal = request.append(bytes) { return refuse(refusal) }
        account()
    }

    private func end() {
        guard let request, case .body = phase else { return }
        if let refusal = request.finishBody() { return refuse(refusal) }
        phase = .queued
        server.turns.take(request, of: server)
    }

    /// Its turn has come: whether the request begins.
    func begins() -> Bool {
        guard isQueued, connection.admits(self) else { return false }
        phase = .answering
        since = server.tick
        return true
    }

    /// The client has taken other answers.
    func proceed() {
        guard let request, isQueued else { return }
        server.turns.take(request, of: server)
    }

    private var isQueued: Bool { if case .queued = phase { true } else { false } }

    /// Tells the connection what is held.
    private func account() {
        connection.changed(self, body: request?.heldBytes ?? 0, unsent: unsent)
    }

    /// Answers without the delegate.
    private func refuse(_ answer: HTTPAnswer) {
        server.countRefusal(answer.status)
        phase = .answering
        answer.body.withUnsafeBytes {
            self.answer(Self.number, status: answer.status, headers: answer.headers, body: $0)
        }
    }

    // MARK: - Answers

    func isWaiting(for number: UInt64) -> Bool {
        guard request != nil else { return false }
        switch phase {
        case .queued, .answering, .streaming: return true
        default: return false
        }
    }

    func answer(_ number: UInt64, status: Int, headers: [(name: String, value: String)], body: UnsafeRawBufferPointer) {
        guard isWaiting(for: number), case .answering = phase, let context else { return }
        let hasNone = isHead || status == 204 || status == 304 || body.isEmpty
        writeHead(status, headers, length: status == 204 || status == 304 ? nil : body.count, isEnd: hasNone)
        if !hasNone {
            var bytes = context.channel.allocator.buffer(capacity: body.count)
            bytes.writeBytes(body)
            answeredBytes = body.count
            unsent = bytes.storageCapacity
            write(.data(.init(data: .byteBuffer(bytes), endStream: true)))
        }
        ended()
    }

    func beginStream(_ number: UInt64, status: Int, headers: [(name: String, value: String)]) {
        guard isWaiting(for: number), case .answering = phase else { return }
        writeHead(status, headers, length: nil, isEnd: false)
        phase = .streaming
        context?.flush()
    }

    func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard isWaiting(for: number), case .streaming = phase, let context else { return false }
        guard !isHead, !bytes.isEmpty else { return context.channel.isWritable && context.channel.isActive }
        answeredBytes += bytes.count
        unsent += bytes.count
        send(.data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)))))
        return accountUnsent()
    }

    /// Counts what is written where the client does not take it at once.
    ///
    /// - Returns: Whether it does.
    private func accountUnsent() -> Bool {
        guard let context else { return false }
        // A channel that is closed has room again before it says that it is.
        let isWritable = context.channel.isWritable && context.channel.isActive
        if isWritable { unsent = 0 }
        account()
        return isWritable
    }

    func endStream(_ number: UInt64, isComplete: Bool) {
        guard isWaiting(for: number), case .streaming = phase else { return }
        guard isComplete else { return reset(.internalError) }
        write(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)))
        ended()
    }

    private func writeHead(_ status: Int, _ headers: [(name: String, value: String)], length: Int?, isEnd: Bool) {
        answeredStatus = status
        answeredBytes = 0
        var fields = HPACKHeaders([(":status", String(status)), ("date", server.date)])
        for (name, value) in headers { fields.add(name: name, value: value) }
        if let own = request?.answerHeaders { for (name, value) in own { fields.add(name: name, value: value) } }
        if let length { fields.add(name: "content-length", value: String(length)) }
        write(.headers(.init(headers: fields, endStream: isEnd)))
    }

    /// An answer is complete.
    private func ended() {
        if server.configuration.reportsAnswers {
            server.report(request, status: answeredStatus, bytes: answeredBytes, address, begun)
        }
        request = nil
        phase = .ended
        since = server.tick
        context?.flush()
        if context != nil { account() }
    }

    /// Nobody reads what the client still sends (RFC 9113, section 8.1). A little is let pass: many clients take a reset for a
    /// failure, even after a whole answer.
    private func drop(_ count: Int) {
        dropped += count
        if dropped > Self.droppedBytes { send(.rstStream(.noError)) }
    }

    private func reset(_ code: HTTP2ErrorCode) {
        phase = .ended
        request = nil
        send(.rstStream(code))
    }

    private func write(_ payload: HTTP2Frame.FramePayload) { context?.write(wrapOutboundOut(payload), promise: nil) }

    private func send(_ payload: HTTP2Frame.FramePayload) {
        context?.writeAndFlush(wrapOutboundOut(payload), promise: nil)
    }

    // MARK: - Files

    func answer(
        _ number: UInt64,
        status: Int,
        headers: [(name: String, value: String)],
        file: HTTPFile,
        range: Range<Int>
    ) {
        guard isWaiting(for: number), case .answering = phase else { return file.close() }
        let hasNone = isHead || range.isEmpty
        writeHead(status, headers, length: status == 304 ? nil : range.count, isEnd: hasNone)
        guard !hasNone else {
            file.close()
            return ended()
        }
        phase = .sending(file, range)
        sendFile()
    }

    /// The client has made room.
    private func sentOn() {
        unsent = 0
        account()
        sendFile()
    }

    /// Sends on, as far as the client takes it. Reading blocks for as long as the disk takes.
    private func sendFile() {
        while case .sending(let file, let range) = phase, let context, context.channel.isWritable {
            var piece = context.channel.allocator.buffer(capacity: Self.pieceBytes)
            let wanted = min(range.count, Self.pieceBytes)
            let count = piece.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { bytes in
                max(0, pread(file.descriptor, bytes.baseAddress, wanted, off_t(range.lowerBound)))
            }
            // Shorter than it was: the client must see that something is missing.
            guard count > 0 else {
                file.close()
                return reset(.internalError)
            }
            answeredBytes += count
            // What came before has left, as there was room.
            unsent = count
            let isLast = count == range.count
            // Before the write, which may come back here when it makes room.
            if isLast {
                phase = .answering
                file.close()
            } else {
                phase = .sending(file, (range.lowerBound + count)..<range.upperBound)
            }
            write(.data(.init(data: .byteBuffer(piece), endStream: isLast)))
            if isLast { return ended() }
            context.flush()
        }
        _ = accountUnsent()
    }

    // MARK: - Time

    func checkTime() {
        let passed = server.tick &- since
        if let context, !context.channel.isWritable || isQueued || unsent > 0 && isInputEnded {
            // A client may read slowly, as long as it reads.
            guard min(passed, server.tick &- connection.movedAt) > server.idleTicks else { return }
            server.countIdle()
            return context.close(promise: nil)
        }
        switch phase {
        case .body: if passed > server.bodyTicks { refuse(.failure(408, "the request's body did not come in time")) }
        case .ended: if !isInputEnded, passed > server.lingerTicks { send(.rstStream(.noError)) }
        case .head, .queued, .answering, .streaming, .sending: break
        }
    }
}

@available(*, unavailable)
extension HTTP2Stream: Sendable {}
