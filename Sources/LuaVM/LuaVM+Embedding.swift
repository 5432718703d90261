// The public face for Swift programs that embed a state: run text, call functions, offer functions. Everything here
// copies; nothing here can wait.
internal import CLuaVM

/// A Lua function that Swift holds. It keeps its state alive; use it on the state's thread.
public final class LuaFunction {
    private let vm: LuaVM
    private let reference: LuaReference

    init(vm: LuaVM, reference: LuaReference) {
        self.vm = vm
        self.reference = reference
    }

    deinit {
        if vm.isOpen { vm.release(reference) }
    }

    /// Calls the function.
    ///
    /// - Parameter arguments: Copied to Lua.
    /// - Returns: All its results.
    /// - Throws: ``LuaError``: what the script raised, or kind `conversion` for a value that cannot be copied.
    @discardableResult
    public func callAsFunction(_ arguments: LuaValue...) throws(LuaError) -> [LuaValue] {
        try vm.call(reference, with: arguments)
    }

    /// Calls the function.
    ///
    /// - Parameter arguments: Copied to Lua.
    /// - Returns: All its results.
    /// - Throws: ``LuaError``: what the script raised, or kind `conversion` for a value that cannot be copied.
    @discardableResult
    public func call(_ arguments: [LuaValue]) throws(LuaError) -> [LuaValue] {
        try vm.call(reference, with: arguments)
    }
}

@available(*, unavailable)
extension LuaFunction: Sendable {}

/// A Swift closure behind a stable address for C.
final class SwiftFunction {
    unowned let vm: LuaVM
    let body: ([LuaValue]) throws -> [LuaValue]

    init(vm: LuaVM, body: @escaping ([LuaValue]) throws -> [LuaValue]) {
        self.vm = vm
        self.body = body
    }
}

extension LuaVM {
    /// Compiles a chunk without running it.
    ///
    /// - Parameters:
    ///   - text: Lua source text.
    ///   - name: What messages call it, usually the file's path.
    /// - Returns: The chunk as a function.
    /// - Throws: ``LuaError`` of kind `syntax`, its message starting with "name:line:".
    public func compile(_ text: String, name: String = "chunk") throws(LuaError) -> LuaFunction {
        LuaFunction(vm: self, reference: try load(text, path: name))
    }

    /// Compiles and runs a chunk.
    ///
    /// - Parameters:
    ///   - text: Lua source text.
    ///   - name: What messages call it, usually the file's path.
    /// - Returns: What the chunk returned.
    /// - Throws: ``LuaError``: syntax errors, what the script raised, or kind `conversion` for a result that cannot be
    ///   copied.
    @discardableResult
    public func run(_ text: String, name: String = "chunk") throws(LuaError) -> [LuaValue] {
        try compile(text, name: name).call([])
    }

    /// Calls a global function.
    ///
    /// - Parameters:
    ///   - name: The global's name.
    ///   - arguments: Copied to Lua.
    /// - Returns: All its results.
    /// - Throws: ``LuaError``: what the script raised, or kind `conversion` for a value that cannot be copied.
    @discardableResult
    public func callGlobal(_ name: String, _ arguments: [LuaValue] = []) throws(LuaError) -> [LuaValue] {
        pushGlobal(name)
        let reference = makeReference(state)
        defer { release(reference) }
        return try call(reference, with: arguments)
    }

    /// Reads a global variable.
    ///
    /// - Parameter name: Its name.
    /// - Returns: A copy of its value; ``LuaValue/nil`` when there is none.
    /// - Throws: ``LuaError`` of kind `conversion` for a value that cannot be copied.
    public func global(_ name: String) throws(LuaError) -> LuaValue {
        pushGlobal(name)
        defer { lua_settop(state, -2) }
        return try value(state, -1)
    }

    /// Sets a global variable.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - value: Copied to Lua.
    /// - Throws: ``LuaError`` of kind `conversion` for a value that cannot be copied.
    public func setGlobal(_ name: String, to value: LuaValue) throws(LuaError) {
        try push(value, onto: state)
        popGlobal(name)
    }

    /// Offers a Swift function to scripts, as a global. It lives as long as the state.
    ///
    /// - Parameters:
    ///   - name: The global's name.
    ///   - body: Takes the arguments and returns the results. What it throws is raised in the script, at the line that
    ///     called it.
    public func register(_ name: String, _ body: @escaping ([LuaValue]) throws -> [LuaValue]) {
        let function = SwiftFunction(vm: self, body: body)
        closures.append(function)
        lua_checkstack(state, 4)
        pushHostFunction(
            { L, context in
                guard let L, let context else { return 0 }
                let function = Unmanaged<SwiftFunction>.fromOpaque(context).takeUnretainedValue()
                return function.vm.call(function, L)
            },
            context: Unmanaged.passUnretained(function).toOpaque(),
            onto: state
        )
        popGlobal(name)
    }

    private func call(_ function: SwiftFunction, _ L: OpaquePointer) -> CInt {
        do {
            var arguments: [LuaValue] = []
            let count = lua_gettop(L)
            arguments.reserveCapacity(Int(count))
            for index in 0..<count { arguments.append(try value(L, index + 1)) }
            let results = try function.body(arguments)
            guard lua_checkstack(L, CInt(clamping: results.count)) != 0 else {
                throw LuaError(kind: .conversion, message: "too many results for the Lua stack")
            }
            for result in results { try push(result, onto: L) }
            return CInt(results.count)
        } catch {
            lua_checkstack(L, 4)
            pushError(L, "\(error)")
            return LuaVM.raise
        }
    }

    fileprivate func call(_ function: LuaReference, with arguments: [LuaValue]) throws(LuaError) -> [LuaValue] {
        let top = lua_gettop(state)
        defer { lua_settop(state, top) }
        guard lua_checkstack(state, CInt(clamping: arguments.count)) != 0 else {
            throw LuaError(kind: .conversion, message: "too many arguments for the Lua stack")
        }
        for argument in arguments { try push(argument, onto: state) }
        let count = try call(function, argumentCount: CInt(arguments.count))
        var results: [LuaValue] = []
        results.reserveCapacity(Int(count))
        for index in 0..<count { results.append(try value(state, top + 1 + index)) }
        return results
    }

    private func pushGlobal(_ name: String) {
        lua_checkstack(state, 4)
        lua_rawgeti(state, PaniniRegistry, lua_Integer(LUA_RIDX_GLOBALS))
        pushString(state, name)
        lua_rawget(state, -2)
        lua_rotate(state, -2, -1)
        lua_settop(state, -2)
    }

    /// Pops the value on top of the main stack into a global.
    private func popGlobal(_ name: String) {
        lua_checkstack(state, 4)
        lua_rawgeti(state, PaniniRegistry, lua_Integer(LUA_RIDX_GLOBALS))
        lua_rotate(state, -2, 1)
        pushString(state, name)
        lua_rotate(state, -2, 1)
        lua_rawset(state, -3)
        lua_settop(state, -2)
    }
}
