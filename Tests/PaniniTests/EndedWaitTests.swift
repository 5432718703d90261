// Runs that are ended between a host function that waits and the wait itself.

import CLuaShim
import Logging
import LuaVM
import Testing

@testable import Panini

@Suite("Waits of runs that were ended")
struct EndedWaitTests {
    @Test("what a run was about to wait for when it was ended is nobody else's wait")
    func endedBeforeItsWait() throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let script = try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        vm.cpuLimit = 0.02
        // As a host function does it that was slow before it came to wait.
        let wait: LuaVM.HostFunction = { _, context in
            let script = Script.from(context)
            while !script.vm.isRunOver {}
            script.nextWait = .spawned
            return LuaVM.suspend
        }
        vm.pushHostFunction(wait, context: Unmanaged.passUnretained(script).toOpaque(), onto: vm.state)
        vm.setGlobal(vm.state, "wait")
        for source in [
            "wait()", "pcall(wait)", "coroutine.wrap(wait)()", "local t <close> = setmetatable({}, {__close = wait})",
        ] {
            let function = try vm.load(source, path: "wait.lua")
            script.enter { script.start(function, .task(index: 0)) }
            guard case .none = script.nextWait else {
                Issue.record("\(source): \(script.nextWait)")
                continue
            }
            #expect(script.suspendedCount == 0)
        }
    }
}
