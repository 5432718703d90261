// Owns: how truth values, numbers, texts and LuaValue cross between Swift and Lua. Worker's thread.

import Bytes
import CLuaVM
public import LuaVM
import ScriptRuntime

extension Bool: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { "a boolean" }

    /// Reads true or false; nil is neither.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Bool {
        guard lua_type(argument.L, argument.index) == LUA_TBOOLEAN else { throw argument.mismatch(luaDescription) }
        return lua_toboolean(argument.L, argument.index) != 0
    }

    /// Pushes it.
    public func push(to results: LuaResults) throws(LuaMismatch) { lua_pushboolean(results.L, self ? 1 : 0) }
}

extension LuaConvertible where Self: FixedWidthInteger & Codable {
    /// What an error text calls it.
    public static var luaDescription: String { "an integer" }

    /// Reads a whole number within the type's bounds, also one that Lua has as a float.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Self {
        guard lua_type(argument.L, argument.index) == LUA_TNUMBER else { throw argument.mismatch(luaDescription) }
        var isInteger: CInt = 0
        let value = lua_tointegerx(argument.L, argument.index, &isInteger)
        guard isInteger != 0 else {
            throw LuaMismatch("must be an integer, not \(lua_tonumberx(argument.L, argument.index, nil))")
        }
        guard let exact = Self(exactly: value) else {
            throw LuaMismatch("must be an integer from \(Self.min) to \(Self.max), not \(value)")
        }
        return exact
    }

    /// Pushes it; what is beyond Lua's 64 bits is a mismatch.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        guard let value = lua_Integer(exactly: self) else { throw LuaMismatch("\(self) is beyond Lua's integers") }
        lua_pushinteger(results.L, value)
    }
}

extension Int: LuaConvertible {}
extension Int8: LuaConvertible {}
extension Int16: LuaConvertible {}
extension Int32: LuaConvertible {}
extension Int64: LuaConvertible {}
extension UInt: LuaConvertible {}
extension UInt16: LuaConvertible {}
extension UInt32: LuaConvertible {}
extension UInt64: LuaConvertible {}

extension UInt8: LuaConvertible {
    /// What an error text calls bytes.
    public static var luaListDescription: String { "a string" }

    /// Reads the bytes of a Lua string.
    public static func readList(_ argument: LuaArgument) throws(LuaMismatch) -> [UInt8] {
        guard let bytes = argument.script.vm.stringBytes(argument.L, argument.index) else {
            throw argument.mismatch(luaListDescription)
        }
        return Array(bytes)
    }

    /// Pushes a Lua string.
    public static func pushList(_ list: [UInt8], to results: LuaResults) throws(LuaMismatch) {
        list.withUnsafeBytes { results.script.vm.pushString(results.L, $0) }
    }
}

extension LuaConvertible where Self: BinaryFloatingPoint & Codable {
    /// What an error text calls it.
    public static var luaDescription: String { "a number" }

    /// Reads any number.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Self {
        guard lua_type(argument.L, argument.index) == LUA_TNUMBER else { throw argument.mismatch(luaDescription) }
        return Self(lua_tonumberx(argument.L, argument.index, nil))
    }

    /// Pushes it.
    public func push(to results: LuaResults) throws(LuaMismatch) { lua_pushnumber(results.L, Double(self)) }
}

extension Double: LuaConvertible {}
extension Float: LuaConvertible {}

extension String: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { "a string" }

    /// Reads a string that is UTF-8; other bytes are for `[UInt8]`.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> String {
        guard let bytes = argument.script.vm.stringBytes(argument.L, argument.index) else {
            throw argument.mismatch(luaDescription)
        }
        // String(validating:) looks for types at run time: this way it costs plain text nothing.
        guard UTF8Text.isValid(bytes) else { throw LuaMismatch("must be UTF-8 text, not other bytes") }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Pushes it.
    public func push(to results: LuaResults) throws(LuaMismatch) { results.script.vm.pushString(results.L, self) }
}

extension LuaValue: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { "a value" }

    /// Copies whatever it is.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> LuaValue { try argument.value }

    /// Pushes it.
    public func push(to results: LuaResults) throws(LuaMismatch) { try results.push(self) }
}
