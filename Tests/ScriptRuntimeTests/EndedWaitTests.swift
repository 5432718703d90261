// Runs that are ended between a host function that waits and the wait itself.

import LuaVM
import Testing

@testable import ScriptRuntime

@Suite("Waits of runs that were ended")
struct EndedWaitTests {
    @Test("what a run was about to wait for when it was ended is nobody else's wait")
    func endedBeforeItsWait() throws {
        let script = try Script.bare()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        vm.cpuLimit = 0.02
        // As a host function does it that was slow before it came to wait.
        let wait: LuaVM.HostFunction = { _, context in
            let script = Script.from(context)
            while !script.vm.isRunOver {}
            script.nextWait = .own
            return LuaVM.suspend
        }
        vm.pushHostFunction(wait, context: Unmanaged.passUnretained(script).toOpaque(), onto: vm.state)
        vm.setGlobal(vm.state, "wait")
        for source in [
            "wait()", "pcall(wait)", "coroutine.wrap(wait)()", "local t <close> = setmetatable({}, {__close = wait})",
        ] {
            let function = try vm.load(source, path: "wait.lua")
            script.enter { script.start(function, Activity(ActivityOwner(script: script))) }
            #expect(script.nextWait.isNone, "\(source)")
            #expect(script.suspendedCount == 0)
        }
    }
}
