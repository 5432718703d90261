// Owns: one stream of an HTTP/2 connection: its channel, its one request, and the frames of the response. Loop-bound, the handler
// of the stream's channel. What it may do, and when, is the machine's decision. Knows neither routes nor what responds.

import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2

/// One request over HTTP/2: carries out what its ``HTTP2StreamMachine`` says.
final class HTTP2Stream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let connection: HTTP2Connection
    private var server: HTTPServer { connection.server }
    private var context: ChannelHandlerContext?
    private var machine: HTTP2StreamMachine
    private var request: HTTPRequest?
    private var address = ""
    /// For the access log, when there is one.
    private var record = HTTPAccessRecord()
    var transfer: HTTPFileTransfer?
    /// Bytes of the response that the client may not have taken.
    private var unsent = 0
    /// What it adds to what its connection holds.
    var load = HTTP2Load()
    /// Its place in the connection's list.
    var index: Int?

    /// There is one request per stream.
    private static let number: UInt64 = 1

    init(_ connection: HTTP2Connection) {
        self.connection = connection
        machine = HTTP2StreamMachine(now: connection.server.tick)
    }

    // MARK: - Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        address = context.channel.parent?.remoteAddress?.ipAddress ?? ""
        let id = try? context.channel.syncOptions?.getOption(HTTP2StreamChannelOptions.streamID)
        connection.opened(self, id)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        transfer = nil
        if machine.lost(), let request {
            self.request = nil
            request.connection = nil
            request.closeEncoder()
            server.delegate.lost(request)
        }
        connection.closed(self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame):
            if machine.fieldsReceived(isLast: frame.endStream) { begin(frame.headers) }
            if frame.endStream { end() }
        case .data(let frame):
            if case .byteBuffer(let bytes) = frame.data { take(bytes, isLast: frame.endStream) }
            if frame.endStream { end() }
        case .windowUpdate: connection.moved()
        default: break
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        let action = machine.writabilityChanged(isWritable, now: server.tick)
        if isWritable { connection.moved() } else { connection.settleSoon() }
        switch action {
        case .none: break
        case .canWrite:
            unsent = 0
            account()
            if let request { server.delegate.canWrite(request) }
        case .sendFile:
            unsent = 0
            account()
            sendOn()
        }
    }

    // MARK: - The request

    private func begin(_ fields: HPACKHeaders) {
        server.countRequest()
        let (head, refusal) = HTTP2RequestHead.read(fields, server.configuration)
        let request = HTTPRequest(
            decoded: head,
            connection: self,
            number: Self.number,
            remoteAddress: address,
            compressor: server.compressor
        )
        self.request = request
        machine.headEnded(isHead: head.method == .HEAD, now: server.tick)
        if server.configuration.reportsResponses { record.begin() }
        if let refusal { return refuse(.failure(refusal)) }
        if let refusal = request.setUpDecoding() { return refuse(refusal) }
        if let refusal = server.delegate.admits(request) { return refuse(refusal) }
        let action = machine.admitted(
            length: fields.first(name: "content-length").flatMap { Int($0) },
            maximumBody: request.maximumBody,
            expectsContinue: fields.first(name: "expect").map { $0.lowercased() == "100-continue" }
        )
        switch action {
        case .read: break
        case .sendContinue: send(.headers(.init(headers: [":status": "100"])))
        case .refuseLength:
            refuse(.failure(413, "the request's body is larger than \(request.maximumBody) bytes"))
        case .refuseExpectation: refuse(.failure(417, "the only expectation that is met is 100-continue"))
        }
    }

    private func take(_ bytes: ByteBuffer, isLast: Bool) {
        switch machine.dataReceived(bytes.readableBytes, isLast: isLast) {
        case .take:
            guard let request, bytes.readableBytes > 0 else { return }
            if let refusal = request.append(bytes) { return refuse(refusal) }
            account()
        case .drop: break
        case .reset: send(.rstStream(.noError))
        }
    }

    private func end() {
        guard machine.requestEnded(), let request else { return }
        if let refusal = request.finishBody() { return refuse(refusal) }
        server.scheduler.take(request, of: server)
    }

    /// Its turn has come: whether the request begins.
    func begins() -> Bool { machine.phase == .queued && connection.admits(self) && machine.begin(now: server.tick) }

    /// The client has taken other responses.
    func proceed() {
        guard let request, machine.phase == .queued else { return }
        server.scheduler.take(request, of: server)
    }

    /// Tells the connection what is held.
    private func account() {
        connection.changed(self, body: request?.heldBytes ?? 0, unsent: unsent)
    }

    /// Responds without the delegate.
    private func refuse(_ response: HTTPResponse) {
        guard machine.refused() else { return }
        server.countRefusal(response.status)
        response.body.withUnsafeBytes { write(response.status, response.headers, $0) }
    }

    // MARK: - Writing

    /// Writes a whole response.
    private func write(
        _ status: Int,
        _ headers: HTTPFields,
        _ body: UnsafeRawBufferPointer
    ) {
        guard let context else { return }
        let hasNone = machine.isHead || status == 204 || status == 304 || body.isEmpty
        let length = status == 204 || status == 304 ? nil : body.count
        guard writeHead(status, headers, length: length, isEnd: hasNone) else { return }
        if !hasNone {
            var bytes = context.channel.allocator.buffer(capacity: body.count)
            bytes.writeBytes(body)
            record.bytes = body.count
            unsent = bytes.storageCapacity
            write(.data(.init(data: .byteBuffer(bytes), endStream: true)))
        }
        ended()
    }

    /// - Returns: False when it is too large: another, whole response was given in its place.
    private func writeHead(_ status: Int, _ headers: HTTPFields, length: Int?, isEnd: Bool) -> Bool {
        record.status = status
        record.bytes = 0
        let headers = headers.adding(request?.responseHeaders ?? [])
        var fields = HPACKHeaders([(":status", String(status)), ("date", server.date.value())])
        for (name, value) in headers { fields.add(name: name, value: value) }
        if let length { fields.add(name: "content-length", value: String(length)) }
        guard HTTP2ResponseHead.fits(fields, headers) else {
            machine.headRefused()
            request?.responseHeaders = []
            server.countRefusal(500)
            let response = HTTPResponse.failure(500, "the response's headers are larger than HTTP/2 has room for")
            response.body.withUnsafeBytes { write(response.status, response.headers, $0) }
            return false
        }
        write(.headers(.init(headers: fields, endStream: isEnd)))
        return true
    }

    /// A response is complete.
    private func ended() {
        if server.configuration.reportsResponses {
            let report = record.end(request, remoteAddress: address)
            server.delegate.responded(report)
        }
        request = nil
        machine.responseEnded(now: server.tick)
        context?.flush()
        if context != nil { account() }
        connection.settleSoon()
    }

    private func reset(_ code: HTTP2ErrorCode) {
        request = nil
        send(.rstStream(code))
    }

    private func write(_ payload: HTTP2Frame.FramePayload) { context?.write(wrapOutboundOut(payload), promise: nil) }

    private func send(_ payload: HTTP2Frame.FramePayload) {
        context?.writeAndFlush(wrapOutboundOut(payload), promise: nil)
    }

    /// Counts what is written where the client does not take it at once.
    ///
    /// - Returns: Whether it does.
    @discardableResult
    private func accountUnsent() -> Bool {
        guard let context else { return false }
        // A channel that is closed has room again before it says that it is.
        let isWritable = context.channel.isWritable && context.channel.isActive
        if isWritable { unsent = 0 }
        account()
        return isWritable
    }

    /// The client sends no more, and all that its windows have room for is written.
    func inputClosed() {
        guard let context else { return }
        switch machine.inputClosed(isWritable: context.channel.isWritable) {
        case .none: break
        case .refuse: refuse(.failure(.incomplete))
        case .close: close()
        }
    }

    /// The connection ends: what the client has not taken is dropped.
    func close() { context?.close(promise: nil) }

    // MARK: - Time

    func checkTime() {
        let isUnsent = context.map { !$0.channel.isWritable || unsent > 0 && machine.isInputEnded } ?? false
        switch machine.advance(
            now: server.tick,
            limits: server.limits,
            movedAt: connection.movedAt,
            isUnsent: isUnsent
        ) {
        case .none: break
        case .closeIdle:
            server.countIdle()
            context?.close(promise: nil)
        case .refuseBody: refuse(.failure(408, "the request's body did not come in time"))
        case .reset: send(.rstStream(.noError))
        }
    }
}

@available(*, unavailable)
extension HTTP2Stream: Sendable {}

extension HTTP2Stream: HTTPResponder {
    func isWaiting(for number: UInt64) -> Bool { machine.isWaiting }

    func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        body: UnsafeRawBufferPointer
    ) {
        guard machine.respond() else { return }
        write(status, headers, body)
    }

    func beginStream(_ number: UInt64, status: Int, headers: HTTPFields) {
        guard machine.beginStream() else { return }
        if writeHead(status, headers, length: nil, isEnd: false) { context?.flush() }
    }

    func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let action = machine.piece
        guard action != .drop, let context else { return false }
        guard action == .write, !bytes.isEmpty else { return context.channel.isWritable && context.channel.isActive }
        record.bytes += bytes.count
        unsent += bytes.count
        send(.data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)))))
        return accountUnsent()
    }

    func endStream(_ number: UInt64, isComplete: Bool) {
        switch machine.endStream(isComplete: isComplete) {
        case .drop: break
        case .finish:
            write(.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)))
            ended()
        case .reset: reset(.internalError)
        }
    }
}

extension HTTP2Stream: HTTPFileSender {
    func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        file: HTTPFile,
        range: Range<Int>
    ) {
        let action = machine.beginFile(isEmpty: range.isEmpty)
        guard action != .drop else { return file.close() }
        let isEnd = action == .headOnly
        guard writeHead(status, headers, length: status == 304 ? nil : range.count, isEnd: isEnd) else {
            return file.close()
        }
        guard action == .send else {
            file.close()
            return ended()
        }
        transfer = HTTPFileTransfer(file, range)
        sendOn()
    }

    /// Sends more of the file, and counts what of it the client does not take.
    private func sendOn() {
        sendFile()
        if machine.phase == .sendingFile { accountUnsent() }
    }

    var takesFile: Bool { context?.channel.isWritable == true }

    func send(_ piece: ByteBuffer, isLast: Bool) {
        record.bytes += piece.readableBytes
        // What came before has left, as there was room.
        unsent = piece.readableBytes
        write(.data(.init(data: .byteBuffer(piece), endStream: isLast)))
        guard isLast else {
            context?.flush()
            return
        }
        if machine.fileSent() { ended() }
    }

    func fileIsCutShort() {
        machine.cutShort()
        reset(.internalError)
    }
}
