// Owns: the sends that wait until the broker takes more, and their counters. A value of a Service; loop-bound. The functions
// are in Service+SendBacklog.

import LoopTools
import NATS
import ScriptRuntime

/// The sends, and the messages not begun, that wait for a broker which is slower than the service.
struct SendBacklog {
    /// Publishes and requests, in the order of their calls.
    var sends = LinkedQueue<WaitingSend>()
    /// Listeners whose waiting messages are not begun, because their replies would be added to the backlog. Each comes with its
    /// script, which it does not keep alive.
    var pausedListeners: [(script: Script, listener: Listener)] = []
    /// Clients of bridges whose next command waits.
    var heldClients: [BridgeClient] = []
    var isScheduled = false
    /// What the log says of a broker that is slow, and when it is looked at again.
    var slowness = SlownessReport()
    var slownessAlarm: DeadlineHandle?

    // Counters.
    /// Publishes and requests that have had to wait.
    var waited: UInt64 = 0
    /// Replies, error replies among them, that no connection took.
    var lostReplies: UInt64 = 0
    /// The log knows that replies are lost; until there is a connection again.
    var isLossTold = false
}

/// When the log tells of a broker that is slower than the service: at once, then at most every so often for as long as it
/// lasts. It says that the broker has caught up only after it has said that it is slow. A value without a clock.
struct SlownessReport: Equatable {
    /// The least time between two lines, in nanoseconds.
    static let interval: UInt64 = 30_000_000_000

    /// When the last line was said.
    private var toldAt: UInt64?
    /// Since when the broker is slow; nil while it is not.
    private var since: UInt64?
    private var isTold = false

    /// The broker is slow from `now` on. Look with ``look(at:)``, now and at ``next``.
    mutating func begin(at now: UInt64) {
        since = now
    }

    /// When to look again; nil while there is nothing to tell.
    var next: UInt64? { since.flatMap { _ in toldAt.map { $0 &+ Self.interval } } }

    /// Looks whether there is something to say at `now`.
    ///
    /// - Returns: for how long the broker has been slow, in nanoseconds; nil when there is nothing to say.
    mutating func look(at now: UInt64) -> UInt64? {
        guard let since else { return nil }
        if let next, now < next { return nil }
        toldAt = now
        isTold = true
        return now - since
    }

    /// The broker has caught up.
    ///
    /// - Returns: whether that is to be told.
    mutating func end() -> Bool {
        defer { forget() }
        return isTold
    }

    /// The connection is gone, and with it what was slow.
    mutating func forget() {
        since = nil
        isTold = false
    }
}
