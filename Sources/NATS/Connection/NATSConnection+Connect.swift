// Owns: the ways into and out of a TCP connection: attempts over the server list, the handshake under one deadline, what is
// restored after it, keep-alive pings, and what a loss means. The machine decides, this carries out. Loop-bound.

import Glibc
import Logging
import LoopTools
import NATSProtocol
package import NIOCore
import NIOPosix

extension NATSConnection {
    /// Connects for the first time: TCP, INFO, CONNECT and PING, PONG, all under `connectTimeout` per server.
    ///
    /// - Returns: succeeds with the connection up. Fails with a `NATSError` and closes when no server could be used;
    ///   with `retryOnFailedConnect` it goes on trying instead, except after an authorization failure.
    package func connect() -> EventLoopFuture<Void> {
        eventLoop.assertInEventLoop()
        if let connectPromise { return connectPromise.futureResult }
        switch state {
        case .idle: break
        case .closed: return eventLoop.makeFailedFuture(NATSError.closed)
        case .connecting, .connected, .reconnecting, .draining: return eventLoop.makeSucceededVoidFuture()
        }
        let promise = eventLoop.makePromise(of: Void.self)
        guard !configuration.servers.isEmpty else {
            promise.fail(NATSError(.invalidAddress, "no server is configured"))
            return promise.futureResult
        }
        do throws(NATSError) {
            try NATSConnectionConfiguration.requireOneTransport(configuration.servers)
            try configuration.checkInboxPrefix()
        } catch {
            promise.fail(error)
            return promise.futureResult
        }
        connectPromise = promise
        carryOut(machine.connect())
        return promise.futureResult
    }

    /// Connects to nothing: the channel handler goes to whoever drives it by hand. For measurements and tests.
    package func useTransportForMeasurement(_ body: @escaping (any ChannelHandler) -> Void) {
        connector = { [eventLoop] _, handler in
            body(handler)
            return eventLoop.makeSucceededVoidFuture()
        }
    }

    // MARK: - Attempts

    /// Begins the handshake with `address`, on a TCP connection beside the one that may be up.
    func open(_ address: NATSServerAddress, _ epoch: Int) {
        timer.schedule(.attemptTimedOut(epoch), at: eventLoop.now + configuration.connectTimeout)
        var limits = NATSOperationParser.Limits()
        limits.message = configuration.maxInboundMessageBytes
        limits.controlLine = max(limits.controlLine, 2 * configuration.maxControlLineBytes)
        let handler = NATSChannelHandler(connection: self, address: address, limits: limits)
        handshaking = handler
        let opened = prepareCredentials(for: address).assumeIsolated().flatMap { credentials -> EventLoopFuture<Void> in
            guard epoch == self.epoch, self.handshaking === handler else {
                return self.eventLoop.makeFailedFuture(NATSError.closed)
            }
            handler.credentials = credentials
            return self.connector.map { $0(address, handler) } ?? self.openSocket(address, handler)
        }
        opened.whenComplete { result in
            guard epoch == self.epoch, self.handshaking === handler else {
                handler.detach()
                return
            }
            if case .failure(let error) = result {
                // Credentials that cannot be read, or a TLS setting that cannot be used, say so themselves.
                if let error = error as? NATSError { return self.attemptFailed(error) }
                self.attemptFailed(
                    NATSError(.connectFailed, "cannot connect to \(address): \(Self.reason(error))")
                )
            }
        }
    }

    /// What a person wants to read of an error from the socket.
    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return reason(first.error) }
            if error.dnsAError != nil || error.dnsAAAAError != nil { return "the host name is not known" }
            return "no address answered"
        // Its own description says "connection reset" for whatever went wrong.
        case let error as IOError: return String(cString: strerror(error.errnoCode))
        default: return "\(error)"
        }
    }

    func attemptTimedOut(_ epoch: Int) {
        guard machine.isAttempting(epoch), let handler = handshaking else { return }
        let isOpen = (handler.context?.channel ?? handler.socket)?.isActive ?? false
        let what =
            handler.credentials.isPending
            ? "getting the credentials (\(configuration.authentication)) for the connection"
            : isOpen ? "the handshake" : "the TCP connection"
        attemptFailed(
            NATSError(
                .connectTimeout,
                "\(what) with \(handler.address) took longer than \(configuration.connectTimeout.nanoseconds / 1_000_000) ms"
            )
        )
    }

    private func attemptFailed(_ error: NATSError) {
        var random = SystemRandomNumberGenerator()
        carryOut(machine.attemptFailed(error, at: eventLoop.now, using: &random))
    }

    /// Closes the TCP connection whose handshake is going on, if there is one.
    func detachAttempt() {
        let handler = handshaking
        handshaking = nil
        // Last, because closing a socket that is still connecting fails its future at once.
        handler?.detach()
    }

    func announceRetry(_ attempt: Int, _ error: NATSError, _ pause: TimeAmount) {
        logger.debug(
            "cannot connect to NATS, trying again",
            metadata: [
                "error": "\(error.message)", "attempt": "\(attempt)",
                "next": "\(pool.current.map { "\($0)" } ?? "")", "wait_ms": "\(pause.nanoseconds / 1_000_000)",
            ]
        )
        emit(.retryingConnect(attempt: attempt, error: error))
    }

    // MARK: - Handshake

    func perform(_ action: HandshakeMachine.Action, _ handler: NATSChannelHandler) {
        switch action {
        case .nothing: break
        case .sendPong:
            guard mayAnswerPing(handler) else { return }
            var buffer = ByteBuffer()
            NATSEncoder.pong(into: &buffer)
            send(buffer, over: handler)
        case .sendConnect:
            let options: NATSConnectOptions
            do throws(NATSError) {
                options = try connectOptions(for: handler)
            } catch {
                return attemptFailed(error)
            }
            var buffer = ByteBuffer()
            NATSEncoder.connect(options, into: &buffer)
            NATSEncoder.ping(into: &buffer)
            statistics.bytesOut += UInt64(buffer.readableBytes)
            statistics.writes += 1
            handler.write(buffer)
        case .startTLS: startTLS(handler)
        case .complete:
            established(handler)
        case .fail(let failure):
            attemptFailed(Self.error(of: failure, handler))
        }
    }

    private static func error(of failure: HandshakeMachine.Failure, _ handler: NATSChannelHandler) -> NATSError {
        switch failure {
        case .tlsUnavailable:
            NATSError(
                .tlsFailed,
                """
                the server does not offer TLS, which \(handler.address.scheme == .tls ? "tls:// asks" : "the TLS settings ask") \
                for: turn TLS on at the server, or connect in the clear with nats:// and without any TLS setting
                """
            )
        case .unexpected(let what): NATSError(.protocolViolation, "the server sent \(what)")
        case .refused(let text):
            switch NATSServerFault(text) {
            case .authorization: handler.credentials.refused(text)
            case .publishViolation, .replyViolation, .subscriptionViolation, .staleConnection, .tooManyConnections,
                .slowConsumer, .other:
                NATSError(.serverError, "the server refused the connection: \(text)")
            }
        }
    }

    /// The handshake is done.
    private func established(_ handler: NATSChannelHandler) {
        // What was meant for the server in use goes there, whole. The write may show that its connection is lost.
        writeOutbound()
        guard handler === handshaking else { return }
        let server = ConnectionMachine.Server(id: handler.info.serverID, isLeaving: handler.info.lameDuckMode)
        carryOut(machine.established(server, at: eventLoop.now))
    }

    /// Uses the TCP connection whose handshake is done.
    func adoptLink() {
        guard let handler = handshaking else { return }
        handshaking = nil
        link = handler
        adopt(handler.info)
        dropUnsendable()
    }

    /// Everything the server must know again goes out first, then what was published meanwhile.
    func restore() {
        guard let link else { return }
        link.tellUnwritten()
        if let channel = link.socket ?? link.context?.channel { linkCut.connected(channel) }
        outboundLimit = configuration.maxPendingOutboundBytes
        restoreSubscriptions()
        scheduleFlush()
    }

    func announceConnection(isFirst: Bool) {
        let info = serverInfo ?? NATSServerInfo()
        logger.debug(
            isFirst ? "connected to NATS" : "reconnected to NATS",
            metadata: ["server": "\(link.map { "\($0.address)" } ?? "")", "version": "\(info.version)"]
        )
        let promise = connectPromise
        connectPromise = nil
        if isFirst {
            emit(.connected(info))
        } else {
            statistics.reconnects += 1
            emit(.reconnected(info))
        }
        promise?.succeed(())
    }

    /// Puts SUB for every live subscription, the rest of its maximum, and the inbox in front of the buffered frames.
    private func restoreSubscriptions() {
        var buffer = ByteBuffer()
        for subscription in subscriptions.sorted() where subscription.phase == .active {
            NATSEncoder.subscribe(
                subject: subscription.subject,
                queue: subscription.queue,
                sid: subscription.sid,
                into: &buffer
            )
            if let maximum = subscription.maximum {
                NATSEncoder.unsubscribe(
                    sid: subscription.sid,
                    maximum: maximum - subscription.delivered,
                    into: &buffer
                )
            }
        }
        if inbox.isOpen {
            NATSEncoder.subscribe(subject: inbox.pattern, queue: nil, sid: inbox.sid, into: &buffer)
        }
        if backlog.isEmpty {
            buffer.writeBuffer(&outbound)
            outbound = buffer
        } else {
            backlog.prepend(buffer)
        }
    }

    // MARK: - Loss

    /// `handler`'s TCP connection is of no use any more.
    func linkLost(_ handler: NATSChannelHandler, error: NATSError) {
        if handler === handshaking {
            attemptFailed(error)
        } else if handler === link {
            carryOut(machine.linkLost(error, at: eventLoop.now))
        } else {
            if handler === oldLink?.handler { carryOut(machine.oldLinkLost()) }
            handler.detach()
        }
    }

    /// Closes the connection in use; what has not left goes to the next one, or is given up.
    func dropLink(_ error: NATSError, keepsPublishes: Bool) {
        guard let handler = link else { return }
        link = nil
        linkCut.disconnected()
        closeOldLink()
        let unsent = takeUnwritten(&unwritten, of: handler)
        handler.detach()
        flushing.isInBurst = false
        logger.debug("lost the connection to NATS", metadata: ["error": "\(error.message)"])
        gate.reset()
        if keepsPublishes {
            outboundLimit = max(0, configuration.reconnectBufferBytes)
            keepPublishes(unsent)
        } else {
            giveUp(unsent, error)
        }
    }

    /// Gives up the TCP connection that is there, or that is being made, and makes a new one at once; also ends the wait
    /// for the next attempt. What failed before does not count any more: when this attempt fails, too, which
    /// `retryingConnect` tells, the waits begin anew with the shortest. What it means for subscriptions, requests and
    /// publishes is the same as with any loss. Does nothing before the first `connect`, while draining, and after `close`.
    package func reconnect() {
        eventLoop.assertInEventLoop()
        carryOut(machine.reconnect())
    }

    // MARK: - Keep-alive

    func pingTick(_ epoch: Int) {
        guard machine.isUsing(epoch), let link else { return }
        // The PONG may lie among what waits here.
        let isExplained = gate.explainsSilence(bytesOut: statistics.bytesOut) || link.waitsForTurn
        carryOut(machine.pingDue(epoch, isExplained: isExplained, at: eventLoop.now))
    }

    @discardableResult
    func sendPing(_ waiter: PongWaiter) -> Int {
        NATSEncoder.ping(into: &outbound)
        scheduleFlush()
        return pongs.append(waiter)
    }
}
