// Owns: metrics and spans of messages, sends and requests: a middleware around all others, there only when the program has
// backends for them. Worker's thread, in the middle of a message.

import CScriptObjects
import CoreMetrics
import Instrumentation
import LuaVM
import NIOCore
import NIOHTTP1
import PaniniHTTP
import Tracing

/// Measures what it wraps.
struct TelemetryMiddleware: PaniniMiddleware {
    let kinds: Set<PaniniMiddlewareKind>
    let instruments: HostTelemetry

    /// One message under way.
    final class Observed {
        let begun = NIODeadline.now().uptimeNanoseconds
        let metrics: MessageMetrics?
        let span: (any Span)?

        init(metrics: MessageMetrics?, span: (any Span)?) {
            self.metrics = metrics
            self.span = span
        }
    }

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
        let metrics = instruments.metrics.flatMap { message.metrics($0) }
        var span: (any Span)?
        if let traces = instruments.traces { span = begin(&message, traces) }
        return .observe(state: Observed(metrics: metrics, span: span))
    }

    func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    ) {
        guard let observed = state as? Observed else { return }
        let error = outcome.error
        let end: MessageEnd = outcome.isAbandoned ? .abandoned : error == nil ? .succeeded : .failed
        observed.metrics?.count(end, nanoseconds: NIODeadline.now().uptimeNanoseconds &- observed.begun)
        guard let span = observed.span else { return }
        if let error { span.markFailed(error.code, error.message) }
        span.end()
    }

    // MARK: - Spans

    private func begin(_ message: inout PaniniMiddlewareMessage, _ traces: HostTelemetry.Traces) -> any Span {
        var context = InstrumentationContext.topLevel
        let name: String
        let kind: SpanKind
        switch message.kind {
        case .listenPublish, .listenRequest:
            traces.instrument.extract(message.traceHeaders, into: &context, using: TraceHeaders.Reader())
            name = "process \(message.pattern)"
            kind = message.kind == .listenRequest ? .server : .consumer
        case .httpRequest:
            traces.instrument.extract(message.traceHeaders, into: &context, using: TraceHeaders.Reader())
            name = "\(message.method ?? "") \(message.pattern)"
            kind = .server
        case let sent where sent.isSend:
            context = message.script.traceContext ?? .topLevel
            name = "\(sent == .sendRequest ? "request" : "publish") \(message.pattern)"
            kind = sent == .sendRequest ? .client : .producer
        default:
            traces.instrument.extract(message.traceHeaders, into: &context, using: TraceHeaders.Reader())
            name = "process \(message.pattern)"
            kind = .consumer
        }
        let span = traces.tracer.startAnySpan(name, context: context, ofKind: kind)
        span.attributes["service.name"] = message.serviceName
        if message.kind == .httpRequest {
            span.attributes["http.request.method"] = message.method ?? ""
            span.attributes["http.route"] = message.pattern
            span.attributes["url.path"] = message.subject
        } else {
            span.attributes["messaging.system"] = "nats"
            span.attributes["messaging.destination.name"] = message.subject
        }
        if message.kind.isSend {
            var headers = TraceHeaders()
            traces.instrument.inject(span.context, into: &headers, using: TraceHeaders.Writer())
            for (name, value) in headers.fields { message.setHeader(name, value) }
        }
        return span
    }
}

extension PaniniMiddlewareMessage {
    /// What was listened to, or the route: of bounded number, unlike subjects and paths. Of sends the subject.
    fileprivate var pattern: String {
        switch source {
        case .received(let message):
            script.messaging.listeners[message.pointee.owner]?.subjects.first?.pattern.subject ?? subject
        case .requested(let request): script.route(of: request)?.path ?? "*"
        case .other(let source): source.pattern
        case .sent, .past: subject
        }
    }

    /// The fields that a context may be in.
    fileprivate var traceHeaders: TraceHeaders {
        switch source {
        case .received(let message): TraceHeaders(fields: script.headerFields(message))
        case .requested(let request): TraceHeaders(fields: request.head.headers.map { ($0.name, $0.value) })
        case .other(let source): TraceHeaders(fields: source.headerFields)
        case .sent, .past: TraceHeaders()
        }
    }

    /// Where this message is counted; nil for what is gone already.
    fileprivate func metrics(_ factory: any MetricsFactory) -> MessageMetrics? {
        switch source {
        case .received(let message):
            guard let listener = script.messaging.listeners[message.pointee.owner] else { return nil }
            let isRequest = kind == .listenRequest
            if let known = isRequest ? listener.metrics.request : listener.metrics.publish { return known }
            let made = MessageMetrics(
                "panini_messages",
                [
                    ("service", serviceName), ("subject", listener.subjectList),
                    ("kind", isRequest ? "request" : "publish"),
                ],
                factory
            )
            if isRequest { listener.metrics.request = made } else { listener.metrics.publish = made }
            return made
        case .requested(let request):
            guard let route = script.route(of: request) else { return nil }
            if let known = route.metrics { return known }
            let made = MessageMetrics(
                "panini_http_requests",
                [("service", serviceName), ("method", route.method), ("route", route.path)],
                factory
            )
            route.metrics = made
            return made
        case .sent:
            if let known = script.telemetry.sendMetrics[kind] { return known }
            let made = MessageMetrics(
                "panini_sends",
                [("service", serviceName), ("kind", kind.shortName)],
                factory
            )
            script.telemetry.sendMetrics[kind] = made
            return made
        case .other(let source):
            if let known = source.kept as? MessageMetrics { return known }
            let made = MessageMetrics(
                "panini_messages",
                [("service", serviceName), ("subject", source.pattern), ("kind", kind.shortName)],
                factory
            )
            source.kept = made
            return made
        case .past: return nil
        }
    }
}
