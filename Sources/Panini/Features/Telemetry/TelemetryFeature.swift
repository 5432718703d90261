// Owns: what telemetry says of itself. A constant; any thread.

extension Feature {
    /// Metrics and traces.
    static let telemetry = Feature(ScriptTelemetry.self, nil, HostMetrics.self)
}
