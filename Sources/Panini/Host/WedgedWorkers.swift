// Owns: which workers do not come back from a script. Written by the watchdog's thread, read by any, behind a lock.

public import Logging
import LuaVM
import Synchronization

/// A worker that a script holds although its run was to end: a call of C, of a trusted script, that never returns.
public struct PaniniWedgedWorker: Sendable, Equatable {
    /// The number of the worker's thread, as `LuaWatchdog.threadNumber` gives it on that thread.
    public let thread: UInt64
    /// The thread's name.
    public let threadName: String
    /// The service whose script holds it.
    public let service: String
    /// How long it had held it when that was noticed.
    public let seconds: Double
}

/// The workers of this process that are stuck now.
///
/// A thread that is stuck can neither be ended nor do anything else. The log says so at once, and a host gives its worker's
/// place to a new thread (``PaniniHostConfiguration/stuckWorkers``): the connections of the stuck one are ended, every service
/// that ran on it is started anew from the same version of its code, with start tasks, timers, and what Swift has registered
/// beside the script, and its messages and clients find that one. What the stuck thread does when it comes back has no effect:
/// no Lua runs on it any more, its services are closed, and it ends. ``onChange(_:)`` is where a program may do more about it.
public enum WedgedWorkers {
    private struct State {
        var wedged: [UInt64: PaniniWedgedWorker] = [:]
        var total: UInt64 = 0
        var listeners: [(token: UInt64, call: @Sendable (PaniniWedgedWorker, _ isStuck: Bool) -> Void)] = []
        var lastToken: UInt64 = 0
        var isWatched = false
    }

    private static let state = Mutex(State())

    /// Those that are stuck at the moment.
    public static var now: [PaniniWedgedWorker] {
        state.withLock { Array($0.wedged.values) }.sorted { $0.thread < $1.thread }
    }

    /// How many there were so far, those that came back included.
    public static var total: UInt64 { state.withLock { $0.total } }

    /// Calls `listener`, on the watchdog's thread, when a worker gets stuck and when it comes back. It must return soon,
    /// and run no Lua.
    ///
    /// - Parameter listener: Takes the worker, and whether it is stuck now.
    /// - Returns: What ``removeListener(_:)`` takes.
    @discardableResult
    public static func onChange(_ listener: @escaping @Sendable (PaniniWedgedWorker, Bool) -> Void) -> UInt64 {
        state.withLock { state in
            state.lastToken += 1
            state.listeners.append((state.lastToken, listener))
            return state.lastToken
        }
    }

    /// Ends what ``onChange(_:)`` began; a call that is going on still returns.
    ///
    /// - Parameter token: What it returned.
    public static func removeListener(_ token: UInt64) {
        state.withLock { $0.listeners.removeAll { $0.token == token } }
    }

    /// Begins to watch. Once for the process; a second call changes the settings.
    ///
    /// - Parameters:
    ///   - grace: Seconds that a thread may go on after its run was to end.
    ///   - logger: Where it is told.
    public static func watch(grace: Double, logger: Logger) {
        state.withLock { $0.isWatched = true }
        LuaWatchdog.onWedge(after: grace) { wedge in changed(wedge, logger) }
    }

    /// The same with five seconds, unless somebody watches already.
    static func watchUnlessWatched(logger: Logger) {
        if !state.withLock({ $0.isWatched }) { watch(grace: 5, logger: logger) }
    }

    private static func changed(_ wedge: LuaWatchdog.Wedge, _ logger: Logger) {
        let (worker, listeners) = state.withLock { state in
            if wedge.isOver {
                let worker = state.wedged.removeValue(forKey: wedge.thread)
                return (worker, state.listeners)
            }
            let worker = PaniniWedgedWorker(
                thread: wedge.thread,
                threadName: wedge.threadName,
                service: wedge.label,
                seconds: wedge.seconds
            )
            state.wedged[wedge.thread] = worker
            state.total += 1
            return (worker, state.listeners)
        }
        guard let worker else { return }
        if wedge.isOver {
            logger.warning("worker \(worker.threadName) has come back after \(rounded(wedge.seconds)) s")
        } else {
            logger.error(
                """
                worker \(worker.threadName) is stuck: a script of \(worker.service) has held it for \
                \(rounded(worker.seconds)) s and cannot be ended
                """
            )
        }
        for listener in listeners { listener.call(worker, !wedge.isOver) }
    }

    private static func rounded(_ seconds: Double) -> Double { (seconds * 10).rounded() / 10 }
}
