// Runs the parser over bytes cut into reads, as a connection does, and writes down what it found in a comparable form.

import NATSProtocol

enum Seen: Equatable {
    case message(sid: Int, subject: String, reply: String, headers: String, payload: String)
    case oversized(sid: Int, subject: String)
    case ping
    case pong
    case ok
    case info(String)
    case error(String)
    case failure(NATSParserError.Kind)
}

struct OperationCollector {
    var parser: NATSOperationParser
    private(set) var seen: [Seen] = []
    private(set) var pending: [UInt8] = []
    private var hasFailed = false

    init(limits: NATSOperationParser.Limits = .init()) {
        parser = NATSOperationParser(limits: limits)
    }

    mutating func read(_ bytes: some Sequence<UInt8>) {
        pending.append(contentsOf: bytes)
        var position = 0
        // A fresh allocation of exactly these bytes, so that a read past the end would be seen by a sanitizer.
        let exact = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, pending.count), alignment: 1)
        defer { exact.deallocate() }
        exact.copyBytes(from: pending)
        let base = UnsafeRawPointer(exact.baseAddress!)
        while position < pending.count, !hasFailed {
            let start = base + position
            func text(_ from: Int, _ to: Int) -> String {
                String(decoding: UnsafeRawBufferPointer(start: start + from, count: to - from), as: UTF8.self)
            }
            switch parser.next(start, count: pending.count - position) {
            case .incomplete:
                pending.removeFirst(position)
                return
            case .message:
                let message = parser.message
                let body = message.payloadStart + message.headerLength
                seen.append(
                    .message(
                        sid: message.sid,
                        subject: text(message.subjectStart, message.subjectEnd),
                        reply: text(message.replyStart, message.replyEnd),
                        headers: text(message.payloadStart, body),
                        payload: text(body, message.payloadStart + message.totalLength)
                    )
                )
            case .oversized:
                let message = parser.message
                seen.append(.oversized(sid: message.sid, subject: text(message.subjectStart, message.subjectEnd)))
            case .skipped: break
            case .ping: seen.append(.ping)
            case .pong: seen.append(.pong)
            case .ok: seen.append(.ok)
            case .info: seen.append(.info(text(parser.text.lowerBound, parser.text.upperBound)))
            case .error: seen.append(.error(text(parser.text.lowerBound, parser.text.upperBound)))
            case .failure(let error):
                seen.append(.failure(error.kind))
                hasFailed = true
                return
            }
            position += parser.consumed
        }
        pending.removeFirst(position)
    }

    static func parse(_ reads: [String], limits: NATSOperationParser.Limits = .init()) -> [Seen] {
        var collector = OperationCollector(limits: limits)
        for read in reads {
            collector.read(read.utf8)
        }
        return collector.seen
    }
}
