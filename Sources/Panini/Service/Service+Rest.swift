// Owns: the warning, once for each episode, that a service takes nearly all of its worker's time. Loop-bound.

import Logging
import NATS
import ScriptRuntime

/// Decides when the log says that a service takes nearly all of its worker's time. A value.
struct RestWatch {
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
    mutating func noteBusy() -> Bool {
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
    private static let restInterval: UInt64 = 1_000_000_000

    /// A slice is used up.
    func wasBusy() {
        guard housekeeping.rest.noteBusy() else { return }
        worker.schedule(alarm(.rest), at: worker.now &+ Self.restInterval)
    }

    func lookAtRest() {
        guard !lifecycle.isStopped else { return }
        let part = turn.busy(seconds: RestWatch.window)
        let (tells, again) = housekeeping.rest.look(part)
        if tells {
            logger.warning(
                """
                \(options.serviceName) takes \(Int(part * 100)) % of worker \(worker.index), and has more to do than it gets done; \
                the others on that worker have their turns, and wait for it up to limits.cpu at a time
                """
            )
        }
        if again { worker.schedule(alarm(.rest), at: worker.now &+ Self.restInterval) }
    }
}

extension Service: TurnTaker {
    /// The connection, and the versions.
    var turnSources: Int { 1 + scripts.count }

    func goOn(source: Int) {
        guard source > 0 else { return connection.goOnWithTurn() }
        let scripts = scripts
        if source <= scripts.count { scripts[source - 1].runReadyIfNeeded() }
    }

    func holdForTurn() { connection.holdForTurn() }

    func turnEnded() { wasBusy() }
}
