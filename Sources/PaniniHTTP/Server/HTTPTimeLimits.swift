// Owns: how long a connection may take for what, in ticks of its server. A value; any thread.

/// The time limits of a server.
struct HTTPTimeLimits: Equatable {
    /// One tick, in seconds.
    let step: Double
    /// From a request's first byte to the end of its head.
    let header: UInt64
    /// For a request's body.
    let body: UInt64
    /// Without a request, or without a byte that the client takes.
    let idle: UInt64
    /// How long a client may take to close after the last response.
    let linger: UInt64

    init(step: Double, header: UInt64, body: UInt64, idle: UInt64, linger: UInt64) {
        self.step = step
        self.header = header
        self.body = body
        self.idle = idle
        self.linger = linger
    }

    init(_ configuration: HTTPServerConfiguration) {
        let shortest = min(
            configuration.headerTimeout,
            configuration.bodyTimeout,
            configuration.idleTimeout,
            configuration.shortestTime
        )
        let step = min(1, max(0.01, shortest / 8))
        func ticks(_ seconds: Double) -> UInt64 { UInt64((seconds / step).rounded(.up)) }
        self.init(
            step: step,
            header: ticks(configuration.headerTimeout),
            body: ticks(configuration.bodyTimeout),
            idle: ticks(configuration.idleTimeout),
            linger: ticks(min(configuration.headerTimeout, 2))
        )
    }

    /// Seconds as ticks.
    func ticks(_ seconds: Double) -> UInt64 { UInt64((seconds / step).rounded(.up)) }
}
