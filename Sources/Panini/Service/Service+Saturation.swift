// Owns: the warning, once for each episode, that a service takes nearly all of its worker's time. Loop-bound.

import Logging
import NATS
import ScriptRuntime

/// Decides when the log says that a service takes nearly all of its worker's time. A value.
struct SaturationMonitor {
    /// How many seconds the measured share covers.
    static let window = 5
    /// Shares of the worker's time. A service counts as saturating from the first value on, until it falls below the second.
    private static let most = 0.9
    private static let rested = 0.5

    /// An alarm for the next check is set.
    private(set) var isArmed = false
    private var isTold = false
    private var wasBusy = false

    /// The service has used up a slice.
    ///
    /// - Returns: Whether to set an alarm for a check.
    mutating func noteSliceUsed() -> Bool {
        wasBusy = true
        defer { isArmed = true }
        return !isArmed
    }

    /// The alarm: the service has taken this share of the last seconds.
    ///
    /// - Returns: Whether to log a warning, and whether to check again.
    mutating func look(_ part: Double) -> (tells: Bool, again: Bool) {
        let tells = part >= Self.most && !isTold
        if tells { isTold = true }
        if part < Self.rested { isTold = false }
        let again = wasBusy || isTold
        wasBusy = false
        isArmed = again
        return (tells, again)
    }
}

extension Service {
    private static let saturationInterval: UInt64 = 1_000_000_000

    /// A slice is used up.
    func sliceUsedUp() {
        guard housekeeping.saturation.noteSliceUsed() else { return }
        worker.schedule(alarm(.saturation), at: worker.now &+ Self.saturationInterval)
    }

    func checkSaturation() {
        guard !lifecycle.isStopped else { return }
        let part = turn.busy(seconds: SaturationMonitor.window)
        let (tells, again) = housekeeping.saturation.look(part)
        if tells {
            logger.warning(
                """
                \(options.serviceName) takes \(Int(part * 100)) % of worker \(worker.index), and has more to do than it gets done; \
                the others on that worker have their turns, and wait for it up to limits.cpu at a time
                """
            )
        }
        if again { worker.schedule(alarm(.saturation), at: worker.now &+ Self.saturationInterval) }
    }
}

extension Service: TurnDelegate {
    /// The connection, and the versions.
    var turnSources: Int { 1 + scripts.count }

    func goOn(source: Int) {
        guard source > 0 else { return connection.goOnWithTurn() }
        let scripts = scripts
        if source <= scripts.count { scripts[source - 1].runReadyIfNeeded() }
    }

    func pauseUntilTurn() { connection.holdForTurn() }

    func turnEnded() { sliceUsedUp() }
}
