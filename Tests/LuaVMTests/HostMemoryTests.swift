// The limit of memory where host functions make values: a loop over one of them must meet it although Lua itself allocates
// nothing. And what scripts see in place of addresses.
import Testing

@testable import LuaVM

@Suite struct HostMemoryTests {
    private static let limit = 16 << 20
    // Made once: it takes longer than all that the tests do with it.
    private static let text = String(repeating: "x", count: 1 << 20)

    private func machine(limit: Int = Self.limit) throws -> Machine {
        let machine = try Machine { $0.memoryLimit = limit }
        machine.install("large") { L, context in
            guard let L, let context else { return 0 }
            let vm = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue().vm
            vm.pushString(L, HostMemoryTests.text)
            return 1
        }
        machine.install("nothing") { _, _ in 0 }
        return machine
    }

    private static let places = "local keep = {} for i = 1, 1000 do keep[i] = false end"

    @Test func aLoopOverAHostFunctionMeetsTheLimit() throws {
        let machine = try machine()
        let co = try machine.coroutine("\(Self.places) for i = 1, 1000 do keep[i] = large() end")
        try #require(machine.resume(co) == .failed)
        let error = machine.vm.takeError(co)
        #expect(error.kind == .memory && error.message == LuaVM.memoryText)
        #expect(machine.vm.memoryPeak < Self.limit + (3 << 20), "\(machine.vm.memoryPeak)")
        #expect(machine.vm.refusedAllocations > 0)
    }

    @Test func theErrorIsOneThatIsCaughtAndGarbageIsNone() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            """
            \(Self.places)
            local done, err = pcall(function() for i = 1, 1000 do keep[i] = large() end end)
            for i = 1, 1000 do keep[i] = false end
            -- A hundred times what fits: each is garbage before the next one.
            for i = 1, 1600 do keep[1] = large() end
            return done, err, #keep[1]
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == ["false", #""not enough memory""#, "1048576"])
    }

    @Test func callsThatMakeNothingAreNotRefused() throws {
        let machine = try machine()
        let co = try machine.coroutine(
            """
            \(Self.places)
            local i = 0
            while pcall(function() i = i + 1 keep[i] = large() end) do end
            for _ = 1, 100 do nothing() end
            return true
            """
        )
        #expect(machine.finish(co, machine.resume(co)) == ["true"])
    }

    @Test func whatAWaitingCallIsGivenCountsToo() throws {
        let machine = try machine()
        let co = try machine.coroutine("\(Self.places) for i = 1, 1000 do keep[i] = wait('x') end")
        var outcome = machine.resume(co)
        var count = 0
        while outcome == .suspended, count < 100 {
            count += 1
            outcome = machine.resume(co, with: [Self.text])
        }
        try #require(outcome == .failed && count < 20)
        #expect(machine.vm.takeError(co).kind == .memory)
    }

    @Test func withoutALimitThereIsNone() throws {
        let machine = try machine(limit: 0)
        let co = try machine.coroutine("\(Self.places) for i = 1, 40 do keep[i] = large() end return #keep[40]")
        #expect(machine.finish(co, machine.resume(co)) == ["1048576"])
    }

    @Test func longTextsOfErrorsAreCutOnTheirWayOut() throws {
        let machine = try Machine()
        let vm = machine.vm
        let raised = try machine.coroutine("error(('ä'):rep(1e6), 0)")
        try #require(machine.resume(raised) == .failed)
        let text = vm.takeError(raised).message
        #expect(text.utf8.count < LuaVM.longestErrorText + 64 && text.hasSuffix("ä... (2000000 bytes)"))
        let answer = try machine.coroutine("error{code = ('c'):rep(1e6), message = ('m'):rep(2e6)}")
        try #require(machine.resume(answer) == .failed)
        let error = vm.takeError(answer)
        #expect(
            error.message.utf8.count < LuaVM.longestAnswerText + 64 && error.message.hasSuffix("... (2000000 bytes)")
        )
        guard case .string(let code)? = error.code else {
            Issue.record("no code")
            return
        }
        #expect(code.utf8.count < 1100)
        #expect(throws: LuaError.self) { try vm.run("error(('x'):rep(1e6))", name: "main.lua") }
    }

    // MARK: - Addresses

    @Test func objectsHaveNumbersInPlaceOfAddresses() throws {
        let machine = try Machine()
        let values = try machine.vm.run(
            """
            local t, f, co = {}, function() end, coroutine.create(print)
            local all = {}
            for _, value in ipairs{t, f, co, print, string.format, io.stdout} do all[#all + 1] = ("%p"):format(value) end
            local before = tostring(t)
            for i = 1, 1e5 do local x = {i} end
            return table.concat(all, " "), before == tostring(t), before == "table: " .. all[1], ("%p"):format(1)
            """
        )
        guard case .string(let text) = values[0] else {
            Issue.record("no text")
            return
        }
        let numbers = text.split(separator: " ").compactMap { UInt64($0.dropFirst(2), radix: 16) }
        #expect(Set(numbers).count == 6)
        // Addresses have zeros in front; these numbers have them by chance alone, once in 65,536 times each.
        #expect(numbers.filter { $0 >> 48 == 0 }.count < 3)
        #expect(Array(values[1...]) == [true, true, "(null)"])
    }

    @Test func eachStateHasNumbersOfItsOwn() throws {
        // The same function in C at the same address.
        let texts = try (0..<2).map { _ in try Machine().run("return ('%p'):format(next)") }
        #expect(texts[0] != texts[1])
    }

    @Test func seedsAreNoAddresses() throws {
        let machine = try Machine()
        let seeds = try machine.vm.run(
            "local a, b = math.randomseed() local c, d = math.randomseed() return a, b, c, d"
        )
        #expect(Set(seeds).count == 4)
        #expect(
            try machine.vm.run(
                "math.randomseed(42) local a = math.random(1e9) math.randomseed(42) return a == math.random(1e9)"
            )
                == [true]
        )
        let unseeded = try (0..<2).map { _ in try Machine().run("return math.random(1 << 60)") }
        #expect(unseeded[0] != unseeded[1])
    }
}
