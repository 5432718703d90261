// Owns: what WebSocket connections need of their server: times in its ticks. Loop-bound.

extension HTTPServer {
    /// The times of a connection, in ticks.
    func webSocketTimes(_ settings: WebSocketSettings) -> WebSocketLife.Times {
        func ticks(_ seconds: Double) -> UInt64 { UInt64((seconds / tickSeconds).rounded(.up)) }
        return WebSocketLife.Times(
            ping: ticks(settings.pingInterval),
            idle: settings.idleTimeout.map(ticks) ?? idleTicks,
            close: ticks(WebSocketSettings.closeTimeout),
            linger: lingerTicks
        )
    }
}
