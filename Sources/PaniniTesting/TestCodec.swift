// Owns: JSON for tests, by the codec that scripts have: a Lua state of its own for each use. One thread at a time.

import LuaVM

struct TestCodec {
    private let vm: LuaVM

    init() throws { vm = try LuaVM() }

    /// The JSON text; nothing for nil.
    func encode(_ value: LuaValue) throws -> [UInt8] { try vm.encodeJSON(value) }

    /// The value; nil for nothing.
    func decode(_ bytes: [UInt8]) throws -> LuaValue { try vm.decodeJSON(bytes) }
}
