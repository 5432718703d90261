// Where frames end, for the handler that holds a frame until it is whole.

import Testing

@testable import PaniniHTTP

@Suite("Bounds of HTTP/2 frames")
struct HTTP2FrameBoundsTests {
    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private static func frame(_ payload: Int, type: UInt8 = 0) -> [UInt8] {
        [UInt8(payload >> 16), UInt8(payload >> 8 & 255), UInt8(payload & 255), type, 0, 0, 0, 0, 1]
            + [UInt8](repeating: 7, count: payload)
    }

    /// What passes of each piece, as the handler does it.
    private static func passed(_ pieces: [ArraySlice<UInt8>]) -> (passed: [[UInt8]], held: Int) {
        var bounds = HTTP2FrameBounds()
        var held: [UInt8] = []
        var passed: [[UInt8]] = []
        for piece in pieces {
            held += piece
            let end = held.withUnsafeBytes { bounds.whole(of: $0) }
            passed.append(Array(held[..<end]))
            held.removeFirst(end)
        }
        return (passed, held.count)
    }

    @Test("the preface passes as it comes, and frames when they are whole")
    func wholeFrames() {
        let bytes = Self.preface + Self.frame(0, type: 4) + Self.frame(300) + Self.frame(16384) + Self.frame(5)
        for size in [1, 2, 7, 24, 25, 33, 100, 16393, 1 << 20] {
            let pieces = stride(from: 0, to: bytes.count, by: size).map { bytes[$0..<min($0 + size, bytes.count)] }
            let (passed, held) = Self.passed(pieces)
            #expect(passed.flatMap { $0 } == bytes, "pieces of \(size) bytes")
            #expect(held == 0)
            var end = 0
            let ends = Set([24, 33, 342, 16735, 16749])
            for piece in passed where !piece.isEmpty {
                end += piece.count
                #expect(end < 24 || ends.contains(end), "pieces of \(size) bytes: passed up to \(end)")
            }
        }
    }

    @Test("what is held is less than a frame")
    func heldBytes() {
        let bytes = Self.preface + Self.frame(16384)
        let (passed, held) = Self.passed([bytes[..<(bytes.count - 1)]])
        #expect(passed == [Self.preface])
        #expect(held == 16384 + 9 - 1)
    }

    @Test("a frame that is too large passes, with all that follows, for the parser to refuse")
    func tooLarge() {
        let (passed, held) = Self.passed([
            (Self.preface + Self.frame(10) + [0, 64, 1, 0, 0])[...], [0, 0, 0, 1, 9, 9][...], [9][...],
        ])
        #expect(passed == [Self.preface + Self.frame(10), [0, 64, 1, 0, 0, 0, 0, 0, 1, 9, 9], [9]])
        #expect(held == 0)
    }
}
