// Owns: calls from Swift into a running service, by names. Any thread; the function runs on a worker's.

import Instrumentation
public import LuaVM
import NIOCore

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
        let context = InstrumentationContext.current
        return try await withCheckedThrowingContinuation { continuation in
            execute { script in
                guard script.vm.pushGlobal(name, onto: script.vm.state) else {
                    return continuation.resume(
                        throwing: PaniniScriptError(code: "not_found", "the script has no global function \"\(name)\"")
                    )
                }
                let function = script.vm.makeReference(script.vm.state)
                script.callFromSwift(arguments, in: context, push: { script.vm.push(function, onto: $0) }) {
                    continuation.resume(with: $0)
                }
                script.vm.release(function)
            } otherwise: {
                continuation.resume(throwing: PaniniScriptError(code: "closed", "the script runs no more"))
            }
        }
    }
}
