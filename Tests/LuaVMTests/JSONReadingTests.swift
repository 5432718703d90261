// What the reader takes and what it refuses, text by text.
import CLuaVM
import Testing

@testable import LuaVM

/// A text and what it becomes when it is read and written again.
struct Accepted: CustomTestStringConvertible {
    let text: String
    let result: String
    init(_ text: String, _ result: String? = nil) {
        self.text = text
        self.result = result ?? text
    }
    var testDescription: String { text }
}

/// Bytes that are no JSON text, why, and where.
struct Refused: CustomTestStringConvertible {
    let bytes: [UInt8]
    let kind: LuaJSONError.Kind
    let offset: Int
    let path: String
    init(_ text: String, _ kind: LuaJSONError.Kind, _ offset: Int, path: String = "") {
        self.init(Array(text.utf8), kind, offset, path: path)
    }
    init(_ bytes: [UInt8], _ kind: LuaJSONError.Kind, _ offset: Int, path: String = "") {
        self.bytes = bytes
        self.kind = kind
        self.offset = offset
        self.path = path
    }
    var testDescription: String { String(decoding: bytes, as: UTF8.self) }
}

@Suite struct JSONReadingTests {
    static let accepted: [Accepted] = [
        // Words and white space.
        Accepted("null"), Accepted("true"), Accepted("false"),
        Accepted(" \t\r\n null \n", "null"),
        Accepted("[ 1 , 2 ]", "[1,2]"),
        Accepted("{ \"a\" : 1 }", #"{"a":1}"#),
        // Integers.
        Accepted("0"), Accepted("-1"), Accepted("7"), Accepted("10"), Accepted("99"), Accepted("1234567890"),
        Accepted("-0", "0"),
        Accepted("9223372036854775807"), Accepted("-9223372036854775808"),
        Accepted("999999999999999999"), Accepted("1000000000000000000"),
        Accepted("9223372036854775808", "9.223372036854775808e+18".asDouble),
        Accepted("-9223372036854775809", "-9.223372036854775808e+18".asDouble),
        Accepted("18446744073709551615", "18446744073709551615.0".asDouble),
        Accepted("18446744073709551616", "18446744073709551616.0".asDouble),
        Accepted("123456789012345678901234567890", "123456789012345678901234567890.0".asDouble),
        // Floats.
        Accepted("3.0"), Accepted("-3.0"), Accepted("0.0"), Accepted("-0.0"), Accepted("1e2", "100.0"),
        Accepted("1E+2", "100.0"), Accepted("100e-2", "1.0"), Accepted("0.1"), Accepted("0.10", "0.1"),
        Accepted("3.14159"), Accepted("1.5e3", "1500.0"), Accepted("2.5"), Accepted("-17.25"),
        Accepted("1e22", "1e+22"),
        Accepted("1e23", "1e+23"), Accepted("5e-324"), Accepted("1.7976931348623157e308", "1.7976931348623157e+308"),
        Accepted("2.2250738585072014e-308"), Accepted("2.2250738585072011e-308", "2.225073858507201e-308"),
        Accepted("1e-400", "0.0"), Accepted("-1e-400", "-0.0"), Accepted("0e999999999999", "0.0"),
        Accepted("0.000001", "1e-06".asDouble), Accepted("123456.789"), Accepted("0.30000000000000004"),
        Accepted("9007199254740993.0", "9007199254740992.0"),
        Accepted("1.00000000000000011102230246251565404", "1.0"),
        Accepted("0.500000000000000166533453693773481063544750213623046875", "0.5000000000000002"),
        // Strings.
        Accepted(#""""#), Accepted(#""a""#), Accepted(#""1234567""#), Accepted(#""12345678""#),
        Accepted(#""123456789""#),
        Accepted(#""\"\\\/\b\f\n\r\t""#, #""\"\\/\b\f\n\r\t""#),
        Accepted(#""12345678\n12345678""#), Accepted(#""\u0000""#), Accepted(#""\u001f""#),
        Accepted(#""\u0041""#, #""A""#),
        Accepted(#""\u00e9\u00E9""#, "\"éé\""), Accepted(#""\u20ac""#, "\"€\""), Accepted(#""\ud83d\ude00""#, "\"😀\""),
        Accepted(#""\uDBFF\uDFFF""#, "\"\u{10FFFF}\""),
        Accepted(#""\uD7FF\uE000\uFFFF""#, "\"\u{D7FF}\u{E000}\u{FFFF}\""),
        Accepted("\"é\""), Accepted("\"日本語のテキスト\""), Accepted("\"a😀b\""), Accepted("\"\u{7F}\""),
        Accepted("\"\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\""), Accepted("\"1234567é\""),
        Accepted("\"12345678é1234567890\""),
        Accepted(#""a/b""#),
        // Arrays and objects.
        Accepted("[]"), Accepted("{}"), Accepted("[[]]"), Accepted("[{}]"), Accepted("[ ]", "[]"),
        Accepted("{ }", "{}"),
        Accepted("[null]"), Accepted("[null,null,1]"), Accepted("[[[1]],[2,[3]]]"), Accepted(#"{"":0}"#),
        Accepted(#"{"a":{"b":{"c":[]}}}"#), Accepted(#"{"a":1,"a":2}"#, #"{"a":2}"#),
        Accepted(#"{"a":1,"\u0061":3}"#, #"{"a":3}"#), Accepted(#"{"a":null}"#),
        Accepted(#"{"1":"x"}"#), Accepted(#"[{"a":1},{"a":2}]"#),
        Accepted(
            #"{"key-of-more-than-forty-bytes-which-lua-does-not-intern":1,"key-of-more-than-forty-bytes-which-lua-does-not-intern":2}"#,
            #"{"key-of-more-than-forty-bytes-which-lua-does-not-intern":2}"#
        ),
    ]

    @Test(arguments: accepted) func reads(_ sample: Accepted) throws {
        let machine = try Machine()
        #expect(try machine.reencode(sample.text) == sample.result)
        #expect(lua_gettop(machine.vm.state) == 0)
    }

    static let refused: [Refused] = [
        // The end, and what is behind it.
        Refused("", .unexpectedEnd, 0), Refused("   ", .unexpectedEnd, 3), Refused("1 2", .trailingText, 2),
        Refused("null,", .trailingText, 4), Refused("{}}", .trailingText, 2), Refused("[1]x", .trailingText, 3),
        Refused("1\0", .trailingText, 1),
        Refused([0xEF, 0xBB, 0xBF, 0x31], .byteOrderMark, 0),
        // Words.
        Refused("nul", .unexpectedByte, 0), Refused("nulL", .unexpectedByte, 0), Refused("True", .unexpectedByte, 0),
        Refused("fals", .unexpectedByte, 0), Refused("falsy", .unexpectedByte, 0), Refused("NaN", .unexpectedByte, 0),
        Refused("Infinity", .unexpectedByte, 0), Refused("-Infinity", .invalidNumber, 1),
        Refused("nullx", .trailingText, 4),
        Refused("'a'", .unexpectedByte, 0), Refused("// x", .unexpectedByte, 0), Refused("\u{B}1", .unexpectedByte, 0),
        Refused("\u{A0}1", .unexpectedByte, 0),
        // Numbers.
        Refused("01", .invalidNumber, 0), Refused("-01", .invalidNumber, 1), Refused("00", .invalidNumber, 0),
        Refused("+1", .unexpectedByte, 0), Refused(".5", .unexpectedByte, 0), Refused("-", .unexpectedEnd, 1),
        Refused("-.5", .invalidNumber, 1), Refused("1.", .unexpectedEnd, 2), Refused("1.e3", .invalidNumber, 2),
        Refused("1e", .unexpectedEnd, 2), Refused("1e+", .unexpectedEnd, 3), Refused("1ex", .invalidNumber, 2),
        Refused("[1.]", .invalidNumber, 3, path: "[1]"), Refused("0x10", .trailingText, 1),
        Refused("1_000", .trailingText, 1),
        Refused("1e309", .numberOutOfRange, 0), Refused("-1e309", .numberOutOfRange, 0),
        Refused("1.7976931348623159e308", .numberOutOfRange, 0),
        Refused("1e99999999999999999999", .numberOutOfRange, 0),
        Refused(#"{"a":[1,1e400]}"#, .numberOutOfRange, 8, path: "a[2]"),
        // Strings.
        Refused("\"", .unexpectedEnd, 1), Refused("\"abc", .unexpectedEnd, 4),
        Refused("\"abcdefghijk", .unexpectedEnd, 12),
        Refused("\"a\nb\"", .controlCharacter, 2), Refused("\"\u{0}\"", .controlCharacter, 1),
        Refused("\"12345678\u{1F}\"", .controlCharacter, 9), Refused("\"\t\"", .controlCharacter, 1),
        Refused(#""\x41""#, .invalidEscape, 1), Refused(#""\'""#, .invalidEscape, 1),
        Refused(#""\u12G4""#, .invalidEscape, 1),
        Refused(#""\u12""#, .unexpectedEnd, 1), Refused(#""\u123"xyz"#, .invalidEscape, 1),
        Refused("\"\\", .unexpectedEnd, 2),
        Refused(#""\U0041""#, .invalidEscape, 1),
        Refused(#""\ud83d""#, .loneSurrogate, 1), Refused(#""\ud83dx12345""#, .loneSurrogate, 1),
        Refused(#""\ud83d\n12345""#, .loneSurrogate, 1), Refused(#""\ud83d\u0041""#, .loneSurrogate, 1),
        Refused(#""\ude00\ud83d""#, .loneSurrogate, 1), Refused(#""ab\udc00""#, .loneSurrogate, 3),
        // UTF-8.
        Refused([0x22, 0x80, 0x22], .invalidUTF8, 1), Refused([0x22, 0xC0, 0x80, 0x22], .invalidUTF8, 1),
        Refused([0x22, 0xC1, 0xBF, 0x22], .invalidUTF8, 1), Refused([0x22, 0xE0, 0x80, 0x80, 0x22], .invalidUTF8, 1),
        Refused([0x22, 0xED, 0xA0, 0x80, 0x22], .invalidUTF8, 1),
        Refused([0x22, 0xF0, 0x80, 0x80, 0x80, 0x22], .invalidUTF8, 1),
        Refused([0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], .invalidUTF8, 1),
        Refused([0x22, 0xF5, 0x80, 0x80, 0x80, 0x22], .invalidUTF8, 1),
        Refused([0x22, 0xFF, 0x22], .invalidUTF8, 1), Refused([0x22, 0x61, 0xC3, 0x22], .invalidUTF8, 2),
        Refused([0x22, 0xE2, 0x82, 0x22], .invalidUTF8, 1), Refused([0x22, 0xC3], .invalidUTF8, 1),
        Refused([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], .invalidUTF8, 2),
        // Structure.
        Refused("[", .unexpectedEnd, 1, path: "[1]"), Refused("[1", .unexpectedEnd, 2),
        Refused("[1,", .unexpectedEnd, 3, path: "[2]"),
        Refused("[1,]", .unexpectedByte, 3, path: "[2]"), Refused("[,1]", .unexpectedByte, 1, path: "[1]"),
        Refused("[1 2]", .unexpectedByte, 3), Refused("[1}", .unexpectedByte, 2), Refused("]", .unexpectedByte, 0),
        Refused("{", .unexpectedEnd, 1), Refused("{1:2}", .unexpectedByte, 1), Refused("{a:1}", .unexpectedByte, 1),
        Refused(#"{"a""#, .unexpectedEnd, 4), Refused(#"{"a" 1}"#, .unexpectedByte, 5),
        Refused(#"{"a":}"#, .unexpectedByte, 5, path: "a"),
        Refused(#"{"a":1"#, .unexpectedEnd, 6), Refused(#"{"a":1,}"#, .unexpectedByte, 7),
        Refused(#"{"a":1]"#, .unexpectedByte, 6),
        Refused(#"{"a":1 "b":2}"#, .unexpectedByte, 7), Refused(#"{"a"::1}"#, .unexpectedByte, 5, path: "a"),
        Refused(#"{"a":[1,{"b c":[true,fals]}]}"#, .unexpectedByte, 21, path: #"a[2]["b c"][2]"#),
        Refused(#"[[[1,2],[3,@]]]"#, .unexpectedByte, 11, path: "[1][2][2]"),
    ]

    @Test(arguments: refused) func refuses(_ sample: Refused) throws {
        let machine = try Machine()
        lua_pushinteger(machine.vm.state, 42)
        let error = #expect(throws: LuaJSONError.self) {
            try sample.bytes.withUnsafeBytes { try machine.vm.pushJSON($0, onto: machine.vm.state) }
        }
        #expect(error?.kind == sample.kind)
        #expect(error?.offset == sample.offset)
        #expect(error?.path == sample.path)
        #expect(lua_gettop(machine.vm.state) == 1)
    }

    @Test func depthHasALimit() throws {
        let machine = try Machine { $0.jsonMaximumDepth = 10 }
        let fitting = String(repeating: "[", count: 10) + String(repeating: "]", count: 10)
        #expect(try machine.reencode(fitting) == fitting)
        for text in [
            String(repeating: "[", count: 11) + String(repeating: "]", count: 11),
            String(repeating: #"{"a":"#, count: 11) + "1" + String(repeating: "}", count: 11),
            String(repeating: "[", count: 100_000),
        ] {
            let error = #expect(throws: LuaJSONError.self) { try machine.reencode(text) }
            #expect(error?.kind == .tooDeep)
        }
    }

    @Test func theDeepestSettingStillFitsASmallStack() throws {
        let machine = try Machine { $0.jsonMaximumDepth = 1_000_000 }
        let depth = LuaVM.Configuration.largestJSONDepth
        #expect(machine.vm.configuration.jsonMaximumDepth == depth)
        let text = String(repeating: #"[{"a":"#, count: depth / 2) + "1" + String(repeating: "}]", count: depth / 2)
        #expect(try machine.reencode(text) == text)
    }

    /// Arrays and objects beyond the size that is gathered on the stack, around every boundary.
    @Test(arguments: [1, 7, 8, 9, 62, 63, 64, 65, 66, 127, 128, 129, 500, 10_000])
    func largeTablesAreComplete(_ count: Int) throws {
        let machine = try Machine()
        let array = "[" + (1...count).map { "\($0)" }.joined(separator: ",") + "]"
        #expect(try machine.reencode(array) == array)
        let object = "{" + (1...count).map { #""k\#($0)":\#($0)"# }.joined(separator: ",") + "}"
        try machine.push(object)
        machine.vm.setGlobal(machine.vm.state, "o")
        let check = "local n = 0; for k, v in pairs(o) do assert(k == 'k' .. v); n = n + 1 end; return n"
        #expect(try machine.run(check) == "\(count)")
    }

    /// The last of equal keys counts, in objects of every size.
    @Test(arguments: [2, 5, 8, 9, 20, 63, 64, 65, 130]) func theLastOfEqualKeysCounts(_ count: Int) throws {
        let machine = try Machine()
        let pairs = (1...count).map { #""k\#($0)":\#($0)"# } + [#""k1":"last""#]
        try machine.push("{" + pairs.joined(separator: ",") + "}")
        machine.vm.setGlobal(machine.vm.state, "o")
        #expect(try machine.run("return o.k1") == #""last""#)
    }

    @Test func decodedArraysStayArraysWhenEmptied() throws {
        let machine = try Machine()
        try machine.push(#"{"a":[1]}"#)
        machine.vm.setGlobal(machine.vm.state, "o")
        #expect(try machine.run("table.remove(o.a); return o") == #"{"a":[]}"#)
    }

    @Test func deepTextsDoNotNeedAFreshStack() throws {
        // A handler that is deep in recursion has little stack left: reading reports it, or works.
        let machine = try Machine()
        machine.install("decode") { L, context in
            guard let L, let context else { return 0 }
            let machine = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue()
            guard let bytes = machine.vm.stringBytes(L, 1) else { return 0 }
            do {
                try machine.vm.pushJSON(bytes, onto: L)
                return 1
            } catch {
                machine.vm.pushError(L, "\(error)")
                return LuaVM.raise
            }
        }
        let script = """
            local text = ("["):rep(100) .. ("]"):rep(100)
            local function down(n)
              if n == 0 then return select('#', decode(text)) end
              local r = down(n - 1)
              return r
            end
            for _, depth in ipairs{0, 10, 1000, 10000, 150000} do assert(down(depth) == 1) end
            return pcall(down, 1e6)
            """
        #expect(try machine.run(script) == "false")
    }
}

extension String {
    /// This number as the codec writes it.
    fileprivate var asDouble: String {
        let machine = try? Machine()
        return (try? machine?.run("return \(self)")) ?? ""
    }
}

extension Machine {
    /// Reads a JSON text onto the main stack.
    func push(_ text: String) throws {
        try Array(text.utf8).withUnsafeBytes { try vm.pushJSON($0, onto: vm.state) }
    }

    /// Reads a JSON text and writes it again.
    @discardableResult
    func reencode(_ text: String) throws -> String {
        try push(text)
        defer { lua_settop(vm.state, -2) }
        return encoded(vm.state, -1)
    }
}
