// Hexadecimal digits, base64, percent coding, JSON strings and values, comparison without regard to case.

import Bytes
import Testing

@Suite("Encodings", .timeLimit(.minutes(5)))
struct CodingTests {
    @Test("the digits of every byte are read and written, and no other byte is one")
    func hexadecimal() {
        for byte in UInt8.min...UInt8.max {
            let text = String(byte, radix: 16)
            var digits: [UInt8] = []
            Hex.append([byte], to: &digits)
            #expect(String(decoding: digits, as: UTF8.self) == (byte < 16 ? "0" : "") + text)
            #expect(String(UnicodeScalar(Hex.capitalDigit(byte))) == String(byte & 15, radix: 16, uppercase: true))
            let isDigit = Array("0123456789abcdefABCDEF".utf8).contains(byte)
            #expect(Hex.isDigit(byte) == isDigit)
            #expect(Hex.value(of: byte).map { Int($0) } == Int(String(UnicodeScalar(byte)), radix: 16))
        }
    }

    @Test(
        "base64 is what RFC 4648 says, and reads what it has written",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func base64(text: String, digits: String) throws {
        #expect(Base64.encode(text.utf8) == digits)
        #expect(Base64URL.encode(text.utf8) == String(digits.prefix { $0 != "=" }))
        #expect(Base64.length(of: text.utf8.count) == digits.utf8.count)
        var bytes: [UInt8] = []
        try Array(digits.utf8).withUnsafeBytes { try Base64.appendDecoded($0, to: &bytes) }
        #expect(bytes == Array(text.utf8))
    }

    @Test("every byte in every place of a group")
    func base64OfAllBytes() throws {
        for start in 0..<3 {
            let all = Array(repeating: 0x5A, count: start) + Array(UInt8.min...UInt8.max)
            let digits = Base64.encode(all)
            #expect(digits.utf8.allSatisfy { Base64.value(of: $0) != nil || $0 == UInt8(ascii: "=") })
            #expect(Base64URL.encode(all).utf8.allSatisfy(Base64URL.isDigit))
            var bytes: [UInt8] = []
            try Array(digits.utf8).withUnsafeBytes { try Base64.appendDecoded($0, to: &bytes) }
            #expect(bytes == all)
        }
        #expect(Base64.encode([0xFB, 0xFF]) == "+/8=" && Base64URL.encode([0xFB, 0xFF]) == "-_8")
    }

    @Test(
        "what is no base64 is refused at its place",
        arguments: [
            ("Zm9*", Base64.Fault.digit(at: 3)), ("Zg==Zg==", .digit(at: 2)), ("Zh==", .strayBits),
            ("Zm9=", .strayBits),
            ("====", .digit(at: 0)), ("Z===", .digit(at: 1)), ("Zm9\n", .digit(at: 3)),
        ]
    )
    func notBase64(text: String, fault: Base64.Fault) {
        var bytes: [UInt8] = []
        #expect(throws: fault) { try Array(text.utf8).withUnsafeBytes { try Base64.appendDecoded($0, to: &bytes) } }
    }

    @Test("padding stands in the last part of a text only")
    func base64InParts() {
        var bytes: [UInt8] = []
        #expect(throws: Base64.Fault.digit(at: 2)) {
            try Array("Zg==".utf8).withUnsafeBytes { try Base64.appendDecoded($0, isLast: false, to: &bytes) }
        }
    }

    @Test(
        "percent coding",
        arguments: [
            ("a%2Fb", "a/b", "a/b"), ("%41%4a%4A", "AJJ", "AJJ"), ("a+b", "a+b", "a b"), ("%", nil, "%"),
            ("%4", nil, "%4"),
            ("%4g", nil, "%4g"), ("100%25%", nil, "100%%"), ("%%41", nil, "%A"), ("", "", ""), ("%C3%A4", "ä", "ä"),
        ]
    )
    func percent(text: String, strict: String?, form: String) {
        #expect(PercentCoding.decoded(text.utf8) == strict.map { Array($0.utf8) })
        #expect(String(decoding: PercentCoding.decodedForm(text.utf8), as: UTF8.self) == form)
    }

    @Test("a form reads what it has written")
    func forms() {
        let all = Array(UInt8.min...UInt8.max)
        var text: [UInt8] = []
        all.withUnsafeBytes { PercentCoding.appendForm($0, to: &text) }
        #expect(PercentCoding.decodedForm(text) == all)
        #expect(text.allSatisfy { PercentCoding.formByte($0) == $0 || "%+".utf8.contains($0) })
        #expect(String(decoding: text.prefix(9), as: UTF8.self) == "%00%01%02")
        #expect(String(decoding: text, as: UTF8.self).contains("%1F+%21"))
    }

    @Test("case of ASCII letters is nothing, all else is something")
    func words() {
        let word: StaticString = "content-length"
        for text in ["content-length", "Content-Length", "CONTENT-LENGTH"] {
            #expect(ASCII.equals(text.utf8, ignoringCase: word))
            #expect(Array(text.utf8).withUnsafeBytes { ASCII.equals($0, ignoringCase: word) })
        }
        for text in ["content\rlength", "content-lengt", "content-length ", "", "content-lengtK\u{302}"] {
            #expect(!ASCII.equals(text.utf8, ignoringCase: word), "\(text)")
            #expect(!Array(text.utf8).withUnsafeBytes { ASCII.equals($0, ignoringCase: word) }, "\(text)")
        }
        #expect(ASCII.equals("HOst".utf8, ignoringCase: "hoST".utf8))
        #expect(
            !ASCII.equals("@".utf8, ignoringCase: "`".utf8) && !ASCII.equals("k".utf8, ignoringCase: "\u{212A}".utf8)
        )
        for byte in UInt8.min...UInt8.max {
            let character = Character(UnicodeScalar(byte))
            #expect(ASCII.isLetter(byte) == (character.isASCII && character.isLetter))
            #expect(ASCII.isDigit(byte) == (character.isASCII && character.isNumber))
            let lower = character.isASCII ? Array(character.lowercased().utf8) : [byte]
            #expect([ASCII.lowercased(byte)] == lower)
        }
        #expect(Array(Array(" \t a b \t".utf8)[...].withoutBlanks) == Array("a b".utf8))
        #expect(Array(" \t ".utf8)[...].withoutBlanks.isEmpty)
    }
}

@Suite("JSON texts", .timeLimit(.minutes(5)))
struct JSONTextTests {
    private func string(_ text: String, _ escapes: JSONText.Escapes) -> String {
        var bytes: [UInt8] = []
        JSONText.append(text, escapes, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("strings have their escapes in every style")
    func strings() {
        let text = "a\"b\\c\nd\re\tf\u{0}g\u{1F}h\u{7F}ä😀"
        #expect(string(text, .numbers) == #""a\"b\\c\u000ad\u000de\u0009f\u0000g\u001fh"# + "\u{7F}ä😀\"")
        #expect(string(text, .names) == #""a\"b\\c\nd\re\tf\u0000g\u001fh"# + "\u{7F}ä😀\"")
        #expect(string(text, .visible) == #""a\"b\\c\nd\re\tf\u0000g\u001fh\u007fä😀""#)
        for escapes in [JSONText.Escapes.numbers, .names, .visible] {
            #expect(string("", escapes) == "\"\"" && string("plain", escapes) == "\"plain\"")
        }
    }

    @Test("the length of a text is told as it is written")
    func lengths() {
        for scalar in ["a", "\"", "\\", "\n", "\r", "\t", "\u{8}", "\u{1F}", "\u{7F}", "ä", "€", "😀"]
            as [Unicode.Scalar]
        {
            let written = string(String(Character(scalar)), .names)
            #expect(JSONText.length(of: scalar) == written.utf8.count - 2, "\(scalar)")
        }
    }

    @Test("values in both styles")
    func values() {
        let value = JSONText.object([
            ("a\"", .array([.null, .boolean(true), .boolean(false), .integer(-1), .number(0.5), .number(.nan)])),
            ("b", .object([])), ("c", .array([])), ("d", .texts(["y": "2", "x": "\u{1}"])),
            ("e", .list(["1", "\u{200E}"])),
            ("f", .text(nil)), ("g", .whole(UInt64.max)), ("h", .number(3)),
        ])
        let compact =
            #"{"a\"":[null,true,false,-1,0.5,null],"b":{},"c":[],"d":{"x":"\u0001","y":"2"},"e":["1",""# + "\u{200E}"
            + #""],"f":null,"g":9223372036854775807,"h":3.0}"#
        #expect(value.written() == compact)
        let printed =
            #"{"a\"": [null, true, false, -1, 0.5, null], "b": {}, "c": [], "d": {"x": "\u0001", "y": "2"}, "#
            + #""e": ["1", "\u200e"], "f": null, "g": 9223372036854775807, "h": 3.0}"#
        #expect(value.written(.printed) == printed)
    }
}
