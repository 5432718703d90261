// Owns: which span a script's coroutine is in, for what it sends and for the Swift functions that it calls. Worker's thread.

import CLuaShim
import Instrumentation
import LuaVM
import NATSProtocol
import PaniniHTTP
import Tracing

extension Script {
    /// The context of what runs now: of the innermost span of its coroutine, or of what began that. Nil without traces.
    var traceContext: InstrumentationContext? {
        guard isTraced, let slot = vm.running?.slot else { return nil }
        if let observed = middlewares.innermost(slot: Int(slot), InstrumentMiddleware.Observed.self) {
            return observed.span?.context
        }
        return taskSpans[Int(slot)]?.context
    }

    /// The route of a request; nil for one that is answered without.
    func route(of request: HTTPRequest) -> HTTPRoute? {
        registrations.routes.all.indices.contains(request.route) ? registrations.routes.all[request.route] : nil
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
