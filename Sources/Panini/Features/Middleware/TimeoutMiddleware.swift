// Owns: `panini.middleware.timeout`: a limit for requests that have none, and a report of every time-out. Values; runs on
// the worker's thread.

import CLuaVM
import Logging
import LuaVM
import ScriptRuntime

struct TimeoutMiddleware: PaniniMiddleware {
    let kinds: Set<PaniniMiddlewareKind>
    /// Where reports go; nil: nowhere.
    let subject: String?
    /// The limit of requests without one, in seconds.
    let seconds: Double?
    let codes: Set<String>

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
        if let seconds { message.setDefaultTimeout(seconds) }
        return subject == nil ? .proceed : .observe(state: nil)
    }

    func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    ) {
        guard let subject, let error = outcome.error, let code = error.code, codes.contains(code) else { return }
        if !message.publish(message.report(error), to: subject) {
            message.script.logger.warning("a time-out of \(message.subject) could not be reported to \(subject)")
        }
    }
}

extension PaniniMiddlewareMessage {
    /// The report of a failure as JSON. The message stands in it as JSON where it is that, else as text.
    func report(_ error: PaniniMiddlewareError) -> [UInt8] {
        let vm = script.vm
        let L = vm.state
        lua_checkstack(L, 12)
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        lua_createtable(L, 0, 6)
        let fields = [
            ("error", error.code ?? "error"), ("error_msg", error.message), ("subject", subject), ("kind", kind.name),
            ("service", serviceName),
        ]
        for (name, text) in fields {
            vm.pushString(L, name)
            vm.pushString(L, text)
            lua_rawset(L, top + 1)
        }
        if let payload, !payload.isEmpty {
            vm.pushString(L, "message" as StaticString)
            payload.withUnsafeBytes { bytes in
                do throws(LuaJSONError) {
                    try vm.pushJSON(bytes, onto: L)
                } catch {
                    vm.pushString(L, String(decoding: bytes, as: UTF8.self))
                }
            }
            lua_rawset(L, top + 1)
        }
        return script.encoded(L, top + 1, dataType: .json) ?? []
    }
}
