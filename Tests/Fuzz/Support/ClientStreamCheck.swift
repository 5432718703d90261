// What must hold for any bytes a client sends to the broker's parser, and the parser as a reader of what our own client
// writes. Pure, any thread.

import NATSBroker
import NATSProtocol

/// What a client said, read by the broker's parser.
struct ClientStream: Equatable {
    enum Command: Equatable {
        case connect([UInt8])
        case publish(subject: [UInt8], reply: [UInt8], headers: [UInt8], payload: [UInt8])
        case subscribe(subject: [UInt8], queue: [UInt8], sid: [UInt8])
        case unsubscribe(sid: [UInt8], maximum: Int?)
        case ping
        case pong
        case ignored
    }

    private(set) var commands: [Command] = []
    private(set) var error: ClientProtocolError?
    /// How many bytes at the end are not a whole command.
    private(set) var rest = 0
    /// Whether a command's parts lie outside of it.
    private(set) var isOutside = false

    /// Whether the bytes are commands from the first to the last byte.
    var isWhole: Bool { error == nil && rest == 0 && !isOutside }

    static func read(
        _ bytes: [UInt8],
        cuts: [Int] = [],
        maximumControlLine: Int = 1 << 16,
        maximumPayload: Int = 1 << 24
    ) -> ClientStream {
        var parser = ClientCommandParser(maximumControlLine: maximumControlLine, maximumPayload: maximumPayload)
        var stream = ClientStream()
        var start = 0
        for end in cuts.filter({ $0 < bytes.count }) + [bytes.count] {
            while start < end, stream.error == nil, !stream.isOutside {
                let pending = Array(bytes[start..<end])
                let length = (try? pending.withExactBytes { stream.take(&parser, $0) }) ?? 0
                if length == 0 { break }
                start += length
            }
        }
        stream.rest = bytes.count - start
        return stream
    }

    private mutating func take(_ parser: inout ClientCommandParser, _ bytes: UnsafeRawBufferPointer) -> Int {
        let parsed: ClientCommandParser.Parsed
        do throws(ClientProtocolError) {
            guard let next = try parser.next(in: bytes) else { return 0 }
            parsed = next
        } catch {
            self.error = error
            return 0
        }
        guard parsed.length > 0, parsed.length <= bytes.count else {
            isOutside = true
            return 0
        }
        let own = UnsafeRawBufferPointer(rebasing: bytes[0..<parsed.length])
        switch parsed.command {
        case .connect(let options): commands.append(.connect(part(own, options)))
        case .publish(let publication):
            commands.append(
                .publish(
                    subject: part(own, publication.subject),
                    reply: part(own, publication.reply),
                    headers: part(own, publication.headers),
                    payload: part(own, publication.payload)
                )
            )
        case .subscribe(let subject, let queue, let sid):
            commands.append(.subscribe(subject: part(own, subject), queue: part(own, queue), sid: part(own, sid)))
        case .unsubscribe(let sid, let maximum):
            commands.append(.unsubscribe(sid: part(own, sid), maximum: maximum))
        case .ping: commands.append(.ping)
        case .pong: commands.append(.pong)
        case .ignored: commands.append(.ignored)
        }
        return parsed.length
    }

    private mutating func part(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> [UInt8] {
        guard range.lowerBound >= 0, range.upperBound <= bytes.count else {
            isOutside = true
            return []
        }
        return Array(bytes[range])
    }
}

/// Checks of the broker's command parser.
package enum ClientStreamCheck {
    package static func check(_ bytes: [UInt8]) throws(FuzzFailure) {
        let whole = read(bytes, cuts: [])
        try require(!whole.isOutside, "a command's parts lie outside of it")
        var random = SeededGenerator(seed: bytes.seed)
        for longest in [2, 13, 90] {
            var cuts: [Int] = []
            var position = 0
            while position < bytes.count {
                position += Int.random(in: 1...longest, using: &random)
                cuts.append(position)
            }
            let split = read(bytes, cuts: cuts)
            try require(whole == split, "cut at \(cuts) it means \(split), in one piece \(whole)")
        }
    }

    private static func read(_ bytes: [UInt8], cuts: [Int]) -> ClientStream {
        ClientStream.read(bytes, cuts: cuts, maximumControlLine: 128, maximumPayload: 512)
    }
}
