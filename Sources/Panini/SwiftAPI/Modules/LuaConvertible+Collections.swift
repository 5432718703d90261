// Owns: how optionals, arrays and dictionaries cross between Swift and Lua. Tables are read raw, without metamethods. What an
// embedder's own type does to be read may change them. Worker's thread.

import CLuaVM
import LuaVM
import ScriptRuntime

extension LuaConvertible {
    /// What an error text calls a list of such values.
    public static var luaListDescription: String { "a list" }

    /// Reads a table with the keys 1 to n.
    public static func readList(_ argument: LuaArgument) throws(LuaMismatch) -> [Self] {
        let L = argument.L
        guard lua_type(L, argument.index) == LUA_TTABLE else { throw argument.mismatch(luaListDescription) }
        guard lua_checkstack(L, 8) != 0 else { throw LuaMismatch("is nested too deeply") }
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        let count = Int(lua_rawlen(L, argument.index))
        var list: [Self] = []
        // What Lua calls the length of a table with gaps may be anything.
        list.reserveCapacity(min(count, 1024))
        for position in stride(from: 1, through: count, by: 1) {
            guard !argument.script.vm.isRunOver else { throw LuaMismatch("is too large") }
            lua_rawgeti(L, argument.index, lua_Integer(position))
            do throws(LuaMismatch) {
                list.append(try Self.read(argument.top))
            } catch {
                throw error.inside("[\(position)]")
            }
            lua_settop(L, top)
        }
        if count == 0 {
            lua_pushnil(L)
            guard panini_next(L, argument.index) == 0 else {
                throw LuaMismatch("must be a list, not a table with names")
            }
        }
        return list
    }

    /// Pushes a table with the keys 1 to n that JSON knows for an array, an empty one, too.
    public static func pushList(_ list: [Self], to results: LuaResults) throws(LuaMismatch) {
        let L = results.L
        try results.reserve()
        lua_createtable(L, CInt(clamping: list.count), 0)
        for (index, element) in list.enumerated() {
            try element.pushInside(results, "[\(index + 1)]")
            lua_rawseti(L, -2, lua_Integer(index + 1))
        }
        results.script.vm.markArray(L, -1)
    }

    /// Pushes the value as a part of another; nil becomes `panini.null`, so that no list has a hole.
    fileprivate func pushInside(_ results: LuaResults, _ place: @autoclosure () -> String) throws(LuaMismatch) {
        do throws(LuaMismatch) {
            try push(to: results)
        } catch {
            throw error.inside(place())
        }
        if lua_type(results.L, -1) == LUA_TNIL {
            lua_settop(results.L, -2)
            results.script.vm.pushNull(results.L)
        }
    }
}

extension Optional: LuaConvertible where Wrapped: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { "\(Wrapped.luaDescription) or nil" }

    /// Reads a value, or nil for nil, nothing and `panini.null`.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Wrapped? {
        argument.isNil ? nil : try Wrapped.read(argument)
    }

    /// Pushes the value or nil.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        if let self { try self.push(to: results) } else { lua_pushnil(results.L) }
    }
}

extension Array: LuaConvertible where Element: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { Element.luaListDescription }

    /// Reads a list; of bytes, a Lua string.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> [Element] {
        try Element.readList(argument)
    }

    /// Pushes a list; of bytes, a Lua string.
    public func push(to results: LuaResults) throws(LuaMismatch) { try Element.pushList(self, to: results) }
}

extension Dictionary: LuaConvertible where Key == String, Value: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { "a table" }

    /// Reads a table whose keys are texts.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> [String: Value] {
        let L = argument.L
        guard lua_type(L, argument.index) == LUA_TTABLE else { throw argument.mismatch(luaDescription) }
        guard lua_checkstack(L, 8) != 0 else { throw LuaMismatch("is nested too deeply") }
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        var result: [String: Value] = [:]
        lua_pushnil(L)
        while true {
            let step = panini_next_of_changing(L, argument.index)
            guard step >= 0 else { throw LuaMismatch("has changed while it was read") }
            guard step > 0 else { break }
            guard let key = argument.script.vm.string(L, top + 1) else {
                throw LuaMismatch(
                    "must have texts as keys, not a \(String(cString: lua_typename(L, lua_type(L, top + 1))))"
                )
            }
            do throws(LuaMismatch) {
                result[key] = try Value.read(argument.top)
            } catch {
                throw error.inside(".\(key)")
            }
            lua_settop(L, top + 1)
        }
        guard !argument.script.vm.isRunOver else { throw LuaMismatch("is too large") }
        return result
    }

    /// Pushes a table; a nil inside is `panini.null`.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        let L = results.L
        try results.reserve()
        lua_createtable(L, 0, CInt(clamping: count))
        for (key, value) in self {
            results.script.vm.pushString(L, key)
            try value.pushInside(results, ".\(key)")
            lua_rawset(L, -3)
        }
    }
}
