// Owns: the way of a response over HTTP/1, from whoever gives it to the bytes that go out. Loop-bound.

import NIOCore

extension HTTP1Connection: HTTPResponder {
    package func isWaiting(for number: UInt64) -> Bool { machine.isWaiting(for: number) }

    package func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        body: UnsafeRawBufferPointer
    ) {
        guard machine.respond(number) else { return }
        write(status, headers, body, keepAlive: machine.keepsAlive)
        ended()
    }

    /// Leaves HTTP: responds with 101, and gives the channel and the place in the server's list to what speaks from here on.
    ///
    /// - Returns: The connection, which reads nothing before ``WebSocketConnection/begin()``. Nil when it is too late for that.
    package func upgrade(
        _ number: UInt64,
        headers: HTTPFields,
        settings: WebSocketSettings
    ) -> WebSocketConnection? {
        guard machine.mayUpgrade(number), let context else { return nil }
        let next = WebSocketConnection(server: server, settings: settings)
        let pipeline = context.pipeline.syncOperations
        guard (try? pipeline.addHandler(next, position: .after(self))) != nil else { return nil }
        writeHead(101, headers, length: 0, keepAlive: true)
        flush()
        // Writing may have met the end of the connection: what comes next would never hear of it.
        guard self.context != nil else { return nil }
        report()
        request = nil
        let resumesReading = machine.upgraded()
        server.replace(self, with: next)
        self.context = nil
        if resumesReading { context.channel.setOption(.autoRead, value: true).whenFailure { _ in } }
        // What came behind the request.
        next.hold(unread)
        unread = ByteBuffer()
        pipeline.removeHandler(self, promise: nil)
        return next
    }

    // MARK: - Streams

    package func beginStream(_ number: UInt64, status: Int, headers: HTTPFields) {
        guard machine.beginStream(number) else { return }
        record.bytes = 0
        writeHead(status, headers, length: nil, keepAlive: machine.keepsAlive)
        if !isReading { flush() }
    }

    package func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let action = machine.piece(number)
        guard action != .drop, let context else { return false }
        guard action != .omit, !bytes.isEmpty else { return keepsUp(context.channel) }
        if action == .chunk {
            out.writeString(String(bytes.count, radix: 16))
            out.writeStaticString("\r\n")
        }
        out.writeBytes(bytes)
        record.bytes += bytes.count
        if action == .chunk { out.writeStaticString("\r\n") }
        flush()
        return keepsUp(context.channel)
    }

    /// Whether the client takes what it is sent. A channel that is closed has room again before it says that it is.
    private func keepsUp(_ channel: any Channel) -> Bool { channel.isWritable && channel.isActive }

    package func endStream(_ number: UInt64, isComplete: Bool) {
        switch machine.endStream(number, isComplete: isComplete) {
        case .drop: break
        case .finish(let hasLastChunk):
            if hasLastChunk { out.writeStaticString("0\r\n\r\n") }
            ended()
        case .close:
            flush()
            close()
        }
    }

    // MARK: - Heads

    func write(_ response: HTTPResponse, keepAlive: Bool) {
        response.body.withUnsafeBytes { write(response.status, response.headers, $0, keepAlive: keepAlive) }
    }

    private func write(
        _ status: Int,
        _ headers: HTTPFields,
        _ body: UnsafeRawBufferPointer,
        keepAlive: Bool
    ) {
        let hasBody = !machine.request.isHead && status != 204 && status != 304
        record.bytes = hasBody ? body.count : 0
        writeHead(status, headers, length: body.count, body: hasBody ? body : nil, keepAlive: keepAlive)
    }

    /// Writes all of a head, and what follows it at once.
    ///
    /// - Parameter length: Of the body, in bytes; nil: it comes in pieces.
    private func writeHead(
        _ status: Int,
        _ headers: HTTPFields,
        length: Int?,
        body: UnsafeRawBufferPointer? = nil,
        keepAlive: Bool
    ) {
        record.status = status
        let own = request?.responseHeaders ?? []
        let isHTTP10 = machine.request.isHTTP10
        let room = HTTPHeadWriter.room + headers.headBytes + own.headBytes + (body?.count ?? 0)
        out.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            var writer = HTTPHeadWriter(start)
            writer.writeStatusLine(status)
            server.date.withLine { writer.write($0) }
            writer.write(headers)
            writer.write(own)
            if let length {
                if status != 204, status != 304, status >= 200 {
                    writer.write("content-length: ")
                    writer.writeDecimal(length)
                    writer.write("\r\n")
                }
            } else if !isHTTP10 {
                writer.write("transfer-encoding: chunked\r\n")
            }
            if !keepAlive {
                writer.write("connection: close\r\n")
            } else if isHTTP10 {
                writer.write("connection: keep-alive\r\n")
            }
            writer.write("\r\n")
            if let body { writer.write(body) }
            assert(writer.at - start <= room)
            return writer.at - start
        }
    }

    /// A response is complete: the next request, or the end.
    func ended() {
        report()
        request = nil
        switch machine.responseEnded(now: server.tick) {
        case .none: break
        case .continueReading:
            if !isReading { flush() }
            if !machine.isParsing { continueReading() }
        case .close: closeWhenWritten()
        }
    }

    func report() {
        guard server.configuration.reportsResponses else { return }
        let report = record.end(request, remoteAddress: address)
        server.delegate.responded(report)
    }
}

extension HTTP1Connection: HTTPFileSender {
    package func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        file: HTTPFile,
        range: Range<Int>
    ) {
        let action = machine.beginFile(number, isEmpty: range.isEmpty)
        guard action != .drop else { return file.close() }
        record.bytes = 0
        writeHead(status, headers, length: range.count, keepAlive: machine.keepsAlive)
        guard action == .send else {
            file.close()
            return ended()
        }
        flush()
        // Writing may have met the end of the connection.
        guard machine.phase == .sendingFile else { return file.close() }
        transfer = HTTPFileTransfer(file, range)
        sendOn()
    }

    /// Sends more of the file, and counts what of it the client does not take.
    func sendOn() {
        sendFile()
        if machine.isBlocked { accountUnsent() }
    }

    var takesFile: Bool { context?.channel.isWritable == true }

    func send(_ piece: ByteBuffer, isLast: Bool) {
        record.bytes += piece.readableBytes
        context?.writeAndFlush(wrapOutboundOut(piece), promise: nil)
        guard isLast else { return }
        machine.fileSent()
        if machine.phase == .finishing { ended() }
    }

    func fileIsCutShort() { close() }
}
