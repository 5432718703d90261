// Owns: which span a script's coroutine is in, for what it sends and for the Swift functions that it calls. Worker's thread.

import CScriptObjects
import Instrumentation
import LuaVM
import NATSProtocol
import PaniniHTTP
import ScriptRuntime
import Tracing

extension Script {
    /// The context of what runs now: of the innermost span of its coroutine, or of what began that. Nil without traces.
    var traceContext: InstrumentationContext? {
        guard telemetry.isTraced, let slot = vm.running?.slot else { return nil }
        if let observed = middlewares.innermost(slot: Int(slot), TelemetryMiddleware.Observed.self) {
            return observed.span?.context
        }
        return telemetry.taskSpans[Int(slot)]?.context
    }

    /// The header fields of a message, copied.
    func headerFields(_ message: UnsafeMutablePointer<panini_message>) -> [(name: String, value: String)] {
        var lines = NATSHeaderLines(
            UnsafeRawBufferPointer(start: panini_message_headers(message), count: Int(message.pointee.headers_length))
        )
        var fields: [(name: String, value: String)] = []
        while let field = lines.next() {
            fields.append((String(decoding: field.name, as: UTF8.self), String(decoding: field.value, as: UTF8.self)))
        }
        return fields
    }
}
