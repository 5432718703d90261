// Owns: how long a stop of the host may take, for whoever waits for it from outside. Any thread, behind a lock.

import Synchronization

/// The time of a stop.
final class StopAllowance: Sendable {
    private let longest = Mutex<Double?>(nil)

    /// A service has this `shutdown_timeout`, in seconds.
    func note(_ seconds: Double) { longest.withLock { $0 = max($0 ?? 0, seconds) } }

    /// The longest of all; nothing is waited for before one is known.
    var shutdownTimeout: Double { longest.withLock { $0 ?? 0 } }
}
