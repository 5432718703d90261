// Owns: what functions started by app.spawn and app.wait_all leave behind, and who is waiting for it. Loop-bound.

import CLuaVM
import CScriptObjects
import Logging
import LoopTools
package import LuaVM

extension Script {
    /// States of a spawn handle: 0 while the function runs, its number of results + 1 afterwards.
    private static let ended: Int32 = 1

    /// Keeps what a spawned function returned.
    package func keepResults(_ L: OpaquePointer, _ count: CInt, _ record: SpawnRecord) {
        if let group = record.group {
            keep(L, lua_gettop(L) - count + 1, count, group, record.position)
            return groupMemberEnded(group)
        }
        if let call = record.call { return call.returned(self, L, count) }
        if !record.isAwaited { record.parent?.spawnedReturned(record, L, count) }
        guard lua_checkstack(L, 4) != 0 else { return }
        lua_createtable(L, count, 0)
        for position in stride(from: 1, through: count, by: 1) {
            lua_pushvalue(L, lua_gettop(L) - 1 - count + position)
            lua_rawseti(L, -2, lua_Integer(position))
        }
        store(L, count, record)
    }

    /// Keeps the error of a spawned function as `nil, err`.
    package func keepFailure(_ error: LuaError, _ record: SpawnRecord) {
        if !record.isAwaited, record.call == nil, record.group == nil {
            logger.error(
                "spawned function failed: \(error.message)",
                metadata: error.traceback.map { ["lua.traceback": "\($0)"] }
            )
        }
        let L = vm.state
        let results = pushFailure(error)
        keepFailure(error, results, record)
        lua_settop(L, results - 1)
    }

    /// The same for many that failed alike: they share what they are given, and a line of the log.
    package func keepFailure(_ error: LuaError, ofAll records: [SpawnRecord]) {
        let silent = records.count { !$0.isAwaited && $0.call == nil && $0.group == nil }
        if silent == 1 {
            logger.error("spawned function failed: \(error.message)")
        } else if silent > 1 {
            logger.error("\(silent) spawned functions failed: \(error.message)")
        }
        let L = vm.state
        let results = pushFailure(error)
        for record in records { keepFailure(error, results, record) }
        lua_settop(L, results - 1)
    }

    /// Pushes the results `nil, err`, as a handle keeps them, and the error above them; returns where they are.
    private func pushFailure(_ error: LuaError) -> CInt {
        let L = vm.state
        lua_checkstack(L, 8)
        let code: CallError.Code
        switch error.code {
        case .integer(let number): code = .number(number)
        case .string(let text): code = .text(text)
        case nil: code = .text("error")
        }
        lua_createtable(L, 2, 0)
        let results = lua_gettop(L)
        push(CallError(code, error.message), onto: L)
        lua_pushvalue(L, -1)
        lua_rawseti(L, results, 2)
        return results
    }

    private func keepFailure(_ error: LuaError, _ results: CInt, _ record: SpawnRecord) {
        let L = vm.state
        if let call = record.call { return call.failed(error) }
        if let group = record.group {
            group.hasErrors = true
            vm.push(group.errors, onto: L)
            lua_pushvalue(L, results + 1)
            lua_rawseti(L, -2, lua_Integer(record.position))
            lua_settop(L, -2)
            return groupMemberEnded(group)
        }
        if !record.isAwaited { record.parent?.spawnedFailed(record, error) }
        lua_pushvalue(L, results)
        store(L, 2, record)
    }

    /// Moves the table of results on top of `L` into the handle, and wakes who waits.
    private func store(_ L: OpaquePointer, _ count: CInt, _ record: SpawnRecord) {
        guard let reference = record.handle else { return lua_settop(L, -2) }
        vm.push(reference, onto: L)
        let handle = lua_touserdata(L, -1).unsafelyUnwrapped.assumingMemoryBound(to: panini_handle.self)
        handle.pointee.state = Self.ended + count
        lua_rotate(L, -2, 1)
        lua_setiuservalue(L, -2, 1)
        for waiter in record.waiters {
            lua_pushvalue(L, -1)
            ready.append(.resume(waiter, .value(SpawnResults(handle: vm.makeReference(L)))))
        }
        record.waiters = []
        for (group, position) in record.groups {
            addHandleResults(L, lua_gettop(L), group, position)
            groupMemberEnded(group)
        }
        record.groups = []
        spawning.running[handle.pointee.id] = nil
        // From here on the handle may be gone.
        lua_settop(L, -2)
        vm.release(reference)
        record.handle = nil
    }

    /// Puts what a member of a group returned, from an index on, into the group's tables.
    private func keep(_ L: OpaquePointer, _ first: CInt, _ count: CInt, _ group: WaitGroup, _ position: Int) {
        guard lua_checkstack(L, 4) != 0 else { return }
        if count >= 2, lua_type(L, first) == LUA_TNIL, lua_type(L, first + 1) != LUA_TNIL {
            group.hasErrors = true
            vm.push(group.errors, onto: L)
            lua_pushvalue(L, first + 1)
        } else {
            vm.push(group.results, onto: L)
            if count > 0 { lua_pushvalue(L, first) } else { lua_pushnil(L) }
        }
        lua_rawseti(L, -2, lua_Integer(position))
        lua_settop(L, -2)
    }

    /// The same of a handle at an index whose function has ended.
    package func addHandleResults(_ L: OpaquePointer, _ index: CInt, _ group: WaitGroup, _ position: Int) {
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        lua_pushvalue(L, index)
        let count = pushHandleResults(L, top + 1)
        keep(L, top + 1, count, group, position)
    }

    private func groupMemberEnded(_ group: WaitGroup) {
        group.remaining -= 1
        if group.remaining == 0 { ready.append(.resume(group.waiter, .value(group))) }
    }

    /// Pushes the results kept in the handle on top of the stack, in its place; returns their number.
    package func pushHandleResults(_ L: OpaquePointer, _ index: CInt) -> CInt {
        let handle = lua_touserdata(L, index).unsafelyUnwrapped.assumingMemoryBound(to: panini_handle.self)
        let count = handle.pointee.state - Self.ended
        lua_getiuservalue(L, index, 1)
        lua_rotate(L, index, -1)
        lua_settop(L, -2)
        let table = lua_gettop(L)
        guard lua_checkstack(L, count + 1) != 0 else { return 0 }
        for position in stride(from: 1, through: count, by: 1) { lua_rawgeti(L, table, lua_Integer(position)) }
        lua_rotate(L, table, -1)
        lua_settop(L, -2)
        return count
    }
}

/// The results that a spawn handle keeps.
private struct SpawnResults: CompletionValue {
    /// The handle, in the registry.
    package let handle: LuaReference

    package func push(onto L: OpaquePointer, in script: Script) -> CInt {
        script.vm.push(handle, onto: L)
        script.vm.release(handle)
        return script.pushHandleResults(L, lua_gettop(L))
    }

    package func release(in script: Script) { script.vm.release(handle) }
}

extension WaitGroup: CompletionValue {
    /// Pushes what `app.wait_all` returns, and gives the group's tables back.
    package func push(onto L: OpaquePointer, in script: Script) -> CInt {
        script.vm.push(results, onto: L)
        if hasErrors { script.vm.push(errors, onto: L) } else { lua_pushnil(L) }
        release(in: script)
        return 2
    }

    package func release(in script: Script) {
        script.vm.release(results)
        script.vm.release(errors)
    }
}
