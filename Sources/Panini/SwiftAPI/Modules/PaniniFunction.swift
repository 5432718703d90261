// Owns: Lua functions that Swift holds and calls: from any thread onto the worker's, and the results back. The reference
// lives in the script's state and goes with it.

import CLuaVM
import Instrumentation
public import LuaVM
import ScriptRuntime

/// A function of a script, as a Swift function gets it for an argument.
///
/// It may be kept and called from anywhere, any number of times, for as long as the script's version runs; afterwards a
/// call throws ``PaniniScriptError`` with the code `closed`. A call runs in a coroutine of its own and may wait as a handler
/// may.
///
/// ```swift
/// module.function("on_alarm") { (handler: PaniniFunction) in alarms.add(handler) }
/// // later, on any thread:
/// let results = try await handler("smoke", 3)
/// ```
public final class PaniniFunction: LuaConvertible {
    /// What an error text calls it.
    public static var luaDescription: String { "a function" }

    private let reference: LuaReference
    private let completions: SwiftCompletions

    private init(reference: LuaReference, completions: SwiftCompletions) {
        self.reference = reference
        self.completions = completions
    }

    deinit {
        let reference = reference
        completions.execute { script in script.vm.release(reference) }
    }

    /// Keeps the function at hand.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> PaniniFunction {
        guard lua_type(argument.L, argument.index) == LUA_TFUNCTION else { throw argument.mismatch(luaDescription) }
        let script = argument.script
        guard let completions = script.embedding.completions(of: script) else {
            throw LuaMismatch("cannot be kept while the file runs; use app.on_start_task")
        }
        lua_pushvalue(argument.L, argument.index)
        return PaniniFunction(reference: script.vm.makeReference(argument.L), completions: completions)
    }

    /// Pushes the function, in the state that it came from.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        guard results.script.embedding.completions === completions else {
            throw LuaMismatch("is a function of another script, or of another version of this one")
        }
        results.script.vm.push(reference, onto: results.L)
    }

    /// Calls the function, and waits until it has ended.
    ///
    /// - Parameter arguments: Copied to Lua.
    /// - Returns: All its results, copied.
    /// - Throws: ``PaniniScriptError`` with the code and the text of the error that it raised, or returned as `nil, err`; with
    ///   `closed` when its script runs no more.
    @discardableResult
    public func callAsFunction(_ arguments: any LuaConvertible...) async throws -> [LuaValue] {
        try await call(arguments)
    }

    /// Calls the function, and waits until it has ended.
    ///
    /// - Parameter arguments: Copied to Lua.
    /// - Returns: All its results, copied.
    /// - Throws: ``PaniniScriptError``, as ``callAsFunction(_:)`` does.
    @discardableResult
    public func call(_ arguments: [any LuaConvertible]) async throws -> [LuaValue] {
        let reference = reference
        return try await completions.call(arguments) { script, L in script.vm.push(reference, onto: L) }
    }
}

extension SwiftCompletions {
    /// Calls, on the worker's thread, the function that `push` pushes.
    func call(
        _ arguments: [any LuaConvertible],
        push: @escaping @Sendable (Script, OpaquePointer) throws -> Void
    ) async throws -> [LuaValue] {
        try await call(arguments, push: push) { script, L, first, count in
            var values: [LuaValue] = []
            do throws(LuaMismatch) {
                for index in stride(from: first, through: first + count - 1, by: 1) {
                    values.append(try LuaArgument(script: script, L: L, index: index).value)
                }
            } catch {
                throw PaniniScriptError(code: "conversion", "a result \(error.description)")
            }
            return values
        }
    }

    /// The same; `take` reads the results: their number from an index on.
    func call<Result: Sendable>(
        _ arguments: [any LuaConvertible],
        isSend: Bool = false,
        push: @escaping @Sendable (Script, OpaquePointer) throws -> Void,
        take: @escaping @Sendable (Script, OpaquePointer, CInt, CInt) throws -> Result
    ) async throws -> Result {
        let context = InstrumentationContext.current
        return try await withCheckedThrowingContinuation { continuation in
            execute { script in
                let call = SwiftCall { script, L, first, count in
                    continuation.resume(with: Swift.Result { try take(script, L, first, count) })
                } failed: {
                    continuation.resume(throwing: $0)
                }
                script.start(call, arguments, in: context, isSend: isSend) { try push(script, $0) }
            } otherwise: {
                continuation.resume(throwing: PaniniScriptError(code: "closed", "the script runs no more"))
            }
        }
    }
}

/// A call from Swift that is under way.
final class SwiftCall {
    /// Takes the results: their number from an index on.
    typealias Take = (Script, OpaquePointer, _ first: CInt, _ count: CInt) -> Void

    private let take: Take
    private let failure: (any Error) -> Void
    private var isDone = false

    /// One of the two is called, once.
    init(_ take: @escaping Take, failed: @escaping (any Error) -> Void) {
        self.take = take
        failure = failed
    }

    func end(_ script: Script, _ L: OpaquePointer, _ first: CInt, _ count: CInt) {
        guard !isDone else { return }
        isDone = true
        take(script, L, first, count)
    }

    func fail(_ error: any Error) {
        guard !isDone else { return }
        isDone = true
        failure(error)
    }

    /// The script was closed, or the coroutine given up: whoever waits must hear of it.
    deinit { fail(PaniniScriptError(code: "closed", "the call was given up: the script ends")) }
}

@available(*, unavailable)
extension SwiftCall: Sendable {}

extension SwiftCall: SpawnCaller {
    func returned(_ script: Script, _ L: OpaquePointer, _ count: CInt) { script.endCall(self, L, count) }

    func failed(_ error: LuaError) { fail(PaniniScriptError(error.code, error.message)) }
}

extension Script {
    /// Starts a function in a coroutine of its own.
    ///
    /// - Parameters:
    ///   - call: Hears of the end.
    ///   - arguments: Pushed after the function.
    ///   - context: The span that it belongs to.
    ///   - isSend: It has no span of its own where there is none: what it sends has one.
    ///   - push: Pushes the function.
    func start(
        _ call: SwiftCall,
        _ arguments: [any LuaConvertible],
        in context: InstrumentationContext?,
        isSend: Bool,
        push: (OpaquePointer) throws -> Void
    ) {
        guard phase == .live else {
            return call.fail(PaniniScriptError(code: "closed", "the script runs no more"))
        }
        let co = vm.acquireCoroutine()
        let results = LuaResults(script: self, L: co.thread)
        do {
            try push(co.thread)
            guard lua_checkstack(co.thread, CInt(clamping: arguments.count) + EmbeddedBody.stack) != 0 else {
                throw LuaMismatch("too many arguments for the Lua stack")
            }
            for (index, argument) in arguments.enumerated() {
                do throws(LuaMismatch) {
                    try argument.push(to: results)
                } catch {
                    throw PaniniScriptError(code: "conversion", "argument \(index + 1) \(error.description)")
                }
            }
        } catch {
            vm.recycle(co)
            return call.fail(error)
        }
        let record = SpawnRecord(script: self, holdsStop: true)
        record.call = call
        record.context = context
        beginActivity()
        enter {
            current = RunningActivity(holdsStop: true)
            let activity = Activity(record)
            if telemetry.isTraced, context != nil || !isSend { tellBegin(co, activity, function: 1) }
            settle(co, vm.resume(co, argumentCount: CInt(arguments.count)), activity)
        }
    }

    /// The results of a call from Swift, which lie on top of `L`.
    func endCall(_ call: SwiftCall, _ L: OpaquePointer, _ count: CInt) {
        let first = lua_gettop(L) - count + 1
        if count >= 2, lua_type(L, first) == LUA_TNIL, lua_type(L, first + 1) != LUA_TNIL {
            let error = readError(L, first + 1)
            return call.fail(PaniniScriptError(error.code, error.message))
        }
        call.end(self, L, first, count)
    }
}

extension PaniniScriptError {
    init(_ code: LuaError.Code?, _ message: String) {
        switch code {
        case .integer(let number): self.init(code: .number(number), message)
        case .string(let text): self.init(code: .text(text), message)
        case nil: self.init(code: "error", message)
        }
    }
}
