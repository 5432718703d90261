// Owns: a Swift function as scripts can call it: from arguments on Lua's stack to results there. The generic part, made
// once per function and used by all scripts. Runs on the worker's thread, but for the bodies of async functions.
//
// What is inlinable is so for the program's compiler to know the types of the arguments: without, the runtime looks for the
// type of all arguments together at each call.

import CLuaVM
import Instrumentation
import LuaVM
import ScriptRuntime

/// One call from Lua.
@usableFromInline
struct EmbeddedCall {
    unowned(unsafe) let script: Script
    let L: OpaquePointer
    /// `geo.distance`: for error texts.
    let name: String
    /// The object stands in front of the arguments.
    var isMethod = false

    /// Turns what a body threw into `nil, err`, or into an error at the script's line.
    @usableFromInline
    func fail(_ error: any Error) -> CInt {
        switch error {
        case let error as ArgumentCursor.Refused: return raise(error.message)
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

    @usableFromInline
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
@usableFromInline
struct ArgumentCursor {
    let call: EmbeddedCall
    private var position: CInt = 0
    /// Arguments that the script did not write.
    private var hidden: CInt { call.isMethod ? 1 : 0 }

    @usableFromInline
    init(_ call: EmbeddedCall) { self.call = call }

    /// Raised as misuse: names the argument.
    @usableFromInline
    struct Refused: Error {
        let message: String
    }

    @usableFromInline
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
    @usableFromInline
    func refuseMore(than count: CInt) throws(Refused) {
        let given = lua_gettop(call.L)
        guard given > count else { return }
        for index in (count + 1)...given where lua_type(call.L, index) != LUA_TNIL {
            let taken = count - hidden
            throw Refused(message: "takes \(taken) \(taken == 1 ? "argument" : "arguments"), not \(given - hidden)")
        }
    }
}

/// A Swift function without its types.
@usableFromInline
struct EmbeddedBody: Sendable {
    /// Returns as host functions do.
    @usableFromInline let invoke: @Sendable (EmbeddedCall) -> CInt
    /// The most stack that it needs beside its arguments.
    static let stack: CInt = 12

    @inlinable
    static func count<each Argument>(_ types: (repeat (each Argument).Type)) -> CInt {
        var count: CInt = 0
        for _ in repeat each types { count += 1 }
        return count
    }

    /// One that reads and pushes by itself.
    @usableFromInline
    init(invoke: @escaping @Sendable (EmbeddedCall) -> CInt) { self.invoke = invoke }

    /// A function that answers at once.
    @inlinable
    init<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) {
        // No tuple of the arguments: its type would be looked up for each call.
        let count = Self.count((repeat (each Argument).self))
        invoke = { call in
            var cursor = ArgumentCursor(call)
            do {
                try cursor.refuseMore(than: count)
                return call.push(try body(repeat try cursor.next((each Argument).self)))
            } catch {
                return call.fail(error)
            }
        }
    }

    /// A function that waits.
    init<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ start: PaniniTaskStart,
        waiting body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) {
        let count = Self.count((repeat (each Argument).self))
        invoke = { call in
            var cursor = ArgumentCursor(call)
            do {
                try cursor.refuseMore(than: count)
                let arguments = (repeat try cursor.next((each Argument).self))
                return try call.script.startWaiting(call, start) {
                    do {
                        let result = try await body(repeat each arguments)
                        return { $0.push(result) }
                    } catch {
                        return { $0.fail(error) }
                    }
                }
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
            if function.script.telemetry.isTraced, let context = function.script.traceContext {
                return InstrumentationContext.withValue(context) { function.body.invoke(call) }
            }
            return function.body.invoke(call)
        }
    }
}

@available(*, unavailable)
extension EmbeddedFunction: Sendable {}
