// Owns: what a middleware in Swift sees of an end: the results or the error on the Lua stack, and what is to take their
// place. Worker's thread; valid during one call.

import CLuaVM
public import LuaVM
import ScriptRuntime

/// How what a middleware wraps has ended.
public struct PaniniMiddlewareOutcome: ~Copyable {
    enum Source {
        /// Results lie above `base`.
        case returned(OpaquePointer, base: CInt)
        /// The error value is on top.
        case raised(OpaquePointer)
        /// The coroutine was given up: nothing can be put in its place.
        case abandoned(ReplyError)
    }

    enum Replacement {
        case none
        case value(LuaValue)
        case error(code: Int, message: String)
        /// A function of the script decides.
        case call(LuaReference)
    }

    let source: Source
    let script: Script
    var replacement = Replacement.none

    init(_ source: Source, script: Script) {
        self.source = source
        self.script = script
    }

    /// True when the handler was given up: its time was over, or the service stopped. Replacing has no effect then.
    public var isAbandoned: Bool {
        if case .abandoned = source { true } else { false }
    }

    /// Why it failed: an error that was raised, or returned as `nil, err`; nil when it succeeded.
    public var error: PaniniMiddlewareError? {
        switch source {
        case .raised(let L): return error(L, lua_gettop(L))
        case .abandoned(let error): return PaniniMiddlewareError(code: String(error.code), message: error.message)
        case .returned(let L, let base):
            guard lua_gettop(L) >= base + 2, lua_type(L, base + 1) == LUA_TNIL, lua_type(L, base + 2) != LUA_TNIL else {
                return nil
            }
            return error(L, base + 2)
        }
    }

    /// The first value that was returned: the reply, or what a sending call gives its caller. A copy.
    public var value: LuaValue {
        guard case .returned(let L, let base) = source, lua_gettop(L) > base else { return .nil }
        return (try? script.vm.value(L, base + 1)) ?? .nil
    }

    /// The bytes of ``value`` as a reply would carry them; nil when nothing was returned, or nothing that can be sent.
    public var payload: [UInt8]? {
        guard case .returned(let L, let base) = source, lua_gettop(L) > base else { return nil }
        return script.encoded(L, base + 1, dataType: nil)
    }

    /// Replaces the outcome by a value. Nil replaces no failure: an error is answered by a value, or by another error.
    ///
    /// - Parameter value: The reply, or what the sending call returns.
    public mutating func answer(_ value: LuaValue) { replacement = .value(value) }

    /// Replaces the outcome by an error.
    ///
    /// - Parameters:
    ///   - code: From 400 to 599.
    ///   - message: The text for people.
    public mutating func fail(code: Int, message: String) { replacement = .error(code: code, message: message) }

    private func error(_ L: OpaquePointer, _ index: CInt) -> PaniniMiddlewareError {
        let (code, message) = script.readError(L, index)
        return PaniniMiddlewareError(code: code?.text, message: message)
    }

    /// The error as a table for scripts, and pushes it.
    func pushError(onto L: OpaquePointer) {
        let index: CInt
        switch source {
        case .raised: index = lua_gettop(L)
        case .returned(_, let base): index = base + 2
        case .abandoned: return lua_pushnil(L)
        }
        if lua_type(L, index) == LUA_TTABLE { return lua_pushvalue(L, index) }
        script.push(CallError("error", script.readError(L, index).message), onto: L)
    }
}
