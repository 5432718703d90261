// Lua values as Swift values, for embedders: copies, without ties to a state. The message path does not use them.

/// A Lua value that Swift can hold: everything but functions, coroutines and userdata.
///
/// Literals work: `vm.callGlobal("greet", ["Ada", 36, ["lang": "en"]])`.
public enum LuaValue: Hashable, Sendable {
    /// No value.
    case `nil`
    /// JSON's null, which scripts know as `panini.null`.
    case null
    /// A truth value.
    case boolean(Bool)
    /// A whole number.
    case integer(Int64)
    /// A floating-point number.
    case number(Double)
    /// A string that is valid UTF-8.
    case string(String)
    /// A string that is not valid UTF-8. Going to Lua, any bytes are fine here.
    case bytes([UInt8])
    /// A table, by keys. Lists have the keys 1, 2, 3...
    case table([LuaValue: LuaValue])

    /// A list: a table with the keys 1 to n.
    ///
    /// - Parameter elements: The values from 1 on; a ``nil`` leaves a hole.
    /// - Returns: The table.
    public static func list(_ elements: [LuaValue]) -> LuaValue {
        var table: [LuaValue: LuaValue] = [:]
        for (index, element) in elements.enumerated() where element != .nil {
            table[.integer(Int64(index) + 1)] = element
        }
        return .table(table)
    }

    /// The field of a table; nil for other values and missing fields.
    ///
    /// - Parameter key: The field's name.
    public subscript(key: String) -> LuaValue {
        guard case .table(let table) = self else { return .nil }
        return table[.string(key)] ?? .nil
    }

    /// The element of a list; nil for other values and missing elements.
    ///
    /// - Parameter position: The position, from 1 as in Lua.
    public subscript(position: Int) -> LuaValue {
        guard case .table(let table) = self else { return .nil }
        return table[.integer(Int64(position))] ?? .nil
    }
}

extension LuaValue: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A truth value.
    public init(booleanLiteral value: Bool) {
        self = .boolean(value)
    }

    /// A whole number.
    public init(integerLiteral value: Int64) {
        self = .integer(value)
    }

    /// A floating-point number.
    public init(floatLiteral value: Double) {
        self = .number(value)
    }

    /// A string.
    public init(stringLiteral value: String) {
        self = .string(value)
    }

    /// A list.
    public init(arrayLiteral elements: LuaValue...) {
        self = .list(elements)
    }

    /// A table; the last of equal keys counts.
    public init(dictionaryLiteral elements: (LuaValue, LuaValue)...) {
        self = .table(Dictionary(elements, uniquingKeysWith: { $1 }))
    }
}
