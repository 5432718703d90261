// Owns: reading the arguments of a host function, and refusing them at the script's own line. Worker's thread, during
// one call from Lua. Only calls that cannot raise are made here.

import Bytes
import CLuaVM
package import LuaVM

/// A wrong call: becomes a Lua error at the line that made it.
package struct UsageError: Error {
    /// A message shows names and values of the script, which may be of any length, in bytes.
    package static let longest = 8192

    package let message: String

    package init(_ message: String) {
        guard message.utf8.count > Self.longest else {
            self.message = message
            return
        }
        var text = message
        self.message = text.withUTF8 { LuaVM.shown(UnsafeRawBufferPointer($0), upTo: Self.longest) }
    }
}

/// One call of a host function.
package struct HostCall {
    package let L: OpaquePointer
    package let script: Script
    /// `app.publish`: for error texts.
    package let name: StaticString

    /// Texts of up to so many bytes are copied without a look at the limit of memory.
    private static let usualText = 64 << 10

    package init(L: OpaquePointer, script: Script, name: StaticString) {
        self.L = L
        self.script = script
        self.name = name
    }

    package var argumentCount: CInt { lua_gettop(L) }

    /// Drops the app when it was passed by `app:publish(...)`.
    package func dropSelf(_ pointer: UnsafeRawPointer?) {
        if let pointer, lua_gettop(L) > 0, lua_topointer(L, 1) == pointer {
            lua_rotate(L, 1, -1)
            lua_settop(L, -2)
        }
    }

    /// The arguments without nils at their end: `f(x, nil)` says no more than `f(x)`.
    package var givenCount: CInt {
        var count = lua_gettop(L)
        while count > 0, lua_type(L, count) == LUA_TNIL { count -= 1 }
        return count
    }

    /// Refuses what the script says beyond the arguments that the function takes.
    @inline(__always)
    package func refuseSurplus(beyond most: CInt) throws(UsageError) {
        if lua_gettop(L) > most { try refuseMore(than: most) }
    }

    @inline(never)
    private func refuseMore(than most: CInt) throws(UsageError) {
        let given = givenCount
        guard given > most else { return }
        // The object of a method call is not counted as an argument.
        let hidden: CInt = "\(name)".contains(":") ? 1 : 0
        let count = most - hidden
        let taken = count == 0 ? "no arguments" : count == 1 ? "1 argument" : "\(count) arguments"
        throw UsageError("\(name) takes \(taken), got \(given - hidden)")
    }

    /// Where a registering call has its options, from an index on, and its handler: options come before it, and may be left
    /// out. 0: there are none.
    package func optionsAndHandler(_ index: CInt) throws(UsageError) -> (options: CInt, handler: CInt) {
        let hasOptions = type(index) == LUA_TTABLE
        let handler = hasOptions || isNone(index) && type(index + 1) == LUA_TFUNCTION ? index + 1 : index
        let given = givenCount
        guard given > handler else { return (hasOptions ? index : 0, handler) }
        guard type(handler) == LUA_TFUNCTION else {
            throw UsageError("\(name): options must be a table, not \(typeName(index))")
        }
        throw UsageError(
            type(handler + 1) == LUA_TTABLE
                ? "\(name): options come before the handler, as in \(name)(..., { ... }, function() ... end)"
                : "\(name): there is \(typeName(handler + 1)) after the handler, which comes last"
        )
    }

    package func type(_ index: CInt) -> CInt { lua_type(L, index) }

    package func isNone(_ index: CInt) -> Bool { lua_type(L, index) <= LUA_TNIL }

    /// What a script's author calls the type of the value at an index.
    package func typeName(_ index: CInt) -> String {
        switch lua_type(L, index) {
        case LUA_TNONE: "nothing"
        case LUA_TNIL: "nil"
        case LUA_TLIGHTUSERDATA: script.vm.isNull(L, index) ? "panini.null" : "userdata"
        case LUA_TUSERDATA: userdataName(index)
        default: String(cString: lua_typename(L, lua_type(L, index)))
        }
    }

    /// What the metatable says, such as `panini.listener`.
    private func userdataName(_ index: CInt) -> String {
        guard lua_checkstack(L, 4) != 0 else { return "userdata" }
        panini_push_type_name(L, lua_absindex(L, index))
        defer { lua_settop(L, -2) }
        return script.vm.string(L, -1) ?? "userdata"
    }

    package func bytes(_ index: CInt, _ what: StaticString) throws(UsageError) -> UnsafeRawBufferPointer {
        guard let bytes = script.vm.stringBytes(L, index) else {
            throw UsageError("\(name): \(what) must be a string, not \(typeName(index))")
        }
        return bytes
    }

    package func string(_ index: CInt, _ what: StaticString) throws(UsageError) -> String {
        let bytes = try bytes(index, what)
        // Most texts are names: a long one is a copy that counts.
        if bytes.count > Self.usualText { try requireRoom(for: bytes.count) }
        return String(decoding: bytes, as: UTF8.self)
    }

    package func requireFunction(_ index: CInt, _ what: StaticString) throws(UsageError) {
        guard lua_type(L, index) == LUA_TFUNCTION else {
            if lua_type(L, index) == LUA_TNONE {
                throw UsageError("\(name): \(what) is missing, as in \(name)(..., function() ... end)")
            }
            throw UsageError("\(name): \(what) must be a function, not \(typeName(index))")
        }
    }

    /// A duration in seconds, not negative.
    package func seconds(_ index: CInt, _ what: StaticString) throws(UsageError) -> Double {
        guard lua_type(L, index) == LUA_TNUMBER else {
            throw UsageError("\(name): \(what) must be a number of seconds, not \(typeName(index))")
        }
        return try Self.checkSeconds(lua_tonumberx(L, index, nil), "\(name): \(what)")
    }

    /// A year.
    package static let mostSeconds = 31_536_000.0

    package static func checkSeconds(_ value: Double, _ what: String) throws(UsageError) -> Double {
        guard value >= 0, value <= mostSeconds else {
            throw UsageError("\(what) must be a number of seconds from 0 to a year, not \(value)")
        }
        return value
    }

    /// The options table at an index as plain data; empty when there is none.
    package func options(_ index: CInt, known: [String]) throws(UsageError) -> [(String, PlainValue)] {
        if isNone(index) { return [] }
        guard lua_type(L, index) == LUA_TTABLE else {
            throw UsageError("\(name): options must be a table, not \(typeName(index))")
        }
        let members = try members(index)
        for (key, _) in members where !known.holds(key) {
            throw UsageError("\(name): unknown option \"\(key.beginning(200))\"" + suggestion(for: key, in: known))
        }
        return members
    }

    /// The members of a table with string keys.
    package func members(_ index: CInt) throws(UsageError) -> [(String, PlainValue)] {
        let value: PlainValue
        do throws(PlainValue.Unreadable) {
            value = try PlainValue(L, index, vm: script.vm)
        } catch {
            throw UsageError("\(name): \(error.message)")
        }
        switch value {
        case .object(let members): return members
        case .array(let items) where items.isEmpty: return []
        default: throw UsageError("\(name): options must have names, as in { queue = \"workers\" }")
        }
    }

    /// Refuses what would not fit into the Lua state.
    package func requireRoom(for bytes: Int) throws(UsageError) {
        guard script.vm.hasRoom(for: bytes) else { throw UsageError("\(name): \(LuaVM.memoryText)") }
    }

    /// Counts memory of the host that the call asks for.
    package func charge(_ bytes: Int) throws(UsageError) {
        guard script.vm.charge(bytes) else { throw UsageError("\(name): \(LuaVM.memoryText)") }
    }

    /// Raises a misuse at the script's line.
    package func raise(_ misuse: UsageError) -> CInt {
        script.vm.pushError(L, misuse.message)
        return LuaVM.raise
    }

    /// Returns `nil, err`.
    package func failure(_ error: CallError) -> CInt {
        lua_pushnil(L)
        script.push(error, onto: L)
        return 2
    }

    package func success() -> CInt {
        lua_pushboolean(L, 1)
        return 1
    }
}

extension PlainValue {
    /// Why a table is no plain data.
    package struct Unreadable: Error {
        package let message: String
    }

    private static let maximumDepth = 8
    /// Tables may hold each other often: a small one may be large as plain data.
    private static let mostEntries = 100_000

    /// Reads a value of an options table. Functions and the like are kept as their type's names.
    package init(_ L: OpaquePointer, _ index: CInt, vm: LuaVM) throws(Unreadable) {
        var left = Left(entries: Self.mostEntries, bytes: CopyAllowance(vm))
        self = try PlainValue(L, index, vm: vm, depth: 0, left: &left)
    }

    /// What may still be copied.
    private struct Left {
        package var entries: Int
        package var bytes: CopyAllowance
    }

    private init(_ L: OpaquePointer, _ index: CInt, vm: LuaVM, depth: Int, left: inout Left) throws(Unreadable) {
        left.entries -= 1
        guard left.entries >= 0 else {
            throw Unreadable(message: "a table has more than \(Self.mostEntries) entries")
        }
        // An entry is more than its text.
        guard left.bytes.take((lua_type(L, index) == LUA_TSTRING ? Int(lua_rawlen(L, index)) : 0) + 64) else {
            throw Unreadable(message: LuaVM.memoryText)
        }
        switch lua_type(L, index) {
        case LUA_TNIL, LUA_TNONE: self = .null
        case LUA_TBOOLEAN: self = .boolean(lua_toboolean(L, index) != 0)
        case LUA_TNUMBER:
            if lua_isinteger(L, index) != 0 {
                self = .integer(lua_tointegerx(L, index, nil))
            } else {
                self = .number(lua_tonumberx(L, index, nil))
            }
        case LUA_TSTRING: self = .string(vm.string(L, index) ?? "")
        case LUA_TTABLE: self = try Self.table(L, index, vm: vm, depth: depth, left: &left)
        case LUA_TLIGHTUSERDATA where vm.isNull(L, index): self = .null
        default: self = .other(String(cString: lua_typename(L, lua_type(L, index))))
        }
    }

    private static func table(
        _ L: OpaquePointer,
        _ index: CInt,
        vm: LuaVM,
        depth: Int,
        left: inout Left
    ) throws(Unreadable) -> PlainValue {
        guard depth < maximumDepth, lua_checkstack(L, 4) != 0 else {
            throw Unreadable(message: "a table is nested deeper than \(maximumDepth) levels")
        }
        let table = lua_absindex(L, index)
        var items: [Int64: PlainValue] = [:]
        var members: [(String, PlainValue)] = []
        lua_pushnil(L)
        while panini_next(L, table) != 0 {
            let value = try reading(L, vm: vm, depth: depth, left: &left)
            switch lua_type(L, -2) {
            case LUA_TSTRING:
                guard left.bytes.take(Int(lua_rawlen(L, -2))) else {
                    lua_settop(L, -3)
                    throw Unreadable(message: LuaVM.memoryText)
                }
                members.append((vm.string(L, -2) ?? "", value))
            case LUA_TNUMBER where lua_isinteger(L, -2) != 0: items[lua_tointegerx(L, -2, nil)] = value
            default:
                lua_settop(L, -3)
                throw Unreadable(message: "a table's keys must be names, or 1, 2, 3, ...")
            }
            lua_settop(L, -2)
        }
        if members.isEmpty {
            var list: [PlainValue] = []
            for position in 0..<items.count {
                guard let item = items[Int64(position + 1)] else { throw Unreadable(message: "a list has a gap") }
                list.append(item)
            }
            return .array(list)
        }
        guard items.isEmpty else { throw Unreadable(message: "a table mixes names and positions") }
        // Lua's order is not stable; texts and tests want one that is.
        guard let sorted = vm.sorted(members, by: { ByteOrder.precedes($0.0, $1.0) }) else {
            throw Unreadable(message: "the run is over")
        }
        return .object(sorted)
    }

    /// The value on top; on an error the key and the value are taken off the stack.
    private static func reading(
        _ L: OpaquePointer,
        vm: LuaVM,
        depth: Int,
        left: inout Left
    ) throws(Unreadable) -> PlainValue {
        do throws(Unreadable) {
            return try PlainValue(L, lua_gettop(L), vm: vm, depth: depth + 1, left: &left)
        } catch {
            lua_settop(L, -3)
            throw error
        }
    }
}

extension HostCall {
    /// Refuses a call that registers something when the file has run.
    package func requireLoading() throws(UsageError) {
        guard script.phase == .loading else {
            throw UsageError("\(name) registers while the file runs; it cannot be called later")
        }
    }

    /// Keeps the function at an index.
    package func keepFunction(
        _ index: CInt,
        _ what: StaticString = "the function"
    ) throws(UsageError) -> RegisteredFunction {
        try requireFunction(index, what)
        try charge(256)
        let origin = script.origin(L, index)
        lua_pushvalue(L, index)
        return RegisteredFunction(function: script.vm.makeReference(L), origin: origin)
    }
}
