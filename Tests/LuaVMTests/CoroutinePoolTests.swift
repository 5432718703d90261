// Slots, generations and the pool of the host's coroutines.
import CLuaVM
import Testing

@testable import LuaVM

@Suite struct CoroutinePoolTests {
    @Test func theLastOneGivenBackIsTheNextOneTaken() throws {
        let machine = try Machine()
        let first = try machine.coroutine("return 1")
        let second = try machine.coroutine("return 2")
        #expect(machine.finish(first, machine.resume(first)) == ["1"])
        #expect(machine.finish(second, machine.resume(second)) == ["2"])
        #expect(machine.vm.pooledCount == 2)
        let again = machine.vm.acquireCoroutine()
        #expect(again.thread == second.thread)
        #expect(again.slot == second.slot)
        #expect(again.generation != second.generation)
        #expect(lua_gettop(again.thread) == 0)
    }

    @Test func anOldIdFindsNothing() throws {
        let machine = try Machine()
        let co = try machine.coroutine("wait() return 1")
        #expect(machine.vm.coroutine(id: co.id) == co)
        #expect(machine.resume(co) == .suspended)
        #expect(machine.vm.coroutine(id: co.id) == co)
        #expect(machine.finish(co, machine.resume(co)) == ["1"])
        #expect(machine.vm.coroutine(id: co.id) == nil)
        // The slot is in use again, the old id still finds nothing.
        let next = try machine.coroutine("return 2")
        #expect(next.slot == co.slot)
        #expect(machine.vm.coroutine(id: co.id) == nil)
        #expect(machine.vm.coroutine(id: next.id) == next)
        // After a failure and after a discard, too.
        let failing = try machine.coroutine("error('x')")
        #expect(machine.resume(failing) == .failed)
        #expect(machine.vm.coroutine(id: failing.id) == nil)
        _ = machine.vm.takeError(failing)
        #expect(machine.vm.coroutine(id: failing.id) == nil)
        machine.vm.discard(next)
        #expect(machine.vm.coroutine(id: next.id) == nil)
        #expect(machine.vm.coroutine(id: .max) == nil)
        #expect(machine.vm.coroutine(id: 0) == nil)
    }

    @Test func failedOnesAreNotPooled() throws {
        let machine = try Machine()
        for _ in 0..<100 {
            let co = try machine.coroutine("error('x')")
            #expect(machine.resume(co) == .failed)
            _ = machine.vm.takeError(co)
        }
        #expect(machine.vm.pooledCount == 0)
        #expect(machine.vm.referenceCount == 0)
    }

    @Test func thePoolHasALimit() throws {
        let machine = try Machine { $0.maximumPooledCoroutines = 3 }
        let all = try (0..<10).map { _ in try machine.coroutine("return 1") }
        for co in all { #expect(machine.finish(co, machine.resume(co)) == ["1"]) }
        #expect(machine.vm.pooledCount == 3)
        #expect(machine.vm.referenceCount == 3)
        let none = try Machine { $0.maximumPooledCoroutines = 0 }
        let co = try none.coroutine("return 1")
        #expect(none.finish(co, none.resume(co)) == ["1"])
        #expect(none.vm.pooledCount == 0)
    }

    @Test func runningIsTheInnermost() throws {
        let machine = try Machine()
        final class Seen {
            let machine: Machine
            var inner: LuaCoroutine?
            var during: [LuaCoroutine?] = []
            init(_ machine: Machine) { self.machine = machine }
        }
        let seen = Seen(machine)
        // A host function that runs another handler to its end.
        machine.vm.pushHostFunction(
            { _, context in
                guard let context else { return 0 }
                let seen = Unmanaged<Seen>.fromOpaque(context).takeUnretainedValue()
                let vm = seen.machine.vm
                seen.during.append(vm.running)
                guard let inner = seen.inner else { return 0 }
                seen.inner = nil
                let outcome = vm.resume(inner, argumentCount: 0)
                seen.during.append(vm.running)
                if outcome == .returned(0) { vm.recycle(inner) }
                return 0
            },
            context: Unmanaged.passUnretained(seen).toOpaque(),
            onto: machine.vm.state
        )
        machine.vm.setGlobal(machine.vm.state, "nested")
        let inner = try machine.coroutine("nested()")
        let outer = try machine.coroutine("nested() return wait()")
        seen.inner = inner
        #expect(machine.vm.running == nil)
        #expect(machine.resume(outer) == .suspended)
        #expect(machine.vm.running == nil)
        #expect(seen.during == [outer, inner, outer])
        #expect(machine.finish(outer, machine.resume(outer, with: ["x"])) == [#""x""#])
    }

    /// A handler started by another one's host function waits on its own.
    @Test func nestedHandlersWaitSeparately() throws {
        let machine = try Machine()
        machine.install("spawn") { L, context in
            guard let L, let context else { return 0 }
            let machine = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue()
            let co = machine.vm.acquireCoroutine()
            lua_pushvalue(L, 1)
            lua_xmove(L, co.thread, 1)
            #expect(machine.vm.resume(co, argumentCount: 0) == .suspended)
            lua_pushinteger(L, lua_Integer(co.id))
            return 1
        }
        let outer = try machine.coroutine("local id = spawn(function() r = wait('inner') end) wait('outer') return id")
        #expect(machine.resume(outer) == .suspended)
        #expect(machine.waits == ["inner", "outer"])
        #expect(machine.vm.suspendedCount == 2)
        let results = machine.finish(outer, machine.resume(outer))
        let id = try #require(results.first.flatMap { UInt64($0) })
        let inner = try #require(machine.vm.coroutine(id: id))
        #expect(machine.finish(inner, machine.resume(inner, with: ["done"])) == [])
        #expect(try machine.run("return r") == #""done""#)
    }

    @Test func tenThousandSuspendedThenBackToTheBaseline() throws {
        let machine = try Machine()
        let function = try machine.load("local x = {...}; wait(); return #x")
        func round(_ count: Int) {
            var all: [LuaCoroutine] = []
            for _ in 0..<count {
                let co = machine.vm.acquireCoroutine()
                machine.vm.push(function, onto: co.thread)
                lua_pushinteger(co.thread, 1)
                #expect(machine.vm.resume(co, argumentCount: 1) == .suspended)
                all.append(co)
            }
            #expect(machine.vm.suspendedCount == count)
            for (index, co) in all.enumerated() {
                if index.isMultiple(of: 3) {
                    machine.vm.discard(co)
                } else {
                    #expect(machine.vm.resume(co, argumentCount: 0) == .returned(1))
                    machine.vm.recycle(co)
                }
            }
            machine.waits.removeAll()
            machine.vm.collectGarbage()
        }
        round(2_000)
        let baseline = machine.vm.memoryInUse
        round(10_000)
        #expect(machine.vm.memoryPeak > baseline + 5_000_000)
        #expect(machine.vm.suspendedCount == 0)
        #expect(machine.vm.pooledCount == 1_000)
        // The registry keeps its slots; all else is gone.
        #expect(machine.vm.memoryInUse < baseline + 400_000)
        let afterFirst = machine.vm.memoryInUse
        round(10_000)
        #expect(machine.vm.memoryInUse < afterFirst + 50_000)
    }

    @Test func referencesAreReused() throws {
        let machine = try Machine()
        let L = machine.vm.state
        var references: [LuaReference] = []
        for number in 0..<100 {
            lua_pushinteger(L, lua_Integer(number))
            references.append(machine.vm.makeReference(L))
        }
        lua_checkstack(L, 100)
        for (number, reference) in references.enumerated() {
            machine.vm.push(reference, onto: L)
            #expect(lua_tointegerx(L, -1, nil) == number)
        }
        lua_settop(L, 0)
        let highest = references.map(\.index).max()
        for reference in references { machine.vm.release(reference) }
        lua_pushinteger(L, 1)
        let again = machine.vm.makeReference(L)
        #expect(again.index <= highest ?? 0)
        #expect(machine.vm.referenceCount == 1)
    }
}
