// Owns: `panini.middleware.debug`: every message and every answer in the log. Values; runs on the worker's thread. Costs a
// look at the log's level while that level is off.

import Logging
import LuaVM

struct DebugMiddleware: PaniniMiddleware {
    let kinds: Set<PaniniMiddlewareKind>
    let level: Logger.Level
    let loggerName: String
    /// How many bytes of a payload a line shows.
    let maximumBytes: Int

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
        guard message.script.logs(level, loggerName) else { return .proceed }
        let text = message.kind.isSend ? "sent to" : "listen to"
        log(message, "\(text) \(message.subject): \(shown(message.payload))")
        return message.kind == .sendPublish ? .proceed : .observe(state: nil)
    }

    func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    ) {
        if let error = outcome.error {
            let code = error.code.map { " (\($0))" } ?? ""
            return log(
                message,
                "\(message.kind.isSend ? "no response from" : "failed on") \(message.subject)\(code): \(error.message)"
            )
        }
        switch message.kind {
        case .sendRequest: log(message, "received response from \(message.subject): \(shown(outcome.payload))")
        case .listenRequest: log(message, "answered to \(message.subject): \(shown(outcome.payload))")
        default: break
        }
    }

    private func log(_ message: borrowing PaniniMiddlewareMessage, _ text: String) {
        message.script.log(level, loggerName, text, ["kind": "\(message.kind.name)"])
    }

    private func shown(_ payload: [UInt8]?) -> String {
        guard let payload else { return "(no value)" }
        let text = String(decoding: payload.prefix(maximumBytes), as: UTF8.self)
        return payload.count > maximumBytes ? "\(text)... (\(payload.count) bytes)" : text
    }
}
