// Owns: what the broker refuses and what cannot be answered, counted, and told once per episode: whoever publishes to a
// service can cause as much of it as he likes. Loop-bound; the state is a value.

import Bytes
import Logging
import NATS
import NATSProtocol
import ScriptRuntime

/// Faults of the conversation with the broker.
struct BrokerFaults {
    enum Kind: Int, CaseIterable {
        /// An -ERR that has no meaning of its own.
        case error
        /// A publish that the broker denied.
        case deniedPublish
        /// The broker calls the service too slow.
        case slow
        /// A reply that could not be sent.
        case unsentReply
        /// The broker tells of servers that were not known.
        case newServers
        /// It tells of servers that are not taken in.
        case ignoredServers
        /// It says that it is about to shut down.
        case lameDuck

        var rest: StaticString {
            switch self {
            case .error: "more errors that the broker reported"
            case .deniedPublish: "more publishes that the broker denied"
            case .slow: "more times that the broker called this service too slow"
            case .unsentReply: "more replies that were not sent"
            case .newServers: "more times that the broker told of new servers"
            case .ignoredServers: "more times that servers of the broker were left out"
            case .lameDuck: "more times that the broker said that it is about to shut down"
            }
        }
    }

    private var episodes = [LogEpisode](repeating: LogEpisode(), count: Kind.allCases.count)
    private var counts = [UInt64](repeating: 0, count: Kind.allCases.count)
    /// When the log last said that there is no connection, and why; nil while there is one.
    private var lastAttempt: (at: UInt64, code: NATSError.Code)?
    /// The log says at once that there is no connection, and then at most this often, in nanoseconds.
    private static let attemptInterval: UInt64 = 30_000_000_000

    /// How many of a kind there were since the start.
    func count(_ kind: Kind) -> UInt64 { counts[kind.rawValue] }

    var isOpen: Bool { episodes.contains(where: \.isOpen) }

    mutating func note(_ kind: Kind, at now: UInt64) -> Bool {
        counts[kind.rawValue] &+= 1
        return episodes[kind.rawValue].note(at: now)
    }

    mutating func settle(_ kind: Kind, at now: UInt64) -> Int? { episodes[kind.rawValue].settle(at: now) }

    /// There is a connection.
    mutating func connected() { lastAttempt = nil }

    /// An attempt to connect has failed.
    ///
    /// - Returns: Whether the log is to say so: it does not say the same again and again.
    mutating func isNews(_ code: NATSError.Code, at now: UInt64) -> Bool {
        if let last = lastAttempt, last.code == code, now &- last.at < Self.attemptInterval { return false }
        lastAttempt = (now, code)
        return true
    }
}

extension Service {
    /// What the connection tells of what the broker, or the service, does wrong.
    func noteFault(_ event: NATSEvent) {
        switch event {
        case .publishViolation(let subject, let text):
            fault(.deniedPublish, .error, "the broker denied a publish to \(subject): \(text)")
        case .slowConsumer(let text): fault(.slow, .error, "the broker calls this service too slow: \(text)")
        case .messageSkipped(let subject, let limit):
            fault(
                .error,
                .warning,
                "a message on \(subject.beginning(256)) is larger than \(limit) bytes and was passed over"
            )
        case .lameDuck: fault(.lameDuck, .warning, "the broker is about to shut down")
        case .discoveredServers(let servers): fault(.newServers, .info, Self.told(servers))
        case .serversIgnored(let count):
            fault(
                .ignoredServers,
                .warning,
                "the broker tells of too many servers, or of some that are no addresses: \(count) are left out"
            )
        case .serverError(let text): fault(.error, .warning, "the broker reported an error: \(text)")
        default: break
        }
    }

    private static func told(_ servers: [String]) -> String {
        let more = servers.count > 10 ? " and \(servers.count - 10) others" : ""
        return "the cluster has more servers: \(servers.prefix(10).joined(separator: ", "))\(more)"
    }

    /// There is no connection yet, or none any more.
    func retrying(_ attempt: Int, _ error: NATSError) {
        let text =
            "no connection to the broker (attempt \(attempt)): \(oneLine(error.message)); trying again\(patience(error))"
        // Level debug has every attempt.
        logger.log(level: brokerFaults.isNews(error.code, at: worker.now) ? .warning : .debug, "\(text)")
    }

    /// Counts a fault, and logs it when it is the first of its episode.
    func fault(_ kind: BrokerFaults.Kind, _ level: Logger.Level, _ text: @autoclosure () -> String) {
        settleFaults(kind)
        if brokerFaults.note(kind, at: worker.now) { logger.log(level: level, "\(text())") }
        noteWork()
    }

    /// Says how many faults followed those that were logged, where an episode is over.
    func settleFaults() {
        guard brokerFaults.isOpen else { return }
        for kind in BrokerFaults.Kind.allCases { settleFaults(kind) }
    }

    private func settleFaults(_ kind: BrokerFaults.Kind) {
        guard let count = brokerFaults.settle(kind, at: worker.now) else { return }
        logger.warning("\(count) \(kind.rest)")
    }
}
