// Well-formed UTF-8, as a whole and in pieces.

import Bytes
import Testing

@Suite("UTF-8", .timeLimit(.minutes(5)))
struct UTF8TextTests {
    /// What Swift's own decoder thinks of the bytes.
    private func isValid(_ bytes: [UInt8]) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

    private func isValidInPieces(_ bytes: [UInt8]) -> Bool {
        var pieces = UTF8Pieces()
        return bytes.withUnsafeBytes { pieces.take($0) } && pieces.isComplete
    }

    @Test("agrees with Swift on every sequence of up to four bytes that can matter")
    func sequences() {
        let bytes: [UInt8] = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
            0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFE, 0xFF,
        ]
        for first in bytes {
            for second in bytes {
                for third in bytes {
                    for fourth in [0x41, 0x80, 0xBF, 0xC0] as [UInt8] {
                        let text = [first, second, third, fourth]
                        let isRight = isValid(text)
                        #expect(UTF8Text.isValid(text) == isRight, "\(text)")
                        #expect(isValidInPieces(text) == isRight, "\(text)")
                    }
                }
            }
        }
    }

    @Test(
        "runs of ASCII in front and behind, and texts that end within a character",
        arguments: [
            [], [0x61], [0xC3, 0xA4], [0xF0, 0x9F, 0x98, 0x80], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xC3],
        ]
    )
    func runs(bytes: [UInt8]) {
        for before in 0...17 {
            for behind in 0...17 {
                let text = Array(repeating: 0x61, count: before) + bytes + Array(repeating: 0x62, count: behind)
                #expect(UTF8Text.isValid(text) == isValid(text), "\(before) \(bytes) \(behind)")
                #expect(isValidInPieces(text) == isValid(text), "\(before) \(bytes) \(behind)")
            }
        }
    }

    @Test("is the same however the text is cut")
    func cuts() {
        let text = Array("aé€😀 plain text of some length, ασφ".utf8)
        for cut in 0...text.count {
            var check = UTF8Pieces()
            #expect(Array(text[..<cut]).withUnsafeBytes { check.take($0) })
            #expect(Array(text[cut...]).withUnsafeBytes { check.take($0) } && check.isComplete)
        }
        let wrong = text + [0xED, 0xA0, 0x80] + text
        for cut in 0...wrong.count {
            var check = UTF8Pieces()
            let first = Array(wrong[..<cut]).withUnsafeBytes { check.take($0) }
            #expect(!(first && Array(wrong[cut...]).withUnsafeBytes { check.take($0) }))
        }
    }
}
