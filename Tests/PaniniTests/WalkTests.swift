// Walks of the host over values of a script: over tables that change under them, and over those in which each step takes long.

import CLuaVM
import Glibc
import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Walks over values", .serialized)
struct WalkTests {
    private func script() throws -> Script {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
    }

    private func shown(_ source: String) throws -> String {
        let script = try script()
        defer { withExtendedLifetime(script) {} }
        let vm = script.vm
        try vm.run("show = (function() \(source) end)()")
        let L = vm.state
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(LUA_RIDX_GLOBALS))
        vm.pushRawField(L, -1, "show")
        var shower = ValueShower(L, script: script)
        let text = shower.value(lua_gettop(L)).luaText
        // What comes after must find the state whole.
        vm.collectGarbage()
        #expect(try vm.run("return #('x'):rep(10)") == [10])
        return text
    }

    @Test("a __tostring may empty, fill and replace what is being shown")
    func shownWhileItChanges() throws {
        for change in [
            "for k in pairs(t) do t[k] = nil end for i = 1, 500 do t['n' .. i] = i end",
            "for k in pairs(t) do t[k] = nil end",
            "for i = 1, 500 do t['n' .. i] = i end",
            "for i = 1, 500 do t[i] = i end for k in pairs(t) do if type(k) == 'string' then t[k] = nil end end",
            "t[1] = nil for i = 2, 100 do t[i * 1000] = {} end",
        ] {
            let text = try shown(
                """
                local t = {}
                local odd = setmetatable({}, { __tostring = function() \(change) return "odd" end })
                for i = 1, 20 do t[i] = odd t["k" .. i] = odd end
                return t
                """
            )
            #expect(text.contains("odd"), "\(change): \(text)")
        }
    }

    @Test("an unchanged table is shown whole, and one that lost its place says so")
    func shownWhole() throws {
        #expect(try shown("return { 1, 2, a = { b = true } }") == "{ [1] = 1, [2] = 2, a = { b = true } }")
        let text = try shown(
            """
            local t = {}
            t[1] = setmetatable({}, { __tostring = function() t[1] = nil return "gone" end })
            for i = 2, 5 do t[i] = i end
            return t
            """
        )
        #expect(text.contains("gone") && text.contains("left out"), "\(text)")
    }

    /// A table of integers that share one place, in a table that never has to grow: each step past one of them goes past all
    /// that came before.
    private static let slow = """
        local room = load("return {" .. ("x = nil,"):rep(12000) .. "}")
        function slow(make)
          local t = room()
          for i = 1, 12000 do t[i * 16383] = make and make(i) or true end
          return t
        end
        """

    @Test(
        "a walk in which each step takes long ends with its run",
        arguments: [
            "v:validate{ a = t }", "w:validate(t)", "panini.json.encode(t)", "panini.response{ headers = t }",
            "panini.validator(t)", "panini.validator({}, t)", "panini.field(t)", "panini.response(t)",
            "panini.response{ json = t, headers = { a = 'b' } } panini.json.encode{ t }",
        ]
    )
    func slowSteps(call: String) throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        try vm.run(Self.slow)
        try vm.run(
            """
            t = slow()
            v = panini.validator{ a = { type = "array" } }
            w = panini.validator({}, { unknown = "refuse" })
            """
        )
        vm.cpuLimit = 0.02
        let before = threadTime()
        do {
            // Again and again: a walk that gives up at the first key is no walk.
            try vm.run("while true do pcall(function() \(call) end) end")
        } catch {
            #expect(error.kind == .cpu, "\(error)")
        }
        #expect(threadTime() - before < 0.4)
        #expect(try vm.run("return 1") == [1])
    }

    @Test("what the host copies after a run has a budget, too")
    func slowSnapshot() throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        try vm.run(Self.slow)
        try vm.run("t = slow()")
        vm.cpuLimit = 0.05
        let L = vm.state
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(LUA_RIDX_GLOBALS))
        vm.pushRawField(L, -1, "t")
        let before = threadTime()
        #expect(throws: LuaSnapshotError.self) { try vm.snapshot(L, -1) }
        #expect(threadTime() - before < 0.4)
        #expect(try vm.run("return 1") == [1])
    }

    @Test("a list of keys that nobody waits for any more is given up")
    func sharedKeys() throws {
        let store = SharedStore()
        for number in 0..<2000 { try store.set(Array("\(number)".utf8), .boolean(true), expires: 0, now: 0) }
        #expect(store.keys([], now: 0)?.count == 2000)
        #expect(store.keys([], now: 0, unless: { true }) == nil)
        var looks = 0
        // The sorting looks as well.
        let keys = store.keys([], now: 0) {
            looks += 1
            return looks > 10
        }
        #expect(keys == nil)
    }
}

/// CPU time of the calling thread, in seconds.
private func threadTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
