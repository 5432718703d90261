// Owns: how Codable types cross between Swift and Lua: by Decoder and Encoder over copied values. Worker's thread.

import LuaVM

extension LuaConvertible where Self: Codable {
    /// What an error text calls it.
    public static var luaDescription: String { "a table (\(Self.self))" }

    /// Reads the value by its `Decodable` conformance.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Self {
        let value = try argument.value
        if case .nil = value { throw argument.mismatch(luaDescription) }
        do {
            return try Self(from: LuaValueDecoder(value: value, path: []))
        } catch let error as DecodingError {
            throw LuaMismatch(error)
        } catch let error as LuaMismatch {
            throw error
        } catch {
            throw LuaMismatch("is not valid: \(error)")
        }
    }

    /// Pushes the value by its `Encodable` conformance.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        let encoder = LuaValueEncoder(path: [])
        do {
            try encode(to: encoder)
        } catch let error as LuaMismatch {
            throw error
        } catch {
            throw LuaMismatch("cannot be given to Lua: \(error)")
        }
        try encoder.node.push(to: results)
    }
}

extension LuaMismatch {
    init(_ error: DecodingError) {
        switch error {
        case .keyNotFound(let key, let context):
            self = LuaMismatch("is missing").inside(Self.place(context.codingPath + [key]))
        case .valueNotFound(_, let context), .typeMismatch(_, let context), .dataCorrupted(let context):
            self = LuaMismatch(context.debugDescription).inside(Self.place(context.codingPath))
        @unknown default: self = LuaMismatch("cannot be decoded")
        }
    }

    /// `.items[2].sku`: positions from 1, as in Lua.
    private static func place(_ path: [any CodingKey]) -> String {
        path.map { key in key.intValue.map { "[\($0 + 1)]" } ?? ".\(key.stringValue)" }.joined()
    }
}

/// A place in a document.
struct LuaCodingKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        self.intValue = nil
    }

    init(intValue: Int) {
        self.stringValue = String(intValue)
        self.intValue = intValue
    }
}
