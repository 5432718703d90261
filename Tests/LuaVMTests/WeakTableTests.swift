// Tables with weak keys that come past the count: values that take their places without an allocation, modes that change in
// place, collections that the script itself brings about. Lua's collector would be held for minutes by each of them.
import CLuaVM
import Testing

@testable import LuaVM

@Suite(.serialized) struct WeakTableTests {
    private func machine() throws -> Machine {
        let machine = try Machine {
            $0.cpuLimit = 2
            $0.memoryLimit = 64 << 20
            $0.weakKeyLimit = 4000
        }
        machine.install("decode") { L, context in
            guard let L, let context else { return 0 }
            let vm = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue().vm
            do {
                try vm.pushJSON(vm.stringBytes(L, 1) ?? UnsafeRawBufferPointer(start: nil, count: 0), onto: L)
                return 1
            } catch {
                lua_pushnil(L)
                return 1
            }
        }
        return machine
    }

    /// Each ends its run, in the first part or in one of those that follow it; or has strong tables, after a run that was over
    /// before anybody looked, and ends by itself.
    static let attacks: [(name: String, parts: [String])] = [
        (
            "values changed in place, then a large text is decoded",
            [
                "t, key = setmetatable({}, {__mode = 'k'}), {} for i = 1, 120000 do key[i] = {} t[key[i]] = true end",
                "for i = 1, 119999 do t[key[i]] = key[i + 1] end key = nil decode('[' .. ('[1,2],'):rep(1e5) .. '0]')",
            ]
        ),
        (
            "places that were left empty",
            [
                "t, key = {}, {} for i = 1, 65536 do t[i + 0.5] = true end for i = 1, 65536 do t[i + 0.5] = nil end",
                "setmetatable(t, {__mode = 'k'}) for i = 1, 60000 do key[i] = {} end "
                    + "for i = 1, 59999 do t[key[i]] = key[i + 1] end key = nil while true do local x = {} end",
            ]
        ),
        (
            "a mode that comes in place, then more memory than there is",
            [
                "t, m, key = {}, {__mode = false}, {} setmetatable(t, m) for i = 1, 120000 do key[i] = {} end "
                    + "for i = 1, 119999 do t[key[i]] = key[i + 1] end",
                "local k = key key = nil for i = 1, 120000 do k[i] = nil end m.__mode = 'k' pcall(string.rep, 'x', 63 << 20)",
            ]
        ),
        (
            "a table that is full when it becomes weak",
            [
                "t, key = {}, {} for i = 1, 120000 do key[i] = {} end for i = 1, 119999 do t[key[i]] = key[i + 1] end",
                "key = nil setmetatable(t, {__mode = 'k'}) local x = {} pcall(string.rep, 'x', 63 << 20)",
            ]
        ),
        (
            "the last thing of a run",
            [
                "t, key = {}, {} for i = 1, 131072 do t[i] = true end for i = 1, 131072, 2 do t[i] = nil end "
                    + "for i = 1, 60000 do key[i] = {} end",
                "setmetatable(t, {__mode = 'k'}) return rawset(t, key[1], true)",
                "for i = 2, 131072, 2 do t[i] = nil end for i = 1, 59999 do t[key[i]] = key[i + 1] end "
                    + "key = nil for i = 1, 100000 do local x = {} end",
            ]
        ),
        (
            "functions as keys and values",
            [
                "t = setmetatable({}, {__mode = 'k'}) while true do t[function() return t end] = function() return t end end"
            ]
        ),
    ]

    @Test(arguments: attacks) func endsTheRun(_ attack: (name: String, parts: [String])) throws {
        let machine = try machine()
        let begin = threadTime()
        var error: LuaError?
        for part in attack.parts where error == nil {
            let co = try machine.coroutine(part)
            switch machine.resume(co) {
            case .returned: machine.vm.recycle(co)
            case .suspended: Issue.record("suspended")
            case .failed: error = machine.vm.takeError(co)
            }
        }
        if attack.name != "the last thing of a run" || error != nil {
            let message = error?.message ?? "it ran to its end"
            #expect(error?.kind == .cpu, "\(message)")
            #expect(message.contains("tables with weak keys") || message.contains("__mode"), "\(message)")
        }
        // The state goes on, and nothing is left that a collection would have to go over.
        _ = try machine.run("t, m, key = nil")
        machine.vm.collectGarbage()
        #expect(threadTime() - begin < 8)
        let next = try machine.coroutine("local t = setmetatable({}, {__mode = 'k'}) t[{}] = {} return 'fine'")
        #expect(machine.finish(next, machine.resume(next)) == [#""fine""#])
    }

    @Test func modesThatChangeAllTheTimeAreFoundInTheEnd() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            """
            local m = {__mode = false}
            local t = setmetatable({}, m)
            for i = 1, 1e7 do m.__mode = 'k' local x = {i} m.__mode = false end
            for i = 1, 1e7 do m.__mode = 'k' local x = {i} x = nil end
            """
        )
        try #require(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).kind == .cpu)
    }

    @Test func twiceAsManyPlainValuesAreFree() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            """
            local key, seen = {}, setmetatable({}, {__mode = 'k'})
            for i = 1, 8000 do key[i] = {} seen[key[i]] = i end
            for i = 1, 8000 do seen[key[i]] = 'text' .. i end
            local texts = setmetatable({}, {__mode = 'v'})
            for i = 1, 50000 do texts[i] = key end
            return #key, seen[key[8000]]
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == ["8000", #""text8000""#])
    }
}
