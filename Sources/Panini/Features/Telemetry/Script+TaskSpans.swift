// Owns: the spans of what no message began: ticks, tasks, hooks, functions that were spawned or called outside of any span.
// Worker's thread; called only when the program has a tracer.

import Instrumentation
import LuaVM
import ScriptRuntime
import Tracing

/// The span that a coroutine is in which no message began.
struct TaskSpan {
    let context: InstrumentationContext
    /// Ends with the coroutine; nil when the span is that of whoever started it.
    let own: (any Span)?
}

extension Script {
    /// A coroutine is about to run a function.
    ///
    /// - Parameter index: Where the function lies on its stack.
    func beginSpan(_ co: LuaCoroutine, _ activity: Activity, function index: CInt = -1) {
        if let context = activity.owner.spanContext(of: activity) {
            telemetry.taskSpans[Int(co.slot)] = TaskSpan(context: context, own: nil)
            return
        }
        guard let tracer = place[HostTelemetry.self]?.traces?.tracer else { return }
        let name = activity.owner.spanName(of: activity, at: line(co, index))
        let span = tracer.startAnySpan(name, context: .topLevel, ofKind: .internal)
        span.attributes["service.name"] = options?.serviceName ?? ""
        telemetry.taskSpans[Int(co.slot)] = TaskSpan(context: span.context, own: span)
    }

    /// `orders.lua:12`, wherever the file lies: names of spans are to be the same on every machine.
    private func line(_ co: LuaCoroutine, _ index: CInt) -> Substring {
        origin(co.thread, index).split(separator: "/").last ?? ""
    }

    /// The coroutine in a slot has ended.
    ///
    /// - Parameter error: Asked for only when there is a span that it ends.
    func endSpan(slot: Int, _ error: @autoclosure () -> LuaError?) {
        guard let span = telemetry.taskSpans.removeValue(forKey: slot)?.own else { return }
        if let error = error() { span.markFailed(error.code?.text, error.message) }
        span.end()
    }

    /// The coroutine in a slot is ended before its time.
    func endSpan(slot: Int, _ activity: Activity, givenUp reason: ReplyError) {
        // What no stop waits for may run for ever, and a stop or reload is its usual end.
        let isFailure = activity.traits.contains(.holdsStop)
        endSpan(
            slot: slot,
            isFailure ? LuaError(kind: .runtime, message: reason.message, code: .integer(Int64(reason.code))) : nil
        )
    }
}

extension Span {
    /// Sets status and `error.type`.
    func markFailed(_ type: String?, _ message: String?) {
        attributes["error.type"] = type ?? "error"
        setStatus(SpanStatus(code: .error, message: message))
    }
}

extension LuaError.Code {
    /// As attributes and middlewares have it.
    var text: String {
        switch self {
        case .integer(let number): String(number)
        case .string(let text): text
        }
    }
}
