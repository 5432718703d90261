// Bytes between Swift and the stack, and the few reads of tables that need no metamethod.
internal import CLuaVM

extension LuaVM {
    package func pushString(_ L: OpaquePointer, _ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else {
            lua_pushlstring(L, nil, 0)
            return
        }
        lua_pushlstring(L, base.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    package func pushString(_ L: OpaquePointer, _ s: String) {
        var text = s
        text.withUTF8 { pushString(L, UnsafeRawBufferPointer($0)) }
    }

    package func pushString(_ L: OpaquePointer, _ s: StaticString) {
        s.withUTF8Buffer { pushString(L, UnsafeRawBufferPointer($0)) }
    }

    /// The bytes of a string, nil for every other type (numbers too). Valid while the value is on the stack.
    package func stringBytes(_ L: OpaquePointer, _ index: CInt) -> UnsafeRawBufferPointer? {
        guard lua_type(L, index) == LUA_TSTRING else { return nil }
        var length = 0
        let bytes = lua_tolstring(L, index, &length)
        return UnsafeRawBufferPointer(start: bytes, count: length)
    }

    /// A string, with invalid UTF-8 repaired; nil for every other type.
    package func string(_ L: OpaquePointer, _ index: CInt) -> String? {
        stringBytes(L, index).map { String(decoding: $0, as: UTF8.self) }
    }

    /// As much of a string as `most` bytes, in whole characters, and how long it was; nil for every other type.
    package func string(_ L: OpaquePointer, _ index: CInt, upTo most: Int) -> String? {
        stringBytes(L, index).map { LuaVM.shown($0, upTo: most) }
    }

    /// As much of a text as `most` bytes, in whole characters, and how long it was.
    package static func shown(_ bytes: UnsafeRawBufferPointer, upTo most: Int) -> String {
        guard bytes.count > most else { return String(decoding: bytes, as: UTF8.self) }
        var count = most
        while count > 0, bytes[count] & 0xC0 == 0x80 { count -= 1 }
        return String(decoding: bytes[..<count], as: UTF8.self) + "... (\(bytes.count) bytes)"
    }

    /// Pushes `table[name]` without metamethods, nil when the value at `index` is no table. Returns its type.
    @discardableResult
    package func pushRawField(_ L: OpaquePointer, _ index: CInt, _ name: StaticString) -> CInt {
        let table = lua_absindex(L, index)
        guard lua_type(L, table) == LUA_TTABLE else {
            lua_pushnil(L)
            return LUA_TNIL
        }
        pushString(L, name)
        return lua_rawget(L, table)
    }

    /// Pops the value on top and stores it as `table[name]`, without metamethods; `index` must be a table.
    package func setRawField(_ L: OpaquePointer, _ index: CInt, _ name: StaticString) {
        let table = lua_absindex(L, index)
        precondition(lua_type(L, table) == LUA_TTABLE)
        pushString(L, name)
        lua_rotate(L, -2, 1)
        lua_rawset(L, table)
    }

    /// Pushes the global `name` when it is a function, and nothing otherwise. Read raw: no metamethod runs.
    package func pushGlobal(_ name: String, onto L: OpaquePointer) -> Bool {
        lua_checkstack(L, 4)
        lua_rawgeti(L, PaniniRegistry, lua_Integer(LUA_RIDX_GLOBALS))
        pushString(L, name)
        let type = lua_rawget(L, -2)
        lua_rotate(L, -2, -1)
        lua_settop(L, type == LUA_TFUNCTION ? -2 : -3)
        return type == LUA_TFUNCTION
    }

    /// Pops the value on top of `L` and makes it the global `name`.
    package func setGlobal(_ L: OpaquePointer, _ name: StaticString) {
        lua_rawgeti(L, PaniniRegistry, lua_Integer(LUA_RIDX_GLOBALS))
        lua_rotate(L, -2, 1)
        setRawField(L, -2, name)
        lua_settop(L, -2)
    }
}
