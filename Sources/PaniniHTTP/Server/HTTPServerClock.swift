// Owns: the time of a server, in ticks that are counted while there are connections. A value; loop-bound with its server.

import NIOCore

/// Counts ticks: connections compare numbers, and one timer runs for all of them.
struct HTTPServerClock {
    /// The tick that it is.
    private(set) var now: UInt64 = 0
    private(set) var limits: HTTPTimeLimits
    private var ticks: RepeatedTask?

    init(_ limits: HTTPTimeLimits) { self.limits = limits }

    var isTicking: Bool { ticks != nil }

    /// Begins to tick.
    ///
    /// - Parameter advance: Called at each tick, on the loop; calls ``advance()``.
    mutating func start(on eventLoop: any EventLoop, _ advance: @escaping @Sendable () -> Void) {
        let step = TimeAmount.nanoseconds(Int64(limits.step * 1e9))
        ticks = eventLoop.scheduleRepeatedTask(initialDelay: step, delay: step) { _ in advance() }
    }

    mutating func advance() { now &+= 1 }

    mutating func stop() {
        ticks?.cancel()
        ticks = nil
    }

    /// Takes other limits.
    ///
    /// - Returns: Whether it ticked, and has to be started again.
    mutating func change(to limits: HTTPTimeLimits) -> Bool {
        self.limits = limits
        guard isTicking else { return false }
        stop()
        return true
    }
}
