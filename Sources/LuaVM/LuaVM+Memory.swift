// The limit of memory, where Swift makes values on a script's behalf: those allocations cannot be refused half way, so they
// are asked for before.
internal import CLuaVM

extension LuaVM {
    /// Whether `bytes` more are within the limit, after a collection when need be.
    @inline(__always)
    package func hasRoom(for bytes: Int) -> Bool { panini_has_room(vm, bytes) != 0 }

    /// Counts memory of the host that a script has asked for, such as a timer's; false when there is no room for it.
    package func charge(_ bytes: Int) -> Bool {
        guard hasRoom(for: bytes) else { return false }
        vm.pointee.memory.in_use += bytes
        return true
    }

    /// Takes a charge back.
    package func discharge(_ bytes: Int) {
        vm.pointee.memory.in_use -= bytes
    }

    /// Lets every `every`th request for memory fail once, so that Lua collects all it can and asks again, or twice, so that it
    /// is an error where it may be one. For tests; 0 ends it.
    ///
    /// - Returns: Whether this build can: only debug builds and the fuzzers do.
    @discardableResult
    package func injectMemoryFaults(every: Int, attempts: Int = 1) -> Bool {
        panini_set_faults(&vm.pointee.faults, UInt64(max(every, 0)), UInt32(clamping: attempts)) != 0
    }

    /// How many requests for memory were let fail.
    package var injectedMemoryFaults: UInt64 { vm.pointee.faults.count }

    /// The collector's pace, for tests: Lua's numbers for how long it waits and how much it does then; a step is of 2^`step`
    /// bytes. A generational one takes them for its minor and its major collections.
    package func setCollector(isGenerational: Bool, pause: Int, multiplier: Int, step: Int) {
        panini_set_collector(state, isGenerational ? 1 : 0, CInt(pause), CInt(multiplier), CInt(step))
    }

    /// What Lua itself counts, in bytes. After a full collection it is ``memoryInUse``, but for what the host has charged.
    package var countedBytes: Int { Int(panini_counted_bytes(state)) }

    /// Whether the state is at its limit even after a full collection, which this runs.
    package func isExhausted() -> Bool { panini_is_exhausted(vm) != 0 }

    /// The most that a value may become as bytes: what the state has left, and enough for an answer that says so.
    package var bytesLeft: Int {
        let limit = vm.pointee.memory.limit
        guard limit > 0 else { return Int.max / 4 }
        return max(Int(limit) - Int(vm.pointee.memory.in_use), 1 << 20)
    }
}
