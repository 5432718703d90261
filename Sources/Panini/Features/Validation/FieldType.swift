// Owns: the types of a validator's fields: names, what they are in JSON Schema, and which options go with them. Pure.

import CScriptObjects

/// The `type` of a field.
enum FieldType: Equatable {
    case any, string, integer, number, boolean, array, object, validator

    init?(name: String) {
        switch name {
        case "any": self = .any
        case "string": self = .string
        case "integer": self = .integer
        case "number": self = .number
        case "boolean": self = .boolean
        case "array": self = .array
        case "object": self = .object
        default: return nil
        }
    }

    static let names = ["any", "string", "integer", "number", "boolean", "array", "object"]

    /// Names that other languages have for a type: too far away for a misspelling.
    static let elsewhere = [
        "int": "integer", "str": "string", "text": "string", "float": "number", "double": "number", "bool": "boolean",
        "list": "array", "dict": "object", "map": "object", "table": "object",
    ]

    var name: String {
        switch self {
        case .any: "any"
        case .string: "string"
        case .integer: "integer"
        case .number: "number"
        case .boolean: "boolean"
        case .array: "array"
        case .object, .validator: "object"
        }
    }

    var code: UInt8 {
        switch self {
        case .any: UInt8(PANINI_TYPE_ANY)
        case .string: UInt8(PANINI_TYPE_STRING)
        case .integer: UInt8(PANINI_TYPE_INTEGER)
        case .number: UInt8(PANINI_TYPE_NUMBER)
        case .boolean: UInt8(PANINI_TYPE_BOOLEAN)
        case .array: UInt8(PANINI_TYPE_ARRAY)
        case .object: UInt8(PANINI_TYPE_OBJECT)
        case .validator: UInt8(PANINI_TYPE_VALIDATOR)
        }
    }

    /// What `min` and `max` bound; nil: nothing.
    enum Measure { case value, characters, elements }

    var measure: Measure? {
        switch self {
        case .integer, .number: .value
        case .string: .characters
        case .array: .elements
        case .any, .boolean, .object, .validator: nil
        }
    }

    var takesChoices: Bool {
        switch self {
        case .any, .string, .integer, .number, .boolean: true
        case .array, .object, .validator: false
        }
    }

    /// JSON Schema's names of what this type admits; empty: everything.
    func schemaTypes(isNullable: Bool) -> [String] {
        guard self == .any else { return isNullable ? [name, "null"] : [name] }
        return isNullable ? [] : ["array", "boolean", "number", "object", "string"]
    }
}
