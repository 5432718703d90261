// Owns: what a Swift type must be able to do to cross to Lua and back: the protocol, and the two small views of Lua's
// stack it works with. Worker's thread, during one call; knows no particular type.

import CLuaVM
public import LuaVM
import ScriptRuntime

/// A type whose values cross between Swift and Lua, as arguments and results of Swift functions that scripts call.
///
/// Ready are `Bool`, the integers, `Double` and `Float`, `String`, `[UInt8]` (the bytes of a Lua string), optionals,
/// arrays, dictionaries by `String`, `LuaValue`, ``PaniniFunction`` and classes that are ``PaniniObject``s. A `Codable`
/// type conforms by saying so:
///
/// ```swift
/// struct Order: Codable, LuaConvertible {
///     var id: Int
///     var items: [String]
/// }
/// ```
///
/// Nothing is converted on the way: text is no number, and 1.5 is no integer.
public protocol LuaConvertible: Sendable {
    /// What an error text calls a value of this type: `a number`.
    static var luaDescription: String { get }

    /// Reads a value.
    ///
    /// - Parameter argument: Where it is; valid during the call.
    /// - Returns: A copy, without ties to Lua.
    /// - Throws: ``LuaMismatch`` for a value of another type.
    static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Self

    /// Pushes the value: exactly one Lua value.
    ///
    /// - Parameter results: Where it goes; valid during the call.
    /// - Throws: ``LuaMismatch`` for a value that Lua cannot have.
    func push(to results: LuaResults) throws(LuaMismatch)

    /// Reads a list of such values. There is a general way; `UInt8` has its own, as bytes are a Lua string.
    ///
    /// - Parameter argument: Where the list is.
    /// - Returns: The elements.
    /// - Throws: ``LuaMismatch`` with the position of an element of another type.
    static func readList(_ argument: LuaArgument) throws(LuaMismatch) -> [Self]

    /// Pushes a list of such values.
    ///
    /// - Parameters:
    ///   - list: The elements.
    ///   - results: Where the list goes.
    /// - Throws: ``LuaMismatch`` for an element that Lua cannot have.
    static func pushList(_ list: [Self], to results: LuaResults) throws(LuaMismatch)

    /// What an error text calls a list of such values.
    static var luaListDescription: String { get }
}

/// A value that is not what was asked for: says where, what it should be, and what it is.
public struct LuaMismatch: Error, Equatable, Sendable, CustomStringConvertible {
    /// The place inside of the value, from outside in: `items[2].sku`; empty for the value itself.
    public private(set) var path: String
    /// What is wrong there: `must be a number, not nil`.
    public let message: String

    /// Makes one for the value itself.
    ///
    /// - Parameter message: What is wrong, to follow the value's name: `must be positive`.
    public init(_ message: String) {
        self.path = ""
        self.message = message
    }

    /// The same, one level further out.
    ///
    /// - Parameter place: `[2]` or `.sku`.
    /// - Returns: The mismatch of the value around.
    public func inside(_ place: String) -> LuaMismatch {
        var outer = self
        outer.path = place + path
        return outer
    }

    /// Place and message.
    public var description: String {
        let place = path.hasPrefix(".") ? String(path.dropFirst()) : path
        return place.isEmpty ? message : "\(place) \(message)"
    }
}

/// A Lua value that a Swift function was given. Valid during the call.
public struct LuaArgument {
    unowned(unsafe) let script: Script
    let L: OpaquePointer
    /// From the bottom of the stack.
    let index: CInt

    /// A copy of whatever it is.
    ///
    /// - Throws: ``LuaMismatch`` for functions, coroutines and userdata, and for tables with such things inside.
    public var value: LuaValue {
        get throws(LuaMismatch) {
            do throws(LuaError) {
                return try script.vm.value(L, index)
            } catch {
                throw LuaMismatch("cannot be copied: \(error.message)")
            }
        }
    }

    /// True for nil, for what was left out, and for `panini.null`.
    public var isNil: Bool { lua_type(L, index) <= LUA_TNIL || script.vm.isNull(L, index) }

    /// What a script's author calls its type.
    public var typeName: String {
        switch lua_type(L, index) {
        case LUA_TNONE: "nothing"
        case LUA_TNIL: "nil"
        case LUA_TLIGHTUSERDATA: script.vm.isNull(L, index) ? "panini.null" : "userdata"
        case let type: String(cString: lua_typename(L, type))
        }
    }

    /// The mismatch with a type.
    ///
    /// - Parameter expected: Such as `a number`.
    /// - Returns: What to throw.
    public func mismatch(_ expected: String) -> LuaMismatch { LuaMismatch("must be \(expected), not \(typeName)") }

    /// The value on top of the stack.
    var top: LuaArgument { LuaArgument(script: script, L: L, index: lua_gettop(L)) }
}

@available(*, unavailable)
extension LuaArgument: Sendable {}

/// Where a Swift function's results go. Valid during the call.
public struct LuaResults {
    unowned(unsafe) let script: Script
    let L: OpaquePointer

    /// Pushes any copied value.
    ///
    /// - Parameter value: The value.
    /// - Throws: ``LuaMismatch`` for one that is nested too deeply, or has NaN as a key.
    public func push(_ value: LuaValue) throws(LuaMismatch) {
        do throws(LuaError) {
            try script.vm.push(value, onto: L)
        } catch {
            throw LuaMismatch(error.message)
        }
    }

    /// Room for one level of nesting.
    func reserve() throws(LuaMismatch) {
        guard lua_checkstack(L, 8) != 0 else { throw LuaMismatch("is nested too deeply for Lua") }
    }
}

@available(*, unavailable)
extension LuaResults: Sendable {}
