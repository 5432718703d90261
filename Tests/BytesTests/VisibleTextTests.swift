// What may steer a terminal, in every form of output.

import Testing

@testable import Bytes

@Suite(.timeLimit(.minutes(5))) struct VisibleTextTests {
    private func text(_ text: String, _ form: VisibleText.Form) -> String {
        var bytes: [UInt8] = []
        VisibleText.append(text, form, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    static let steering: [UInt32] =
        Array(0..<0x20).filter { $0 != 9 && $0 != 10 } + Array(0x7F...0x9F) + [0x061C, 0x200E, 0x200F]
        + Array(0x2028...0x202E)
        + Array(0x2066...0x206F)

    @Test(arguments: steering) func nothingThatSteersComesThrough(_ value: UInt32) throws {
        let scalar = try #require(Unicode.Scalar(value))
        let hex = String(value, radix: 16)
        let shown = value > 0xFF ? "\\u{\(hex.count == 3 ? "0" : "")\(hex)}" : "\\x" + (hex.count == 1 ? "0" : "") + hex
        for form in [VisibleText.Form.line, .lines(indent: 2)] {
            // Doubled in front: what stands before it does not matter.
            if value == 0xA { continue }
            #expect(text("a\(scalar)b\u{C2}\(scalar)", form) == "a\(shown)bÂ\(shown)".replacing("\u{D}", with: ""))
        }
        let json = text("a\(scalar)b", .json)
        #expect(json.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "\(json)")
        #expect(json.hasPrefix("a\\") && json.hasSuffix("b"))
    }

    @Test func everythingElseStays() {
        let kept = "\ta\"b\\c é e\u{301} 日本 👩‍👩‍👧 \u{200D}\u{200B}\u{FEFF}\u{10FFFF} \u{A0}\u{AD}"
        #expect(text(kept, .line) == kept)
        #expect(text(kept, .lines(indent: 4)) == kept)
        #expect(text("a\nb\n", .line) == "a\\nb\\n")
        #expect(text("a\nb", .lines(indent: 2)) == "a\n  b")
        #expect(text("\t\"\\\n\r", .json) == #"\t\"\\\n\r"#)
        #expect(VisibleText.line("") == "")
    }

    @Test func bytesThatAreNoTextAreShownAsSuch() {
        func shown(_ bytes: [UInt8], _ form: VisibleText.Form = .line) -> String {
            var result: [UInt8] = []
            bytes.withUnsafeBytes { VisibleText.append($0, form, to: &result) }
            return String(decoding: result, as: UTF8.self)
        }
        // A C1 control character alone, one behind the beginning of something else, overlong forms, surrogates.
        #expect(shown([0x61, 0x9B, 0x31, 0x6D]) == "a\\x9b1m")
        #expect(shown([0xE2, 0x9B, 0x41]) == "\\xe2\\x9bA")
        #expect(shown([0xC0, 0x9B]) == "\\xc0\\x9b")
        #expect(shown([0xE0, 0x82, 0x9B]) == "\\xe0\\x82\\x9b")
        #expect(shown([0xED, 0xA0, 0x80]) == "\\xed\\xa0\\x80")
        #expect(shown([0xF4, 0x90, 0x80, 0x80]) == "\\xf4\\x90\\x80\\x80")
        #expect(shown([0xC2]) == "\\xc2")
        #expect(shown([0xF0, 0x9F, 0x98]) == "\\xf0\\x9f\\x98")
        #expect(shown([0xFF, 0x22], .json) == "\\ufffd\\\"")
    }
}
