// Owns: telling of connections that the web server has ended for what their clients cost, once per episode: clients can cause as
// many as they like. Loop-bound; the state is a value.

import Glibc
import Logging
import LoopTools
import NATS
import NATSProtocol
import PaniniHTTP
import ScriptRuntime

/// Episodes of connections that were ended.
struct WebFaults {
    enum Kind: Int, CaseIterable {
        /// All web servers together held too much.
        case memory
        /// One connection held too much.
        case connection
        /// A client flooded one of HTTP/2.
        case flood
        /// The descriptors for clients are taken.
        case descriptors
        /// Nothing could be accepted.
        case accept

        var rest: StaticString {
            switch self {
            case .memory: "more connections were closed because the web server held too much"
            case .connection: "more connections were closed because each of them held too much"
            case .flood: "more connections were closed because their clients flooded them"
            case .descriptors: "more connections or files were refused for want of descriptors"
            case .accept: "more attempts to accept a connection failed"
            }
        }
    }

    private var episodes = [LogEpisode](repeating: LogEpisode(), count: Kind.allCases.count)

    var isOpen: Bool { episodes.contains(where: \.isOpen) }

    mutating func note(_ kind: Kind, at now: UInt64) -> Bool { episodes[kind.rawValue].note(at: now) }

    mutating func settle(_ kind: Kind, at now: UInt64) -> Int? { episodes[kind.rawValue].settle(at: now) }
}

extension Service {
    /// Logs the first connection of an episode; the server counts them.
    func shed(_ shedding: HTTPShedding) {
        let held = Self.megabytes(shedding.bytes)
        switch shedding.reason {
        case .memory(let limit):
            webFault(
                .memory,
                """
                the web server holds more than web_memory allows (\(Self.megabytes(limit))): the connections that hold most \
                are closed, first that of \(shedding.remoteAddress) with \(held)
                """
            )
        case .connection(let limit):
            webFault(
                .connection,
                """
                the connection of \(shedding.remoteAddress) was closed: the web server held \(held) for it, more than \
                web_connection_memory allows (\(Self.megabytes(limit)))
                """
            )
        case .flood:
            webFault(
                .flood,
                """
                the connection of \(shedding.remoteAddress) was closed: its client sent too many frames of HTTP/2 that ask for \
                nothing (resets, pings, settings, empty pieces, requests that break the rules)
                """
            )
        }
    }

    /// Logs the first of an episode in which descriptors are missing.
    func ranShort(_ shortage: HTTPShortage) {
        switch shortage {
        case .descriptors(let limit, let reserve):
            webFault(
                .descriptors,
                """
                the web server closed a new connection: of the \(limit) files that the program may have open, all but the \
                \(reserve) that it keeps for itself are in use; a higher limit (ulimit -n) takes more clients
                """
            )
        case .accept(let code):
            webFault(
                .accept,
                "the web server cannot accept connections: \(String(cString: strerror(code))); it tries again 10 times a second"
            )
        }
    }

    /// The same for a file that a response was to send.
    func ranShortOfFiles() {
        let limit = DescriptorLimit.current
        webFault(
            .descriptors,
            """
            a file was not sent: of the \(limit.all) files that the program may have open, all but the \(limit.reserve) that \
            it keeps for itself are in use; a higher limit (ulimit -n) takes more clients
            """
        )
    }

    private func webFault(_ kind: WebFaults.Kind, _ text: @autoclosure () -> String) {
        settleWebFaults(kind)
        if web.faults.note(kind, at: worker.now) { logger.warning("\(text())") }
        noteWork()
    }

    /// Says how many connections followed those that were logged, where an episode is over.
    func settleWebFaults() {
        guard web.faults.isOpen else { return }
        for kind in WebFaults.Kind.allCases { settleWebFaults(kind) }
    }

    private func settleWebFaults(_ kind: WebFaults.Kind) {
        guard let count = web.faults.settle(kind, at: worker.now) else { return }
        logger.warning("\(count) \(kind.rest)")
    }

    private static func megabytes(_ bytes: Int) -> String {
        bytes < 10 << 20 ? "\(bytes >> 10) kB" : "\(bytes >> 20) MB"
    }
}
