// Owns: the metrics of services as a whole: gauges and counters that are read every few seconds, and what happens to services.
// Lives on the host's loop, only when the program has a backend for metrics.

import CoreMetrics
import NATS
import NIOCore
import PaniniHTTP

/// Gives the backend what the host knows of its services.
final class HostMetrics {
    /// How often gauges are set.
    static let interval = TimeAmount.seconds(5)

    private struct OfService {
        let memory: Gauge
        let webMemory: Gauge
        let inFlight: Gauge
        let waiting: Gauge
        let waitingSends: Gauge
        let draining: Gauge
        let generation: Gauge
        let connected: Gauge
        let stuckWorkers: Gauge
        let counters: [Counter]
        var counted = WorkerCounters()
    }

    private let factory: any MetricsFactory
    private var services: [String: OfService] = [:]
    private var polls: RepeatedTask?

    init(_ factory: any MetricsFactory) { self.factory = factory }

    /// - Parameter look: Reads the status of all services.
    func start(on loop: any EventLoop, look: @escaping @Sendable () -> Void) {
        polls = loop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { _ in look() }
    }

    func stop() {
        polls?.cancel()
        polls = nil
    }

    // MARK: - Events

    func started(_ service: String) { count("panini_service_starts", service, "ok") }
    func failed(_ service: String) { count("panini_service_starts", service, "error") }

    func reloaded(_ service: String, milliseconds: Double) {
        count("panini_reloads", service, "ok")
        Timer(label: "panini_reload_duration", dimensions: [("service", service)], factory: factory)
            .recordNanoseconds(Int64(milliseconds * 1e6))
    }

    /// A worker of the service was replaced.
    func replaced(_ service: String) {
        Counter(label: "panini_worker_replacements", dimensions: [("service", service)], factory: factory).increment()
    }

    func notReloaded(_ service: String) { count("panini_reloads", service, "error") }

    private func count(_ name: String, _ service: String, _ result: String) {
        Counter(label: name, dimensions: [("service", service), ("result", result)], factory: factory).increment()
    }

    // MARK: - Looks

    func looked(at status: PaniniServiceStatus, _ counters: WorkerCounters) {
        var known = services[status.serviceName] ?? make(status.serviceName)
        known.memory.record(status.memoryBytes)
        known.webMemory.record(status.webBytes)
        known.inFlight.record(status.inFlight)
        known.waiting.record(status.waiting)
        known.waitingSends.record(status.waitingSends)
        known.draining.record(status.draining)
        known.generation.record(status.generation)
        known.connected.record(status.isConnected ? 1 : 0)
        known.stuckWorkers.record(status.stuckWorkers)
        for (counter, kind) in zip(known.counters, WorkerCounter.allCases) {
            let now = counters[kind]
            let before = known.counted[kind]
            // A worker that does not answer is not counted anew when it does.
            guard now > before else { continue }
            counter.increment(by: Int64(clamping: now - before))
            known.counted[kind] = now
        }
        services[status.serviceName] = known
    }

    private func make(_ service: String) -> OfService {
        func gauge(_ name: String) -> Gauge { Gauge(label: name, dimensions: [("service", service)], factory: factory) }
        return OfService(
            memory: gauge("panini_memory_bytes"),
            webMemory: gauge("panini_http_held_bytes"),
            inFlight: gauge("panini_in_flight"),
            waiting: gauge("panini_waiting_messages"),
            waitingSends: gauge("panini_waiting_sends"),
            draining: gauge("panini_draining_versions"),
            generation: gauge("panini_generation"),
            connected: gauge("panini_connected"),
            stuckWorkers: gauge("panini_stuck_workers"),
            counters: WorkerCounter.allCases.map {
                Counter(label: $0.label, dimensions: [("service", service)], factory: factory)
            }
        )
    }
}

@available(*, unavailable)
extension HostMetrics: Sendable {}
