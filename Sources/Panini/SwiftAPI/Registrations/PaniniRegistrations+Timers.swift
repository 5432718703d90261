// Owns: the ways to write a timer in Swift. Any thread; ticks run on the worker's, async ones in tasks.

extension PaniniRegistrations {
    /// Calls a function again and again, on the worker's thread.
    ///
    /// - Parameters:
    ///   - interval: Between ticks, at least a millisecond.
    ///   - options: The first tick, jitter, workers.
    ///   - tick: Must not block. An error is logged, and the timer goes on, unless `ignore_task_exceptions` is false.
    public mutating func timer(
        every interval: Duration,
        options: PaniniTimerOptions = PaniniTimerOptions(),
        _ tick: @escaping @Sendable () throws -> Void
    ) {
        timers.append(SwiftTimer(interval: interval, options: options, body: .silent { _ in tick }))
    }

    /// Calls a function again and again that takes its time: it runs in a task, and never beside itself.
    ///
    /// - Parameters:
    ///   - interval: Between ticks, at least a millisecond.
    ///   - options: The first tick, jitter, workers.
    ///   - tick: An error is logged, and the timer goes on, unless `ignore_task_exceptions` is false.
    public mutating func timer(
        every interval: Duration,
        options: PaniniTimerOptions = PaniniTimerOptions(),
        _ tick: @escaping @Sendable () async throws -> Void
    ) {
        timers.append(
            SwiftTimer(interval: interval, options: options, body: .silentLater(options.start) { _ in tick })
        )
    }

    /// Calls a function again and again that takes its time and sends as the service.
    ///
    /// - Parameters:
    ///   - interval: Between ticks, at least a millisecond.
    ///   - options: The first tick, jitter, workers.
    ///   - tick: Takes the service. An error is logged, and the timer goes on, unless `ignore_task_exceptions` is false.
    public mutating func timer(
        every interval: Duration,
        options: PaniniTimerOptions = PaniniTimerOptions(),
        _ tick: @escaping @Sendable (PaniniApp) async throws -> Void
    ) {
        timers.append(
            SwiftTimer(
                interval: interval,
                options: options,
                body: .silentLater(options.start) { call in
                    let app = PaniniApp(way: .script(call.script.embedding.completions(of: call.script)))
                    return { try await tick(app) }
                }
            )
        )
    }
}
