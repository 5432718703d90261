// Owns: the way of a request over HTTP/1, from bytes to whoever responds, and its refusal on that way. Loop-bound.

import NIOCore
import NIOHTTP1

extension HTTP1Connection {
    /// Reads requests, as far as they can be served now; the rest waits.
    ///
    /// One level only: a response given at once comes back here and finds it running.
    func parse(_ bytes: inout ByteBuffer) {
        machine.parsing(true)
        while machine.isReady, machine.isInMessage || bytes.readableBytes > 0 {
            if machine.isBetweenRequests {
                if out.readableBytes >= Self.largeOutput {
                    flush()
                    guard machine.isReady else { break }
                }
                machine.requestBegan(bytes.readableBytes, now: server.tick)
            }
            let (event, count) = bytes.withUnsafeReadableBytes { parser.read($0) }
            if machine.takesBody, let request { takeBody(request, bytes) }
            bytes.moveReaderIndex(forwardBy: count)
            switch event {
            case .head: begin(parser.facts)
            case .end:
                guard machine.messageEnded(), let request else { break }
                if let refusal = request.finishBody() {
                    refuse(refusal)
                    break
                }
                // Whoever responds may ask for what follows.
                if bytes.readableBytes > 0 { swap(&bytes, &unread) }
                server.scheduler.take(request, of: server)
                if unread.readableBytes > 0 { swap(&bytes, &unread) }
            case .needsMore:
                machine.parsing(false)
                return
            case .malformed: refuse(.failure(parser.refusal ?? .notHTTP))
            case .overflow: refuse(.failure(.headTooLarge))
            }
        }
        machine.parsing(false)
        if bytes.readableBytes > 0, machine.mayReadLater { unread = bytes }
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
        machine.headEnded(
            HTTP1Machine.Request(
                isHead: head.method == .HEAD,
                isHTTP10: head.version == .http1_0,
                offersUpgrade: isConnect || facts.offersUpgrade,
                hasBody: facts.isChunked || facts.hasOtherEncoding || facts.lengths > 0 && facts.length != 0,
                keepsAlive: facts.keepsAlive,
                expectation: facts.expectation
            ),
            now: server.tick
        )
        if address.isEmpty { address = context.channel.remoteAddress?.ipAddress ?? "" }
        let request = HTTPRequest(
            head: head,
            connection: self,
            number: machine.number,
            remoteAddress: address,
            compressor: server.compressor
        )
        self.request = request
        if server.configuration.reportsResponses { record.begin() }
        record.bytes = 0
        if let refusal { return refuse(.failure(refusal)) }
        if facts.hasContentEncoding, let refusal = request.setUpDecoding() { return refuse(refusal) }
        if let refusal = server.delegate.admits(request) { return refuse(refusal) }
        switch machine.admitted(length: facts.length, maximumBody: request.maximumBody) {
        case .read: break
        case .sendContinue:
            out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
            if !isReading { flush() }
        case .refuseLength: refuse(413, "the request's body is larger than \(request.maximumBody) bytes")
        case .refuseExpectation: refuse(417, "the only expectation that is met is 100-continue")
        }
    }

    func refuse(_ status: Int, _ text: String) { refuse(.failure(status, text)) }

    /// Responds without the delegate.
    func refuse(_ response: HTTPResponse) {
        let action = machine.refused(status: response.status)
        guard action != .ignore else { return }
        server.countRefusal(response.status)
        if server.configuration.reportsResponses { record.beginIfNeeded() }
        write(response, keepAlive: machine.keepsAlive)
        if action == .respond { return ended() }
        report()
        request = nil
        closeWhenWritten()
    }

    /// Looks at what came while the last request was responded to.
    func continueReading() {
        if unread.readableBytes > 0 {
            var bytes = ByteBuffer()
            swap(&bytes, &unread)
            parse(&bytes)
            if !isReading { flush() }
        }
        if machine.resumesReading(held: unread.readableBytes) {
            context?.channel.setOption(.autoRead, value: true).whenFailure { _ in }
        }
        perform(machine.inputEnded(held: unread.readableBytes) { parser.mayEnd })
    }
}
