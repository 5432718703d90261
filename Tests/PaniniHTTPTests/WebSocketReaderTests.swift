// The rules of frames and messages (RFC 6455, sections 5 and 8.1), for each way the bytes may be cut.

import NIOCore
import Testing

@testable import PaniniHTTP

/// A frame as a client writes it.
private func frame(
    _ opcode: UInt8,
    _ payload: [UInt8] = [],
    fin: Bool = true,
    reserved: UInt8 = 0,
    isMasked: Bool = true,
    lengthBytes: Int? = nil
) -> [UInt8] {
    var bytes: [UInt8] = [(fin ? 0x80 : 0) | reserved << 4 | opcode]
    let mask: UInt8 = isMasked ? 0x80 : 0
    let form = lengthBytes ?? (payload.count < 126 ? 0 : payload.count <= 0xFFFF ? 2 : 8)
    if form == 0 {
        bytes.append(mask | UInt8(payload.count))
    } else {
        bytes.append(mask | (form == 2 ? 126 : 127))
        for place in (0..<form).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: UInt64(payload.count) >> (8 * UInt64(place))))
        }
    }
    guard isMasked else { return bytes + payload }
    let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
    return bytes + key + payload.enumerated().map { $1 ^ key[$0 & 3] }
}

private enum Outcome: Equatable {
    case message(WebSocketKind, [UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?, String)
    case failed(UInt16)
}

/// Reads bytes that come in pieces of a size.
private func read(_ bytes: [UInt8], pieces: Int, maximum: Int = 1000) -> [Outcome] {
    var reader = WebSocketReader(maximumMessage: maximum)
    var buffer = ByteBuffer()
    var outcomes: [Outcome] = []
    for start in stride(from: 0, to: bytes.count, by: pieces) {
        buffer.writeBytes(bytes[start..<min(bytes.count, start + pieces)])
        reading: while true {
            switch reader.next(&buffer) {
            case .needsMore: break reading
            case .message(let kind):
                let message = reader.takeMessage()
                outcomes.append(.message(kind, Array(message.readableBytesView)))
                reader.giveBack(message)
            case .ping: outcomes.append(.ping(Array(reader.control.readableBytesView)))
            case .pong: outcomes.append(.pong(Array(reader.control.readableBytesView)))
            case .close(let code, let reason): outcomes.append(.close(code, reason))
            case .failed(let code, _): outcomes.append(.failed(code))
            }
        }
    }
    return outcomes
}

private func check(
    _ bytes: [UInt8],
    maximum: Int = 1000,
    _ expected: [Outcome],
    sourceLocation: SourceLocation = #_sourceLocation
) {
    for pieces in [1, 2, 3, 7, 8, 13, 100_000] {
        #expect(
            read(bytes, pieces: pieces, maximum: maximum) == expected,
            "in pieces of \(pieces)",
            sourceLocation: sourceLocation
        )
    }
}

@Suite("WebSocket reader")
struct WebSocketReaderTests {
    @Test("messages of every form of length", arguments: [0, 1, 7, 8, 9, 125, 126, 127, 128, 65535, 65536, 70001])
    func lengths(count: Int) {
        let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for pieces in [1000, 1_000_000] {
            #expect(read(frame(2, payload), pieces: pieces, maximum: 100_000) == [.message(.binary, payload)])
        }
    }

    @Test("several messages in one read, and fragments with control frames between")
    func sequences() {
        check(
            frame(1, Array("one".utf8)) + frame(2, [1, 2]) + frame(1),
            [.message(.text, Array("one".utf8)), .message(.binary, [1, 2]), .message(.text, [])]
        )
        check(
            frame(1, Array("Hel".utf8), fin: false) + frame(9, [7]) + frame(0, [], fin: false) + frame(10, [8])
                + frame(0, Array("lo".utf8)) + frame(9),
            [.ping([7]), .pong([8]), .message(.text, Array("Hello".utf8)), .ping([])]
        )
        check(frame(9, Array(repeating: 5, count: 125)), [.ping(Array(repeating: 5, count: 125))])
    }

    @Test("what the protocol forbids is 1002, and nothing behind it is read")
    func protocolErrors() {
        let wrong: [[UInt8]] = [
            frame(1, [65], reserved: 1), frame(1, [65], reserved: 2), frame(1, [65], reserved: 4),
            frame(9, [], reserved: 1),
            frame(3), frame(4), frame(7), frame(11), frame(12), frame(15),
            frame(1, [65], isMasked: false), frame(9, isMasked: false), frame(8, isMasked: false),
            frame(9, fin: false), frame(8, fin: false), frame(10, fin: false),
            frame(9, Array(repeating: 0, count: 126)), frame(8, Array(repeating: 0, count: 200)),
            frame(0, [65]), frame(0, [65], fin: false),
            frame(1, [65], fin: false) + frame(1, [65]), frame(2, [65], fin: false) + frame(2, [65]),
            frame(1, [65], lengthBytes: 2), frame(1, Array(repeating: 65, count: 125), lengthBytes: 8),
            frame(1, Array(repeating: 65, count: 300), lengthBytes: 8),
            [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            frame(8, [3]), frame(8, [0, 0]), frame(8, [3, 231]), frame(8, [3, 236]), frame(8, [3, 237]),
            frame(8, [3, 238]), frame(8, [3, 247]), frame(8, [3, 248]), frame(8, [7, 207]), frame(8, [11, 183]),
            frame(8, [19, 136]),
        ]
        for bytes in wrong { check(bytes + frame(1, [66]), [.failed(1002)]) }
    }

    @Test("a text is UTF-8, found wrong at the byte that makes it so")
    func texts() {
        check(
            frame(1, [0xCE, 0xBA], fin: false) + frame(0, [0xE1, 0xBD, 0xB9]),
            [.message(.text, [0xCE, 0xBA, 0xE1, 0xBD, 0xB9])]
        )
        // Cut inside a character.
        check(
            frame(1, [0xF0, 0x9F], fin: false) + frame(9) + frame(0, [0x98, 0x80]),
            [.ping([]), .message(.text, [0xF0, 0x9F, 0x98, 0x80])]
        )
        check(frame(1, [65, 0xFF]), [.failed(1007)])
        check(frame(1, [0xE1, 0xBD]), [.failed(1007)])
        check(frame(1, [0xE1], fin: false) + frame(0, [0x41]), [.failed(1007)])
        check(frame(2, [0xFF]), [.message(.binary, [0xFF])])
        // Not complete, and wrong already: 0xF4 0x90 is beyond U+10FFFF.
        check(Array(frame(1, [0xF4, 0x90, 0x80, 0x80], fin: false).prefix(8)), [.failed(1007)])
    }

    @Test("a message that is too large is refused at the head that says so")
    func tooLarge() {
        check(
            frame(2, Array(repeating: 1, count: 100)),
            maximum: 100,
            [.message(.binary, Array(repeating: 1, count: 100))]
        )
        check(Array(frame(2, Array(repeating: 1, count: 101)).prefix(2)), maximum: 100, [.failed(1009)])
        check(
            frame(2, Array(repeating: 1, count: 60), fin: false)
                + Array(frame(0, Array(repeating: 1, count: 41)).prefix(2)),
            maximum: 100,
            [.failed(1009)]
        )
        check([0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255], maximum: 100, [.failed(1009)])
        // Control frames do not count.
        check(
            frame(2, [1], fin: false) + frame(9, Array(repeating: 2, count: 120)) + frame(0, [2]),
            maximum: 2,
            [.ping(Array(repeating: 2, count: 120)), .message(.binary, [1, 2])]
        )
    }

    @Test("close frames: codes, reasons, nothing")
    func closes() {
        check(frame(8), [.close(nil, "")])
        for code: UInt16 in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
        ] {
            check(frame(8, [UInt8(code >> 8), UInt8(code & 255)] + Array("bye".utf8)), [.close(code, "bye")])
        }
        check(frame(8, [3, 232, 0xFF]), [.failed(1007)])
        check(frame(8, [3, 232, 0xC3]), [.failed(1007)])
    }

    @Test("the memory of large messages is not kept, that of small ones is used again")
    func memory() {
        var reader = WebSocketReader(maximumMessage: 1 << 20)
        for count in [100, 200_000, 100] {
            var bytes = ByteBuffer(bytes: frame(2, Array(repeating: 1, count: count)))
            #expect(reader.next(&bytes) == .message(.binary))
            let message = reader.takeMessage()
            #expect(message.readableBytes == count)
            reader.giveBack(message)
            #expect(reader.takeMessage().capacity <= 16 << 10)
        }
    }
}

@Suite("WebSocket frames")
struct WebSocketFrameTests {
    @Test("heads are as short as they can be", arguments: [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
    func heads(count: Int, head: Int) {
        var buffer = ByteBuffer()
        WebSocketFrame.writeHead(1, count, into: &buffer)
        #expect(buffer.readableBytes == head)
        var whole = ByteBuffer()
        WebSocketFrame.make(.text, in: &whole) { $0.writeRepeatingByte(65, count: count) }
        #expect(Array(whole.readableBytesView.prefix(head)) == Array(buffer.readableBytesView))
        #expect(whole.readableBytes == head + count && whole.readableBytesView.dropFirst(head).allSatisfy { $0 == 65 })
        // Again in the same memory.
        WebSocketFrame.make(.binary, in: &whole) { $0.writeString("x") }
        #expect(Array(whole.readableBytesView) == [0x82, 1, 120])
    }

    @Test("reasons are cut where they do not fit, between characters")
    func reasons() {
        #expect(WebSocketFrame.cut("short") == "short")
        #expect(WebSocketFrame.cut(String(repeating: "a", count: 200)).utf8.count == 123)
        #expect(WebSocketFrame.cut(String(repeating: "ä", count: 200)).utf8.count == 122)
        var buffer = ByteBuffer()
        WebSocketFrame.writeClose(1001, "bye", into: &buffer)
        #expect(Array(buffer.readableBytesView) == [0x88, 5, 3, 233] + Array("bye".utf8))
        buffer.clear()
        WebSocketFrame.writeClose(nil, "never", into: &buffer)
        #expect(Array(buffer.readableBytesView) == [0x88, 0])
    }
}
