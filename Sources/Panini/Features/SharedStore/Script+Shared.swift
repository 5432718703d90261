// Owns: app.shared as scripts use it. Worker's thread; the store itself is everybody's.

import CLuaVM
import LuaVM
import NIOCore
import ScriptRuntime

extension Script {
    private var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    /// The longest key, in bytes: the store compares keys while its other users wait.
    private static let longestKey = 65_536

    private func key(_ call: HostCall) throws(UsageError) -> [UInt8] {
        let bytes = try call.bytes(1, "the key")
        guard bytes.count <= Self.longestKey else {
            throw UsageError("\(call.name): the key is longer than \(Self.longestKey) bytes")
        }
        return Array(bytes)
    }

    /// Copies the table at an index. Garbage takes no room: it is collected when it is in the way.
    private func snapshot(_ call: HostCall, _ index: CInt) throws(LuaSnapshotError) -> LuaSnapshot {
        do throws(LuaSnapshotError) {
            // It grows by doubling: for a moment there are two of it.
            return try vm.snapshot(call.L, index, most: vm.bytesLeft / 2)
        } catch {
            guard error.isMemory, vm.hasRoom(for: 2 * LuaSnapshot.maximumBytes) else { throw error }
            return try vm.snapshot(call.L, index)
        }
    }

    private func value(_ call: HostCall, _ index: CInt, _ what: String) throws(UsageError) -> SharedValue {
        switch call.type(index) {
        case LUA_TBOOLEAN: return .boolean(lua_toboolean(call.L, index) != 0)
        case LUA_TNUMBER:
            return lua_isinteger(call.L, index) != 0
                ? .integer(Int64(lua_tointegerx(call.L, index, nil))) : .number(lua_tonumberx(call.L, index, nil))
        case LUA_TSTRING:
            let bytes = vm.stringBytes(call.L, index) ?? emptyBytes
            try call.requireRoom(for: bytes.count)
            return .string(Array(bytes))
        case LUA_TTABLE:
            do throws(LuaSnapshotError) {
                return .table(try snapshot(call, index))
            } catch {
                guard !error.isMemory else { throw UsageError("\(call.name): \(error.message)") }
                throw UsageError("\(call.name): \(what) must be plain data: \(error.message)")
            }
        default:
            throw UsageError(
                "\(call.name): \(what) must be a boolean, a number, a string or a table of them, not \(call.typeName(index))"
            )
        }
    }

    private func amount(
        _ call: HostCall,
        _ index: CInt,
        _ what: String,
        default usual: Int64
    ) throws(UsageError) -> SharedValue {
        if call.isNone(index) { return .integer(usual) }
        guard call.type(index) == LUA_TNUMBER else {
            throw UsageError("\(call.name): \(what) must be a number, not \(call.typeName(index))")
        }
        return try value(call, index, what)
    }

    private func expiry(_ call: HostCall, _ index: CInt) throws(UsageError) -> UInt64 {
        guard !call.isNone(index) else { return 0 }
        let seconds = lua_tonumberx(call.L, index, nil)
        guard call.type(index) == LUA_TNUMBER, seconds > 0, seconds <= HostCall.mostSeconds else {
            let given = call.type(index) == LUA_TNUMBER ? "\(seconds)" : call.typeName(index)
            throw UsageError(
                "\(call.name): the time to live must be a number of seconds, more than 0 and at most a year, not \(given)"
            )
        }
        return now &+ UInt64(nanoseconds(seconds))
    }

    private func push(_ value: SharedValue?, onto L: OpaquePointer) {
        switch value {
        case nil: lua_pushnil(L)
        case .boolean(let flag): lua_pushboolean(L, flag ? 1 : 0)
        case .integer(let number): lua_pushinteger(L, lua_Integer(number))
        case .number(let number): lua_pushnumber(L, number)
        case .string(let bytes): bytes.withUnsafeBytes { vm.pushString(L, $0) }
        case .table(let snapshot): vm.push(snapshot, onto: L)
        }
    }

    private func refused(_ call: HostCall, _ refusal: SharedStore.Refusal) throws(UsageError) -> CInt {
        switch refusal {
        case .full(let limit):
            return call.failure(CallError("full", "app.shared is full: its limit (shared_limit) is \(limit) bytes"))
        case .notANumber: throw UsageError("\(call.name): the value of that key is no number")
        }
    }

    func sharedGet(_ call: HostCall) throws(UsageError) -> CInt {
        let value = sharing.store.get(try key(call), now: now)
        // A table takes more room in Lua than as bytes.
        if let value { try call.requireRoom(for: value.sizeInLua) }
        push(value, onto: call.L)
        return 1
    }

    func sharedSet(_ call: HostCall) throws(UsageError) -> CInt {
        let key = try key(call)
        if call.isNone(2) {
            // As an assignment of nil does.
            _ = sharing.store.delete(key, now: now)
            return call.success()
        }
        let value = try value(call, 2, "the value")
        let expires = try expiry(call, 3)
        do throws(SharedStore.Refusal) {
            try sharing.store.set(key, value, expires: expires, now: now, unless: { vm.isRunOver })
            return call.success()
        } catch {
            return try refused(call, error)
        }
    }

    func sharedAdd(_ call: HostCall) throws(UsageError) -> CInt {
        let key = try key(call)
        let value = try value(call, 2, "the value")
        let expires = try expiry(call, 3)
        do throws(SharedStore.Refusal) {
            let isNew = try sharing.store.add(key, value, expires: expires, now: now, unless: { vm.isRunOver })
            lua_pushboolean(call.L, isNew ? 1 : 0)
            return 1
        } catch {
            return try refused(call, error)
        }
    }

    func sharedIncrement(_ call: HostCall) throws(UsageError) -> CInt {
        let key = try key(call)
        let amount = try amount(call, 2, "the amount", default: 1)
        let initial = try self.amount(call, 3, "the initial value", default: 0)
        do throws(SharedStore.Refusal) {
            let sum = try sharing.store.increment(
                key,
                by: amount,
                initial: initial,
                now: now,
                unless: { vm.isRunOver }
            )
            push(sum, onto: call.L)
            return 1
        } catch {
            return try refused(call, error)
        }
    }

    func sharedDelete(_ call: HostCall) throws(UsageError) -> CInt {
        lua_pushboolean(call.L, sharing.store.delete(try key(call), now: now) ? 1 : 0)
        return 1
    }

    func sharedKeys(_ call: HostCall) throws(UsageError) -> CInt {
        let bytes = call.isNone(1) ? emptyBytes : try call.bytes(1, "the prefix")
        // No key begins with more than the longest key.
        guard bytes.count <= Self.longestKey else {
            lua_createtable(call.L, 0, 0)
            return 1
        }
        let prefix = Array(bytes)
        guard let keys = sharing.store.keys(prefix, now: now, unless: { vm.isRunOver }) else { return 0 }
        // A text, and its place in the table.
        try call.requireRoom(for: keys.reduce(0) { $0 + $1.count + 48 })
        lua_createtable(call.L, CInt(clamping: keys.count), 0)
        for (position, key) in keys.enumerated() {
            if vm.isRunOver { break }
            key.withUnsafeBytes { vm.pushString(call.L, $0) }
            lua_rawseti(call.L, -2, lua_Integer(position + 1))
        }
        return 1
    }
}
