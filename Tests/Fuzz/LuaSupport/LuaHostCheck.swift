// Runs a program made of an input in a state of its own, with a small memory, whose collector and allocator do what the input
// says; and looks whether the state is whole afterwards. The thread that calls it.

import CLuaVM
import LuaVM
import Panini

/// A broken invariant: the fuzzer stops at it, the tests report it.
package struct LuaHostFailure: Error, CustomStringConvertible {
    package let description: String
}

/// What the runs have reached, all together.
package struct LuaHostReach {
    package var returned = 0
    package var failed = 0
    package var waits = 0
    package var faults: UInt64 = 0
    package var outOfMemory = 0
    package var overBudget = 0

    package init() {}
}

package enum LuaHostCheck {
    /// Six bytes say how the state is set up and how its waits end, the others are the program.
    package static func check(_ input: [UInt8], _ reach: inout LuaHostReach) throws {
        let machine = try LuaHostMachine(setup: ByteChoices(input.prefix(6)))
        try machine.run(LuaProgram.source(ByteChoices(input.dropFirst(6))), &reach)
    }

    /// The program of an input, for people.
    package static func program(_ input: [UInt8]) -> String { LuaProgram.source(ByteChoices(input.dropFirst(6))) }
}

private final class LuaHostMachine {
    private let script: DetachedScript
    private var vm: LuaVM { script.vm }
    private var setup: ByteChoices

    init(setup: ByteChoices) throws {
        var setup = setup
        script = try DetachedScript()
        self.setup = setup
        script.vm.memoryLimit = setup.pick([2, 1, 4, 8]) << 20 + script.vm.memoryInUse
        script.vm.cpuLimit = 0.2
        install()
        setCollector(setup.below(5))
        script.vm.injectMemoryFaults(every: setup.pick([0, 1, 2, 3, 7, 20, 100, 1000]), attempts: setup.below(2) + 1)
        self.setup = setup
    }

    // MARK: - The run

    func run(_ source: String, _ reach: inout LuaHostReach) throws {
        defer { script.close() }
        var problem: String?
        do {
            let chunk = try vm.load(source, path: "program.lua")
            let co = vm.acquireCoroutine()
            vm.push(chunk, onto: co.thread)
            vm.release(chunk)
            drive(co, &reach)
        } catch {
            // To compile takes memory, too.
            if error.kind != .memory { problem = "the program does not compile: \(error)\n\(source)" }
        }
        reach.faults += vm.injectedMemoryFaults
        vm.injectMemoryFaults(every: 0)
        vm.setCollector(isGenerational: false, pause: 200, multiplier: 100, step: 13)
        if let problem { throw LuaHostFailure(description: problem) }
        try lookAt()
    }

    private func drive(_ co: LuaCoroutine, _ reach: inout LuaHostReach) {
        var outcome = vm.resume(co, argumentCount: 0)
        var turns = 0
        while outcome == .suspended {
            reach.waits += 1
            turns += 1
            guard turns < 30, setup.below(8) < 6 else { return vm.discard(co) }
            lua_checkstack(co.thread, 8)
            switch setup.below(3) {
            case 0: outcome = vm.resume(co, argumentCount: 0)
            case 1:
                vm.pushString(co.thread, "result")
                outcome = vm.resume(co, argumentCount: 1)
            default:
                vm.pushString(co.thread, "raised")
                outcome = vm.resume(co, argumentCount: 1, raising: true)
            }
        }
        if case .returned = outcome {
            reach.returned += 1
            return vm.recycle(co)
        }
        let error = vm.takeError(co)
        reach.failed += 1
        if error.kind == .memory { reach.outOfMemory += 1 }
        if error.kind == .cpu { reach.overBudget += 1 }
    }

    // MARK: - What must hold afterwards

    private func lookAt() throws {
        guard lua_gettop(vm.state) == 0 else {
            throw LuaHostFailure(description: "something is left on the main stack")
        }
        vm.collectGarbage()
        vm.collectGarbage()
        guard vm.memoryInUse == vm.countedBytes else {
            throw LuaHostFailure(description: "\(vm.memoryInUse) bytes in use, and Lua counts \(vm.countedBytes)")
        }
        guard vm.suspendedCount == 0, vm.running == nil, !vm.isRunOver else {
            throw LuaHostFailure(description: "the run has left something behind")
        }
        // What the program keeps may be all there is room for.
        vm.memoryLimit = 0
        let results = try vm.run(
            """
            local text = panini.json.encode{ a = { 1, 2, 3 }, b = "x" }
            local value = panini.json.decode(text)
            local v = panini.validator({ a = { type = "array" }, b = { type = "string" } }, { unknown = "refuse" })
            local co = coroutine.wrap(function() coroutine.yield(#value.a) end)
            local fine, err = pcall(error, "e")
            return v:validate(value) == value, co(), fine, (("aXb"):gsub("%u", "-")), select(2, v:validate{ c = 1 })[3].path
            """
        )
        guard results == [true, 3, false, "a-b", "c"] else {
            throw LuaHostFailure(description: "the state answers \(results) afterwards")
        }
    }

    // MARK: - What programs have besides the libraries

    private func setCollector(_ kind: Int) {
        switch kind {
        case 0: vm.setCollector(isGenerational: false, pause: 200, multiplier: 100, step: 13)
        // Without a pause, in the smallest steps; in one go; hardly ever.
        case 1: vm.setCollector(isGenerational: false, pause: 1, multiplier: 25, step: 1)
        case 2: vm.setCollector(isGenerational: false, pause: 1, multiplier: 1000, step: 30)
        case 3: vm.setCollector(isGenerational: false, pause: 1000, multiplier: 1000, step: 5)
        default: vm.setCollector(isGenerational: true, pause: 1, multiplier: 1, step: 0)
        }
    }

    private func install() {
        install("gc") { machine, _ in
            machine.vm.collectGarbage()
            return 0
        }
        install("collector") { machine, L in
            machine.setCollector(Int(lua_tointegerx(L, 1, nil)))
            return 0
        }
        install("faults") { machine, L in
            machine.vm.injectMemoryFaults(
                every: Int(lua_tointegerx(L, 1, nil)),
                attempts: Int(lua_tointegerx(L, 2, nil))
            )
            return 0
        }
        install("wait") { machine, L in
            guard machine.vm.canSuspend(L) else {
                machine.vm.pushError(L, "cannot wait here")
                return LuaVM.raise
            }
            return LuaVM.suspend
        }
        install("show") { machine, L in
            lua_settop(L, 1)
            machine.script.pushShown(L, 1)
            return 1
        }
        install("message") { machine, L in
            let part = { Array(machine.vm.stringBytes(L, $0) ?? UnsafeRawBufferPointer(start: nil, count: 0)) }
            machine.script.pushMessage(
                subject: part(1),
                reply: part(2),
                headers: part(3),
                payload: part(4),
                dataType: UInt8(truncatingIfNeeded: lua_tointegerx(L, 5, nil) % 3),
                onto: L
            )
            return 1
        }
        install("request") { machine, L in
            let part = { Array(machine.vm.stringBytes(L, $0) ?? UnsafeRawBufferPointer(start: nil, count: 0)) }
            machine.script.pushRequest(
                method: part(1),
                path: part(2),
                query: part(3),
                headers: part(4),
                body: part(5),
                onto: L
            )
            return 1
        }
        // check(message, validator, handler, on_invalid): as a listener with a validator runs.
        install("check") { machine, L in
            lua_settop(L, 4)
            guard machine.script.isMessage(L, 1), machine.script.isValidator(L, 2), lua_type(L, 3) == LUA_TFUNCTION,
                lua_type(L, 4) == LUA_TFUNCTION || lua_type(L, 4) == LUA_TNIL
            else { return 0 }
            // The guard takes the handler before the validator.
            lua_pushvalue(L, 2)
            lua_copy(L, 3, 2)
            lua_copy(L, 5, 3)
            lua_settop(L, 4)
            machine.script.pushGuard(onto: L)
            return LuaVM.call
        }
    }

    private func install(_ name: StaticString, _ function: @escaping (LuaHostMachine, OpaquePointer) -> CInt) {
        functions.append(HostFunction(machine: self, function))
        vm.pushHostFunction(
            { L, context in
                guard let L, let context else { return 0 }
                let function = Unmanaged<HostFunction>.fromOpaque(context).takeUnretainedValue()
                return function.body(function.machine, L)
            },
            context: Unmanaged.passUnretained(functions[functions.count - 1]).toOpaque(),
            onto: vm.state
        )
        vm.setGlobal(vm.state, name)
    }

    private var functions: [HostFunction] = []
}

private final class HostFunction {
    unowned let machine: LuaHostMachine
    let body: (LuaHostMachine, OpaquePointer) -> CInt

    init(machine: LuaHostMachine, _ body: @escaping (LuaHostMachine, OpaquePointer) -> CInt) {
        self.machine = machine
        self.body = body
    }
}
