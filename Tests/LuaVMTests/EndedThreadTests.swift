// What was ended by force is dead for everybody: nothing of it runs again, neither for the script nor for the host.
import Testing

@testable import LuaVM

@Suite(.serialized) struct EndedThreadTests {
    private func machine() throws -> Machine {
        try Machine {
            $0.cpuLimit = 0.05
            $0.memoryLimit = 64 << 20
            $0.weakKeyLimit = 1000
        }
    }

    /// What ends a run, each in another way: by the hook, from a function in C, from the allocator.
    static let ends: [(name: String, body: String)] = [
        ("time", "while true do end"),
        ("time, caught", "while true do pcall(function() while true do end end) end"),
        ("time in C", "table.move({}, 1, 1e10, 2)"),
        ("time in a pattern", "('a'):rep(30):find(('.-'):rep(25) .. 'b')"),
        ("too many weak keys", "local t = setmetatable({}, {__mode = 'k'}) while true do local k = {} t[k] = {} end"),
        (
            "a mode that comes late",
            "local m = {} local t = setmetatable({}, m) m.__mode = 'k' while true do local k = {} t[k] = k end"
        ),
        ("keys in one place", "local t = {} for i = 1, 2 ^ 17 + 1 do t[i * (2 ^ 18 - 1) // 1 | 0] = i end"),
        ("in an inner coroutine", "coroutine.wrap(function() while true do end end)()"),
    ]

    private static let guarded = """
        ran = 0
        local function guard() return setmetatable({}, {__close = function() ran = ran + 1 while true do end end}) end
        """

    @Test(arguments: ends) func closingRunsNothing(_ end: (name: String, body: String)) throws {
        let machine = try machine()
        let first = try machine.coroutine(
            "\(Self.guarded) co = coroutine.create(function() local _ <close> = guard(); \(end.body) end) coroutine.resume(co)"
        )
        try #require(machine.resume(first) == .failed)
        #expect(machine.vm.takeError(first).kind == .cpu)
        // Each time the same: a thread that was closed well would say so the second time.
        for _ in 1...2 {
            let next = try machine.coroutine(
                """
                local done, err = coroutine.close(co)
                local again, text = coroutine.resume(co)
                return done, type(err), coroutine.status(co), again, text, ran
                """
            )
            let values = machine.finish(next, machine.resume(next))
            #expect(values == ["false", #""string""#, #""dead""#, "false", #""cannot resume dead coroutine""#, "0"])
        }
    }

    @Test(arguments: ends) func aHandlerIsDroppedAsItIs(_ end: (name: String, body: String)) throws {
        let machine = try machine()
        let co = try machine.coroutine("\(Self.guarded) local _ <close> = guard(); \(end.body)")
        let begin = threadTime()
        try #require(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
        #expect(threadTime() - begin < 2)
        #expect(try machine.run("return ran") == "0")
    }

    @Test(arguments: ends) func aWrappedOneAndThoseAroundItAreDead(_ end: (name: String, body: String)) throws {
        let machine = try machine()
        let first = try machine.coroutine(
            """
            \(Self.guarded)
            inner = coroutine.wrap(function() local _ <close> = guard(); \(end.body) end)
            outer = coroutine.create(function() local _ <close> = guard() inner() end)
            coroutine.resume(outer)
            """
        )
        try #require(machine.resume(first) == .failed)
        #expect(machine.vm.takeError(first).kind == .cpu)
        let next = try machine.coroutine(
            "local called = pcall(inner) return called, (coroutine.close(outer)), (coroutine.resume(outer)), ran"
        )
        #expect(machine.finish(next, machine.resume(next)) == ["false", "false", "false", "0"])
    }

    @Test func aMessageHandlerDoesNotSeeAModeThatComesLate() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            """
            seen = false
            xpcall(function()
              local m = {} local t = setmetatable({}, m) m.__mode = 'k'
              while true do local k = {} t[k] = k end
            end, function() seen = true while true do end end)
            """
        )
        try #require(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).message.contains("before setmetatable gets it"))
        #expect(try machine.run("return seen") == "false")
    }

    @Test func aSuspendedHandlerWithSuchACoroutineIsGivenUp() throws {
        let machine = try machine()
        let first = try machine.coroutine(
            "\(Self.guarded) co = coroutine.create(function() local _ <close> = guard(); while true do end end) coroutine.resume(co)"
        )
        try #require(machine.resume(first) == .failed)
        #expect(machine.vm.takeError(first).kind == .cpu)
        let waiting = try machine.coroutine(
            "local _ <close> = setmetatable({}, {__close = function() coroutine.close(co) end}) wait('x')"
        )
        #expect(machine.resume(waiting) == .suspended)
        machine.vm.discard(waiting)
        machine.vm.collectGarbage()
        #expect(try machine.run("return ran") == "0")
    }

    @Test func anOrdinaryErrorIsClosedAsBefore() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            """
            local closed = 0
            local function body()
              local _ <close> = setmetatable({}, {__close = function() closed = closed + 1 end}) error('x', 0)
            end
            local one, two = coroutine.create(body), coroutine.wrap(body)
            coroutine.resume(one)
            local done, err = coroutine.close(one)
            local again = coroutine.close(one)
            return done, err, again, pcall(two), closed
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == ["false", #""x""#, "true", "false", "2"])
    }

    @Test func aLookIsNotLostWithItsCoroutine() throws {
        // The table gets its places in the only call of a coroutine, which runs no instruction after it.
        let machine = try machine()
        let co = try machine.coroutine(
            """
            local t, key = {}, {}
            for i = 1, 131072 do t[i] = true end
            for i = 1, 131072, 2 do t[i] = nil end
            setmetatable(t, {__mode = 'k'})
            for i = 1, 50000 do key[i] = {} end
            coroutine.wrap(rawset)(t, key[1], true)
            for i = 1, 50000 do t[key[i]] = key[i + 1] end
            """
        )
        try #require(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
    }
}
