// Owns: how a service's options become a connection, and what the connection's events mean to the service and its log.
// Loop-bound. No text here carries credentials.

import Bytes
import Logging
import NATS
import NATSProtocol
import NIOCore
import ScriptRuntime

extension Service {
    static func configuration(
        _ options: AppOptions,
        clientName: String,
        isPatient: Bool
    ) throws(PaniniError) -> NATSConnectionConfiguration {
        let servers = options.servers.isEmpty ? ["nats://\(options.address)"] : options.servers
        var configuration: NATSConnectionConfiguration
        do throws(NATSError) {
            configuration = try NATSConnectionConfiguration(servers: servers)
        } catch {
            let text = servers.reduce(error.message) { hidingCredentials(of: $1, in: $0) }
            throw PaniniError(code: .invalidOption, message: "\(options.serviceName): \(text)")
        }
        configuration.authentication = options.authentication
        configuration.tls = options.tls
        configuration.name = clientName
        configuration.connectTimeout = .nanoseconds(nanoseconds(options.connectTimeout))
        configuration.reconnect = options.reconnect
        configuration.maxReconnectAttempts = options.maxReconnectAttempts
        configuration.reconnectWait = .nanoseconds(nanoseconds(options.reconnectWait))
        configuration.reconnectWaitMaximum = max(.seconds(8), configuration.reconnectWait)
        configuration.retryOnFailedConnect = options.retryOnStart || isPatient
        configuration.authenticationRetryTime = .nanoseconds(nanoseconds(options.authRetry))
        configuration.maxControlLineBytes = options.maxControlLine
        configuration.pingInterval = .nanoseconds(nanoseconds(options.pingInterval))
        configuration.maxPendingRequests = 1 << 20
        configuration.maxPendingOutboundBytes = options.unsentBytesLimit
        return configuration
    }

    // MARK: - Errors

    /// Why there is no connection, as one line with what to do about it.
    func connectError(_ error: any Error) -> PaniniError {
        let servers = options.shownServers
        guard let error = error as? NATSError else {
            return PaniniError(
                code: .brokerUnreachable,
                message: "\(options.serviceName): no broker at \(servers): \(error)"
            )
        }
        let reason = oneLine(error.message)
        guard Self.isFinal(error) else {
            return PaniniError(
                code: .brokerUnreachable,
                message: """
                    \(options.serviceName): no broker at \(servers): \(reason); start one \
                    (nats-server, or panini broker) or name another with --server
                    """
            )
        }
        let isAnonymous =
            options.authentication.isNone
            && options.servers.allSatisfy { withoutCredentials($0) == $0 }
        let hint = isAnonymous ? "; they are given as auth, PANINI_AUTH_... or in the address" : ""
        let message =
            switch error.code {
            case .authorization: "no access to \(servers): \(reason)\(hint)"
            case .tlsFailed: "no access to \(servers): \(reason)"
            default: reason
            }
        return PaniniError(code: .brokerRefused, message: "\(options.serviceName): \(message)")
    }

    /// Whether waiting cannot help at the first connection: credentials or TLS settings are wrong.
    private static func isFinal(_ error: NATSError) -> Bool {
        [.authorization, .tlsFailed, .invalidCredentials].contains(error.code)
    }

    // MARK: - Events

    func connectionEvent(_ event: NATSEvent) {
        switch event {
        case .disconnected(let error):
            if !lifecycle.isStopping, !lifecycle.isStopped {
                settleLosses()
                if losses.lost(at: worker.now) {
                    logger.warning(
                        "the connection to the broker is lost\(error.map { ": \(oneLine($0.message))" } ?? "")"
                    )
                }
                noteWork()
            }
        case .reconnected: if losses.isSaid { logger.info("connected to the broker again") }
        // Whatever retry_on_start says: a start with wrong credentials ends at once.
        case .retryingConnect(_, let error)
        where lifecycle.isStarting && !lifecycle.hasConnected && Self.isFinal(error):
            return perform(lifecycle.connectionRefused(connectError(error)))
        default: break
        }
        for feature in features.all { feature.connectionEvent(event) }
        switch event {
        case .connected:
            lifecycle.connected()
            logger.debug("connected to the broker")
        case .reconnected: perform(lifecycle.reconnected())
        case .closed(let error): connectionClosed(error)
        default: break
        }
    }

    /// Says how often the connection was lost since the last line, where that is over.
    func settleLosses() {
        guard let count = losses.settle(at: worker.now) else { return }
        logger.warning("the connection to the broker was lost \(count) more \(count == 1 ? "time" : "times")")
    }

    /// For how long attempts go on when the broker refuses credentials that it took before.
    func patience(_ error: NATSError) -> String {
        error.code == .authorization ? " for up to \(formatted(options.authRetry)) s (auth_retry)" : ""
    }

    private func connectionClosed(_ error: NATSError?) {
        var reason = error.map { oneLine($0.message) } ?? "closed"
        if error?.code == .authorization, lifecycle.hasConnected {
            reason += "; it has refused the credentials for \(formatted(options.authRetry)) s (auth_retry)"
        }
        let failure =
            lifecycle.isStarting
            ? connectError(error ?? NATSError(.closed, reason))
            : PaniniError(
                code: .disconnected,
                message: "\(options.serviceName): the connection to the broker has ended for good: \(reason)"
            )
        perform(lifecycle.connectionEnded(failure))
    }
}

/// Which losses of the connection are logged: a broker that takes clients and drops them makes as many as it likes.
struct BrokerLosses {
    /// So many in a row are logged each: a broker that is restarted a few times.
    private static let usual = 5

    private var episode = LogEpisode()
    /// How many have followed each other without a pause.
    private var streak = 0
    private var lastAt: UInt64 = 0
    /// The last one was, and so its end is.
    private(set) var isSaid = true

    var isOpen: Bool { episode.isOpen }

    /// One more; call ``settle(at:)`` before.
    ///
    /// - Returns: Whether it is to be logged.
    mutating func lost(at now: UInt64) -> Bool {
        streak = streak == 0 || now &- lastAt > LogEpisode.quietTime ? 1 : streak + 1
        lastAt = now
        isSaid = streak <= Self.usual || episode.note(at: now)
        return isSaid
    }

    mutating func settle(at now: UInt64) -> Int? { episode.settle(at: now) }
}

/// The text on one line: what TLS libraries and servers say may have several.
package func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).joined(separator: " ")
}
