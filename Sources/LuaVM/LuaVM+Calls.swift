// Loading text and calling functions outside of coroutines, and errors on their way to Swift.
internal import CLuaVM

extension LuaVM {
    /// Compiles a chunk. Text only; a byte order mark and a first line that starts with `#` are skipped.
    ///
    /// - Parameters:
    ///   - source: The text.
    ///   - path: Named in messages as it is given here.
    /// - Throws: ``LuaError`` of kind `syntax`, its message starting with "path:line:"; of kind `cpu` when compiling it takes
    ///   more than ``cpuLimit``, of kind `memory` when it does not fit.
    package func load(_ source: UnsafeRawBufferPointer, path: String) throws(LuaError) -> LuaReference {
        lua_checkstack(state, 4)
        let status = pushChunk(source, path: path, onto: state)
        guard status == LUA_OK else {
            if status == CInt(PANINI_KILLED) {
                lua_settop(state, -2)
                throw overBudget(compiling: path)
            }
            let error = popError(status: status, traceback: nil)
            guard error.kind == .memory else { throw error }
            throw LuaError(kind: .memory, message: "\(path): \(error.message)")
        }
        return makeReference(state)
    }

    /// Compiles a chunk that is a Swift string.
    package func load(_ text: String, path: String) throws(LuaError) -> LuaReference {
        try Array(text.utf8).withUnsafeBufferPointer { (bytes) throws(LuaError) in
            try load(UnsafeRawBufferPointer(bytes), path: path)
        }
    }

    /// Pushes the compiled chunk, or the error message; something else when the run was ended.
    func pushChunk(_ source: UnsafeRawBufferPointer, path: String, onto L: OpaquePointer) -> CInt {
        let text = LuaVM.textToCompile(source)
        var name = "@" + path
        let status = name.withUTF8 { name in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: name.count + 1) { terminated in
                for (index, byte) in name.enumerated() { terminated[index] = CChar(bitPattern: byte) }
                terminated[name.count] = 0
                let bytes = text.baseAddress?.assumingMemoryBound(to: CChar.self)
                return panini_compile(vm, L, bytes, text.count, terminated.baseAddress)
            }
        }
        // Lua names no chunk when it refuses one as binary.
        if status == LUA_ERRSYNTAX, text.first == 0x1B {
            lua_settop(L, -2)
            pushString(L, "\(path):1: not a text chunk (compiled Lua is not accepted)")
        }
        return status
    }

    private static func textToCompile(_ source: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var text = source
        if text.count >= 3, text[0] == 0xEF, text[1] == 0xBB, text[2] == 0xBF {
            text = UnsafeRawBufferPointer(rebasing: text[3...])
        }
        if text.first == 0x23 {
            // The line feed stays, so that line numbers do.
            let lineEnd = text.firstIndex(of: 0x0A) ?? text.endIndex
            text = UnsafeRawBufferPointer(rebasing: text[lineEnd...])
        }
        return text
    }

    /// Calls a function with the top `argumentCount` values of the main stack, which are popped. It cannot wait.
    ///
    /// - Returns: How many results are on top of the main stack, for the caller to pop.
    @discardableResult
    package func call(_ function: LuaReference, argumentCount: CInt = 0) throws(LuaError) -> CInt {
        lua_checkstack(state, 8)
        push(function, onto: state)
        lua_rotate(state, -(argumentCount + 1), 1)
        let bottom = lua_gettop(state) - argumentCount - 1
        let status = panini_call(vm, state, argumentCount, LUA_MULTRET)
        guard status == LUA_OK else {
            if status == CInt(PANINI_KILLED) {
                lua_settop(state, bottom)
                throw overBudget()
            }
            panini_push_traceback(state)
            let traceback = string(state, -1, upTo: LuaVM.longestErrorText)
            lua_settop(state, -2)
            throw popError(status: status, traceback: traceback)
        }
        return lua_gettop(state) - bottom
    }

    /// What Lua says when there is no memory.
    package static var memoryText: String { "not enough memory" }

    /// How much of an error's text leaves the Lua state. What it becomes lies in memory several times: in the log, in a reply, as
    /// the error of whoever waits. A text that nobody meant is for the log.
    package static var longestErrorText: Int { 64 << 10 }
    /// Of an answer, a table or a value that was returned: it goes out as it is, and no broker takes more by default.
    package static var longestAnswerText: Int { 1 << 20 }
    private static var longestErrorCode: Int { 1024 }

    /// The code on top of the stack.
    private func errorCode(_ L: OpaquePointer, _ index: CInt) -> LuaError.Code? {
        guard lua_isinteger(L, index) == 0 else { return .integer(lua_tointegerx(L, index, nil)) }
        return string(L, index, upTo: LuaVM.longestErrorCode).map { .string($0) }
    }

    /// Turns the error value on top of the main stack into an error, and pops it.
    func popError(status: CInt, traceback: String?) -> LuaError {
        let kind: LuaError.Kind =
            switch status {
            case LUA_ERRSYNTAX: .syntax
            case LUA_ERRMEM: .memory
            case LUA_ERRERR: .errorHandler
            default: .runtime
            }
        let errors = errorList(state, -1)
        let isTable = panini_describe_error(vm, state) != 0
        let most = isTable ? LuaVM.longestAnswerText : LuaVM.longestErrorText
        let message = string(state, -2, upTo: most) ?? "(no text)"
        let code = errorCode(state, -1)
        lua_settop(state, -3)
        // Raised by the host's own functions, which cannot raise it as Lua does.
        let refined: LuaError.Kind = kind == .runtime && message == LuaVM.memoryText ? .memory : kind
        var error = LuaError(kind: refined, message: message, traceback: traceback, code: code, isTable: isTable)
        error.errors = errors.json
        error.errorsProblem = errors.problem
        return error
    }

    /// Code and text of the error value at an index, as of one that was raised: its fields are read with metamethods, under a
    /// small budget of their own.
    package func describeError(_ L: OpaquePointer, _ index: CInt) -> (code: LuaError.Code?, message: String) {
        guard lua_checkstack(L, 20) != 0 else { return (nil, "error") }
        lua_pushvalue(L, index)
        _ = panini_describe_error(vm, L)
        defer { lua_settop(L, -3) }
        return (errorCode(L, -1), string(L, -2, upTo: LuaVM.longestAnswerText) ?? "error")
    }

    /// A list of what is wrong with a request is no place for more bytes than that.
    private static var longestErrorList: Int { 256 << 10 }

    /// The list `errors` of the error table at an index as JSON; empty when there is none, or with the reason why JSON
    /// cannot hold it.
    package func errorList(_ L: OpaquePointer, _ index: CInt) -> (json: [UInt8], problem: String?) {
        guard lua_type(L, index) == LUA_TTABLE, lua_checkstack(L, 8) != 0 else { return ([], nil) }
        let type = pushRawField(L, index, "errors")
        defer { lua_settop(L, -2) }
        guard type == LUA_TTABLE else { return ([], type == LUA_TNIL ? nil : "errors is no list") }
        let writer = ByteWriter()
        do throws(LuaJSONError) {
            try encodeJSON(L, -1, into: writer, limit: LuaVM.longestErrorList)
        } catch {
            return ([], error.description)
        }
        return (Array(writer.bytes), nil)
    }
}
