// Which server to try next, and when. A value without clock and without randomness of its own, so tests see every
// decision.

import NIOCore

/// Walks the list of servers: one after the other without a wait, then a wait after each full round, growing from round
/// to round up to a maximum.
struct ReconnectSchedule {
    struct Settings: Equatable {
        var serverCount: Int
        /// Rounds over all servers; negative without limit.
        var maximumRounds: Int
        var wait: TimeAmount
        var maximumWait: TimeAmount
        var jitter: TimeAmount
    }

    enum Decision: Equatable {
        case connect(server: Int, after: TimeAmount)
        case giveUp
    }

    private var settings: Settings
    private(set) var server = 0
    /// How many servers failed since the last success.
    private(set) var failures = 0

    init(_ settings: Settings) {
        self.settings = settings
    }

    /// How many full rounds have failed.
    var rounds: Int { failures / settings.serverCount }

    /// A try failed.
    ///
    /// - Parameter random: from 0 up to 1, decides the jitter.
    mutating func failed(random: Double) -> Decision {
        failures += 1
        server = (server + 1) % settings.serverCount
        guard failures % settings.serverCount == 0 else {
            return .connect(server: server, after: .zero)
        }
        if settings.maximumRounds >= 0, rounds >= settings.maximumRounds { return .giveUp }
        return .connect(server: server, after: wait(round: rounds, random: random))
    }

    /// An established connection was lost. The first try comes at once, unless the connection had hardly lived: a
    /// server that accepts and drops clients at once must not be hammered.
    mutating func disconnected(lived: TimeAmount, random: Double) -> Decision {
        if settings.maximumRounds == 0 { return .giveUp }
        let isShort = lived < settings.wait
        server = isShort ? (server + 1) % settings.serverCount : server
        return .connect(server: server, after: isShort ? wait(round: 1, random: random) : .zero)
    }

    /// A handshake succeeded: what failed before is forgotten.
    mutating func succeeded() {
        failures = 0
    }

    private func wait(round: Int, random: Double) -> TimeAmount {
        let doublings = min(max(round - 1, 0), 16)
        let (product, overflow) = settings.wait.nanoseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let grown = overflow ? settings.maximumWait.nanoseconds : product
        let bounded = max(settings.wait.nanoseconds, min(grown, settings.maximumWait.nanoseconds))
        return .nanoseconds(bounded + Int64(Double(settings.jitter.nanoseconds) * random))
    }
}
