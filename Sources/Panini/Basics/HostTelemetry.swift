// Owns: which backends for metrics and traces the program around the host has set up, looked at once when the host starts:
// without any, nothing of this exists per message. A value; any thread.

import CoreMetrics
import Instrumentation
import Tracing

/// The backends of swift-metrics and swift-distributed-tracing.
struct HostTelemetry: Sendable {
    /// Nil: nobody wants metrics.
    let metrics: (any MetricsFactory)?
    /// Nil: nobody wants traces.
    let traces: Traces?

    /// What writes spans, and what carries contexts over messages.
    struct Traces: Sendable {
        let instrument: any Instrument
        let tracer: any Tracer
    }

    /// Nil when there is nothing to do.
    init?(metrics: (any MetricsFactory)?, traces: Traces?) {
        guard metrics != nil || traces != nil else { return nil }
        self.metrics = metrics
        self.traces = traces
    }

    /// What the program has set up by now; nil when that is nothing.
    static var current: HostTelemetry? {
        let factory = MetricsSystem.factory
        let instrument = InstrumentationSystem.instrument
        return HostTelemetry(
            metrics: factory is NOOPMetricsHandler ? nil : factory,
            traces: instrument is NoOpInstrument
                ? nil : Traces(instrument: instrument, tracer: InstrumentationSystem.tracer)
        )
    }
}
