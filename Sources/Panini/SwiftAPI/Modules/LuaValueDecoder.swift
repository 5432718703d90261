// Owns: reading Decodable types from copied Lua values. Pure; any thread. The rules are those of LuaConvertible: nothing is
// converted, a missing key and panini.null are nil.

import LuaVM

struct LuaValueDecoder: Decoder {
    let value: LuaValue
    let path: [any CodingKey]

    var codingPath: [any CodingKey] { path }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .table(let table) = value else { throw mismatch("a table") }
        return KeyedDecodingContainer(KeyedLuaValues(table: table, path: path))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .table(let table) = value else { throw mismatch("a list") }
        var elements: [LuaValue] = []
        elements.reserveCapacity(table.count)
        for position in stride(from: 1, through: table.count, by: 1) {
            guard let element = table[.integer(Int64(position))] else {
                throw mismatch("a list without gaps and names")
            }
            elements.append(element)
        }
        return LuaValueList(elements: elements, path: path)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

    func mismatch(_ expected: String) -> DecodingError {
        .typeMismatch(
            Any.self,
            DecodingError.Context(codingPath: path, debugDescription: "must be \(expected), not \(value.typeName)")
        )
    }

    private func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        let whole: Int64? =
            switch value {
            case .integer(let number): number
            case .number(let number): Int64(exactly: number)
            default: nil
            }
        guard let whole else { throw mismatch("an integer") }
        guard let exact = T(exactly: whole) else { throw mismatch("an integer from \(T.min) to \(T.max)") }
        return exact
    }

    private func number() throws -> Double {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: throw mismatch("a number")
        }
    }
}

extension LuaValueDecoder: SingleValueDecodingContainer {
    func decodeNil() -> Bool { value == .nil || value == .null }

    func decode(_ type: Bool.Type) throws -> Bool {
        guard case .boolean(let flag) = value else { throw mismatch("a boolean") }
        return flag
    }

    func decode(_ type: String.Type) throws -> String {
        switch value {
        case .string(let text): return text
        case .bytes: throw mismatch("UTF-8 text")
        default: throw mismatch("a string")
        }
    }

    func decode(_ type: Double.Type) throws -> Double { try number() }
    func decode(_ type: Float.Type) throws -> Float { Float(try number()) }
    func decode(_ type: Int.Type) throws -> Int { try integer(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }

    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        if T.self == [UInt8].self {
            // The bytes of a string, as everywhere.
            switch value {
            case .string(let text):
                if let bytes = Array(text.utf8) as? T { return bytes }
            case .bytes(let bytes):
                if let bytes = bytes as? T { return bytes }
            default: throw mismatch("a string")
            }
        }
        return try T(from: self)
    }
}

/// The members of a table.
private struct KeyedLuaValues<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let table: [LuaValue: LuaValue]
    let path: [any CodingKey]

    var codingPath: [any CodingKey] { path }

    var allKeys: [Key] {
        table.keys.compactMap { key in
            switch key {
            case .string(let name): Key(stringValue: name)
            case .integer(let number): Key(intValue: Int(number))
            default: nil
            }
        }
    }

    private func value(_ key: Key) -> LuaValue? {
        table[.string(key.stringValue)] ?? key.intValue.flatMap { table[.integer(Int64($0))] }
    }

    func contains(_ key: Key) -> Bool { value(key) != nil }

    private func member(_ key: Key) throws -> LuaValueDecoder {
        guard let value = value(key) else {
            throw DecodingError.keyNotFound(key, .init(codingPath: path, debugDescription: "is missing"))
        }
        return LuaValueDecoder(value: value, path: path + [key])
    }

    func decodeNil(forKey key: Key) throws -> Bool { try member(key).decodeNil() }
    func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool { try member(key).decode(type) }
    func decode(_ type: String.Type, forKey key: Key) throws -> String { try member(key).decode(type) }
    func decode(_ type: Double.Type, forKey key: Key) throws -> Double { try member(key).decode(type) }
    func decode(_ type: Float.Type, forKey key: Key) throws -> Float { try member(key).decode(type) }
    func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try member(key).decode(type) }
    func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try member(key).decode(type) }
    func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try member(key).decode(type) }
    func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try member(key).decode(type) }
    func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try member(key).decode(type) }
    func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try member(key).decode(type) }
    func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try member(key).decode(type) }
    func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try member(key).decode(type) }
    func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try member(key).decode(type) }
    func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try member(key).decode(type) }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try member(key).decode(type) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type,
        forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try member(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try member(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { LuaValueDecoder(value: .table(table), path: path) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try member(key) }
}

/// The elements of a list.
private struct LuaValueList: UnkeyedDecodingContainer {
    let elements: [LuaValue]
    let path: [any CodingKey]
    private(set) var currentIndex = 0

    init(elements: [LuaValue], path: [any CodingKey]) {
        self.elements = elements
        self.path = path
    }

    var codingPath: [any CodingKey] { path }
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    private func next() throws -> LuaValueDecoder {
        let path = path + [LuaCodingKey(intValue: currentIndex)]
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(Any.self, .init(codingPath: path, debugDescription: "is missing"))
        }
        return LuaValueDecoder(value: elements[currentIndex], path: path)
    }

    mutating func decodeNil() throws -> Bool {
        guard try next().decodeNil() else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        let value = try next().decode(type)
        currentIndex += 1
        return value
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) throws -> KeyedDecodingContainer<Nested> {
        let container = try next().container(keyedBy: type)
        currentIndex += 1
        return container
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        let container = try next().unkeyedContainer()
        currentIndex += 1
        return container
    }

    mutating func superDecoder() throws -> any Decoder {
        let decoder = try next()
        currentIndex += 1
        return decoder
    }
}

extension LuaValue {
    /// What a script's author calls its type.
    var typeName: String {
        switch self {
        case .nil: "nil"
        case .null: "panini.null"
        case .boolean: "boolean"
        case .integer, .number: "number"
        case .string, .bytes: "string"
        case .table: "table"
        }
    }
}
