// Owns: gathering how a service is doing from all its workers. Lives on the host's loop.

import LuaVM
import NATS
import NIOCore
import PaniniHTTP

extension ServiceController {
    func status() -> EventLoopFuture<PaniniServiceStatus> { look().map { status, _ in status } }

    /// The status, and what was counted since the start.
    ///
    /// - Parameter limit: A worker that has not answered by then is busy or stuck.
    func look(within limit: TimeAmount = .seconds(1)) -> EventLoopFuture<(PaniniServiceStatus, WorkerCounters)> {
        let base = PaniniServiceStatus(
            serviceName: name,
            version: served.options?.version ?? "",
            path: path,
            state: "\(state)",
            generation: served.generation,
            workers: instances.isEmpty && replacements.vacant.isEmpty ? workers.count : shared.workers,
            listeners: served.report?.listeners.count ?? 0,
            uptime: Double((NIODeadline.now() - startedAt).nanoseconds) / 1e9
        )
        let parts = instances.map { instance in
            guard !stuckWorkers.contains(instance.index) else { return loop.makeSucceededFuture(nil as WorkerStatus?) }
            let unheard = heard[instance.index].whileBusy(worker: instance.index)
            return instance.run { $0.workerStatus as WorkerStatus? }.value(within: limit, or: nil).map {
                // One that computes is busy, not stuck: a run may take longer than a second.
                $0 ?? (instance.isComputing ? unheard : nil)
            }
        }
        let box = NIOLoopBound(self, eventLoop: loop)
        let asked = instances
        return EventLoopFuture.whenAllSucceed(parts, on: loop).map { parts in
            let this = box.value
            var status = base
            for (instance, part) in zip(asked, parts) {
                guard let part else { continue }
                this.heard[instance.index] = part
                this.replacements.counted(part.counters, by: instance)
            }
            var counters = this.replacements.left
            var figures: [String: WorkerFigure] = [:]
            status.stuckWorkers = parts.count { $0 == nil } + this.replacements.vacant.count
            status.replacedWorkers = this.replacements.count
            for part in parts.compactMap({ $0 }) {
                status.inFlight += part.inFlight
                status.waiting += part.waiting
                status.waitingSends += part.waitingSends
                status.draining = max(status.draining, part.draining)
                status.memoryBytes += part.memoryBytes
                status.webBytes += part.webBytes
                figures.merge(part.figures) { $0.merged(with: $1) }
                for row in part.rows where !status.rows.contains(row) { status.rows.append(row) }
                status.shedConnections += part.shedConnections
                status.isConnected = status.isConnected && part.isConnected
                if part.busy > status.busy { (status.busy, status.busiestWorker) = (part.busy, part.worker) }
                counters = counters + part.counters
            }
            status.figures = figures.mapValues(\.value)
            if parts.allSatisfy({ $0 == nil }) { status.isConnected = false }
            return (status, counters)
        }
    }
}
