// Owns: the metrics of services as a whole: gauges and counters that are read every few seconds, and what happens to services.
// Lives on the host's loop; does something only when the program has a backend for metrics.

import CoreMetrics
import NIOCore
import ScriptRuntime

/// Gives the backend what the host knows of its services.
final class HostMetrics: HostFeature {
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
        /// What features show.
        var figures: [String: Gauge] = [:]
        var counters: [WorkerCounter: Counter] = [:]
        var counted = WorkerCounters()
    }

    /// Nil: nobody wants metrics.
    private lazy var factory = host.telemetry?.metrics
    private var services: [String: OfService] = [:]
    private var polls: RepeatedTask?

    override func start() -> Preparation? {
        guard factory != nil else { return nil }
        let box = NIOLoopBound(self, eventLoop: host.loop)
        polls = host.loop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { _ in
            box.value.look()
        }
        return nil
    }

    /// What was counted since the last look.
    override func willStop() { look() }

    override func stop() -> EventLoopFuture<Void>? {
        polls?.cancel()
        polls = nil
        return nil
    }

    // MARK: - Events

    override func started(_ report: PaniniServiceReport, from path: String) {
        count("panini_service_starts", report.serviceName, "ok")
    }

    override func notStarted(_ service: String, _ error: PaniniError, from path: String) {
        count("panini_service_starts", service, "error")
    }

    override func reloaded(_ report: PaniniReloadReport) {
        guard let factory else { return }
        count("panini_reloads", report.serviceName, "ok")
        Timer(label: "panini_reload_duration", dimensions: [("service", report.serviceName)], factory: factory)
            .recordNanoseconds(Int64(report.milliseconds * 1e6))
    }

    override func notReloaded(_ service: String, _ error: PaniniError) { count("panini_reloads", service, "error") }

    override func workerReplaced(of service: String) {
        guard let factory else { return }
        Counter(label: "panini_worker_replacements", dimensions: [("service", service)], factory: factory).increment()
    }

    private func count(_ name: String, _ service: String, _ result: String) {
        guard let factory else { return }
        Counter(label: name, dimensions: [("service", service), ("result", result)], factory: factory).increment()
    }

    // MARK: - Looks

    private func look() {
        guard let factory else { return }
        let box = NIOLoopBound(self, eventLoop: host.loop)
        host.look(within: .seconds(1)).whenSuccess { all in
            for (status, counters) in all where status.state == "running" {
                box.value.looked(at: status, counters, factory)
            }
        }
    }

    private func looked(at status: PaniniServiceStatus, _ counters: WorkerCounters, _ factory: any MetricsFactory) {
        let dimensions = [("service", status.serviceName)]
        var known = services[status.serviceName] ?? make(status.serviceName, factory)
        known.memory.record(status.memoryBytes)
        known.webMemory.record(status.webBytes)
        known.inFlight.record(status.inFlight)
        known.waiting.record(status.waiting)
        known.waitingSends.record(status.waitingSends)
        known.draining.record(status.draining)
        known.generation.record(status.generation)
        known.connected.record(status.isConnected ? 1 : 0)
        known.stuckWorkers.record(status.stuckWorkers)
        for (name, value) in status.figures {
            let gauge = known.figures[name] ?? Gauge(label: "panini_\(name)", dimensions: dimensions, factory: factory)
            known.figures[name] = gauge
            gauge.record(value)
        }
        for (kind, now) in counters.values {
            let counter = known.counters[kind] ?? Counter(label: kind.label, dimensions: dimensions, factory: factory)
            known.counters[kind] = counter
            let before = known.counted[kind]
            // A worker that does not answer is not counted anew when it does.
            guard now > before else { continue }
            counter.increment(by: Int64(clamping: now - before))
            known.counted[kind] = now
        }
        services[status.serviceName] = known
    }

    private func make(_ service: String, _ factory: any MetricsFactory) -> OfService {
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
            stuckWorkers: gauge("panini_stuck_workers")
        )
    }
}
