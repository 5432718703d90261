// Owns: the span of a fetch: one over its redirects, whose context the request carries. Worker's thread; called only when the
// program has a tracer.

import Instrumentation
import PaniniHTTP
import ScriptRuntime
import Tracing

extension Script {
    /// Begins the span of a fetch, and adds its context to the headers; what the script has written itself stays.
    ///
    /// - Returns: What ends it.
    func beginSpan(_ fetch: inout HTTPFetch) -> ((HTTPFetchEnd) -> Void)? {
        guard let traces = place[HostTelemetry.self]?.traces else { return nil }
        let span = traces.tracer.startAnySpan(fetch.method, context: traceContext ?? .topLevel, ofKind: .client)
        span.attributes["service.name"] = options?.serviceName ?? ""
        span.attributes["http.request.method"] = fetch.method
        span.attributes["server.address"] = fetch.url.host
        span.attributes["server.port"] = fetch.url.port
        // Queries often hold secrets.
        span.attributes["url.full"] = String(fetch.url.text.prefix { $0 != "?" })
        var headers = TraceHeaders()
        traces.instrument.inject(span.context, into: &headers, using: TraceHeaders.Writer())
        let own = Set(fetch.headers.map(\.name))
        for (name, value) in headers.fields where !own.contains(name.lowercased()) {
            fetch.headers.add(name.lowercased(), value)
        }
        return { end in span.end(end) }
    }
}

extension Span {
    fileprivate func end(_ end: HTTPFetchEnd) {
        switch end {
        case .responded(let status):
            attributes["http.response.status_code"] = status
            // As OpenTelemetry has it for clients; the status code says what a text would.
            if status >= 400 { markFailed(String(status), nil) }
        case .failed(let failure, let status):
            if let status { attributes["http.response.status_code"] = status }
            markFailed(failure.code.rawValue, failure.message)
        case .abandoned(let status):
            if let status { attributes["http.response.status_code"] = status }
            markFailed("abandoned", "the fetch was given up")
        }
        self.end()
    }
}
