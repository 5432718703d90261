// Owns: how a service on one worker is doing. A value, made on the worker's loop.

import LuaVM
import NATS
import ScriptRuntime

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
    /// What features show, by name.
    var figures: [String: WorkerFigure] = [:]
    /// What else they show, a row each.
    var rows: [PaniniServiceReport.Registration] = []
}

extension WorkerStatus? {
    /// What is known of a worker that has not answered in time: what it said last, and that all its time is taken.
    func whileBusy(worker: Int) -> WorkerStatus {
        var status = self ?? WorkerStatus(isConnected: true, worker: worker)
        status.busy = 1
        return status
    }
}

extension Service {
    var workerStatus: WorkerStatus {
        var status = WorkerStatus()
        for script in scripts where script.phase != .closed {
            status.inFlight += script.activeCount
            status.memoryBytes += script.vm.memoryInUse
        }
        for feature in features.all { feature.add(to: &status) }
        status.draining = draining.count
        status.isConnected = connection.isConnected
        status.busy = turn.busy(seconds: SaturationMonitor.window)
        status.worker = worker.index
        status.counters = workerCounters
        return status
    }
}

extension WorkerCounter {
    static let refusedMessages = WorkerCounter("panini_refused_messages")
    static let droppedMessages = WorkerCounter("panini_dropped_messages")
    static let undecodableMessages = WorkerCounter("panini_undecodable_messages")
    static let invalidMessages = WorkerCounter("panini_invalid_messages")
    static let errorReplies = WorkerCounter("panini_error_replies")
    static let taskFailures = WorkerCounter("panini_task_failures")
    static let refusedHTTPRequests = WorkerCounter("panini_refused_http_requests")
    static let exhaustedStates = WorkerCounter("panini_exhausted_states")
}

extension Service {
    var workerCounters: WorkerCounters {
        var all = WorkerCounters()
        all[.refusedMessages] = counters.refusedMessages
        all[.droppedMessages] = counters.droppedMessages
        all[.undecodableMessages] = counters.undecodable
        all[.invalidMessages] = counters.invalidMessages
        all[.errorReplies] = counters.errorReplies
        all[.taskFailures] = counters.failedTasks
        all[.refusedHTTPRequests] = counters.refusedRequests
        all[.exhaustedStates] = counters.exhaustedScripts
        for feature in features.all { feature.count(into: &all) }
        return all
    }
}
