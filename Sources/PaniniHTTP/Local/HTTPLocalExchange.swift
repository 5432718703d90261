// Owns: a request that comes from this program and not from a socket, and its answer: the same limits and the same way to the
// delegate as over a connection. Loop-bound.

import Glibc
package import NIOCore
package import NIOHTTP1

/// What answers requests without a server.
package protocol HTTPLocalDelegate: AnyObject {
    /// A request's head has come. The delegate sets the route and the largest body.
    ///
    /// - Returns: Nil to go on, or the answer that refuses the request.
    func admits(_ request: HTTPRequest) -> HTTPAnswer?
    /// A request is complete.
    func received(_ request: HTTPRequest)
    /// Whoever asked is not interested any more.
    func lost(_ request: HTTPRequest)
    /// A stream's reader takes bytes again.
    func canWrite(_ request: HTTPRequest)
    /// The answer is complete, or given up.
    func ended(_ exchange: HTTPLocalExchange)
}

/// One request and its answer.
package final class HTTPLocalExchange: HTTPResponder {
    /// What an answer's body is made of.
    package enum Body: Sendable {
        case bytes([UInt8])
        case stream(HTTPLocalBody)
    }

    /// The head of the answer with its body.
    package struct Answer: Sendable {
        package let status: Int
        package let headers: [(name: String, value: String)]
        package let body: Body
    }

    private enum Phase {
        case waiting
        case streaming(HTTPLocalBody)
        case sending(HTTPLocalBody, HTTPFile, Range<Int>)
        case ended
    }

    /// How much of a streamed body may wait for its reader.
    static let bufferBytes = 256 << 10
    private static let pieceBytes = 64 << 10
    private static let number: UInt64 = 1

    /// Who waits for the answer, for the delegate to find it by.
    package weak var call: AnyObject?
    private unowned let delegate: any HTTPLocalDelegate
    private let eventLoop: any EventLoop
    private var request: HTTPRequest?
    private var phase = Phase.waiting
    private let isHead: Bool
    private var answer: ((Answer) -> Void)?
    private let method: String
    private let path: String
    private let remoteAddress: String
    private var status = 0
    private var bytes = 0
    private let begun = NIODeadline.now()

    /// - Parameter answer: Called once, with the answer's head; not after ``lost()``.
    package init(
        head: HTTPRequestHead,
        remoteAddress: String,
        delegate: any HTTPLocalDelegate,
        eventLoop: any EventLoop,
        answer: @escaping (Answer) -> Void
    ) {
        self.delegate = delegate
        self.eventLoop = eventLoop
        self.answer = answer
        isHead = head.method == .HEAD
        method = head.method.rawValue
        path = String(head.uri.prefix { $0 != "?" })
        self.remoteAddress = remoteAddress
        request = HTTPRequest(
            decoded: head,
            connection: self,
            number: Self.number,
            remoteAddress: remoteAddress,
            compressor: nil
        )
        request?.canUpgrade = false
    }

    /// What the access log tells of it.
    package var report: HTTPAnswerReport {
        HTTPAnswerReport(
            method: method,
            path: path,
            status: status,
            bytes: bytes,
            remoteAddress: remoteAddress,
            seconds: Double((NIODeadline.now() - begun).nanoseconds) / 1e9
        )
    }

    /// Goes the way of a request that has come whole.
    ///
    /// - Parameters:
    ///   - body: The request's body.
    ///   - limits: The largest head.
    package func begin(body: ByteBuffer, limits: HTTPServerConfiguration) {
        guard let request else { return }
        if let refusal = Self.problem(with: request.head, limits) { return request.answer(refusal) }
        if let refusal = request.setUpDecoding() { return request.answer(refusal) }
        if let refusal = delegate.admits(request) { return request.answer(refusal) }
        if body.readableBytes > 0, let refusal = request.append(body) { return request.answer(refusal) }
        if let refusal = request.finishBody() { return request.answer(refusal) }
        delegate.received(request)
    }

    /// What a parser would have refused.
    private static func problem(with head: HTTPRequestHead, _ limits: HTTPServerConfiguration) -> HTTPAnswer? {
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

    /// Nobody waits for the answer, or reads on.
    package func lost() {
        guard let request else { return }
        answer = nil
        if case .streaming(let body) = phase { body.end(isComplete: false) }
        end()
        delegate.lost(request)
    }

    /// The service has ended: nothing more comes.
    package func close() {
        guard let request else { return }
        switch phase {
        case .waiting: request.answer(.failure(503, "the service has stopped"))
        case .streaming(let body), .sending(let body, _, _):
            body.end(isComplete: false)
            end()
        case .ended: break
        }
    }

    /// The reader of the body has taken enough.
    func readerKeepsUp() {
        switch phase {
        case .streaming: if let request { delegate.canWrite(request) }
        case .sending: sendFile()
        case .waiting, .ended: break
        }
    }

    /// - Parameter length: Of the body that GET would have; nil when nobody knows.
    private func give(_ status: Int, _ headers: [(name: String, value: String)], length: Int?, _ body: Body) {
        self.status = status
        let give = answer
        answer = nil
        var headers = headers + (request?.answerHeaders ?? [])
        // Of other answers the body tells it.
        if isHead, let length, status != 204, status != 304 { headers.append(("content-length", String(length))) }
        give?(Answer(status: status, headers: headers, body: body))
    }

    private func end() {
        if case .sending(_, let file, _) = phase { file.close() }
        phase = .ended
        request?.connection = nil
        request?.closeEncoder()
        request = nil
        delegate.ended(self)
    }

    // MARK: - HTTPResponder

    package func isWaiting(for number: UInt64) -> Bool {
        switch phase {
        case .waiting, .streaming: request != nil
        case .sending, .ended: false
        }
    }

    package func answer(
        _ number: UInt64,
        status: Int,
        headers: [(name: String, value: String)],
        body: UnsafeRawBufferPointer
    ) {
        guard case .waiting = phase, request != nil else { return }
        let isBare = isHead || status == 204 || status == 304
        give(status, headers, length: body.count, .bytes(isBare ? [] : Array(body)))
        bytes = isHead ? 0 : body.count
        end()
    }

    package func beginStream(_ number: UInt64, status: Int, headers: [(name: String, value: String)]) {
        guard case .waiting = phase, request != nil else { return }
        let body = HTTPLocalBody(self, eventLoop: eventLoop)
        phase = .streaming(body)
        give(status, headers, length: nil, .stream(body))
    }

    package func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard case .streaming(let body) = phase else { return false }
        guard !isHead, !bytes.isEmpty else { return body.hasRoom }
        self.bytes += bytes.count
        return body.add(Array(bytes))
    }

    package func endStream(_ number: UInt64, isComplete: Bool) {
        guard case .streaming(let body) = phase else { return }
        body.end(isComplete: isComplete)
        end()
    }

    package func answer(
        _ number: UInt64,
        status: Int,
        headers: [(name: String, value: String)],
        file: HTTPFile,
        range: Range<Int>
    ) {
        guard case .waiting = phase, request != nil else { return file.close() }
        guard !isHead, !range.isEmpty, status != 304 else {
            file.close()
            give(status, headers, length: range.count, .bytes([]))
            return end()
        }
        let body = HTTPLocalBody(self, eventLoop: eventLoop)
        phase = .sending(body, file, range)
        give(status, headers, length: range.count, .stream(body))
        sendFile()
    }

    /// Reads on, as far as the reader takes it. Reading blocks for as long as the disk takes.
    private func sendFile() {
        while case .sending(let body, let file, let range) = phase {
            guard body.hasRoom else { return }
            let wanted = min(range.count, Self.pieceBytes)
            let piece = [UInt8](unsafeUninitializedCapacity: wanted) { room, count in
                count = max(0, pread(file.descriptor, room.baseAddress, wanted, off_t(range.lowerBound)))
            }
            guard !piece.isEmpty else {
                // Shorter than it was: the reader must see that something is missing.
                body.end(isComplete: false)
                return end()
            }
            bytes += piece.count
            phase = .sending(body, file, (range.lowerBound + piece.count)..<range.upperBound)
            _ = body.add(piece)
            if piece.count == range.count {
                body.end(isComplete: true)
                return end()
            }
        }
    }
}

@available(*, unavailable)
extension HTTPLocalExchange: Sendable {}
