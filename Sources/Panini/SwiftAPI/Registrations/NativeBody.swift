// Owns: the way from a coroutine to a handler in Swift and back: what the four shapes of handlers have in common. Worker's
// thread, but for the bodies of async handlers.

import CLuaVM
import CScriptObjects
import LuaVM
import ScriptRuntime

extension EmbeddedBody {
    /// A handler that answers at once. `prepare` reads its arguments.
    static func answering<Reply: LuaConvertible>(
        _ prepare: @escaping @Sendable (EmbeddedCall) throws(LuaMismatch) -> () throws -> Reply
    ) -> EmbeddedBody {
        EmbeddedBody { call in
            call.handling(prepare) { handler in call.push(try handler()) }
        }
    }

    /// A handler that returns at once and gives nothing back.
    static func silent(
        _ prepare: @escaping @Sendable (EmbeddedCall) throws(LuaMismatch) -> () throws -> Void
    ) -> EmbeddedBody {
        EmbeddedBody { call in
            call.handling(prepare) { handler in
                try handler()
                return 0
            }
        }
    }

    /// A handler that takes its time.
    static func answeringLater<Reply: LuaConvertible>(
        _ start: PaniniTaskStart,
        _ prepare: @escaping @Sendable (EmbeddedCall) throws(LuaMismatch) -> @Sendable () async throws -> Reply
    ) -> EmbeddedBody {
        EmbeddedBody { call in
            call.handling(prepare) { handler in
                try call.script.startWaiting(call, start) {
                    do {
                        let reply = try await handler()
                        return { $0.push(reply) }
                    } catch {
                        return { $0.fail(error) }
                    }
                }
            }
        }
    }

    /// A handler that takes its time and gives nothing back.
    static func silentLater(
        _ start: PaniniTaskStart,
        _ prepare: @escaping @Sendable (EmbeddedCall) throws(LuaMismatch) -> @Sendable () async throws -> Void
    ) -> EmbeddedBody {
        EmbeddedBody { call in
            call.handling(prepare) { handler in
                try call.script.startWaiting(call, start) {
                    do {
                        try await handler()
                        return { _ in 0 }
                    } catch {
                        return { $0.fail(error) }
                    }
                }
            }
        }
    }
}

extension EmbeddedCall {
    /// Reads the arguments, and runs the handler.
    fileprivate func handling<Handler>(
        _ prepare: (EmbeddedCall) throws(LuaMismatch) -> Handler,
        _ run: (Handler) throws -> CInt
    ) -> CInt {
        let handler: Handler
        do throws(LuaMismatch) {
            handler = try prepare(self)
        } catch {
            return refuse(error)
        }
        do {
            return try run(handler)
        } catch {
            return fail(error)
        }
    }

    /// The data that stands behind the message or request.
    func fed<Value: LuaConvertible>(_ type: Value.Type) throws(LuaMismatch) -> Value {
        try Value.read(LuaArgument(script: script, L: L, index: 2))
    }

    /// The data is not what the handler takes: what a validator says of such data.
    private func refuse(_ mismatch: LuaMismatch) -> CInt {
        let path = mismatch.path.hasPrefix(".") ? String(mismatch.path.dropFirst()) : mismatch.path
        if lua_touserdata(L, 1) != nil {
            if panini_message_at(L, 1, script.messaging.messageType) != nil {
                messageFailedValidation(L, Unmanaged.passUnretained(script).toOpaque())
            } else {
                requestFailedValidation(L, Unmanaged.passUnretained(script).toOpaque())
            }
        }
        lua_pushnil(L)
        script.push(
            CallError(.number(422), "not valid: \(path.isEmpty ? "the value" : path) \(mismatch.message)"),
            onto: L
        )
        script.vm.pushString(L, "errors" as StaticString)
        lua_createtable(L, 1, 0)
        lua_createtable(L, 0, 3)
        for (name, text) in [("path", path), ("code", "type"), ("message", mismatch.message)] {
            script.vm.pushString(L, name)
            script.vm.pushString(L, text)
            lua_rawset(L, -3)
        }
        lua_rawseti(L, -2, 1)
        script.vm.markArray(L, -1)
        lua_rawset(L, -3)
        return 2
    }
}
