// The budget of CPU time: what a script may try to go on, and what is left of the state afterwards.
import CLuaVM
import Glibc
import Testing

@testable import LuaVM

@Suite(.serialized) struct BudgetTests {
    static let budget = 0.05

    private func machine() throws -> Machine {
        try Machine {
            $0.cpuLimit = Self.budget
            $0.memoryLimit = 64 << 20
        }
    }

    static let endless: [(name: String, script: String)] = [
        ("a loop", "while true do end"),
        ("a loop of jumps", "::again:: goto again"),
        ("pcall", "while true do pcall(function() while true do end end) end"),
        ("pcall of pcall", "local function f() pcall(f) end while true do f() end"),
        ("xpcall's handler", "xpcall(function() while true do end end, function() while true do end end)"),
        ("a handler of an error", "xpcall(error, function() while true do end end)"),
        (
            "__close",
            "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end"
        ),
        ("__close in the way", "local x <close> = setmetatable({}, {__close = function() while true do end end})"),
        ("a coroutine", "coroutine.wrap(function() while true do end end)()"),
        ("coroutines", "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"),
        (
            "coroutine.close",
            """
            local co = coroutine.create(function()
              local x <close> = setmetatable({}, {__close = function() while true do end end})
              coroutine.yield()
            end)
            coroutine.resume(co)
            while true do coroutine.close(co) end
            """
        ),
        ("__index", "return setmetatable({}, {__index = function() while true do end end}).x"),
        ("error in __index", "while true do pcall(function() return setmetatable({}, {__index = error}).x end) end"),
        ("__tostring", "return tostring(setmetatable({}, {__tostring = function() while true do end end}))"),
        ("a comparison of sort", "table.sort({3, 2, 1}, function() while true do end end)"),
        ("a comparison in C", "local t = {} for i = 1, 2e5 do t[i] = i end while true do table.sort(t, rawequal) end"),
        ("gsub's function", "('x'):gsub('.', function() while true do end end)"),
        ("a reader of load", "load(function() while true do end end)"),
        ("a reader of blanks", "load(function() return ' ' end)"),
        ("load", "while true do load('return 1') end"),
        ("a pattern that tries everything", "('a'):rep(30):find(('.-'):rep(25) .. 'b')"),
        ("optional items", "('a'):rep(28):match(('a?'):rep(28) .. ('a'):rep(28) .. 'b')"),
        ("a square", "('a'):rep(1e5):find('a.-b')"),
        ("gsub with an anchor", "(('x '):rep(1e6)):gsub('^(.-)%s*y$', '%1')"),
        ("gmatch", "for _ in ('a'):rep(1e6):gmatch('.-b') do end"),
        ("balanced", "local s = ('('):rep(2e5) for _ in s:gmatch('%b()') do end"),
        ("table.move", "table.move({}, 1, 1e10, 2)"),
        ("table.insert", "table.insert(setmetatable({}, {__len = function() return 1e10 end}), 1, 1)"),
        ("table.remove", "table.remove(setmetatable({}, {__len = function() return 1e10 end}), 1)"),
        ("table.concat", "table.concat(setmetatable({}, {__index = table.concat}), '', 1, 1 << 40)"),
        ("large strings", "while true do ('x'):rep(3e7) end"),
        ("collectgarbage", "while true do collectgarbage('count') end"),
        ("os.date", "os.date(('%c'):rep(1e6))"),
        (
            "a coroutine inside sort inside gsub",
            """
            ('x'):gsub('.', function()
              table.sort({2, 1}, function() coroutine.wrap(function() while true do end end)() end)
            end)
            """
        ),
    ]

    @Test(arguments: endless) func endsWhateverItDoes(_ name: String, _ script: String) throws {
        let machine = try machine()
        let co = try machine.coroutine(script)
        let begin = threadTime()
        #expect(machine.resume(co) == .failed)
        let error = machine.vm.takeError(co)
        let used = threadTime() - begin
        #expect(error.kind == .cpu, "\(error.message)")
        #expect(error.message.contains("test.lua:"), "\(error.message)")
        #expect(error.message.hasSuffix("more than 0.05 s of CPU time"), "\(error.message)")
        #expect(error.traceback?.contains("test.lua:") == true)
        // That it ends, and not by luck. How soon is a matter of the machine (one `rep` of thirty megabytes in a debug
        // build is more than the budget on a slow one), and of the hostile suite, which measures a release build.
        #expect(used < Self.budget + 1, "\(used)")
        // The state is as good as new.
        let next = try machine.coroutine("local t = {} for i = 1, 100 do t[i] = {i} end return #t, pcall(error, 'x')")
        #expect(machine.finish(next, machine.resume(next)) == ["100", "false", #""x""#])
    }

    // MARK: - One call over long texts

    /// One call each, in the library's own C, that takes long for what a pattern, a text or a replacement holds.
    static let longCalls: [(name: String, script: String)] = [
        ("a replacement of many references", #"return #(("x"):rep(1000):gsub("(x-)", ("%1"):rep(1e7)))"#),
        ("a replacement of long references", #"while true do ("x"):rep(1e6):gsub(".*", ("%0"):rep(50)) end"#),
        ("a pattern of many items", #"return ("a"):rep(2e6):match(("a"):rep(1e6) .. "b")"#),
        ("a pattern of many optional items", #"return ("x"):rep(1e5):find(("a?"):rep(1e6) .. "b")"#),
        ("a long set", #"return ("x"):rep(1e5):match("[" .. ("ab"):rep(5e5) .. "]")"#),
        ("a long set, many times", #"return ("x"):rep(1e5):match("[^" .. ("ab"):rep(5e5) .. "]*")"#),
        ("a long set, few times", #"return ("x"):rep(1e5):match("[^" .. ("ab"):rep(5e5) .. "]-y")"#),
        ("a long set of classes", #"return ("x"):rep(1e5):match("[^" .. ("%d"):rep(5e5) .. "]*")"#),
        (
            "a long set that may be there",
            #"return ("x"):rep(1e5):match(("[" .. ("ab"):rep(5e5) .. "]?"):rep(20) .. "y")"#
        ),
        ("a long set at a frontier", #"return ("x"):rep(1e5):find("%f[" .. ("ab"):rep(5e5) .. "]")"#),
        ("a long set in gmatch", #"for _ in ("x"):rep(1e5):gmatch("[" .. ("ab"):rep(5e5) .. "]") do end"#),
        ("a long set in gsub", #"return (("x"):rep(1e5):gsub("[" .. ("ab"):rep(5e5) .. "]", ""))"#),
        ("balanced texts", #"return ("("):rep(4e5):find("%b()")"#),
        ("long captures again", #"return ("x"):rep(4e5):find("(x*)%1y")"#),
        (
            "find from many places",
            #"local s, n = ("a"):rep(2e7), ("a"):rep(1e5) .. "b" for i = 1, 1e9 do s:find(n, i, true) end"#
        ),
        (
            "plain find of a long text",
            #"local s, n = ("ab"):rep(1e7), ("ba"):rep(2e6) .. "c" while true do s:find(n, 1, true) end"#
        ),
        ("rep with a long separator", #"while true do ("x"):rep(300, ("y"):rep(1e5)) end"#),
        (
            "table.concat of long texts",
            #"local t = {} for i = 1, 300 do t[i] = ("x"):rep(1e5) end while true do table.concat(t, t[1]) end"#
        ),
        ("a long text quoted", #"local s = ("\0"):rep(5e6) while true do ("%q"):format(s) end"#),
        ("a long format", #"local s = ("%%"):rep(1e7) while true do s:format() end"#),
        ("a text of bytes that continue", #"local s = ("\x80"):rep(3e7) while true do utf8.offset(s, 0, 3e7) end"#),
        (
            "the iterator of utf8.codes on such a text",
            #"local s, f = "a" .. ("\x80"):rep(3e7), utf8.codes("a") while true do f(s, 1) end"#
        ),
        ("lower and upper", #"local s = ("a"):rep(2e7) while true do s:upper():lower():reverse() end"#),
        ("numbers to sort", #"local t = {} for i = 1, 1e6 do t[i] = -i end while true do table.sort(t) end"#),
    ]

    @Test(arguments: longCalls) func endsWithinACallOverLongTexts(_ name: String, _ script: String) throws {
        let budget = 0.15
        let machine = try Machine {
            $0.cpuLimit = budget
            $0.memoryLimit = 256 << 20
        }
        for caught in [script, "pcall(function() \(script) end) while true do end"] {
            let co = try machine.coroutine(caught)
            let begin = threadTime()
            #expect(machine.resume(co) == .failed)
            let used = threadTime() - begin
            let error = machine.vm.takeError(co)
            #expect(error.kind == .cpu, "\(error.message)")
            #expect(error.message.hasSuffix("more than 0.15 s of CPU time"), "\(error.message)")
            // Without the counts the first ones took from some seconds to a minute and more.
            #expect(used < 2 * budget, "\(used)")
        }
        let next = try machine.coroutine("return ('a-b'):gsub('[%w]', '<%0>')")
        #expect(machine.finish(next, machine.resume(next)) == [#""<a>-<b>""#, "2"])
    }

    @Test func longTextsGiveWhatShortOnesGive() throws {
        let machine = try Machine { $0.memoryLimit = 256 << 20 }
        try machine.run(
            #"""
            -- Each of these goes in several pieces.
            local long, n = ("ab"):rep(1e5), 2e5
            assert(long:gsub("b", "%%%0c") == ("a%bc"):rep(1e5))
            assert(("x"):gsub("x", (long:gsub("a", "%%0"))) == ("xb"):rep(1e5))
            assert(("ab"):rep(1e4):match("^[" .. ("%d"):rep(3000) .. "a-b]*$") == ("ab"):rep(1e4))
            assert(long:match("[^" .. ("x-y"):rep(1e4) .. "a]") == "b")
            assert(long:match("^[ab]-$") == long and long:match("^(.*)%1$") == ("ab"):rep(5e4))
            assert(("(" .. long .. ")"):match("%b()") == "(" .. long .. ")")
            assert((long .. "c"):find("c") == n + 1 and (long .. "c"):find("c", 1, true) == n + 1)
            for _, size in ipairs{ 10, 40, 300, 4095, 4097, 70001 } do
                local needle = ("ab"):rep(size) .. "c"
                assert((long .. needle .. long):find(needle, 1, true) == n + 1)
                assert((long .. needle .. long):find(needle, n + 2, true) == nil)
                assert(long:find(needle, 1, true) == nil)
                local other = ("aab"):rep(size)
                assert((long .. other):find(other, 1, true) == n + 1)
            end
            assert(("xy"):rep(5e4, ", ") == ("xy, "):rep(5e4 - 1) .. "xy")
            assert(long:rep(3, "-") == long .. "-" .. long .. "-" .. long)
            assert(table.concat({ long, long }, long) == long:rep(3))
            assert(("<%s|%q|%%>"):format(long:rep(6), "a\n\"\0001") == "<" .. long:rep(6) .. '|"a\\\n\\"\\0001"|%>')
            assert(load("return " .. ("%q"):format(("a\r\n\"\\\0001"):rep(2e5)))() == ("a\r\n\"\\\0001"):rep(2e5))
            assert(long:upper() == ("AB"):rep(1e5) and long:upper():lower() == long and long:reverse() == ("ba"):rep(1e5))
            assert(("abc"):reverse() == "cba" and (""):reverse() == "" and (""):upper() == "")
            local count = 0
            for at, code in utf8.codes(("é"):rep(1e5)) do count = count + 1 assert(code == 0xe9 and at == 2 * count - 1) end
            assert(count == 1e5)
            assert(not pcall(string.pack, (" "):rep(2e6)) and not pcall(string.unpack, (" "):rep(2e6), ""))
            assert(string.packsize(("b"):rep(1e5)) == 1e5 and #string.pack("c1000000", "x") == 1e6)
            local t = {}
            for i = 1, 3e5 do t[i] = (i * 7919) % 300007 end
            table.sort(t)
            for i = 2, #t do assert(t[i - 1] < t[i]) end
            """#
        )
    }

    // MARK: - One instruction that grows the stack

    /// Each step of the stack's growth takes four times as long as the one before: a run that is met at the next one only takes
    /// up to four budgets.
    @Test(
        arguments: [0.02, 0.035, 0.05, 0.08, 0.1, 0.2],
        ["t()", "local x <close> = setmetatable({}, {__close = t})"]
    )
    func aChainOfCallsEndsWithinItsBudget(_ budget: Double, _ use: String) throws {
        let machine = try Machine {
            $0.cpuLimit = budget
            $0.memoryLimit = 64 << 20
        }
        for caught in [use, "pcall(function() \(use) end) while true do end"] {
            let co = try machine.coroutine("local t = {} setmetatable(t, {__call = t}) \(caught)")
            let begin = threadTime()
            #expect(machine.resume(co) == .failed)
            let used = threadTime() - begin
            let error = machine.vm.takeError(co)
            #expect(error.kind == .cpu, "\(error.message)")
            #expect(error.message.contains("test.lua:1"), "\(error.message)")
            #expect(used < 1.6 * budget + 0.01, "\(used)")
        }
        let next = try machine.coroutine("return 'fine'")
        #expect(machine.finish(next, machine.resume(next)) == [#""fine""#])
    }

    @Test func aStackThatGrowsWhileInstructionsRunIsNoChain() throws {
        let machine = try Machine {
            $0.cpuLimit = 0.3
            $0.memoryLimit = 64 << 20
        }
        let co = try machine.coroutine(
            """
            local function deep(n)
              if n == 0 then return 0 end
              -- The stack has grown shortly before, and grows again soon.
              if n == 2000 then local begun = os.clock() while os.clock() - begun < 0.1 do end end
              return 1 + deep(n - 1)
            end
            return deep(3000)
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == ["3000"])
    }

    // MARK: - Tables with weak keys

    /// A chain of keys, each the value of the next one: the worst for Lua's collector.
    private static let chain = """
        local function chain(t, count)
          local last = {}
          for i = 1, count do local key = {} t[key] = last last = key end
          return last
        end
        """

    private func weakMachine() throws -> Machine {
        try Machine {
            $0.cpuLimit = 5
            $0.memoryLimit = 64 << 20
            $0.weakKeyLimit = 5000
        }
    }

    static let manyWeakKeys: [(name: String, script: String)] = [
        ("one table", "chain(setmetatable({}, {__mode = 'k'}), 1e7)"),
        ("caught", "local t = setmetatable({}, {__mode = 'k'}) while true do pcall(chain, t, 1e7) end"),
        ("in a coroutine", "coroutine.wrap(function() chain(setmetatable({}, {__mode = 'k'}), 1e7) end)()"),
        (
            "many tables",
            """
            local meta, all, last = {__mode = 'k'}, {}, {}
            while true do
              local key, t = {}, setmetatable({}, meta)
              t[key] = last last = key all[#all + 1] = t
            end
            """
        ),
        (
            "values that lead there",
            "local t, l = setmetatable({}, {__mode = 'k'}), {} while true do local k = {} t[k] = {l} l = k end"
        ),
    ]

    @Test(arguments: manyWeakKeys) func manyWeakKeysEndTheRun(_ attack: (name: String, script: String)) throws {
        let machine = try weakMachine()
        let co = try machine.coroutine("\(Self.chain) \(attack.script)")
        #expect(machine.resume(co) == .failed)
        let error = machine.vm.takeError(co)
        #expect(error.kind == .cpu)
        #expect(error.message.contains("more than 5000 values in tables with weak keys"))
        // What it has left behind counts no more.
        let next = try machine.coroutine(
            "\(Self.chain) local t = setmetatable({}, {__mode = 'k'}) chain(t, 3000) chain({}, 50000) return 'fine'"
        )
        #expect(machine.finish(next, machine.resume(next)) == [#""fine""#])
    }

    @Test func plainValuesAndOtherModesAreNotCounted() throws {
        let machine = try weakMachine()
        let co = try machine.coroutine(
            """
            \(Self.chain)
            local keys, numbers = {}, setmetatable({}, {__mode = 'k'})
            for i = 1, 8000 do keys[i] = {} numbers[keys[i]] = i end
            local texts = setmetatable({}, {__mode = 'k'})
            for i = 1, 8000 do texts[keys[i]] = 'text' .. i end
            for _, mode in ipairs{'v', 'kv', 'vk', ''} do chain(setmetatable({}, {__mode = mode}), 20000) end
            return #keys
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == ["8000"])
    }

    @Test func aMetatableThatBecomesWeakLateIsRefused() throws {
        let machine = try weakMachine()
        let given = try machine.coroutine("local m = {} setmetatable({}, m) m.__mode = 'k' setmetatable({}, m)")
        #expect(machine.resume(given) == .failed)
        #expect(machine.vm.takeError(given).message.contains("__mode"))
        let grown = try machine.coroutine(
            "\(Self.chain) local m = {} local t = setmetatable({}, m) m.__mode = 'k' chain(t, 1e6)"
        )
        #expect(machine.resume(grown) == .failed)
        #expect(machine.vm.takeError(grown).message.contains("before setmetatable gets it"))
        #expect(machine.vm.weakKeyProblem() == nil)
        try machine.vm.run("late = {} setmetatable({}, late) late.__mode = 'k'", name: "late.lua")
        #expect(machine.vm.weakKeyProblem()?.contains("before setmetatable gets it") == true)
        #expect(machine.vm.weakKeyProblem() == nil, "it is strong now")
    }

    @Test func timeOfWaitsDoesNotCountAndStretchesAdd() throws {
        let machine = try machine()
        let segment = "local t = os.clock() while os.clock() - t < 0.02 do end"
        let co = try machine.coroutine("for i = 1, 100 do \(segment) wait('x') end")
        var segments = 0
        var outcome = machine.resume(co)
        while outcome == .suspended {
            segments += 1
            usleep(20_000)
            outcome = machine.resume(co)
        }
        #expect(outcome == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
        // `os.clock` counts all threads of the process, so that a segment is shorter where other tests run beside this.
        #expect((2..<60).contains(segments), "\(segments)")
    }

    /// Each is over long before the watchdog looks a second time.
    @Test func stretchesThatNobodyMeetsAddUp() throws {
        let machine = try machine()
        let co = try machine.coroutine("while true do for i = 1, 1000 do end wait('x') end")
        var outcome = machine.resume(co)
        let begin = LuaVM.threadTime
        var used: UInt64 = 0
        while outcome == .suspended, used < 20_000_000_000 {
            outcome = machine.resume(co)
            used = LuaVM.threadTime - begin
        }
        #expect(outcome == .failed)
        let error = machine.vm.takeError(co)
        #expect(error.kind == .cpu)
        #expect(error.message.hasSuffix("more than 0.05 s of CPU time"))
        // What is done here between two of them is none of it.
        #expect(used < 2_000_000_000, "\(used)")
    }

    @Test func aRunThatIsToEndDoesNotGoOn() throws {
        let machine = try machine()
        let co = try machine.coroutine("pcall(wait, 'x') wait('y') return 'on'")
        #expect(machine.resume(co) == .suspended)
        machine.vm.endNext(co)
        #expect(machine.resume(co) == .failed)
        let error = machine.vm.takeError(co)
        #expect(error.kind == .cpu)
        #expect(error.message.contains("limits.cpu_rate"))
        #expect(machine.waits.count == 1)
    }

    @Test func aBudgetIsRenewedForThoseThatMayGoOnForEver() throws {
        let machine = try machine()
        let segment = "local t = os.clock() while os.clock() - t < 0.02 do end"
        let co = try machine.coroutine("for i = 1, 10 do \(segment) wait('x') end return 'done'")
        var outcome = machine.resume(co)
        while outcome == .suspended {
            machine.vm.renewBudget(co)
            outcome = machine.resume(co)
        }
        #expect(machine.finish(co, outcome) == [#""done""#])
    }

    @Test func aCallFromSwiftHasABudgetToo() throws {
        let machine = try machine()
        defer { withExtendedLifetime(machine) {} }
        let vm = machine.vm
        let error = #expect(throws: LuaError.self) { try vm.run("while true do end", name: "loop.lua") }
        #expect(error?.kind == .cpu)
        #expect(error?.message == "loop.lua:1: more than 0.05 s of CPU time")
        #expect(try vm.run("return 1 + 1") == [2])
    }

    @Test func waitingForALoaderThatWasEndedGoesOn() throws {
        let machine = try machine()
        machine.modules["slow"] = "wait('x') while true do end"
        var woken: [UInt64] = []
        machine.vm.installRequire(
            resolver: { [unowned machine] name, _ in
                guard let text = machine.modules[name] else { return .missing([]) }
                return .found(LuaModule(path: "\(name).lua", source: Array(text.utf8)))
            },
            wake: { woken.append($0) }
        )
        let first = try machine.coroutine("return require 'slow'")
        #expect(machine.resume(first) == .suspended)
        let second = try machine.coroutine("return require 'slow'")
        #expect(machine.resume(second) == .suspended)
        machine.modules["slow"] = "return 'loaded'"
        #expect(machine.resume(first) == .failed)
        #expect(machine.vm.takeError(first).kind == .cpu)
        #expect(woken == [second.id])
        #expect(machine.finish(second, machine.resume(second)).first == #""loaded""#)
    }

    @Test func hostFunctionsAreNotCalledAfterTheEnd() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            "local x <close> = setmetatable({}, {__close = wait}) pcall(function() while true do end end)"
        )
        #expect(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
        #expect(machine.waits.isEmpty)
    }

    @Test func tracebacksOfHandlersAreLuas() throws {
        let machine = try machine()
        let script = """
            local function f() error('x') end
            local _, text = xpcall(f, function(m) return debug.traceback(m, 2) end)
            local _, plain = xpcall(f, debug.traceback)
            return text .. '|' .. plain
            """
        let stock = try #require(luaL_newstate())
        defer { lua_close(stock) }
        luaL_openlibs(stock)
        let status = script.withCString { luaL_loadbufferx(stock, $0, strlen($0), "@test.lua", nil) }
        #expect(status == LUA_OK && lua_pcallk(stock, 0, 1, 0, 0, nil) == LUA_OK)
        let expected = try #require(String(validatingCString: lua_tolstring(stock, -1, nil)))
        let got = try machine.vm.run(script, name: "test.lua")
        // What called the chunk differs: one line of the host's.
        func own(_ text: String) -> [Substring] { text.split(separator: "\n").filter { !$0.contains("[C]: in ?") } }
        #expect(got.count == 1)
        if case .string(let text) = got[0] { #expect(own(text) == own(expected)) }
    }

    @Test func anIdleWatchdogFindsTheNextRun() throws {
        let machine = try machine()
        try machine.run("return 1")
        // Longer than it stays awake without anything to look at.
        usleep(1_500_000)
        let co = try machine.coroutine("while true do end")
        #expect(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
    }

    @Test func signalsOfOthersAreLeftAlone() throws {
        _ = try machine()
        #expect(LuaWatchdog.signal >= 34 && LuaWatchdog.signal <= 64)
        #expect(!LuaWatchdog.useSignal(40), "too late")
        #expect(!LuaWatchdog.useSignal(9))
    }
}
