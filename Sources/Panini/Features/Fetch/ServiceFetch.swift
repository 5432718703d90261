// Owns: what a service has of `app.http.fetch`: the connections to other servers. Loop-bound.

import PaniniHTTP
import ScriptRuntime

/// Fetches of a service on one worker.
final class ServiceFetch: ServiceFeature {
    private(set) lazy var fetcher = HTTPFetcher(
        eventLoop: service.worker.eventLoop,
        maximumConnections: service.options.fetchMaxConnections
    )

    override func close() { fetcher.close() }

    override func count(into counters: inout WorkerCounters) {
        counters[.fetches] = fetcher.counters.started
        counters[.fetchFailures] = fetcher.counters.failed
    }
}

extension WorkerCounter {
    static let fetches = WorkerCounter("panini_fetches")
    static let fetchFailures = WorkerCounter("panini_fetch_failures")
}

extension Service {
    var fetcher: HTTPFetcher { features[ServiceFetch.self].fetcher }
}
