// JSON as Swift values, by the codec of scripts, for what is not hot: tests and tools. On the state's thread.
internal import CLuaVM

extension LuaVM {
    /// The JSON text of a value; empty for ``LuaValue/nil``.
    package func encodeJSON(_ value: LuaValue) throws -> [UInt8] {
        guard value != .nil else { return [] }
        let top = lua_gettop(state)
        defer { lua_settop(state, top) }
        try push(value, onto: state)
        let writer = ByteWriter()
        try encodeJSON(state, top + 1, into: writer)
        return Array(writer.bytes)
    }

    /// The value of a JSON text; ``LuaValue/nil`` for an empty one.
    package func decodeJSON(_ bytes: [UInt8]) throws -> LuaValue {
        guard !bytes.isEmpty else { return .nil }
        let top = lua_gettop(state)
        defer { lua_settop(state, top) }
        try bytes.withUnsafeBytes { try pushJSON($0, onto: state) }
        return try value(state, top + 1)
    }
}
