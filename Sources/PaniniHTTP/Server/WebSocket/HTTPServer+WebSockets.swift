// Owns: what WebSocket connections need of their server: times in its ticks. Loop-bound.

extension HTTPServer {
    /// The times of a connection, in ticks.
    func webSocketTimes(_ settings: WebSocketSettings) -> WebSocketLife.Times {
        let limits = limits
        return WebSocketLife.Times(
            ping: limits.ticks(settings.pingInterval),
            idle: settings.idleTimeout.map(limits.ticks) ?? limits.idle,
            close: limits.ticks(WebSocketSettings.closeTimeout),
            linger: limits.linger
        )
    }
}
