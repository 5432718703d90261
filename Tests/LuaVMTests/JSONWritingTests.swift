// What the writer makes of Lua values, and what it refuses.
import CLuaVM
import Testing

@testable import LuaVM

@Suite struct JSONWritingTests {
    static let written: [(String, String)] = [
        ("nil", "null"), ("null", "null"), ("true", "true"), ("false", "false"),
        ("0", "0"), ("-1", "-1"), ("9", "9"), ("10", "10"), ("math.maxinteger", "9223372036854775807"),
        ("math.mininteger", "-9223372036854775808"), ("1000000000000000000", "1000000000000000000"),
        ("-1234567", "-1234567"),
        ("3.0", "3.0"), ("-0.0", "-0.0"), ("0.0", "0.0"), ("1/3", "0.3333333333333333"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1e15", "1000000000000000.0"), ("1e100", "1e+100"), ("2^53", "9007199254740992.0"), ("5e-324", "5e-324"),
        ("1.5", "1.5"), ("-2.75", "-2.75"), ("0.05", "0.05"), ("100.01", "100.01"), ("123456.789012", "123456.789012"),
        ("1e-7", "1e-07"), ("3.141592653589793", "3.141592653589793"), ("1e14 + 0.5", "100000000000000.5"),
        (#""""#, #""""#), (#""a\"b\\c/d""#, #""a\"b\\c/d""#),
        (#""\n\r\t\b\f\0\x1f\x7f""#, "\"\\n\\r\\t\\b\\f\\u0000\\u001f\u{7F}\""),
        (#""1234567\n""#, #""1234567\n""#), (#""12345678\"90123456""#, #""12345678\"90123456""#),
        (#""h\u{e9} \u{1F600}""#, "\"hé 😀\""),
        (#"("\n"):rep(3)"#, #""\n\n\n""#), (#"("x"):rep(100)"#, "\"" + String(repeating: "x", count: 100) + "\""),
        ("{}", "{}"), ("array{}", "[]"), ("{{}}", "[{}]"), ("{array{}}", "[[]]"), ("{1,2,3}", "[1,2,3]"),
        ("array{1,2}", "[1,2]"),
        ("{a=1}", #"{"a":1}"#), ("{[1]='x'}", #"["x"]"#), ("{[2]='b',[1]='a'}", #"["a","b"]"#),
        ("{['1']=1}", #"{"1":1}"#),
        ("{[3]=3,[1]=1,[2]=2}", "[1,2,3]"), ("{null}", "[null]"), ("{a=null}", #"{"a":null}"#),
        ("{true,false}", "[true,false]"),
        ("{[1.0]='x'}", #"["x"]"#),
        ("(function() local t = {}; for i = 10, 1, -1 do t[i] = i end; return t end)()", "[1,2,3,4,5,6,7,8,9,10]"),
        ("(function() local t = {1,2,3}; t[3] = nil; return t end)()", "[1,2]"),
        ("(function() local t = {1,2,3,4}; t.x = 1; t.x = nil; return t end)()", "[1,2,3,4]"),
        ("setmetatable({1}, {__index = function() return 5 end, __len = function() return 9 end})", "[1]"),
        ("setmetatable({}, {__pairs = function() error('never') end})", "{}"),
        ("(function() local x = {1}; return {x, x} end)()", "[[1],[1]]"),
    ]

    @Test(arguments: written) func writes(_ expression: String, _ text: String) throws {
        let machine = try Machine()
        #expect(try machine.run("return \(expression)") == text)
    }

    static let refused: [(String, LuaJSONError.Kind, String)] = [
        ("print", .unsupportedType, ""), ("coroutine.create(print)", .unsupportedType, ""),
        ("{a={b={1,print}}}", .unsupportedType, "a.b[2]"), ("{[1]='a',x='b'}", .mixedTable, ""),
        ("{a={'x',y=1}}", .mixedTable, "a"),
        ("(function() local t = array{}; t.x = 1; return t end)()", .mixedTable, ""),
        ("{1,nil,3}", .sparseArray, ""), ("{[2]='x'}", .sparseArray, ""), ("{[0]='x'}", .sparseArray, ""),
        ("{[0]='x','y'}", .sparseArray, ""), ("{[-1]='x'}", .sparseArray, ""), ("{[2^40|0]=1}", .sparseArray, ""),
        ("{{{[5]=1}}}", .sparseArray, "[1][1]"), ("{[1.5]='x'}", .mixedTable, ""), ("{[true]=1}", .invalidKey, ""),
        ("{[null]=1}", .invalidKey, ""), ("{a={[print]=1}}", .invalidKey, "a"), ("0/0", .notFinite, ""),
        ("1/0", .notFinite, ""),
        ("-1/0", .notFinite, ""), ("{x={1,0/0}}", .notFinite, "x[2]"),
        ("(function() local t = {}; t.me = t; return t end)()", .cycle, "me"),
        ("(function() local t = {}; t[1] = {a = {t}}; return t end)()", .cycle, "[1].a[1]"),
        (#""\xff""#, .invalidUTF8, ""), (#""\xed\xa0\x80""#, .invalidUTF8, ""), (#""12345678\xc3""#, .invalidUTF8, ""),
        (#"{["k\xff"]=1}"#, .invalidUTF8, "k\u{FFFD}"), (#"{name="a\xc0\x80"}"#, .invalidUTF8, "name"),
        (
            "(function() local t = 1; for i = 1, 200 do t = {t} end; return {a=t} end)()", .tooDeep,
            "a" + String(repeating: "[1]", count: 127)
        ),
        (#"{["a b"]={print}}"#, .unsupportedType, #"["a b"][1]"#),
        (#"{[("k"):rep(100)]=print}"#, .unsupportedType, String(repeating: "k", count: 64) + "..."),
    ]

    @Test(arguments: refused) func refuses(_ expression: String, _ kind: LuaJSONError.Kind, _ path: String) throws {
        let machine = try Machine()
        let function = try machine.load("return \(expression)")
        try machine.vm.call(function)
        let writer = ByteWriter()
        writer.append("kept")
        let error = #expect(throws: LuaJSONError.self) {
            try machine.vm.encodeJSON(machine.vm.state, -1, into: writer)
        }
        #expect(error?.kind == kind)
        #expect(error?.path == path)
        #expect(writer.bytes.elementsEqual("kept".utf8))
        #expect(lua_gettop(machine.vm.state) == 1)
    }

    @Test func textsNameThePlace() throws {
        let machine = try Machine()
        #expect(
            try machine.run("return {key6={items={1,2,{print}}}}")
                == "error: a function has no JSON form at key6.items[3][1]"
        )
        let error = #expect(throws: LuaJSONError.self) { try machine.reencode(#"{"a":[1,x]}"#) }
        #expect(error?.description == "unexpected 'x' in the JSON text at a[2] (byte 9)")
    }

    @Test func theWriterGrowsAndKeepsWhatItHad() throws {
        let machine = try Machine()
        let writer = ByteWriter(minimumCapacity: 1)
        writer.append("[")
        lua_settop(machine.vm.state, 0)
        machine.vm.pushString(machine.vm.state, String(repeating: "\n", count: 100_000))
        try machine.vm.encodeJSON(machine.vm.state, 1, into: writer)
        writer.append(UInt8(ascii: "]"))
        #expect(
            String(decoding: writer.bytes, as: UTF8.self) == "[\"" + String(repeating: "\\n", count: 100_000) + "\"]"
        )
    }

    @Test func decimalsOfEveryLength() {
        let writer = ByteWriter()
        var numbers: [Int64] = [0, .max, .min, .max - 1, .min + 1]
        var power: Int64 = 1
        for _ in 0..<19 {
            numbers += [power, power - 1, power + 1, -power, -power + 1, -power - 1]
            power = power &* 10
        }
        for number in numbers {
            writer.removeAll()
            writer.append(decimal: number)
            #expect(String(decoding: writer.bytes, as: UTF8.self) == "\(number)")
        }
    }
}
