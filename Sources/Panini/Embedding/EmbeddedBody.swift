// Owns: a Swift function as scripts can call it: from arguments on Lua's stack to results there. The generic part, made
// once per function and used by all scripts. Runs on the worker's thread, but for the bodies of async functions.

import CLuaShim
import Instrumentation
import LuaVM

/// One call from Lua.
struct EmbeddedCall {
    unowned(unsafe) let script: Script
    let L: OpaquePointer
    /// `geo.distance`: for error texts.
    let name: String
    /// The object stands in front of the arguments.
    var isMethod = false

    /// Turns what a body threw into `nil, err`, or into an error at the script's line.
    func fail(_ error: any Error) -> CInt {
        switch error {
        case let error as PaniniScriptError:
            lua_pushnil(L)
            script.push(CallError(error), onto: L)
            return 2
        case let error as LuaMismatch: return raise("the result \(error.description)")
        default: return raise("\(error)")
        }
    }

    func raise(_ message: String) -> CInt {
        lua_checkstack(L, 6)
        script.vm.pushError(L, "\(name): \(message)")
        return LuaVM.raise
    }

    func push(_ result: some LuaConvertible) -> CInt {
        let top = lua_gettop(L)
        do throws(LuaMismatch) {
            try result.push(to: LuaResults(script: script, L: L))
            return 1
        } catch {
            lua_settop(L, top)
            return raise("the result \(error.description)")
        }
    }
}

/// Reads one argument after the other.
struct ArgumentCursor {
    let call: EmbeddedCall
    private var position: CInt = 0
    /// Arguments that the script did not write.
    private var hidden: CInt { call.isMethod ? 1 : 0 }

    init(_ call: EmbeddedCall) { self.call = call }

    /// Raised as misuse: names the argument.
    struct Refused: Error {
        let message: String
    }

    mutating func next<Value: LuaConvertible>(_ type: Value.Type) throws(Refused) -> Value {
        position += 1
        do throws(LuaMismatch) {
            return try Value.read(LuaArgument(script: call.script, L: call.L, index: position))
        } catch {
            let place = error.path.isEmpty ? "" : ":"
            throw Refused(message: "argument \(position - hidden)\(place) \(error.description)")
        }
    }

    /// Refuses what nobody takes: a forgotten comma is found, a trailing nil is fine.
    func finish() throws(Refused) {
        let given = lua_gettop(call.L)
        guard given > position else { return }
        for index in (position + 1)...given where lua_type(call.L, index) != LUA_TNIL {
            let taken = position - hidden
            throw Refused(message: "takes \(taken) \(taken == 1 ? "argument" : "arguments"), not \(given - hidden)")
        }
    }
}

/// A Swift function without its types.
struct EmbeddedBody: Sendable {
    /// Returns as host functions do.
    let invoke: @Sendable (EmbeddedCall) -> CInt
    /// The most stack that it needs beside its arguments.
    static let stack: CInt = 12

    /// One that reads and pushes by itself.
    init(invoke: @escaping @Sendable (EmbeddedCall) -> CInt) { self.invoke = invoke }

    /// A function that answers at once.
    init<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) {
        invoke = { call in
            var cursor = ArgumentCursor(call)
            do {
                let arguments = (repeat try cursor.next((each Argument).self))
                try cursor.finish()
                return call.push(try body(repeat each arguments))
            } catch let error as ArgumentCursor.Refused {
                return call.raise(error.message)
            } catch {
                return call.fail(error)
            }
        }
    }

    /// A function that waits.
    init<each Argument: LuaConvertible, Result: LuaConvertible>(
        waiting body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) {
        invoke = { call in
            var cursor = ArgumentCursor(call)
            do {
                let arguments = (repeat try cursor.next((each Argument).self))
                try cursor.finish()
                return try call.script.startWaiting(call) {
                    do {
                        let result = try await body(repeat each arguments)
                        return { $0.push(result) }
                    } catch {
                        return { $0.fail(error) }
                    }
                }
            } catch let error as ArgumentCursor.Refused {
                return call.raise(error.message)
            } catch {
                return call.fail(error)
            }
        }
    }
}

/// A function of one script: what Lua's closure points to. Lives as long as the script.
final class EmbeddedFunction {
    unowned(unsafe) let script: Script
    let name: String
    let body: EmbeddedBody
    let isMethod: Bool

    init(script: Script, name: String, body: EmbeddedBody, isMethod: Bool) {
        self.script = script
        self.name = name
        self.body = body
        self.isMethod = isMethod
    }

    /// Called by C for every embedded function; `context` is the function.
    static let entry: LuaVM.HostFunction = { L, context in
        let function = Unmanaged<EmbeddedFunction>.fromOpaque(context.unsafelyUnwrapped)
        return function._withUnsafeGuaranteedRef { function in
            let L = L.unsafelyUnwrapped
            guard lua_checkstack(L, EmbeddedBody.stack) != 0 else { return 0 }
            let call = EmbeddedCall(script: function.script, L: L, name: function.name, isMethod: function.isMethod)
            if function.script.isTraced, let context = function.script.traceContext {
                return InstrumentationContext.withValue(context) { function.body.invoke(call) }
            }
            return function.body.invoke(call)
        }
    }
}

@available(*, unavailable)
extension EmbeddedFunction: Sendable {}
