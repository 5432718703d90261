// Owns: a request that comes from this program and not from a socket, and its response: the same limits and the same way to the
// delegate as over a connection. Loop-bound.

package import NIOCore
package import NIOHTTP1

/// One request and its response.
package final class HTTPLocalExchange: HTTPResponder {
    /// What a response's body is made of.
    package enum Body: Sendable {
        case bytes([UInt8])
        case stream(HTTPLocalBody)
    }

    /// The head of the response with its body.
    package struct Response: Sendable {
        package let status: Int
        package let headers: HTTPFields
        package let body: Body
    }

    private enum Phase {
        case waiting
        case streaming(HTTPLocalBody)
        case sending(HTTPLocalBody)
        case ended
    }

    /// How much of a streamed body may wait for its reader.
    static let bufferBytes = 256 << 10
    private static let number: UInt64 = 1

    /// Who waits for the response, for the delegate to find it by.
    package weak var call: AnyObject?
    private unowned let delegate: any HTTPDelegate
    private let eventLoop: any EventLoop
    private let request: HTTPRequest
    private var phase = Phase.waiting
    var transfer: HTTPFileTransfer?
    private let isHead: Bool
    private var onResponse: ((Response) -> Void)?
    private var onEnd: ((HTTPLocalExchange) -> Void)?
    private var record = HTTPAccessRecord()

    /// - Parameters:
    ///   - onResponse: Called once, with the response's head; not after ``lost()``.
    ///   - onEnd: Called once, when the response is complete or given up.
    package init(
        head: HTTPRequestHead,
        remoteAddress: String,
        delegate: any HTTPDelegate,
        eventLoop: any EventLoop,
        onResponse: @escaping (Response) -> Void,
        onEnd: @escaping (HTTPLocalExchange) -> Void
    ) {
        self.delegate = delegate
        self.eventLoop = eventLoop
        self.onResponse = onResponse
        self.onEnd = onEnd
        isHead = head.method == .HEAD
        request = HTTPRequest(
            decoded: head,
            connection: nil,
            number: Self.number,
            remoteAddress: remoteAddress,
            compressor: nil
        )
        request.canUpgrade = false
        record.begin()
        request.connection = self
    }

    private var isEnded: Bool { if case .ended = phase { true } else { false } }

    /// What the access log tells of it.
    package var report: HTTPAccessReport {
        var record = self.record
        return record.end(request, remoteAddress: request.remoteAddress)
    }

    /// Goes the way of a request that has come whole.
    ///
    /// - Parameters:
    ///   - body: The request's body.
    ///   - limits: The largest head.
    package func begin(body: ByteBuffer, limits: HTTPServerConfiguration) {
        if let refusal = Self.problem(with: request.head, limits) { return request.respond(refusal) }
        if let refusal = request.setUpDecoding() { return request.respond(refusal) }
        if let refusal = delegate.admits(request) { return request.respond(refusal) }
        if body.readableBytes > 0, let refusal = request.append(body) { return request.respond(refusal) }
        if let refusal = request.finishBody() { return request.respond(refusal) }
        delegate.received(request)
    }

    /// What a parser would have refused.
    private static func problem(with head: HTTPRequestHead, _ limits: HTTPServerConfiguration) -> HTTPResponse? {
        let target = head.uri.utf8
        guard target.first == UInt8(ascii: "/") || head.uri == "*",
            target.allSatisfy({ $0 > 0x20 && $0 != 0x7F }), isToken(head.method.rawValue)
        else { return .failure(400, "the request line is not valid") }
        var size = target.count
        for (name, value) in head.headers {
            size += name.utf8.count + value.utf8.count + 4
            guard isToken(name), value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 9 }) else {
                return .failure(400, "a header field is not valid")
            }
        }
        guard size <= limits.maximumHeaderBytes, head.headers.count <= limits.maximumHeaderCount else {
            return .failure(431, "the request's head is too large")
        }
        return nil
    }

    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 48...57, 65...90, 97...122: true
                case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
                default: false
                }
            }
    }

    /// Nobody waits for the response, or reads on.
    package func lost() {
        guard !isEnded else { return }
        onResponse = nil
        breakOff()
        delegate.lost(request)
    }

    /// The service has ended: nothing more comes.
    package func close() {
        switch phase {
        case .waiting: request.respond(.failure(503, "the service has stopped"))
        case .streaming, .sending: breakOff()
        case .ended: break
        }
    }

    /// The reader of the body has taken enough.
    func readerKeepsUp() {
        switch phase {
        case .streaming: delegate.canWrite(request)
        case .sending: sendFile()
        case .waiting, .ended: break
        }
    }

    /// - Parameter length: Of the body that GET would have; nil when nobody knows.
    private func give(_ status: Int, _ headers: HTTPFields, length: Int?, _ body: Body) {
        record.status = status
        let give = onResponse
        onResponse = nil
        var headers = headers.adding(request.responseHeaders)
        // The body of other responses tells it.
        if isHead, let length, status != 204, status != 304 { headers.add("content-length", String(length)) }
        give?(Response(status: status, headers: headers, body: body))
    }

    /// Whoever reads the body sees that something is missing.
    private func breakOff() {
        switch phase {
        case .streaming(let body), .sending(let body): body.end(isComplete: false)
        case .waiting, .ended: break
        }
        end()
    }

    private func end() {
        guard !isEnded else { return }
        phase = .ended
        transfer = nil
        request.connection = nil
        request.closeEncoder()
        let onEnd = onEnd
        self.onEnd = nil
        onEnd?(self)
    }

    // MARK: - HTTPResponder

    package func isWaiting(for number: UInt64) -> Bool {
        switch phase {
        case .waiting, .streaming: true
        case .sending, .ended: false
        }
    }

    package func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        body: UnsafeRawBufferPointer
    ) {
        guard case .waiting = phase else { return }
        let isBare = isHead || status == 204 || status == 304
        give(status, headers, length: body.count, .bytes(isBare ? [] : Array(body)))
        record.bytes = isHead ? 0 : body.count
        end()
    }

    package func beginStream(_ number: UInt64, status: Int, headers: HTTPFields) {
        guard case .waiting = phase else { return }
        let body = HTTPLocalBody(self, eventLoop: eventLoop)
        phase = .streaming(body)
        give(status, headers, length: nil, .stream(body))
    }

    package func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard case .streaming(let body) = phase else { return false }
        guard !isHead, !bytes.isEmpty else { return body.hasRoom }
        record.bytes += bytes.count
        return body.add(Array(bytes))
    }

    package func endStream(_ number: UInt64, isComplete: Bool) {
        guard case .streaming(let body) = phase else { return }
        body.end(isComplete: isComplete)
        end()
    }
}

@available(*, unavailable)
extension HTTPLocalExchange: Sendable {}

extension HTTPLocalExchange: HTTPFileSender {
    package func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        file: HTTPFile,
        range: Range<Int>
    ) {
        guard case .waiting = phase else { return file.close() }
        guard !isHead, !range.isEmpty, status != 304 else {
            file.close()
            give(status, headers, length: range.count, .bytes([]))
            return end()
        }
        let body = HTTPLocalBody(self, eventLoop: eventLoop)
        phase = .sending(body)
        transfer = HTTPFileTransfer(file, range)
        give(status, headers, length: range.count, .stream(body))
        sendFile()
    }

    var takesFile: Bool { if case .sending(let body) = phase { body.hasRoom } else { false } }

    func send(_ piece: ByteBuffer, isLast: Bool) {
        guard case .sending(let body) = phase else { return }
        record.bytes += piece.readableBytes
        _ = body.add(Array(piece.readableBytesView))
        guard isLast else { return }
        body.end(isComplete: true)
        end()
    }

    func fileIsCutShort() { breakOff() }
}
