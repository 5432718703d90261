// Owns: calls from Swift into a running service, by names. Any thread; the function runs on a worker's.

public import LuaVM
import ScriptRuntime

extension PaniniHost {
    /// Calls a global function of a service's script, in the version that serves now, and waits until it has ended.
    ///
    /// The function runs in a coroutine of its own, on the first worker, and may wait as a handler may.
    ///
    /// - Parameters:
    ///   - function: The function's name, a global of the script.
    ///   - service: The service's name.
    ///   - arguments: Copied to Lua.
    /// - Returns: All its results, copied.
    /// - Throws: ``PaniniScriptError``: what it raised, or returned as `nil, err`; `closed` when the service does not run,
    ///   `not_found` when there is no such service or function.
    @discardableResult
    public func call(
        _ function: String,
        of service: String,
        _ arguments: any LuaConvertible...
    ) async throws -> [LuaValue] {
        guard let completions = try await completions(of: service) else {
            throw PaniniScriptError(code: "not_found", "there is no running service \"\(service)\"")
        }
        return try await completions.callGlobal(function, arguments)
    }
}

extension SwiftCompletions {
    fileprivate func callGlobal(_ name: String, _ arguments: [any LuaConvertible]) async throws -> [LuaValue] {
        try await call(arguments) { script, L in
            guard script.vm.pushGlobal(name, onto: L) else {
                throw PaniniScriptError(code: "not_found", "the script has no global function \"\(name)\"")
            }
        }
    }
}
