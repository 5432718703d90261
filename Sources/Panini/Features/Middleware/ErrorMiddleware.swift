// Owns: `panini.middleware.error`: failures in one place, logged or given to a function of the script. Values; runs on the
// worker's thread.

import Logging
import LuaVM

struct ErrorMiddleware: PaniniMiddleware {
    let kinds: Set<PaniniMiddlewareKind>
    /// The codes it is for; nil: all failures.
    let codes: Set<String>?
    /// The script's `on_error`; nil: failures are logged.
    let handler: LuaReference?
    let level: Logger.Level
    let loggerName: String

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision { .observe(state: nil) }

    func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    ) {
        guard let error = outcome.error else { return }
        if let codes, !codes.contains(error.code ?? "error") { return }
        if let handler, !outcome.isAbandoned {
            outcome.replacement = .call(handler)
            return
        }
        guard message.script.logs(level, loggerName) else { return }
        var fields: Logger.Metadata = ["kind": "\(message.kind.name)", "subject": "\(message.subject)"]
        if let code = error.code { fields["code"] = "\(code)" }
        message.script.log(
            level,
            loggerName,
            "\(message.kind.name) \(message.subject) failed: \(error.message)",
            fields
        )
    }
}
