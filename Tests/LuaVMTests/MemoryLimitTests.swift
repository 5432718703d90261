// The limit of memory: what a script may try to pass it, and what is left of the state afterwards.
import CLuaVM
import Testing

@testable import LuaVM

@Suite struct MemoryLimitTests {
    static let limit = 8 << 20
    /// What the host may add while it makes one value.
    static let slack = 1 << 20

    private func machine() throws -> Machine {
        try Machine {
            $0.memoryLimit = Self.limit
            $0.cpuLimit = 20
        }
    }

    static let greedy: [(name: String, script: String)] = [
        ("doubling", "local s = 'x' while true do s = s .. s end"),
        ("a list", "local t = {} while true do t[#t + 1] = {} end"),
        ("a set", "local t = {} for i = 1, math.huge do t['k' .. i] = true end"),
        ("rep", "return ('x'):rep(2e9)"),
        ("concat", "local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(100) end return #table.concat(t)"),
        ("recursion", "local function f() return 1 + f() end return f()"),
        ("coroutines", "local t = {} while true do t[#t + 1] = coroutine.create(print or error) end"),
        (
            "suspended ones",
            """
            local t = {}
            while true do
              local co = coroutine.wrap(function() coroutine.yield() end)
              co()
              t[#t + 1] = co
            end
            """
        ),
        ("gsub", "local s = ('x'):rep(1e6) return (s:gsub('x', s))"),
        ("unpack", "local t = {} for i = 1, 1e5 do t[i] = i end return select('#', table.unpack(t)), ('x'):rep(8e6)"),
        ("format", "local s = ('x'):rep(3e6) return string.format('%s%s%s', s, s, s)"),
        ("load", "return assert(load('return \"' .. ('x'):rep(3e6) .. '\"'))"),
        ("a traceback", "error(debug.traceback(('x'):rep(5e6)))"),
        ("an error of great length", "error(('x'):rep(3e6) .. ('y'):rep(3e6))"),
        (
            "sort",
            "local t = {} for i = 1, 3e5 do t[i] = i + 0.5 end table.sort(t) table.sort(t, function(a, b) return a > b end)"
        ),
    ]

    @Test(arguments: greedy) func isAnErrorOfThatRun(_ name: String, _ script: String) throws {
        let machine = try machine()
        let co = try machine.coroutine(script)
        try #require(machine.resume(co) == .failed)
        let error = machine.vm.takeError(co)
        #expect(error.kind == .memory || error.message.contains("not enough memory"), "\(error.message)")
        #expect(machine.vm.memoryPeak <= Self.limit + Self.slack)
        let next = try machine.coroutine("local t = {} for i = 1, 1000 do t[i] = {i} end return #t, pcall(error, 'x')")
        #expect(machine.finish(next, machine.resume(next)) == ["1000", "false", #""x""#])
        #expect(!machine.vm.isExhausted())
    }

    @Test func aScriptMayCatchItAndGoOn() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            "local n = 0 for i = 1, 50 do if not pcall(string.rep, 'x', 1e9) then n = n + 1 end end return n"
        )
        #expect(machine.finish(co, machine.resume(co)) == ["50"])
    }

    static let texts: [(name: String, text: String)] = [
        ("empty lists", "[" + String(repeating: "[],", count: 300_000) + "1]"),
        ("empty objects", "[" + String(repeating: "{},", count: 300_000) + "1]"),
        ("numbers", "[" + String(repeating: "1,", count: 2_000_000) + "1]"),
        ("names", "{" + (0..<200_000).map { "\"k\($0)\":1" }.joined(separator: ",") + "}"),
        ("texts", "[" + (0..<200_000).map { "\"a text \($0)\"" }.joined(separator: ",") + "]"),
        ("one text", "\"" + String(repeating: "x", count: 9 << 20) + "\""),
    ]

    @Test(arguments: texts) func readingJSONStopsInTime(_ name: String, _ text: String) throws {
        let machine = try machine()
        let L = machine.vm.state
        #expect(failure(of: text, in: machine.vm)?.kind == .memory)
        #expect(lua_gettop(L) == 0)
        #expect(machine.vm.memoryPeak <= Self.limit + Self.slack, "\(machine.vm.memoryPeak)")
        #expect(!machine.vm.isExhausted())
    }

    private func failure(of text: String, in vm: LuaVM) -> LuaJSONError? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { bytes in
            do throws(LuaJSONError) {
                try vm.pushJSON(bytes, onto: vm.state)
                return nil
            } catch {
                return error
            }
        }
    }

    @Test func writingASmallValueOfGreatLengthStopsInTime() throws {
        let machine = try machine()
        try machine.run(
            "t = {} for i = 1, 60 do t = {t, t} end s = ('x'):rep(1e6) l = {} for i = 1, 1000 do l[i] = s end"
        )
        for name in ["t", "l"] {
            lua_rawgeti(machine.vm.state, PANINI_REGISTRY_INDEX, lua_Integer(LUA_RIDX_GLOBALS))
            name.withCString { _ = panini_field(machine.vm.state, -1, $0) }
            let writer = ByteWriter()
            var kind: LuaJSONError.Kind?
            do throws(LuaJSONError) {
                try machine.vm.encodeJSON(machine.vm.state, -1, into: writer)
            } catch {
                kind = error.kind
            }
            #expect(kind == .memory)
            #expect(writer.count == 0)
            #expect(writer.capacity <= 4 * Self.limit)
            lua_settop(machine.vm.state, 0)
        }
    }

    @Test func whatTheHostKeepsForAScriptCounts() throws {
        let machine = try machine()
        var charged = 0
        while machine.vm.charge(1024) { charged += 1 }
        #expect((7000...8192).contains(charged))
        #expect(machine.vm.isExhausted())
        machine.vm.discharge(charged * 1024)
        #expect(!machine.vm.isExhausted())
        #expect(machine.vm.charge(1024))
    }

    @Test func collectionsThatGainNothingBecomeRare() throws {
        let machine = try machine()
        try machine.run("keep = {} for i = 1, 70 do keep[i] = ('x'):rep(1e5) .. i end")
        let before = machine.vm.refusedAllocations
        for _ in 0..<10_000 { #expect(!machine.vm.hasRoom(for: 4 << 20)) }
        #expect(machine.vm.refusedAllocations == before + 10_000)
        try machine.run("keep = nil")
        var tries = 0
        while !machine.vm.hasRoom(for: 4 << 20), tries < 2000 { tries += 1 }
        #expect(tries < 2000)
    }

    @Test func aSharedTableIsCopiedToSwiftWithinBounds() throws {
        let machine = try machine()
        let error = #expect(throws: LuaError.self) {
            try machine.vm.run("local t = {} for i = 1, 100 do t = {t, t} end return t")
        }
        #expect(error?.kind == .conversion)
    }
}
