// What must hold for any bytes a server sends to the client's parser: the same operations however the reads are cut,
// every part inside the bytes of its operation, and documents inside that are read without a trap. Pure, any thread.

import NATSProtocol

/// Checks of the client's operation parser.
package enum ServerStreamCheck {
    /// Small limits, so that inputs of a few hundred bytes reach them.
    static let limits: NATSOperationParser.Limits = {
        var limits = NATSOperationParser.Limits()
        limits.controlLine = 256
        limits.info = 512
        limits.message = 1024
        return limits
    }()

    package static func check(_ input: [UInt8]) throws(FuzzFailure) {
        // An end that completes every line: what an unfinished one may become is not decided before.
        let bytes = input + Array("\r\n".utf8)
        let whole = try run(bytes, cuts: [])
        var random = SeededGenerator(seed: input.seed)
        for longest in [3, 17, 120] {
            var cuts: [Int] = []
            var position = 0
            while position < bytes.count {
                position += Int.random(in: 1...longest, using: &random)
                cuts.append(position)
            }
            let split = try run(bytes, cuts: cuts)
            try require(whole == split, "cut at \(cuts) it means \(split), in one piece \(whole)")
        }
        if bytes.count <= 192 {
            let single = try run(bytes, cuts: Array(1..<bytes.count))
            try require(whole == single, "byte by byte it means \(single), in one piece \(whole)")
        }
    }

    /// One operation in a form that can be compared.
    enum Seen: Equatable {
        case message(sid: Int, subject: [UInt8], reply: [UInt8], headers: [UInt8], payload: [UInt8])
        /// With the size it has.
        case oversized(Int)
        case ping
        case pong
        case ok
        case info([UInt8])
        case error([UInt8])
        case failure(NATSParserError.Kind)
    }

    private static func run(_ bytes: [UInt8], cuts: [Int]) throws(FuzzFailure) -> [Seen] {
        var parser = NATSOperationParser(limits: limits)
        var seen: [Seen] = []
        var start = 0
        for end in cuts.filter({ $0 < bytes.count }) + [bytes.count] {
            guard start < end else { continue }
            let pending = Array(bytes[start..<end])
            let (consumed, failed) = try pending.withExactBytes { pending throws(FuzzFailure) in
                try read(pending, &parser, &seen)
            }
            if failed { break }
            start += consumed
        }
        return seen
    }

    /// Everything complete in `bytes`; returns how much that was, and whether the parser has given up.
    private static func read(
        _ bytes: UnsafeRawBufferPointer,
        _ parser: inout NATSOperationParser,
        _ seen: inout [Seen]
    ) throws(FuzzFailure) -> (Int, Bool) {
        var position = 0
        while position < bytes.count, let base = bytes.baseAddress {
            let count = bytes.count - position
            let operation = parser.next(base + position, count: count)
            switch operation {
            case .incomplete:
                try require(parser.needed == 0 || parser.needed > count, "it waits for bytes that are there")
                try require(parser.needed <= limits.controlLine + limits.message + 2, "it waits for too many bytes")
                return (position, false)
            case .failure(let error):
                seen.append(.failure(error.kind))
                return (position, true)
            case .message, .oversized, .skipped, .ping, .pong, .ok, .info, .error: break
            }
            try require(parser.consumed > 0 && parser.consumed <= count, "consumed \(parser.consumed) of \(count)")
            let own = UnsafeRawBufferPointer(rebasing: bytes[position..<position + parser.consumed])
            switch operation {
            case .message: seen.append(try message(parser.message, own))
            case .info:
                let text = try part(own, parser.text.lowerBound, parser.text.upperBound)
                try DocumentCheck.info(text)
                seen.append(.info(text))
            case .error:
                let text = try part(own, parser.text.lowerBound, parser.text.upperBound)
                try DocumentCheck.fault(text)
                seen.append(.error(text))
            case .oversized: seen.append(.oversized(parser.message.totalLength))
            // How many there are depends on the reads.
            case .skipped: break
            case .ping: seen.append(.ping)
            case .pong: seen.append(.pong)
            case .ok: seen.append(.ok)
            case .incomplete, .failure: break
            }
            position += parser.consumed
        }
        return (position, false)
    }

    private static func message(
        _ message: NATSOperationParser.Message,
        _ bytes: UnsafeRawBufferPointer
    ) throws(FuzzFailure) -> Seen {
        let body = message.payloadStart + message.headerLength
        let end = message.payloadStart + message.totalLength
        try require(end + 2 == bytes.count, "the payload does not end where the operation does")
        try require(message.subjectStart < message.subjectEnd, "a message without a subject")
        try require(message.subjectEnd <= message.payloadStart, "the subject reaches into the payload")
        try require(message.replyEnd <= message.payloadStart, "the reply subject reaches into the payload")
        try require(message.sid >= 0, "a negative sid")
        let headers = try part(bytes, message.payloadStart, body)
        try DocumentCheck.headers(headers)
        return .message(
            sid: message.sid,
            subject: try part(bytes, message.subjectStart, message.subjectEnd),
            reply: try part(bytes, message.replyStart, message.replyEnd),
            headers: headers,
            payload: try part(bytes, body, end)
        )
    }

    private static func part(
        _ bytes: UnsafeRawBufferPointer,
        _ start: Int,
        _ end: Int
    ) throws(FuzzFailure) -> [UInt8] {
        try require(start >= 0 && start <= end && end <= bytes.count, "a part at \(start)..<\(end) of \(bytes.count)")
        return Array(bytes[start..<end])
    }
}
