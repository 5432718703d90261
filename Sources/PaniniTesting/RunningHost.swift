// Owns: a host from its start to its end, for tests: waits until all of its services are ready. Any thread.

import Logging
import Panini
import Synchronization

struct RunningHost {
    let host: PaniniHost
    let reports: [PaniniServiceReport]
    private let finished: Task<Void, any Error>

    /// Returns when every service is ready.
    ///
    /// - Throws: What ended the host before that.
    static func start(_ configuration: PaniniHostConfiguration, logger: Logger) async throws -> RunningHost {
        let (ready, signal) = AsyncStream<PaniniServiceReport>.makeStream()
        let host = PaniniHost(configuration: configuration, logger: logger) { signal.yield($0) }
        let finished = Task {
            defer { signal.finish() }
            try await host.run()
        }
        var reports: [PaniniServiceReport] = []
        for await report in ready {
            reports.append(report)
            if reports.count == configuration.scripts.count { break }
        }
        guard reports.count == configuration.scripts.count else {
            host.stop()
            try await finished.value
            throw CancellationError()
        }
        return RunningHost(host: host, reports: reports, finished: finished)
    }

    /// Returns when the host has ended by itself: the error that ended it.
    func end() async -> (any Error)? {
        do {
            try await finished.value
            return nil
        } catch {
            return error
        }
    }

    /// Stops, and returns why that did not go well.
    func stop() async -> (any Error)? {
        host.stop()
        return await end()
    }
}
