// Owns: app.spawn, handle.wait and app.wait_all as scripts call them. Worker's thread.

import CLuaVM
package import CScriptObjects
import LoopTools
import LuaVM

extension Script {
    package func spawn(_ call: HostCall) throws(UsageError) -> CInt {
        guard phase == .live else {
            throw UsageError("app.spawn cannot be used while the file runs; use app.task or app.on_start_task")
        }
        try call.requireFunction(1, "the function")
        try call.charge(SpawnRecord.charge)
        let record = startSpawned(call, 1)
        let handle = panini_handle_push(call.L, spawning.handleType, makeHandleNumber()).unsafelyUnwrapped
        lua_pushvalue(call.L, -1)
        record.handle = vm.makeReference(call.L)
        spawning.running[handle.pointee.id] = record
        return 1
    }

    /// Puts the function at an index in line; it starts when the caller next waits or ends.
    private func startSpawned(_ call: HostCall, _ index: CInt) -> SpawnRecord {
        let (parent, request) = spawning.takeRequest()
        let record = SpawnRecord(script: self, holdsStop: current.holdsStop, parent: parent, request: request)
        (record.account, record.resumeCause) = accountForSpawned(holdsStop: record.holdsStop)
        parent?.spawnedBegins(request)
        if record.holdsStop { beginActivity() }
        if watchedRuns > 0 { for feature in features.watchers { feature.runSpawned(record) } }
        lua_pushvalue(call.L, index)
        ready.append(.start(vm.makeReference(call.L), record))
        return record
    }

    package func waitAll(_ call: HostCall) throws(UsageError) -> CInt {
        guard phase == .live else {
            throw UsageError("app.wait_all cannot be used while the file runs; use app.on_start_task")
        }
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError(
                "app.wait_all: takes a list of functions and handles, as in app.wait_all{ f, handle }, not \(call.typeName(1))"
            )
        }
        let L = call.L
        let count = Int(lua_rawlen(L, 1))
        if let key = otherKey(L, 1, than: count) {
            throw UsageError(
                "app.wait_all: takes a list of functions and handles, as in app.wait_all{ f, handle }; \(key) is no position in it"
            )
        }
        var functions = 0
        var running = 0
        var waiting: Set<ObjectIdentifier>?
        for position in stride(from: 1, through: count, by: 1) {
            if vm.isRunOver { break }
            let type = lua_rawgeti(L, 1, lua_Integer(position))
            let handle = spawnHandle(L, -1)
            if type == LUA_TFUNCTION { functions += 1 }
            if type == LUA_TFUNCTION || handle?.pointee.state == 0 { running += 1 }
            let name = call.typeName(-1)
            let isOwn = handle.map { isWaitForItself($0, &waiting) } ?? false
            lua_settop(L, -2)
            guard type == LUA_TFUNCTION || handle != nil else {
                throw UsageError(
                    "app.wait_all: takes functions and handles of app.spawn; entry \(position) is \(name)"
                )
            }
            if isOwn {
                throw UsageError(
                    "app.wait_all: entry \(position) is the calling function, or waits for it; nothing can wait for itself"
                )
            }
        }
        guard count > 0 else {
            lua_createtable(L, 0, 0)
            return 1
        }
        if running > 0 { try requireSuspendable(call) }
        guard !vm.isRunOver, let id = vm.running?.id else { return 0 }
        try call.charge(functions * SpawnRecord.charge)
        lua_createtable(L, CInt(min(count, 1024)), 0)
        let results = vm.makeReference(L)
        lua_createtable(L, 0, 0)
        let group = WaitGroup(remaining: running, waiter: id, results: results, errors: vm.makeReference(L))
        for position in 1...count {
            lua_rawgeti(L, 1, lua_Integer(position))
            join(group, position, call)
            lua_settop(L, -2)
        }
        // Handles of what has ended before need no wait.
        guard running > 0 else { return group.push(onto: L, in: self) }
        current.spawned?.isWaiting = true
        nextWait = .own
        return LuaVM.suspend
    }

    /// A key of the table at an index that is none of its first `count` positions.
    private func otherKey(_ L: OpaquePointer, _ index: CInt, than count: Int) -> String? {
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        guard lua_checkstack(L, 3) != 0 else { return nil }
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            lua_settop(L, top + 1)
            if lua_isinteger(L, top + 1) != 0, (1...max(1, count)).contains(Int(lua_tointegerx(L, top + 1, nil))) {
                continue
            }
            guard let name = vm.stringBytes(L, top + 1) else { return "a key that is no whole number, or after a gap," }
            return "\"\(LuaVM.shown(name, upTo: 80))\""
        }
        return nil
    }

    /// Whether the function of a handle cannot end before the calling one has: it is that, or waits for it.
    ///
    /// - Parameter waiting: Who waits for the calling function, as soon as that was looked up: a call may ask for many handles.
    private func isWaitForItself(
        _ handle: UnsafeMutablePointer<panini_handle>,
        _ waiting: inout Set<ObjectIdentifier>?
    ) -> Bool {
        guard let caller = current.spawned, handle.pointee.state == 0, let awaited = spawning.running[handle.pointee.id]
        else {
            return false
        }
        if awaited === caller { return true }
        // Most often it waits for none: it has not begun yet, or does something else.
        guard awaited.isWaiting else { return false }
        let known = waiting ?? everybodyWaiting(for: caller)
        waiting = known
        return known.contains(ObjectIdentifier(awaited))
    }

    /// The spawned functions that cannot end before this one has. Ends early with the run.
    private func everybodyWaiting(for record: SpawnRecord) -> Set<ObjectIdentifier> {
        var unseen = record.allWaiters
        var found: Set<ObjectIdentifier> = []
        while !vm.isRunOver, let id = unseen.popLast() {
            guard let slot = vm.coroutine(id: id)?.slot, Int(slot) < suspendedRuns.count,
                let waiting = suspendedRuns[Int(slot)]?.activity.owner as? SpawnRecord,
                found.insert(ObjectIdentifier(waiting)).inserted
            else { continue }
            unseen += waiting.allWaiters
        }
        return found
    }

    private func spawnHandle(_ L: OpaquePointer, _ index: CInt) -> UnsafeMutablePointer<panini_handle>? {
        panini_userdata_at(L, index, spawning.handleType)?.assumingMemoryBound(to: panini_handle.self)
    }

    /// Makes what is on top a member of the group: a function, which is started, or a handle.
    private func join(_ group: WaitGroup, _ position: Int, _ call: HostCall) {
        let L = call.L
        guard let handle = spawnHandle(L, -1) else {
            let record = startSpawned(call, lua_gettop(L))
            record.group = group
            record.position = position
            return
        }
        if handle.pointee.state != 0 { return addHandleResults(L, lua_gettop(L), group, position) }
        spawning.running[handle.pointee.id]?.groups.append((group, position))
    }

    /// `handle.wait()`.
    fileprivate func wait(_ call: HostCall, _ handle: UnsafeMutablePointer<panini_handle>) throws(UsageError) -> CInt {
        if handle.pointee.state != 0 {
            // Ended: the results are in the handle, which is the method's first upvalue.
            lua_settop(call.L, 0)
            lua_pushvalue(call.L, CInt(PANINI_FIRST_UPVALUE))
            return pushHandleResults(call.L, 1)
        }
        guard let record = spawning.running[handle.pointee.id] else { return 0 }
        var waiting: Set<ObjectIdentifier>?
        if isWaitForItself(handle, &waiting) {
            throw UsageError(
                "handle.wait: the function is the calling one, or waits for it; nothing can wait for itself"
            )
        }
        try requireSuspendable(call)
        guard let id = vm.running?.id else { return 0 }
        record.waiters.append(id)
        current.spawned?.isWaiting = true
        nextWait = .own
        return LuaVM.suspend
    }
}

/// The method of a spawn handle.
package let waitForHandle: panini_handle_function = { L, context, handle in
    let call = HostCall(L: L.unsafelyUnwrapped, script: Script.from(context), name: "handle.wait")
    do throws(UsageError) {
        return try call.script.wait(call, handle.unsafelyUnwrapped)
    } catch {
        return call.raise(error)
    }
}
