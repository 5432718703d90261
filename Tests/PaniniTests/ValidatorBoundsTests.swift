// What a script hands to panini.validator may be large: it is refused by its length before it is copied, and within the budget.

import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Bounds of validators")
struct ValidatorBoundsTests {
    private func script(memory: Int = 64 << 20, cpu: Double = 5) throws -> Script {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let script = try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
        script.vm.memoryLimit = memory
        script.vm.cpuLimit = cpu
        return script
    }

    private func error(_ script: Script, _ source: String) throws -> String {
        let results = try script.vm.run(
            "local ok, err = pcall(function() \(source) end) return ok and 'no error' or tostring(err):sub(1, 300)"
        )
        guard case .string(let text)? = results.first else { return "\(results)" }
        return text
    }

    @Test("a pattern is as long as it may be, and no item more")
    func patternItems() throws {
        #expect(try LuaPattern([UInt8](repeating: 0x61, count: 200)).items.count == 200)
        // A long set is one item.
        let set = Array("[".utf8) + [UInt8](repeating: 0x61, count: 60_000) + Array("]".utf8)
        #expect(try LuaPattern(set).items.count == 1)
        for count in [201, LuaPattern.longestText, LuaPattern.longestText + 1, 1 << 20] {
            #expect(throws: LuaPattern.Invalid.self) { try LuaPattern([UInt8](repeating: 0x61, count: count)) }
        }
        // What is too long is not looked at: this one is wrong at its beginning, too.
        let wrong = Array(")".utf8) + [UInt8](repeating: 0x61, count: LuaPattern.longestText)
        do {
            _ = try LuaPattern(wrong)
            Issue.record("it is a pattern")
        } catch {
            #expect(error.message == "too long: more than 65536 bytes")
        }
    }

    @Test("a pattern is refused before its items are made, whichever bound it breaks")
    func itemsAreCountedOnTheWay() {
        // 201 items, and then what is no pattern: the count comes first.
        let pattern = [UInt8](repeating: 0x61, count: 201) + Array("(".utf8)
        do {
            _ = try LuaPattern(pattern)
            Issue.record("it is a pattern")
        } catch {
            #expect(error.message == "too long: more than 200 items")
        }
    }

    @Test(
        "what is too long is refused, and the error says how long it may be",
        arguments: [
            (
                "{ a = { type = 'string', pattern = ('a'):rep(10000000) } }",
                "field \"a\": pattern is longer than 65536 bytes"
            ),
            (
                "{ a = { type = 'string', enum = { ('x'):rep(9000000) } } }",
                "the validator's JSON Schema is longer than 8 MiB"
            ),
            (
                "{ a = { type = 'string', default = ('x'):rep(9000000) } }",
                "the validator's JSON Schema is longer than 8 MiB"
            ),
            ("{ [('n'):rep(65537)] = { type = 'string' } }", "a field's name is longer than 65536 bytes"),
            ("{ a = { [('n'):rep(9000000)] = 1 } }", "unknown option \"nnn"),
            ("{ a = { type = ('n'):rep(9000000) } }", "unknown type \"nnn"),
        ]
    )
    func tooLong(fields: String, message: String) throws {
        let script = try script()
        let before = script.vm.memoryInUse
        let text = try error(script, "panini.validator\(fields)")
        #expect(text.contains(message), "\(text)")
        script.vm.collectGarbage()
        #expect(script.vm.memoryInUse < before + (1 << 20))
    }

    @Test("what is as long as it may be is a validator")
    func longest() throws {
        let script = try script()
        for fields in [
            "{ a = { type = 'string', enum = { ('x'):rep(4000000), 'y' }, null = true } }",
            "{ a = { type = 'string', default = ('x'):rep(3000000) } }",
            "{ [('n'):rep(65536)] = { type = 'string' } }",
            "{ a = { type = 'string', pattern = '[' .. ('a'):rep(65000) .. ']*' } }",
        ] {
            let text = try error(script, "assert(panini.validator\(fields)):json_schema() error('a validator', 0)")
            #expect(text == "a validator", "\(fields)")
        }
    }

    @Test("fields are counted before their names are copied: not even a wrong name is looked at")
    func countedFirst() throws {
        let script = try script()
        let text = try error(
            script,
            """
            local fields = { ["\\255"] = { type = "any" }, [("n"):rep(70000)] = { type = "any" } }
            for i = 1, 10000 do fields[i .. "x"] = { type = "any" } end
            panini.validator(fields)
            """
        )
        #expect(text.contains("more than 10000 fields, those of nested validators counted"), "\(text)")
    }

    @Test("names, choices and schemas that are held often count as often as they are copied")
    func copies() throws {
        for fields in [
            // One text as the default of many fields, and one validator as the type of many.
            "local t = { type = 'string', default = ('x'):rep(100000) } for i = 1, 5000 do f['k' .. i] = t end",
            """
            local v = panini.validator{ a = { type = 'string', enum = { ('x'):rep(100000) } } }
            for i = 1, 4000 do f['k' .. i] = { type = v } end
            """,
        ] {
            let text = try error(try script(), "local f = {} \(fields) panini.validator(f)")
            #expect(text.contains("JSON Schema is longer than 8 MiB") || text.contains("memory"), "\(text)")
        }
        // 8000 names of 6 kB are 48 MB in Lua, of 64.
        let text = try error(
            try script(),
            "local f, t = {}, { type = 'any' } for i = 1, 8000 do f[('n'):rep(6000) .. i] = t end panini.validator(f)"
        )
        #expect(text.contains("memory"), "\(text)")
    }

    @Test("nested items count as fields while they are read")
    func items() throws {
        let text = try error(
            try script(),
            """
            local t = { type = "any" }
            for i = 1, 20 do t = { type = "array", items = t } end
            local f = {}
            for i = 1, 5000 do f["k" .. i] = t end
            panini.validator(f)
            """
        )
        #expect(text.contains("more than 10000 fields") || text.contains("memory"), "\(text)")
    }

    @Test("texts are put in the order of their bytes, and not at all when the run is over", .timeLimit(.minutes(1)))
    func sorting() throws {
        let script = try script(cpu: 0.05)
        let texts = ["b", "", "a", "\u{301}", "ab", "a\u{0}", "é", "e\u{301}"]
        let expected = texts.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        #expect(script.vm.sorted(texts, by: ByteOrder.precedes) == expected)
        let bytes = texts.map { Array($0.utf8) }
        #expect(script.vm.sorted(bytes, by: ByteOrder.precedes) == expected.map { Array($0.utf8) })
        // A function of the host that sorts until it is told to end.
        var wasEnded = false
        let isInTime = script.vm.withinBudget {
            let numbers = (0..<100_000).map { $0 &* 7919 % 100_003 }
            while script.vm.sorted(numbers, by: { $0 < $1 }) != nil {}
            wasEnded = true
        }
        #expect(wasEnded && !isInTime)
    }
}
