// Texts as bytes: what looks the same is not the same, and no sign hides a separator.

import Bytes
import Testing

@Suite(.timeLimit(.minutes(5))) struct ExactTextTests {
    static let pairs = [
        ("\u{E9}", "e\u{301}"), ("K", "\u{212A}"), (";", "\u{37E}"), ("\u{212B}", "\u{C5}"), ("a", "A"),
    ]

    @Test(arguments: pairs) func whatLooksTheSameIsNotTheSame(_ one: String, _ other: String) {
        #expect(ExactText(one) != ExactText(other))
        #expect(!one.isExactly(other) && one.isExactly(one) && one[...].isExactly(one))
        var known: [ExactText: Int] = [ExactText(one): 1, ExactText(other): 2]
        #expect(known[ExactText(one)] == 1 && known[ExactText(other)] == 2)
        known[ExactText(one)] = nil
        #expect(known.count == 1)
        #expect(ExactText(one).hashValue == ExactText(String(decoding: Array(one.utf8), as: UTF8.self)).hashValue)
    }

    @Test(arguments: ["\u{301}", "\u{200D}", "\u{20E3}", "\u{FE0F}"]) func noSignHidesASeparator(_ sign: String) {
        let text = "a.\(sign)b"
        #expect(text.parts(between: ASCII.dot).map(String.init) == ["a", "\(sign)b"])
        #expect(text.begins(with: "a.") && text.ends(with: "b") && !text.begins(with: "b"))
        #expect("\u{600}.x".parts(between: ASCII.dot).count == 2)
        let address = "x://\(sign)"
        #expect(address[...].range(ofText: "://") != nil)
    }

    @Test func partsAreWhatStandsBetween() {
        #expect("".parts(between: ASCII.dot).map(String.init) == [""])
        #expect("..".parts(between: ASCII.dot).map(String.init) == ["", "", ""])
        #expect("a.b."[...].parts(between: ASCII.dot).map(String.init) == ["a", "b", ""])
    }

    @Test func onlyLettersOfASCIIBecomeSmall() {
        #expect("AZ\u{212A}\u{130}É".inLowerASCII.isExactly("az\u{212A}\u{130}É"))
    }

    @Test func aBeginningIsBoundedWhateverItsCharacters() {
        let long = "e" + String(repeating: "\u{301}", count: 100_000)
        #expect(long.count == 1)
        #expect(long.beginning(64).utf8.count <= 64 && long.beginning(64).utf8.count > 60)
        #expect("abc".beginning(3) == "abc" && "é".beginning(1).isEmpty)
    }

    @Test func aPartIsFoundByItsBytes() {
        let mark = "\u{301}"
        let text = "x (queue " + mark
        let isFound = text.holds(" (queue ")
        #expect(isFound)
        #expect(!"".holds("a") && "".holds("") && "a".holds("a"))
    }
}
