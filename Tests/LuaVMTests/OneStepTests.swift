// What Lua does in one step, without a hook: it must end with the budget all the same, or not take long in the first place.
import CLuaVM
import Testing

@testable import LuaVM

struct OneStepTests {
    private static let budget = 0.5

    private func machine() throws -> Machine {
        try Machine {
            $0.cpuLimit = Self.budget
            $0.memoryLimit = 128 << 20
        }
    }

    /// CPU time that the body takes, in seconds.
    private func time(_ body: () throws -> Void) rethrows -> Double {
        let begin = threadTime()
        try body()
        return threadTime() - begin
    }

    // MARK: - The layout of tables

    /// The check of keys needs to know how Lua lays out its tables. Another build of Lua may do it differently: that must be
    /// known, and said, and everything else goes on.
    @Test func aLayoutThatIsNotKnownIsSaid() throws {
        #expect(try machine().vm.knowsTables)
        guard panini_set_forget_tables(1) != 0 else { return }
        defer { _ = panini_set_forget_tables(0) }
        let machine = try machine()
        #expect(!machine.vm.knowsTables)
        try machine.run("local t = {} for i = 1, 1e4 do t[i * 7] = i end assert(t[7e4] == 1e4)")
    }

    // MARK: - Names in errors

    /// Lua looks for the names of functions in C in all that is loaded: that must not be what scripts have put there.
    @Test func largeModulesMakeErrorsNoSlower() throws {
        let machine = try Machine { $0.cpuLimit = 5 }
        machine.modules["large"] = "local t = {} for i = 1, 2e5 do t['k' .. i] = i end return t"
        try machine.run("require('large')")
        try machine.run("for i = 1, 2e5 do _G['g' .. i] = i end")
        try machine.run("package.loaded.more = require('large') package.loaded['and more'] = _G")
        let used = try time {
            try machine.run(
                """
                for i = 1, 1000 do
                  pcall(table.sort, {2, 1}, function() debug.traceback('x') pcall(string.rep) error('y') end)
                end
                """
            )
        }
        #expect(used < 3, "\(used)")
        let co = try machine.coroutine("table.sort({2, 1}, function() string.rep() end)")
        #expect(machine.resume(co) == .failed)
        let error = machine.vm.takeError(co)
        #expect(error.message.contains("bad argument #1 to 'rep'"))
        #expect(error.traceback?.contains("in function 'table.sort'") == true)
    }

    // MARK: - Compiling

    static let longTexts: [(name: String, script: String)] = [
        ("or", "'return ' .. ('a or '):rep(4e5) .. 'a'"),
        ("and", "'return ' .. ('a and '):rep(4e5) .. 'a'"),
        ("elseif", "'if x then y = 1 ' .. ('elseif x then y = 1 '):rep(2e5) .. 'end'"),
    ]

    @Test(arguments: longTexts) func compilingEndsWithTheBudget(_ text: (name: String, script: String)) throws {
        let machine = try machine()
        let co = try machine.coroutine("pcall(load, \(text.script)) while true do pcall(load, \(text.script)) end")
        let used = time { #expect(machine.resume(co) == .failed) }
        #expect(machine.vm.takeError(co).kind == .cpu)
        #expect(used < Self.budget * 2, "\(used)")

        let pieces = try machine.coroutine("local s = \(text.script) load(function() local t = s s = nil return t end)")
        let usedByPieces = time { #expect(machine.resume(pieces) == .failed) }
        #expect(machine.vm.takeError(pieces).kind == .cpu)
        #expect(usedByPieces < Self.budget * 2, "\(usedByPieces)")
    }

    @Test func aFileThatTakesLongToCompileIsRefused() throws {
        let machine = try machine()
        let text = "return " + String(repeating: "a or ", count: 400_000) + "a"
        let used = time {
            let error = #expect(throws: LuaError.self) { try machine.load(text, path: "slow.lua") }
            #expect(error?.kind == .cpu)
            #expect(error?.message == "slow.lua: more than 0.5 s of CPU time")
        }
        #expect(used < Self.budget * 2, "\(used)")
        machine.modules["slow"] = text
        let co = try machine.coroutine("pcall(require, 'slow') return 'not ended'")
        #expect(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
        // The state is as good as new.
        machine.modules["quick"] = "return 7"
        #expect(try machine.run("return require('quick')") == "7")
    }

    @Test func aFileThatDoesNotFitIsRefused() throws {
        let machine = try Machine { $0.memoryLimit = 2 << 20 }
        let text = "return {" + (1...100_000).map { "'text \($0)'," }.joined() + "}"
        let error = #expect(throws: LuaError.self) { try machine.load(text, path: "large.lua") }
        #expect(error?.kind == .memory)
        #expect(error?.message == "large.lua: not enough memory")
        #expect(try machine.run("return 7") == "7")
    }

    // MARK: - Keys in one place

    /// Each would hold the thread for seconds to minutes.
    static let collisions: [(name: String, script: String)] = [
        ("integers", "local t = {} for i = 1, 2^17 + 1 do t[i * (2^18 - 1) // 1 | 0] = i end"),
        ("caught", "local t = {} for i = 1, 2^17 + 1 do pcall(rawset, t, i * (2^18 - 1) // 1 | 0, i) end"),
        (
            "in a coroutine",
            "coroutine.wrap(function() local t = {} for i = 1, 2^17 + 1 do t[i * (2^18 - 1) // 1 | 0] = i end end)()"
        ),
        (
            "behind __newindex",
            """
            local t, at = {}, nil
            at = t
            for i = 1, 20 do at = setmetatable({}, {__newindex = at}) end
            for i = 1, 2^17 + 1 do at[i * (2^18 - 1) // 1 | 0] = i end
            """
        ),
        (
            "as globals",
            "for i = 1, 2^17 + 1 do _G[i * (2^18 - 1) // 1 | 0] = i end"
        ),
        (
            "table.move",
            """
            local from = {} for i = 1, 2^17 + 1 do from[i] = i end
            local m = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k * (2^18 - 1) // 1 | 0, v) end})
            table.move(from, 1, #from, 1, m)
            """
        ),
        (
            "constants of a text",
            """
            local t = {} for i = 1, 2^17 + 1 do t[i] = ('%d'):format(i * (2^18 - 1)) end
            load('return {' .. table.concat(t, ',') .. '}')
            """
        ),
    ]

    @Test(arguments: collisions) func keysInOnePlaceEndTheRun(_ attack: (name: String, script: String)) throws {
        let machine = try machine()
        let co = try machine.coroutine("\(attack.script) return 'not ended'", path: "keys.lua")
        let used = time { #expect(machine.resume(co) == .failed) }
        let error = machine.vm.takeError(co)
        #expect(error.kind == .cpu)
        #expect(error.message.contains("too many keys that Lua keeps in one place"), "\(error.message)")
        #expect(error.message.contains("keys.lua:"))
        #expect(used < Self.budget * 2, "\(used)")
        let next = try machine.coroutine("local t = {} for i = 1, 2^17 + 1 do t[i * 10] = i end return 'fine'")
        #expect(machine.finish(next, machine.resume(next)) == [#""fine""#])
    }

    /// Floats share their place with those that differ in the last 22 bits only, in tables of any size: they are slow to put
    /// in as well, so that it takes several runs.
    @Test func floatsInOnePlaceEndTheRun() throws {
        let machine = try machine()
        try machine.run("kept, count = {}, 0")
        var kinds: [String] = []
        for _ in 1...30 where kinds.last != "keys" {
            let co = try machine.coroutine("while true do count = count + 1 kept[1.5 + count * 2^-52] = true end")
            let used = time { #expect(machine.resume(co) == .failed) }
            #expect(used < Self.budget * 2, "\(used)")
            kinds.append(machine.vm.takeError(co).message.contains("one place") ? "keys" : "time")
        }
        #expect(kinds.last == "keys")
    }

    @Test func ordinaryKeysAreNoMatter() throws {
        let machine = try Machine {
            $0.cpuLimit = 5
            $0.memoryLimit = 256 << 20
        }
        let co = try machine.coroutine(
            """
            local function fill(key) local t = {} for i = 1, 200000 do t[key(i)] = i end end
            fill(function(i) return i end)
            fill(function(i) return -i end)
            fill(function(i) return i * 1000 end)
            fill(function(i) return i << 20 end)
            fill(function(i) return 'k' .. i end)
            fill(function(i) return ('k'):rep(50) .. i end)
            fill(function(i) return i + 0.5 end)
            fill(function(i) return i * 2^-20 end)
            fill(function(i) return 1.7e9 + i * 0.1 end)
            fill(function(i) return math.random(0) end)
            fill(function(i) return math.random() end)
            fill(function(i) return {} end)
            fill(function(i) return function() return i end end)
            return 'fine'
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == [#""fine""#])
    }

    /// If this fails, Lua lays out its tables in another way than panini_rehash.c knows, and the tests above fail, too.
    @Test func tablesAreAsExpected() throws {
        let machine = try machine()
        #expect(machine.vm.knowsTables)
    }
}
