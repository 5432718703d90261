// A host function that waits suspends everything between it and the handler, whatever lies between.
import CLuaVM
import Testing

@testable import LuaVM

@Suite struct SuspensionTests {
    /// Scripts that wait twice, for "1" and "2", and return what they were given, "a" and "b", as "ab".
    static let scripts: [(String, String)] = [
        ("plainly", "return wait('1') .. wait('2')"),
        ("in pcall", "local ok, r = pcall(function() return wait('1') .. wait('2') end); assert(ok); return r"),
        (
            "pcall of the host function itself",
            "local _, a = pcall(wait, '1'); local _, b = pcall(wait, '2'); return a .. b"
        ),
        ("in xpcall", "local ok, r = xpcall(function() return wait('1') .. wait('2') end, print); return r"),
        (
            "in a metamethod",
            """
            local t = setmetatable({}, {__index = function(_, k) return wait(k) end})
            return t['1'] .. t['2']
            """
        ),
        (
            "in arithmetic and comparison",
            """
            local got = {}
            local m = {__add = function() got[1] = wait('1') return 1 end, __lt = function() got[2] = wait('2') return true end}
            local a = setmetatable({}, m)
            local _ = a + a, a < a
            return table.concat(got)
            """
        ),
        (
            "in __concat and __call",
            """
            local a = setmetatable({}, {__concat = function() return wait('1') end, __call = function() return wait('2') end})
            return (a .. 'x') .. a()
            """
        ),
        (
            "in an iterator",
            """
            local n, r = 0, ''
            for v in function() n = n + 1; if n <= 2 then return wait(tostring(n)) end end do r = r .. v end
            return r
            """
        ),
        (
            "the host function as the iterator",
            """
            local r = ''
            for v in wait, '1' do r = r .. v; if #r == 2 then break end end
            return r
            """
        ),
        (
            "in __pairs",
            """
            local t = setmetatable({}, {__pairs = function() local v = wait('1') .. wait('2') return next, {v}, nil end})
            for _, v in pairs(t) do return v end
            """
        ),
        (
            "in __close",
            """
            local r = ''
            do local x <close> = setmetatable({}, {__close = function() r = r .. wait('1') end}) end
            return r .. wait('2')
            """
        ),
        (
            "in __close while an error passes",
            """
            local r = ''
            pcall(function()
              local x <close> = setmetatable({}, {__close = function() r = r .. wait('1') end})
              error('x')
            end)
            return r .. wait('2')
            """
        ),
        ("in coroutine.wrap", "return coroutine.wrap(function() return wait('1') .. wait('2') end)()"),
        (
            "in coroutine.resume",
            """
            local co = coroutine.create(function(x) local a = wait('1'); local y = coroutine.yield(a); return y .. wait('2') end)
            local ok, a = coroutine.resume(co, 'x')
            assert(ok and coroutine.status(co) == 'suspended')
            local ok, b = coroutine.resume(co, '')
            assert(ok and coroutine.status(co) == 'dead')
            return a .. b
            """
        ),
        (
            "in a generator",
            """
            local r = ''
            for v in coroutine.wrap(function() coroutine.yield(wait('1')) coroutine.yield(wait('2')) end) do r = r .. v end
            return r
            """
        ),
        (
            "three coroutines deep",
            """
            local function nest(n, f) if n == 0 then return f() end return coroutine.wrap(function() return nest(n - 1, f) end)() end
            return nest(3, function() return wait('1') end) .. nest(50, function() return wait('2') end)
            """
        ),
        (
            "in pcall in a coroutine in a metamethod",
            """
            local t = setmetatable({}, {__index = function(_, k)
              return coroutine.wrap(function() local _, v = pcall(wait, k) return v end)()
            end})
            return t['1'] .. t['2']
            """
        ),
        (
            "in a coroutine that yields between",
            """
            local co = coroutine.wrap(function()
              local a = wait('1')
              local inner = coroutine.wrap(function() coroutine.yield(1) return wait('2') end)
              inner()
              coroutine.yield(a)
              return inner()
            end)
            return co() .. co()
            """
        ),
        (
            "in a required module",
            """
            local m = require 'slow'
            return m .. wait('2')
            """
        ),
        (
            "in a module required in a coroutine",
            """
            return coroutine.wrap(function() return require('slow') end)() .. wait('2')
            """
        ),
        ("in a loaded chunk", "return load(\"return wait('1')\")() .. wait('2')"),
        ("by tail call", "local function f() return wait('1') end; local a = f(); return a .. wait('2')"),
        (
            "with many locals below",
            """
            local function f(...) local t = {...}; local a = wait('1'); return #t == 200 and a end
            return f(table.unpack({}, 1, 200)) .. wait('2')
            """.replacing("#t == 200", with: "select('#', ...) == 200")
        ),
    ]

    @Test(arguments: scripts) func waits(_ name: String, _ script: String) throws {
        let machine = try Machine()
        machine.modules["slow"] = "local v = wait('1'); return v"
        let co = try machine.coroutine(script)
        #expect(machine.resume(co) == .suspended)
        machine.vm.collectGarbage()
        #expect(machine.resume(co, with: ["a"]) == .suspended)
        machine.vm.collectGarbage()
        let outcome = machine.resume(co, with: ["b"])
        #expect(machine.finish(co, outcome) == [#""ab""#])
        #expect(machine.waits.first == "1")
        #expect(machine.waits.count == 2)
        #expect(machine.vm.suspendedCount == 0)
    }

    @Test func anyNumberOfResults() throws {
        let machine = try Machine()
        let co = try machine.coroutine("return select('#', coroutine.wrap(function() return wait() end)())")
        #expect(machine.resume(co) == .suspended)
        lua_checkstack(co.thread, 5_000)
        let outcome = machine.resume(co, with: Array(repeating: "x", count: 5_000))
        #expect(machine.finish(co, outcome) == ["5000"])
    }

    @Test func theHostMayLetTheWaitingCallRaise() throws {
        let machine = try Machine()
        for script in [
            "return select(2, pcall(wait))", "return select(2, pcall(function() return coroutine.wrap(wait)() end))",
        ] {
            let co = try machine.coroutine(script)
            #expect(machine.resume(co) == .suspended)
            machine.vm.pushString(co.thread, "cancelled" as String)
            let outcome = machine.vm.resume(co, argumentCount: 1, raising: true)
            #expect(machine.finish(co, outcome).first?.hasSuffix(#"cancelled""#) == true)
        }
        // Not caught, it is the handler's error; and the next wait is an ordinary one.
        let co = try machine.coroutine("wait()")
        #expect(machine.resume(co) == .suspended)
        machine.vm.pushString(co.thread, "cancelled" as String)
        #expect(machine.vm.resume(co, argumentCount: 1, raising: true) == .failed)
        #expect(machine.vm.takeError(co).message == "cancelled")
        let next = try machine.coroutine("return wait()")
        #expect(machine.resume(next) == .suspended)
        let outcome = machine.resume(next, with: ["fine"])
        #expect(machine.finish(next, outcome) == [#""fine""#])
    }

    static let unsuspendable: [(String, String)] = [
        ("table.sort", "table.sort({2, 1}, function(a, b) wait() return a < b end)"),
        ("gsub", "('x'):gsub('x', function() wait() end)"),
        ("tostring", "tostring(setmetatable({}, {__tostring = function() wait() end}))"),
        ("table.concat", "table.concat(setmetatable({}, {__len = function() return 1 end, __index = wait}))"),
        ("load's reader", "assert(load(function() wait() end))"),
        ("a coroutine in sort", "table.sort({2, 1}, function(a, b) coroutine.wrap(wait)() return a < b end)"),
        (
            "coroutine.close",
            """
            local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = wait}) coroutine.yield() end)
            coroutine.resume(co)
            local ok, err = coroutine.close(co)
            error(err, 0)
            """
        ),
        (
            "an xpcall handler",
            "local _, e = xpcall(error, function() wait() end) error('cannot wait here ' .. tostring(e))"
        ),
    ]

    @Test(arguments: unsuspendable) func cannotWait(_ name: String, _ script: String) throws {
        let machine = try Machine()
        let co = try machine.coroutine(script)
        #expect(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).message.contains("cannot wait here"))
        #expect(machine.waits.isEmpty)
    }

    @Test func cannotWaitOutsideOfACoroutine() throws {
        let machine = try Machine()
        for script in ["wait()", "coroutine.wrap(wait)()", "pcall(wait) wait()"] {
            let error = #expect(throws: LuaError.self) { try machine.run(script) }
            #expect(error?.message.hasSuffix("cannot wait here") == true)
        }
    }

    /// The C layer refuses by itself when a host function suspends without asking.
    @Test func suspendingWithoutAskingIsAnErrorToo() throws {
        let machine = try Machine()
        machine.install("rash") { _, _ in LuaVM.suspend }
        let co = try machine.coroutine("table.sort({2, 1}, rash)")
        #expect(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).message.contains("cannot wait here"))
        #expect(throws: LuaError.self) { try machine.run("rash()") }
    }

    @Test func aWaitingCoroutineOfTheScriptBelongsToTheHost() throws {
        let machine = try Machine()
        let first = try machine.coroutine(
            "shared = coroutine.create(function() return wait('x') end) return coroutine.resume(shared)"
        )
        #expect(machine.resume(first) == .suspended)
        let second = try machine.coroutine(
            """
            local ok, message = coroutine.resume(shared)
            local closed, why = pcall(coroutine.close, shared)
            return coroutine.status(shared), ok, message, closed, why
            """
        )
        let outcome = machine.resume(second)
        #expect(
            machine.finish(second, outcome) == [
                #""normal""#, "false", #""cannot resume a coroutine that waits for the host""#, "false",
                #""cannot close a normal coroutine""#,
            ]
        )
        let end = machine.resume(first, with: ["y"])
        #expect(machine.finish(first, end) == ["true", #""y""#])
        #expect(try machine.run("return coroutine.status(shared)") == #""dead""#)
    }

    @Test func aHandlersOwnCoroutineIsTheOutermostForTheScript() throws {
        let machine = try Machine()
        let co = try machine.coroutine(
            """
            local thread, main = coroutine.running()
            saved = thread
            local inside = coroutine.wrap(function() return coroutine.status(thread), coroutine.resume(thread) end)
            local status, ok, message = inside()
            local yields, why = pcall(coroutine.yield)
            return main, coroutine.isyieldable(), coroutine.status(thread), status, ok, message, yields, why
            """
        )
        let outcome = machine.resume(co)
        #expect(
            machine.finish(co, outcome) == [
                "true", "false", #""running""#, #""normal""#, "false", #""cannot resume non-suspended coroutine""#,
                "false",
                #""attempt to yield from outside a coroutine""#,
            ]
        )
        #expect(
            try machine.run(
                "return {coroutine.status(saved), select(2, coroutine.resume(saved)), coroutine.close(saved)}"
            )
                == #"["dead","cannot resume dead coroutine",true]"#
        )
        // The pool still has it in order.
        let again = try machine.coroutine("return saved == coroutine.running()")
        let result = machine.resume(again)
        #expect(machine.finish(again, result) == ["true"])
    }

    @Test func ordinaryCoroutinesWorkAsInTheManual() throws {
        let machine = try Machine()
        let script = """
            local log = {}
            local function note(...) log[#log + 1] = table.concat({...}, ',') end
            local co = coroutine.create(function(a, b)
              note(a, b)
              local c = coroutine.yield(a + b)
              note(c)
              error({code = 5})
            end)
            note(tostring(select(2, coroutine.resume(co, 1, 2))), coroutine.status(co))
            local ok, e = coroutine.resume(co, 'c')
            note(tostring(ok), e.code, coroutine.status(co))
            note(select(2, coroutine.resume(co)))
            note(tostring(coroutine.close(co)))
            local wrapped = coroutine.wrap(function() error('inside') end)
            note(select(2, pcall(wrapped)))
            note(select(2, pcall(wrapped)))
            note(select(2, pcall(coroutine.wrap(function() error({}, 0) end))) and 'table')
            note(select(2, pcall(coroutine.create, 1)))
            note(select(2, pcall(coroutine.status, 1)))
            local closed = {}
            local pending = coroutine.create(function()
              local x <close> = setmetatable({}, {__close = function() closed[1] = 'x' end})
              coroutine.yield()
            end)
            coroutine.resume(pending)
            note(tostring(coroutine.close(pending)), closed[1], coroutine.status(pending))
            local failing = coroutine.create(function()
              local x <close> = setmetatable({}, {__close = function() error('while closing', 0) end})
              coroutine.yield()
            end)
            coroutine.resume(failing)
            note(tostring((coroutine.close(failing))))
            note(select(2, coroutine.close(coroutine.create(print))) or 'fresh')
            local self = coroutine.wrap(function() return coroutine.resume(coroutine.running()) end)
            note(select(2, self()))
            note(tostring(coroutine.isyieldable()), tostring(coroutine.wrap(coroutine.isyieldable)()))
            return log
            """
        let expected = """
            ["1,2","3,suspended","c","false,5,dead","cannot resume dead coroutine","false","test.lua:14: inside",\
            "cannot resume dead coroutine","table","bad argument #1 to 'coroutine.create' (function expected, got number)",\
            "bad argument #1 to 'coroutine.status' (thread expected, got number)","true,x,dead","false","fresh","cannot resume non-suspended coroutine",\
            "false,true"]
            """
        let result = try machine.run(script)
        #expect(result == expected)
    }

    @Test func discardClosesInnermostFirst() throws {
        let machine = try Machine()
        let co = try machine.coroutine(
            """
            log = {}
            local function closing(name) return setmetatable({}, {__close = function() log[#log + 1] = name end}) end
            local outer <close> = closing('outer')
            coroutine.wrap(function()
              local middle <close> = closing('middle')
              coroutine.wrap(function()
                local inner <close> = closing('inner')
                wait()
              end)()
            end)()
            """
        )
        #expect(machine.resume(co) == .suspended)
        machine.vm.discard(co)
        #expect(try machine.run("return log") == #"["inner","middle","outer"]"#)
        #expect(machine.vm.suspendedCount == 0)
        #expect(machine.vm.coroutine(id: co.id) == nil)
    }

    @Test func discardSurvivesWhatClosingDoes() throws {
        let machine = try Machine()
        for body in [
            "error('x')", "wait()", "coroutine.yield()", "local t = nil; t.x = 1",
            "closes = (closes or 0) + 1; error(nil)",
        ] {
            let co = try machine.coroutine(
                """
                local a <close> = setmetatable({}, {__close = function() closes = (closes or 0) + 1 end})
                local b <close> = setmetatable({}, {__close = function() \(body) end})
                wait()
                """
            )
            #expect(machine.resume(co) == .suspended)
            machine.vm.discard(co)
        }
        #expect(try machine.run("return closes") == "6")
        #expect(lua_gettop(machine.vm.state) == 0)
    }

    /// Lua 5.4.4 itself overflows the C stack on this.
    @Test func nestedClosesHaveALimit() throws {
        let machine = try Machine()
        let script = """
            local deepest = 0
            local function make(n)
              local co = coroutine.create(function()
                local x <close> = setmetatable({}, {__close = function()
                  deepest = math.max(deepest, n)
                  if n < 20000 then assert(coroutine.close(make(n + 1))) end
                end})
                coroutine.yield()
              end)
              coroutine.resume(co)
              return co
            end
            local ok, message = coroutine.close(make(1))
            return {ok, deepest >= 50 and deepest <= 100, message:match('C stack overflow') or message}
            """
        #expect(try machine.run(script) == #"[false,true,"C stack overflow"]"#)
        // The same by errors through coroutine.wrap.
        let wrapped = """
            local function f(n)
              return coroutine.wrap(function()
                local x <close> = setmetatable({}, {__close = function() if n < 20000 then f(n + 1)() end end})
                error('x')
              end)
            end
            return pcall(f(1))
            """
        #expect(try machine.run(wrapped) == "false")
    }
}
