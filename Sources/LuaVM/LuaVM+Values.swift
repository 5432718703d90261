// Copies between LuaValue and the stack. Tables are read raw: no metamethod runs.
internal import CLuaVM

extension LuaVM {
    private static var deepestValue: Int { 128 }
    /// Tables may hold each other often: a small one may be a large copy.
    private static var mostValues: Int { 1_000_000 }

    /// Pushes a value onto `L`, or throws and pushes nothing.
    package func push(_ value: LuaValue, onto L: OpaquePointer, depth: Int = 0) throws(LuaError) {
        guard depth <= LuaVM.deepestValue, lua_checkstack(L, 4) != 0 else {
            throw LuaError(kind: .conversion, message: "a value is nested too deeply for Lua")
        }
        switch value {
        case .nil: lua_pushnil(L)
        case .null: pushNull(L)
        case .boolean(let value): lua_pushboolean(L, value ? 1 : 0)
        case .integer(let value): lua_pushinteger(L, lua_Integer(value))
        case .number(let value): lua_pushnumber(L, value)
        case .string(let value): pushString(L, value)
        case .bytes(let value): value.withUnsafeBytes { pushString(L, $0) }
        case .table(let table):
            let top = lua_gettop(L)
            lua_createtable(L, 0, 0)
            do {
                for (key, value) in table {
                    try push(key: key, onto: L, depth: depth + 1)
                    try push(value, onto: L, depth: depth + 1)
                    lua_rawset(L, top + 1)
                }
            } catch {
                lua_settop(L, top)
                throw error
            }
        }
    }

    /// `lua_rawset` raises on these two, so they never get there.
    private func push(key: LuaValue, onto L: OpaquePointer, depth: Int) throws(LuaError) {
        switch key {
        case .nil: throw LuaError(kind: .conversion, message: "nil cannot be a key of a Lua table")
        case .number(let number) where number.isNaN:
            throw LuaError(kind: .conversion, message: "NaN cannot be a key of a Lua table")
        default: try push(key, onto: L, depth: depth)
        }
    }

    /// Copies the value at `index`.
    package func value(_ L: OpaquePointer, _ index: CInt, depth: Int = 0) throws(LuaError) -> LuaValue {
        if depth == 0 { copiedValues = 0 }
        copiedValues += 1
        guard copiedValues <= LuaVM.mostValues, !isRunOver else {
            throw LuaError(kind: .conversion, message: "a value has more than \(LuaVM.mostValues) parts")
        }
        switch lua_type(L, index) {
        case LUA_TNIL, LUA_TNONE: return .nil
        case LUA_TBOOLEAN: return .boolean(lua_toboolean(L, index) != 0)
        case LUA_TNUMBER:
            return lua_isinteger(L, index) != 0
                ? .integer(Int64(lua_tointegerx(L, index, nil))) : .number(lua_tonumberx(L, index, nil))
        case LUA_TSTRING:
            let bytes = stringBytes(L, index) ?? UnsafeRawBufferPointer(start: nil, count: 0)
            return String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(Array(bytes))
        case LUA_TLIGHTUSERDATA where isNull(L, index): return .null
        case LUA_TTABLE: return try table(L, lua_absindex(L, index), depth: depth)
        case let type:
            let name = String(cString: lua_typename(L, type))
            throw LuaError(kind: .conversion, message: "a \(name) cannot be copied from Lua to Swift")
        }
    }

    private func table(_ L: OpaquePointer, _ index: CInt, depth: Int) throws(LuaError) -> LuaValue {
        guard depth < LuaVM.deepestValue, lua_checkstack(L, 4) != 0 else {
            throw LuaError(kind: .conversion, message: "a table is nested too deeply for Swift, or contains itself")
        }
        let top = lua_gettop(L)
        var table: [LuaValue: LuaValue] = [:]
        lua_pushnil(L)
        // Cannot raise: the key is the one it returned, and the table does not change meanwhile.
        while lua_next(L, index) != 0 {
            do {
                let key = try value(L, top + 1, depth: depth + 1)
                table[key] = try value(L, top + 2, depth: depth + 1)
            } catch {
                lua_settop(L, top)
                throw error
            }
            lua_settop(L, top + 1)
        }
        return .table(table)
    }
}
