// Owns: plain data read from a Lua table or a JSON file for checking options. Pure value; any thread. Not for messages:
// those never become Swift values.

/// A value of an options table.
package enum PlainValue: Equatable, Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([PlainValue])
    /// In the order in which the keys were met.
    case object([(String, PlainValue)])
    /// A Lua function, userdata or thread: kept as its type's name, for error texts.
    case other(String)

    /// The type's name as Lua programmers say it.
    package var typeName: String {
        switch self {
        case .null: "nil"
        case .boolean: "a boolean"
        case .integer, .number: "a number"
        case .string: "a string"
        case .array, .object: "a table"
        case .other(let name): "a \(name)"
        }
    }

    package static func == (a: PlainValue, b: PlainValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.boolean(let x), .boolean(let y)): x == y
        case (.integer(let x), .integer(let y)): x == y
        case (.number(let x), .number(let y)): x == y
        case (.string(let x), .string(let y)): x == y
        case (.array(let x), .array(let y)): x == y
        case (.object(let x), .object(let y)):
            x.count == y.count && zip(x, y).allSatisfy { $0.0 == $1.0 && $0.1 == $1.1 }
        case (.other(let x), .other(let y)): x == y
        default: false
        }
    }
}
