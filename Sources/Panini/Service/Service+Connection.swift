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
        case .connected:
            lifecycle.connected()
            brokerFaults.connected()
            logger.debug("connected to the broker")
        case .disconnected(let error):
            forgetSlowness()
            scheduleGoingOn()
            guard !lifecycle.isStopping, !lifecycle.isStopped else { return }
            logger.warning("the connection to the broker is lost\(error.map { ": \(oneLine($0.message))" } ?? "")")
        case .reconnected:
            brokerFaults.connected()
            logger.info("connected to the broker again")
            repliesGoOn()
            directory?.reconnected()
            perform(lifecycle.reconnected())
        case .retryingConnect(let attempt, let error): retrying(attempt, error)
        case .publishingEnds: break  // A drain of our own has come to its last step.
        case .closed(let error):
            forgetSlowness()
            scheduleGoingOn()
            connectionClosed(error)
        case .publishViolation(let subject, let text):
            fault(.deniedPublish, .error, "the broker denied a publish to \(subject): \(text)")
        case .subscriptionViolation: break  // Told to the listener's subject.
        case .publishesLost(let count, let error):
            logger.error("\(count) publishes are lost: \(oneLine(error.message))")
        case .slowConsumer(let text): fault(.slow, .error, "the broker calls this service too slow: \(text)")
        case .subscriptionTooSlow: break  // Only streams of NATSClient have buffers.
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
        }
    }

    private static func told(_ servers: [String]) -> String {
        let more = servers.count > 10 ? " and \(servers.count - 10) others" : ""
        return "the cluster has more servers: \(servers.prefix(10).joined(separator: ", "))\(more)"
    }

    private func retrying(_ attempt: Int, _ error: NATSError) {
        // Whatever retry_on_start says: a start with wrong credentials ends at once.
        if lifecycle.isStarting, !lifecycle.hasConnected, Self.isFinal(error) {
            return perform(lifecycle.connectionRefused(connectError(error)))
        }
        let text =
            "no connection to the broker (attempt \(attempt)): \(oneLine(error.message)); trying again\(patience(error))"
        // Level debug has every attempt.
        logger.log(level: brokerFaults.isNews(error.code, at: worker.now) ? .warning : .debug, "\(text)")
    }

    /// For how long attempts go on when the broker refuses credentials that it took before.
    private func patience(_ error: NATSError) -> String {
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

/// The text on one line: what TLS libraries and servers say may have several.
package func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).joined(separator: " ")
}
