// Coroutines of the host: one per handler, pooled. Each has a slot and a generation; a completion that comes too late
// carries an old generation and finds nothing.
internal import CLuaVM

/// A pooled coroutine, for one use of it.
package struct LuaCoroutine: Equatable, Hashable {
    package let thread: OpaquePointer
    package let slot: UInt32
    package let generation: UInt32

    /// Slot and generation in one number, for the host's operations to carry.
    package var id: UInt64 { UInt64(generation) << 32 | UInt64(slot) }
}

/// How a resume ended.
package enum LuaOutcome: Equatable {
    /// The function returned this many values, which are on top of the coroutine's stack.
    case returned(CInt)
    /// A host function suspended it.
    case suspended
    /// It raised an error, which `takeError` takes.
    case failed
}

struct CoroutineSlot: BitwiseCopyable {
    enum State: UInt8 {
        /// No thread in it.
        case empty
        /// In the pool.
        case pooled
        /// Acquired, nothing run yet or everything returned.
        case ready
        case running
        case suspended
        case failed
    }

    var thread: OpaquePointer?
    var generation: UInt32
    var reference: CInt
    var state: State
    /// The run was ended: nothing of it is run any more, not even to close what is open.
    var isKilled = false
    /// CPU time of its segments so far, as far as the watchdog has seen it.
    var time: UInt64 = 0
    /// Time of those segments that nobody has measured yet, on the clock on the wall.
    var wall: UInt64 = 0
}

struct CoroutineTable {
    static let none = UInt32.max

    var slots = UnsafeStack<CoroutineSlot>(capacity: 8)
    var pool = UnsafeStack<UInt32>(capacity: 8)
    var empty = UnsafeStack<UInt32>(capacity: 8)
    var running = CoroutineTable.none
    var suspended = 0

    func deallocate() {
        slots.deallocate()
        pool.deallocate()
        empty.deallocate()
    }
}

extension LuaVM {
    /// A coroutine with an empty stack, from the pool when there is one.
    package func acquireCoroutine() -> LuaCoroutine {
        if let slot = core.pointee.coroutines.pool.pop() {
            let entry = core.pointee.coroutines.slots.base + Int(slot)
            entry.pointee.state = .ready
            return LuaCoroutine(
                thread: entry.pointee.thread.unsafelyUnwrapped,
                slot: slot,
                generation: entry.pointee.generation
            )
        }
        return makeCoroutine()
    }

    @inline(never)
    private func makeCoroutine() -> LuaCoroutine {
        lua_checkstack(state, 2)
        guard let thread = panini_new_pooled_thread(state) else { fatalError("Lua made no thread") }
        let reference = makeReference(state)
        if let slot = core.pointee.coroutines.empty.pop() {
            let entry = core.pointee.coroutines.slots.base + Int(slot)
            entry.pointee.thread = thread
            entry.pointee.reference = reference.index
            entry.pointee.state = .ready
            return LuaCoroutine(thread: thread, slot: slot, generation: entry.pointee.generation)
        }
        let slot = UInt32(core.pointee.coroutines.slots.count)
        core.pointee.coroutines.slots.push(
            CoroutineSlot(thread: thread, generation: 1, reference: reference.index, state: .ready)
        )
        return LuaCoroutine(thread: thread, slot: slot, generation: 1)
    }

    /// Starts the coroutine with the function and arguments on its stack, or continues it with the results on it.
    ///
    /// - Parameters:
    ///   - co: Acquired, or suspended.
    ///   - argumentCount: How many arguments or results lie on top of its stack.
    ///   - raising: The one result is an error value, and the call that waits raises it.
    package func resume(_ co: LuaCoroutine, argumentCount: CInt, raising: Bool = false) -> LuaOutcome {
        let entry = slotEntry(co)
        switch entry.pointee.state {
        case .ready: vm.pointee.run.is_continued = 0
        case .suspended:
            core.pointee.coroutines.suspended &-= 1
            vm.pointee.run.is_continued = 1
            vm.pointee.run.wall = entry.pointee.wall
        default: preconditionFailure("a coroutine that is \(entry.pointee.state) cannot be resumed")
        }
        entry.pointee.state = .running
        let outer = core.pointee.coroutines.running
        core.pointee.coroutines.running = co.slot
        var results: CInt = 0
        vm.pointee.run.time = entry.pointee.time
        let status = panini_resume(vm, co.thread, argumentCount, raising ? 1 : 0, &results)
        core.pointee.coroutines.running = outer
        // The slots may have moved meanwhile.
        let after = core.pointee.coroutines.slots.base + Int(co.slot)
        switch status {
        case LUA_OK:
            after.pointee.state = .ready
            after.pointee.time = 0
            after.pointee.wall = 0
            return .returned(results)
        case LUA_YIELD:
            after.pointee.state = .suspended
            after.pointee.time = vm.pointee.run.time
            after.pointee.wall = vm.pointee.run.wall
            core.pointee.coroutines.suspended &+= 1
            return .suspended
        default:
            after.pointee.state = .failed
            after.pointee.isKilled = status == CInt(PANINI_KILLED)
            return .failed
        }
    }

    /// Gives a coroutine back after it returned, whatever is left on its stack.
    package func recycle(_ co: LuaCoroutine) {
        let entry = slotEntry(co)
        precondition(entry.pointee.state == .ready, "only a coroutine that returned can be recycled")
        guard core.pointee.coroutines.pool.count < configuration.maximumPooledCoroutines else {
            drop(co)
            return
        }
        lua_settop(co.thread, 0)
        entry.pointee.generation &+= 1
        entry.pointee.state = .pooled
        core.pointee.coroutines.pool.push(co.slot)
    }

    /// The error of a coroutine that failed; the coroutine is dropped.
    package func takeError(_ co: LuaCoroutine) -> LuaError {
        let entry = slotEntry(co)
        precondition(entry.pointee.state == .failed, "only a coroutine that failed has an error")
        if entry.pointee.isKilled {
            panini_require_abandon(vm)
            drop(co)
            return overBudget()
        }
        let status = lua_status(co.thread)
        lua_checkstack(state, 8)
        panini_push_thread_traceback(vm, state, co.thread)
        var traceback = string(state, -1, upTo: LuaVM.longestErrorText)
        lua_settop(state, -2)
        // Its to-be-closed variables are closed now, and may replace the error.
        if panini_close_thread(vm, co.thread) == CInt(PANINI_KILLED) {
            drop(co)
            return overBudget()
        }
        if lua_gettop(co.thread) > 0 {
            lua_xmove(co.thread, state, 1)
        } else {
            lua_pushnil(state)
        }
        // An error that came through a call of the host that notes errors was raised deeper than the stack that is left.
        panini_take_noted_traceback(state)
        if let recorded = string(state, -1, upTo: LuaVM.longestErrorText) { traceback = recorded }
        lua_settop(state, -2)
        let error = popError(status: status, traceback: traceback)
        drop(co)
        return error
    }

    /// Ends a coroutine for good, suspended or not: its to-be-closed variables are closed, errors in that are swallowed.
    ///
    /// - Parameter closes: False: it is dropped as it is.
    package func discard(_ co: LuaCoroutine, closes: Bool = true) {
        let entry = slotEntry(co)
        switch entry.pointee.state {
        case .running: preconditionFailure("a running coroutine cannot be discarded")
        case .suspended: core.pointee.coroutines.suspended &-= 1
        default: break
        }
        // Not to be found by its id from here on, not even by what its __close methods do.
        entry.pointee.state = .failed
        if closes { panini_close_thread(vm, co.thread) }
        drop(co)
    }

    /// The coroutine with this id, unless it ended meanwhile.
    package func coroutine(id: UInt64) -> LuaCoroutine? {
        let slot = UInt32(truncatingIfNeeded: id)
        let generation = UInt32(truncatingIfNeeded: id >> 32)
        guard Int(slot) < core.pointee.coroutines.slots.count else { return nil }
        let entry = core.pointee.coroutines.slots.base + Int(slot)
        guard entry.pointee.generation == generation, let thread = entry.pointee.thread else { return nil }
        switch entry.pointee.state {
        case .empty, .pooled, .failed: return nil
        case .ready, .running, .suspended: break
        }
        return LuaCoroutine(thread: thread, slot: slot, generation: generation)
    }

    /// The coroutine that is being resumed right now.
    package var running: LuaCoroutine? {
        let slot = core.pointee.coroutines.running
        guard slot != CoroutineTable.none else { return nil }
        let entry = core.pointee.coroutines.slots.base + Int(slot)
        return LuaCoroutine(
            thread: entry.pointee.thread.unsafelyUnwrapped,
            slot: slot,
            generation: entry.pointee.generation
        )
    }

    /// How many coroutines wait for the host.
    package var suspendedCount: Int { core.pointee.coroutines.suspended }

    /// How many finished coroutines wait in the pool.
    package var pooledCount: Int { core.pointee.coroutines.pool.count }

    @inline(__always)
    private func slotEntry(_ co: LuaCoroutine) -> UnsafeMutablePointer<CoroutineSlot> {
        let entry = core.pointee.coroutines.slots.base + Int(co.slot)
        precondition(
            Int(co.slot) < core.pointee.coroutines.slots.count && entry.pointee.generation == co.generation,
            "the coroutine ended before"
        )
        return entry
    }

    /// Empties the slot; the thread is the collector's.
    private func drop(_ co: LuaCoroutine) {
        let entry = core.pointee.coroutines.slots.base + Int(co.slot)
        release(LuaReference(index: entry.pointee.reference))
        entry.pointee.thread = nil
        entry.pointee.isKilled = false
        entry.pointee.time = 0
        entry.pointee.wall = 0
        entry.pointee.state = .empty
        entry.pointee.generation &+= 1
        core.pointee.coroutines.empty.push(co.slot)
    }
}
