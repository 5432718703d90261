// Owns: the word in the log for an error that goes nowhere else: of a middleware, or of on_invalid, whose inner failure is
// what goes out. Worker's thread, called by C in the middle of a message; nothing here raises.

import CLuaVM
import Logging
import LuaVM
import ScriptRuntime

/// Called by C with the text of a middleware's error on top, which the failure of what it wraps goes before.
let logCoveredByInner: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, CInt) -> Void = { L, context, kind in
    let script = Script.from(context)
    guard let L, let kind = script.middlewares.composers[kind]?.kind else { return }
    script.logCovered(L, kind, "a middleware (\(kind.name))")
}

/// The same of on_invalid of a listener.
let logCoveredOfMessage: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { L, context in
    guard let L else { return }
    Script.from(context).logCovered(L, .listenRequest, "on_invalid")
}

/// The same of on_invalid of a route.
let logCoveredOfRequest: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { L, context in
    guard let L else { return }
    Script.from(context).logCovered(L, .httpRequest, "on_invalid")
}

extension Script {
    fileprivate func logCovered(_ L: OpaquePointer, _ kind: PaniniMiddlewareKind, _ what: String) {
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        guard lua_checkstack(L, 8) != 0 else { return }
        let subject = PaniniMiddlewareMessage(kind, source(L, kind), script: self).subject
        let text = vm.string(L, top, upTo: LuaVM.longestErrorText) ?? "(no text)"
        panini_take_noted_traceback(L)
        let traceback = vm.string(L, -1, upTo: LuaVM.longestErrorText)
        logger.error(
            "\(what) failed on \(subject) after what it wraps had failed, whose error goes out: \(text)",
            metadata: traceback.map { ["lua.traceback": "\($0)"] }
        )
    }
}
