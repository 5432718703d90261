// The JSON codec's face: bytes to one value on the stack, a value to bytes, and what stands for null and arrays.
internal import CLuaVM

extension LuaVM {
    /// Reads one JSON text and pushes its value; pushes nothing when it throws. Arrays are marked as such, null is
    /// `pushNull`'s value, of equal keys the last one counts.
    package func pushJSON(_ bytes: UnsafeRawBufferPointer, onto L: OpaquePointer) throws(LuaJSONError) {
        let old = lua_gettop(L)
        let text = UnsafeBufferPointer(
            start: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
            count: bytes.count
        )
        let base = text.baseAddress ?? UnsafeRawPointer(emptyText).assumingMemoryBound(to: UInt8.self)
        var reader = JSONReader(L, text, base: base, workspace: core.pointee.json, scratch: scratch.storage, vm: vm)
        guard !reader.readText() else { return }
        let error = reader.error
        lua_settop(L, old)
        throw error
    }

    /// Appends the JSON text of the value at `index`. When it throws, the writer is as before.
    ///
    /// - Parameter limit: The most bytes it may take; what the state has left of its memory limits it, too.
    package func encodeJSON(
        _ L: OpaquePointer,
        _ index: CInt,
        into writer: ByteWriter,
        limit: Int = .max
    ) throws(LuaJSONError) {
        let old = lua_gettop(L)
        let absolute = lua_absindex(L, index)
        let begin = writer.count
        var output = JSONWriter(
            L,
            writer.storage.pointee,
            workspace: core.pointee.json,
            vm: vm,
            maximum: begin + min(bytesLeft, limit)
        )
        let work = panini_begin_work(vm)
        let isWritten = output.value(absolute)
        writer.storage.pointee = output.out
        if panini_end_work(vm, work) != 0 { output.failure = .time }
        guard !isWritten || output.failure != nil else { return }
        writer.truncate(to: begin)
        lua_settop(L, old)
        throw output.error
    }

    /// Pushes `panini.null`.
    package func pushNull(_ L: OpaquePointer) {
        lua_pushlightuserdata(L, nil)
    }

    package func isNull(_ L: OpaquePointer, _ index: CInt) -> Bool {
        lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == nil
    }

    /// Marks the table at `index` as an array, which it stays when it is empty. Replaces its metatable.
    package func markArray(_ L: OpaquePointer, _ index: CInt) {
        let table = lua_absindex(L, index)
        precondition(lua_type(L, table) == LUA_TTABLE, "only a table can be an array")
        lua_checkstack(L, 2)
        panini_push_array_metatable(L)
        lua_setmetatable(L, table)
    }

    /// Whether the value at `index` is a table marked as an array.
    package func isMarkedArray(_ L: OpaquePointer, _ index: CInt) -> Bool {
        guard lua_type(L, index) == LUA_TTABLE, lua_getmetatable(L, index) != 0 else { return false }
        let isArray = lua_topointer(L, -1) == core.pointee.json.arrayMetatable
        lua_settop(L, -2)
        return isArray
    }
}

extension JSONReader {
    /// The failure, while the stack still is as it left it.
    var error: LuaJSONError {
        let kind = failure ?? .unexpectedByte
        let message =
            switch kind {
            case .unexpectedEnd: start == end ? "the JSON text is empty" : "the JSON text ends too early"
            case .byteOrderMark: "a JSON text must not start with a byte order mark"
            case .trailingText: "there is text behind the JSON value"
            case .invalidNumber: "this is not a JSON number"
            case .numberOutOfRange: "this number is beyond the range of a double"
            case .controlCharacter: "a control character in a string must be escaped"
            case .invalidEscape: "unknown escape in a string"
            case .loneSurrogate: "half of a surrogate pair in a string"
            case .invalidUTF8: "a string is not valid UTF-8"
            case .tooDeep: "the JSON text is nested too deeply"
            case .tooLarge: "the JSON text is too large for the Lua stack"
            case .memory: "not enough memory"
            default: JSONReader.unexpected(failedAt < end ? failedAt.pointee : nil)
            }
        return LuaJSONError(kind: kind, message: message, path: path.description, offset: failedAt - start)
    }

    private static func unexpected(_ byte: UInt8?) -> String {
        guard let byte else { return "the JSON text ends too early" }
        return byte > 0x20 && byte < 0x7F
            ? "unexpected '\(Character(UnicodeScalar(byte)))' in the JSON text"
            : "unexpected byte \(byte) in the JSON text"
    }
}

extension JSONWriter {
    var error: LuaJSONError {
        let kind = failure ?? .unsupportedType
        let message =
            switch kind {
            case .unsupportedType: "a \(String(cString: lua_typename(L, unsupported))) has no JSON form"
            case .mixedTable: "a table with both positions and names has no JSON form"
            case .sparseArray: "an array with holes has no JSON form"
            case .invalidKey: "a table key that is neither a string nor a position has no JSON form"
            case .notFinite: "NaN and infinity have no JSON form"
            case .cycle: "a table that contains itself has no JSON form"
            case .invalidUTF8: "a string is not valid UTF-8"
            case .memory: "not enough memory for its JSON text"
            case .time: "it took too much CPU time to write its JSON text"
            case .tooDeep: "the value is nested too deeply for JSON"
            default: "the value is too large for JSON"
            }
        return LuaJSONError(kind: kind, message: message, path: path.description, offset: nil)
    }
}
