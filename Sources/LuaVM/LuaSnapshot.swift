// A value taken out of one Lua state to be put into another: plain data as bytes, so that nothing of the first state is
// needed any more. Tables are read raw: no metamethod runs.
internal import CLuaVM

/// Plain data of a Lua state, in a form of its own that belongs to no state.
package struct LuaSnapshot: Sendable, Equatable {
    package let bytes: [UInt8]
    /// What its value takes in a Lua state at most, in bytes: a table of three bytes is a hundred there.
    package let sizeInLua: Int

    /// Nothing: `nil`.
    package static let none = LuaSnapshot(bytes: [Tag.nil.rawValue], sizeInLua: 0)

    /// The most that a snapshot may take, in bytes.
    package static let maximumBytes = 8 << 20

    fileprivate static let maximumDepth = 128

    /// What Lua has for a table, for a pair of one (a node, and room to grow), and for a string beside its bytes.
    fileprivate static let tableSize = 64
    fileprivate static let pairSize = 64
    fileprivate static let stringSize = 32

    fileprivate enum Tag: UInt8 {
        case `nil`
        case `false`
        case `true`
        case null
        case integer
        case number
        case string
        case table
        case array
        /// After the last pair of a table.
        case end
    }
}

/// Why a value is no plain data.
package struct LuaSnapshotError: Error {
    /// One sentence that names the place: `orders[3].handler is a function`.
    package let message: String
    /// The data may be plain, but there is no memory for its copy.
    package private(set) var isMemory = false

    fileprivate init(message: String) { self.message = message }

    fileprivate static let memory: LuaSnapshotError = {
        var error = LuaSnapshotError(message: LuaVM.memoryText)
        error.isMemory = true
        return error
    }()

    fileprivate static let time = LuaSnapshotError(message: "it took too much CPU time to copy the data")
}

extension LuaVM {
    /// Copies the value at `index`: nil, booleans, numbers, strings, `panini.null`, and tables of them that do not contain
    /// themselves and have no metatable of their own.
    ///
    /// - Parameter most: The most bytes that the copy may take, where there is less memory than for the largest snapshot.
    package func snapshot(
        _ L: OpaquePointer,
        _ index: CInt,
        most: Int = LuaSnapshot.maximumBytes
    ) throws(LuaSnapshotError) -> LuaSnapshot {
        let index = lua_absindex(L, index)
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        var writer = SnapshotWriter(vm: self, L: L, most: most)
        let isInTime = try withinBudget { () throws(LuaSnapshotError) in try writer.write(index) }
        guard isInTime else { throw LuaSnapshotError.time }
        return LuaSnapshot(bytes: writer.bytes, sizeInLua: writer.sizeInLua)
    }

    /// Pushes the value of a snapshot; whoever calls sees to the room for ``LuaSnapshot/sizeInLua``.
    ///
    /// - Returns: False when the run was to end: then nil is pushed.
    @discardableResult
    package func push(_ snapshot: LuaSnapshot, onto L: OpaquePointer) -> Bool {
        let top = lua_gettop(L)
        let isWhole = snapshot.bytes.withUnsafeBytes { bytes in
            var at = 0
            return push(bytes, &at, onto: L)
        }
        if !isWhole {
            lua_settop(L, top)
            lua_pushnil(L)
        }
        return isWhole
    }

    /// Pushes the value at a place. False: it was to end, and left what it had on the stack.
    private func push(_ bytes: UnsafeRawBufferPointer, _ at: inout Int, onto L: OpaquePointer) -> Bool {
        // One for the value, two for a pair, one for the metatable of arrays.
        lua_checkstack(L, 6)
        let tag = LuaSnapshot.Tag(rawValue: bytes[at]) ?? .nil
        at += 1
        switch tag {
        case .nil, .end: lua_pushnil(L)
        case .false: lua_pushboolean(L, 0)
        case .true: lua_pushboolean(L, 1)
        case .null: pushNull(L)
        case .integer:
            lua_pushinteger(L, lua_Integer(bytes.loadUnaligned(fromByteOffset: at, as: Int64.self)))
            at += 8
        case .number:
            lua_pushnumber(L, bytes.loadUnaligned(fromByteOffset: at, as: Double.self))
            at += 8
        case .string:
            let count = bytes.loadUnaligned(fromByteOffset: at, as: Int.self)
            at += 8
            pushString(L, UnsafeRawBufferPointer(rebasing: bytes[at..<(at + count)]))
            at += count
        case .table, .array:
            lua_createtable(L, 0, 0)
            let table = lua_gettop(L)
            if tag == .array { markArray(L, table) }
            while bytes[at] != LuaSnapshot.Tag.end.rawValue {
                guard !isRunOver, push(bytes, &at, onto: L), push(bytes, &at, onto: L) else { return false }
                // The keys were keys before: neither nil nor NaN.
                lua_rawset(L, table)
            }
            at += 1
        }
        return true
    }
}

private struct SnapshotWriter {
    let vm: LuaVM
    let L: OpaquePointer
    let most: Int
    var bytes: [UInt8] = []
    var sizeInLua = 0
    /// The tables that are being written: one that is met again contains itself.
    private var open: Set<UnsafeRawPointer> = []
    /// Where on the stack the keys lie that lead to the value which is being written. Only an error makes a path of them: each
    /// level with a path of its own would copy a long key as often as tables are nested.
    private var keys: [CInt] = []

    init(vm: LuaVM, L: OpaquePointer, most: Int) {
        self.vm = vm
        self.L = L
        self.most = most
    }

    mutating func write(_ index: CInt) throws(LuaSnapshotError) {
        try writeValue(index)
        try requireRoom(for: 0)
    }

    /// Refuses what would be too large, before it is copied.
    private func requireRoom(for count: Int) throws(LuaSnapshotError) {
        guard bytes.count + count > min(most, LuaSnapshot.maximumBytes) else { return }
        guard most >= LuaSnapshot.maximumBytes else { throw LuaSnapshotError.memory }
        throw LuaSnapshotError(message: "the data is larger than \(LuaSnapshot.maximumBytes >> 20) MiB")
    }

    private mutating func writeValue(_ index: CInt) throws(LuaSnapshotError) {
        switch lua_type(L, index) {
        case LUA_TNIL, LUA_TNONE: bytes.append(LuaSnapshot.Tag.nil.rawValue)
        case LUA_TBOOLEAN:
            bytes.append((lua_toboolean(L, index) != 0 ? LuaSnapshot.Tag.true : .false).rawValue)
        case LUA_TNUMBER where lua_isinteger(L, index) != 0:
            put(.integer, UInt64(bitPattern: Int64(lua_tointegerx(L, index, nil))))
        case LUA_TNUMBER: put(.number, lua_tonumberx(L, index, nil).bitPattern)
        case LUA_TSTRING:
            let text = vm.stringBytes(L, index) ?? UnsafeRawBufferPointer(start: nil, count: 0)
            try requireRoom(for: text.count)
            sizeInLua += LuaSnapshot.stringSize + text.count
            put(.string, UInt64(text.count))
            bytes.append(contentsOf: text)
        case LUA_TLIGHTUSERDATA where vm.isNull(L, index): bytes.append(LuaSnapshot.Tag.null.rawValue)
        case LUA_TTABLE: try writeTable(index)
        case let type:
            let name = String(cString: lua_typename(L, type))
            throw LuaSnapshotError(message: "\(place) is a \(name), not plain data")
        }
    }

    private mutating func writeTable(_ index: CInt) throws(LuaSnapshotError) {
        guard let identity = lua_topointer(L, index), open.insert(identity).inserted else {
            throw LuaSnapshotError(message: "\(place) contains itself")
        }
        guard open.count <= LuaSnapshot.maximumDepth, lua_checkstack(L, 8) != 0 else {
            throw LuaSnapshotError(message: "\(place) is nested deeper than \(LuaSnapshot.maximumDepth) tables")
        }
        let top = lua_gettop(L)
        if lua_getmetatable(L, index) != 0 {
            lua_settop(L, top)
            // Read from JSON without members: a table as any other.
            let isEmptyObject = has(index, CInt(PANINI_EMPTY_OBJECT_METATABLE))
            guard isEmptyObject || has(index, CInt(PANINI_ARRAY_METATABLE)) else {
                throw LuaSnapshotError(message: "\(place) has a metatable, which cannot be handed over")
            }
            bytes.append((isEmptyObject ? LuaSnapshot.Tag.table : .array).rawValue)
        } else {
            bytes.append(LuaSnapshot.Tag.table.rawValue)
        }
        sizeInLua += LuaSnapshot.tableSize
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            guard !vm.isRunOver else { throw LuaSnapshotError.time }
            sizeInLua += LuaSnapshot.pairSize
            switch lua_type(L, top + 1) {
            case LUA_TSTRING, LUA_TNUMBER, LUA_TBOOLEAN: break
            case let type:
                let name = String(cString: lua_typename(L, type))
                throw LuaSnapshotError(message: "\(place) has a \(name) as a key")
            }
            try write(top + 1)
            keys.append(top + 1)
            try write(top + 2)
            keys.removeLast()
            lua_settop(L, top + 1)
        }
        bytes.append(LuaSnapshot.Tag.end.rawValue)
        open.remove(identity)
    }

    /// What errors call the value that is being written: `orders[3].handler`. A long one is cut.
    private var place: String {
        var path = ""
        for key in keys where path.utf8.count < Self.longestPlace {
            switch lua_type(L, key) {
            case LUA_TSTRING:
                guard let bytes = vm.stringBytes(L, key) else { continue }
                let text = String(decoding: bytes.prefix(Self.longestPlace), as: UTF8.self)
                path += path.isEmpty ? text : ".\(text)"
            case LUA_TNUMBER where lua_isinteger(L, key) != 0: path += "[\(lua_tointegerx(L, key, nil))]"
            case LUA_TNUMBER: path += "[\(lua_tonumberx(L, key, nil))]"
            default: path += "[\(lua_toboolean(L, key) != 0)]"
            }
        }
        return path.isEmpty ? "the value" : path
    }

    private static let longestPlace = 8192

    /// Whether the table has one of the codec's metatables.
    private func has(_ index: CInt, _ slot: CInt) -> Bool {
        guard lua_getmetatable(L, index) != 0 else { return false }
        lua_rawgeti(L, PaniniRegistry, lua_Integer(slot))
        defer { lua_settop(L, -3) }
        return lua_rawequal(L, -1, -2) != 0
    }

    private mutating func put(_ tag: LuaSnapshot.Tag, _ word: UInt64) {
        bytes.append(tag.rawValue)
        withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
    }
}
