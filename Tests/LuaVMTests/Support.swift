// Small helpers for the tests of LuaVM: chunks from text, values to text, a host that suspends.
import CLuaVM
import Glibc
import Testing

@testable import LuaVM

/// A state with a few host functions, as the host of a service would install them.
final class Machine {
    let vm: LuaVM
    /// What the scripts' `wait(...)` was called with, innermost call last.
    var waits: [String] = []
    var modules: [String: String] = [:]

    init(_ configure: (inout LuaVM.Configuration) -> Void = { _ in }) throws {
        var configuration = LuaVM.Configuration()
        configure(&configuration)
        vm = try LuaVM(configuration: configuration)
        install("wait") { L, context in
            guard let L, let context else { return 0 }
            let machine = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue()
            guard machine.vm.canSuspend(L) else {
                machine.vm.pushError(L, "cannot wait here")
                return LuaVM.raise
            }
            machine.waits.append(machine.vm.string(L, 1) ?? "")
            return LuaVM.suspend
        }
        install("fail") { L, context in
            guard let L, let context else { return 0 }
            let machine = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue()
            machine.vm.pushError(L, machine.vm.string(L, 1) ?? "failed")
            return LuaVM.raise
        }
        vm.pushNull(vm.state)
        vm.setGlobal(vm.state, "null")
        install("array") { L, context in
            guard let L, let context else { return 0 }
            let machine = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue()
            machine.vm.markArray(L, 1)
            lua_settop(L, 1)
            return 1
        }
        vm.installRequire { [unowned self] name, _ in
            guard let text = modules[name] else { return .missing(["no file 'modules/\(name).lua'"]) }
            return .found(LuaModule(path: "modules/\(name).lua", source: Array(text.utf8)))
        }
    }

    deinit {
        vm.close()
    }

    func install(_ name: StaticString, _ function: @escaping LuaVM.HostFunction) {
        vm.pushHostFunction(function, context: Unmanaged.passUnretained(self).toOpaque(), onto: vm.state)
        vm.setGlobal(vm.state, name)
    }

    func load(_ text: String, path: String = "test.lua") throws(LuaError) -> LuaReference {
        try vm.load(text, path: path)
    }

    /// Runs a chunk on the main stack; its first result as JSON.
    @discardableResult
    func run(_ text: String, path: String = "test.lua") throws(LuaError) -> String {
        let function = try load(text, path: path)
        defer { vm.release(function) }
        let results = try vm.call(function)
        defer { lua_settop(vm.state, -results - 1) }
        return results == 0 ? "" : encoded(vm.state, -results)
    }

    /// Acquires a coroutine that is about to run the chunk.
    func coroutine(_ text: String, path: String = "test.lua") throws(LuaError) -> LuaCoroutine {
        let function = try load(text, path: path)
        defer { vm.release(function) }
        let co = vm.acquireCoroutine()
        vm.push(function, onto: co.thread)
        return co
    }

    func resume(_ co: LuaCoroutine, with values: [String] = []) -> LuaOutcome {
        for value in values { vm.pushString(co.thread, value) }
        return vm.resume(co, argumentCount: CInt(values.count))
    }

    /// The results of a coroutine that returned, as JSON texts; gives it back.
    func finish(_ co: LuaCoroutine, _ outcome: LuaOutcome) -> [String] {
        switch outcome {
        case .returned(let count):
            let results = (0..<count).map { encoded(co.thread, $0 - count) }
            vm.recycle(co)
            return results
        case .suspended:
            Issue.record("still suspended")
            vm.discard(co)
            return []
        case .failed:
            let error = vm.takeError(co)
            Issue.record("failed: \(error.message)")
            return []
        }
    }

    func encoded(_ L: OpaquePointer, _ index: CInt) -> String {
        let writer = ByteWriter()
        do {
            try vm.encodeJSON(L, index, into: writer)
        } catch {
            return "error: \(error)"
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

/// CPU time of the calling thread, in seconds.
func threadTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
