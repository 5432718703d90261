// A value taken out of one Lua state to be put into another: plain data as bytes, so that nothing of the first state is
// needed any more. Tables are read raw: no metamethod runs.
internal import CLuaVM

/// Plain data of a Lua state, in a form of its own that belongs to no state.
package struct LuaSnapshot: Sendable, Equatable {
    package let bytes: [UInt8]

    /// Nothing: `nil`.
    package static let none = LuaSnapshot(bytes: [Tag.nil.rawValue])

    /// The most that a snapshot may take, in bytes.
    package static let maximumBytes = 8 << 20

    fileprivate static let maximumDepth = 128

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
}

extension LuaVM {
    /// Copies the value at `index`: nil, booleans, numbers, strings, `panini.null`, and tables of them that do not contain
    /// themselves and have no metatable of their own.
    package func snapshot(_ L: OpaquePointer, _ index: CInt) throws(LuaSnapshotError) -> LuaSnapshot {
        let index = lua_absindex(L, index)
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        var writer = SnapshotWriter(vm: self, L: L)
        let isInTime = try withinBudget { () throws(LuaSnapshotError) in try writer.write(index, path: "") }
        guard isInTime else { throw LuaSnapshotError(message: "it took too much CPU time to copy the data") }
        return LuaSnapshot(bytes: writer.bytes)
    }

    /// Pushes the value of a snapshot.
    package func push(_ snapshot: LuaSnapshot, onto L: OpaquePointer) {
        snapshot.bytes.withUnsafeBytes { bytes in
            var at = 0
            push(bytes, &at, onto: L)
        }
    }

    private func push(_ bytes: UnsafeRawBufferPointer, _ at: inout Int, onto L: OpaquePointer) {
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
                push(bytes, &at, onto: L)
                push(bytes, &at, onto: L)
                // The keys were keys before: neither nil nor NaN.
                lua_rawset(L, table)
            }
            at += 1
        }
    }
}

private struct SnapshotWriter {
    let vm: LuaVM
    let L: OpaquePointer
    var bytes: [UInt8] = []
    /// The tables that are being written: one that is met again contains itself.
    private var open: Set<UnsafeRawPointer> = []

    init(vm: LuaVM, L: OpaquePointer) {
        self.vm = vm
        self.L = L
    }

    mutating func write(_ index: CInt, path: String) throws(LuaSnapshotError) {
        try writeValue(index, path)
        guard bytes.count <= LuaSnapshot.maximumBytes else {
            throw LuaSnapshotError(message: "the data is larger than \(LuaSnapshot.maximumBytes >> 20) MiB")
        }
    }

    private mutating func writeValue(_ index: CInt, _ path: String) throws(LuaSnapshotError) {
        switch lua_type(L, index) {
        case LUA_TNIL, LUA_TNONE: bytes.append(LuaSnapshot.Tag.nil.rawValue)
        case LUA_TBOOLEAN:
            bytes.append((lua_toboolean(L, index) != 0 ? LuaSnapshot.Tag.true : .false).rawValue)
        case LUA_TNUMBER where lua_isinteger(L, index) != 0:
            put(.integer, UInt64(bitPattern: Int64(lua_tointegerx(L, index, nil))))
        case LUA_TNUMBER: put(.number, lua_tonumberx(L, index, nil).bitPattern)
        case LUA_TSTRING:
            let text = vm.stringBytes(L, index) ?? UnsafeRawBufferPointer(start: nil, count: 0)
            put(.string, UInt64(text.count))
            bytes.append(contentsOf: text)
        case LUA_TLIGHTUSERDATA where vm.isNull(L, index): bytes.append(LuaSnapshot.Tag.null.rawValue)
        case LUA_TTABLE: try writeTable(index, path)
        case let type:
            let name = String(cString: lua_typename(L, type))
            throw LuaSnapshotError(message: "\(shown(path)) is a \(name), not plain data")
        }
    }

    private mutating func writeTable(_ index: CInt, _ path: String) throws(LuaSnapshotError) {
        guard let identity = lua_topointer(L, index), open.insert(identity).inserted else {
            throw LuaSnapshotError(message: "\(shown(path)) contains itself")
        }
        guard open.count <= LuaSnapshot.maximumDepth, lua_checkstack(L, 8) != 0 else {
            throw LuaSnapshotError(message: "\(shown(path)) is nested deeper than \(LuaSnapshot.maximumDepth) tables")
        }
        let top = lua_gettop(L)
        if lua_getmetatable(L, index) != 0 {
            lua_settop(L, top)
            // Read from JSON without members: a table as any other.
            let isEmptyObject = has(index, CInt(PANINI_EMPTY_OBJECT_METATABLE))
            guard isEmptyObject || has(index, CInt(PANINI_ARRAY_METATABLE)) else {
                throw LuaSnapshotError(message: "\(shown(path)) has a metatable, which cannot be handed over")
            }
            bytes.append((isEmptyObject ? LuaSnapshot.Tag.table : .array).rawValue)
        } else {
            bytes.append(LuaSnapshot.Tag.table.rawValue)
        }
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            switch lua_type(L, top + 1) {
            case LUA_TSTRING, LUA_TNUMBER, LUA_TBOOLEAN: break
            case let type:
                let name = String(cString: lua_typename(L, type))
                throw LuaSnapshotError(message: "\(shown(path)) has a \(name) as a key")
            }
            try write(top + 1, path: "")
            let type = lua_type(L, top + 2)
            // A path costs more than what it names: only what may have to be named gets one.
            let isScalar = type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN
            try write(top + 2, path: isScalar ? "" : self.path(path, top + 1))
            lua_settop(L, top + 1)
        }
        bytes.append(LuaSnapshot.Tag.end.rawValue)
        open.remove(identity)
    }

    /// The path of what stands behind the key at an index.
    private func path(_ path: String, _ index: CInt) -> String {
        switch lua_type(L, index) {
        case LUA_TSTRING: path.isEmpty ? vm.string(L, index) ?? "" : "\(path).\(vm.string(L, index) ?? "")"
        case LUA_TNUMBER where lua_isinteger(L, index) != 0: "\(path)[\(lua_tointegerx(L, index, nil))]"
        case LUA_TNUMBER: "\(path)[\(lua_tonumberx(L, index, nil))]"
        default: "\(path)[\(lua_toboolean(L, index) != 0)]"
        }
    }

    /// Whether the table has one of the codec's metatables.
    private func has(_ index: CInt, _ slot: CInt) -> Bool {
        guard lua_getmetatable(L, index) != 0 else { return false }
        lua_rawgeti(L, PaniniRegistry, lua_Integer(slot))
        defer { lua_settop(L, -3) }
        return lua_rawequal(L, -1, -2) != 0
    }

    private func shown(_ path: String) -> String { path.isEmpty ? "the value" : path }

    private mutating func put(_ tag: LuaSnapshot.Tag, _ word: UInt64) {
        bytes.append(tag.rawValue)
        withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
    }
}
