// Owns: gathering how a service is doing from all its workers. Lives on the host's loop.

import LuaVM
import NATS
import NIOCore
import PaniniHTTP

/// What one worker adds to a service's status.
struct WorkerStatus: Sendable {
    var inFlight = 0
    var waiting = 0
    var waitingSends = 0
    var draining = 0
    var memoryBytes = 0
    var webBytes = 0
    var shedConnections = 0
    var isConnected = false
    /// Of the worker's time over the last seconds, from 0 to 1.
    var busy = 0.0
    var worker = 0
    var counters = WorkerCounters()
}

extension Service {
    var workerStatus: WorkerStatus {
        var status = WorkerStatus()
        for script in scripts where script.phase != .closed {
            status.inFlight += script.activeCount
            status.waiting += script.listeners.reduce(0) { $0 + $1.pending.count }
            status.memoryBytes += script.vm.memoryInUse
        }
        status.waitingSends = outflow.sends.count
        for web in endingWebs + (web.map { [$0] } ?? []) {
            status.webBytes += web.heldBytes
            status.shedConnections += Int(clamping: web.counters.shedConnections &+ web.counters.overfullConnections)
        }
        status.draining = draining.count
        status.isConnected = connection.isConnected
        status.busy = turn.busy(seconds: RestWatch.window)
        status.worker = worker.index
        status.counters = workerCounters
        return status
    }
}

extension ServiceController {
    func status() -> EventLoopFuture<PaniniServiceStatus> { look().map { status, _ in status } }

    /// The status, and what was counted since the start.
    func look() -> EventLoopFuture<(PaniniServiceStatus, WorkerCounters)> {
        let base = PaniniServiceStatus(
            serviceName: name,
            version: options?.version ?? "",
            path: path,
            state: "\(state)",
            generation: generation,
            workers: instances.isEmpty && replacements.vacant.isEmpty ? workers.count : shared.workers,
            listeners: report?.listeners.count ?? 0,
            uptime: Double((NIODeadline.now() - startedAt).nanoseconds) / 1e9
        )
        let parts = instances.map { instance in
            guard !stuckWorkers.contains(instance.index) else { return loop.makeSucceededFuture(nil as WorkerStatus?) }
            return instance.run { $0.workerStatus as WorkerStatus? }.value(within: .seconds(1), or: nil)
        }
        let box = NIOLoopBound(self, eventLoop: loop)
        let asked = instances
        return EventLoopFuture.whenAllSucceed(parts, on: loop).map { parts in
            let this = box.value
            var status = base
            for (instance, part) in zip(asked, parts) {
                if let part { this.replacements.counted(part.counters, by: instance) }
            }
            var counters = this.replacements.left
            status.stuckWorkers = parts.count { $0 == nil } + this.replacements.vacant.count
            status.replacedWorkers = this.replacements.count
            for part in parts.compactMap({ $0 }) {
                status.inFlight += part.inFlight
                status.waiting += part.waiting
                status.waitingSends += part.waitingSends
                status.draining = max(status.draining, part.draining)
                status.memoryBytes += part.memoryBytes
                status.webBytes += part.webBytes
                status.shedConnections += part.shedConnections
                status.isConnected = status.isConnected && part.isConnected
                if part.busy > status.busy { (status.busy, status.busiestWorker) = (part.busy, part.worker) }
                counters = counters + part.counters
            }
            if parts.allSatisfy({ $0 == nil }) { status.isConnected = false }
            return (status, counters)
        }
    }
}
