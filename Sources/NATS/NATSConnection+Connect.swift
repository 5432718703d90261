// Getting connected, and staying so: attempts over the server list, the handshake under one deadline, what is restored
// after it, keep-alive pings, and what a loss means.

import Glibc
import Logging
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
        state = .connecting
        startAttempt()
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

    private func startAttempt() {
        guard let address = pool.current else { return }
        open(address)
    }

    /// Begins the handshake with `address`, on a TCP connection beside the one that may be up.
    func open(_ address: NATSServerAddress) {
        epoch += 1
        let epoch = epoch
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
        guard epoch == self.epoch, let handler = handshaking else { return }
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
        let handler = handshaking
        handshaking = nil
        inBurst = false
        epoch += 1
        // Last, because closing a socket that is still connecting fails its future at once.
        handler?.detach()
        if link != nil { return moveFailed(error) }
        lastError = error
        if error.code == .invalidCredentials || error.code == .tlsFailed, !hasBeenConnected {
            // Later, a file or certificate may be about to be replaced.
            close(error: error)
            return
        }
        if error.code == .authorization {
            // Wrong credentials do not become right by waiting: at the first connection the caller must know. Later
            // they were right once, and somebody may be about to exchange them, here or at the server.
            statistics.refusedCredentials += 1
            if !hasBeenConnected || isRefusedForTooLong() {
                close(error: error)
                return
            }
        } else {
            // When it can be reached again, it may have been given other passwords.
            pool.authorizationDidNotFail()
        }
        let decision = pool.failed(using: &random)
        if !hasBeenConnected, !configuration.retryOnFailedConnect, pool.laps >= 1 {
            close(error: error)
            return
        }
        follow(decision, after: error)
    }

    /// Notes that the current server refused the credentials; whether it has done so for longer than is tolerated.
    private func isRefusedForTooLong() -> Bool {
        let refusedFor = pool.authorizationFailed(at: eventLoop.now)
        return refusedFor >= configuration.authenticationRetryTime && !configuration.ignoresAuthenticationErrors
    }

    /// For how long the server that is next may go on refusing the credentials: the last attempt comes when that is over.
    private var refusalTimeLeft: TimeAmount? {
        guard !configuration.ignoresAuthenticationErrors else { return nil }
        return pool.authorizationTimeLeft(of: configuration.authenticationRetryTime, at: eventLoop.now)
    }

    private func follow(_ decision: ServerPool.Decision, after error: NATSError) {
        switch decision {
        case .giveUp:
            let tries = configuration.maxReconnectAttempts
            close(
                error: NATSError(.reconnectsExhausted, "gave up after \(tries) attempts; last error: \(error.message)")
            )
        case .connect(let pause):
            let delay = min(pause, refusalTimeLeft ?? pause)
            if pool.failures > 0 {
                logger.debug(
                    "cannot connect to NATS, trying again",
                    metadata: [
                        "error": "\(error.message)", "attempt": "\(pool.failures)",
                        "next": "\(pool.current.map { "\($0)" } ?? "")", "wait_ms": "\(delay.nanoseconds / 1_000_000)",
                    ]
                )
                emit(.retryingConnect(attempt: pool.failures, error: error))
                // The delegate may have closed.
                guard state != .closed else { return }
            }
            timer.schedule(.retry(epoch), at: eventLoop.now + delay)
        }
    }

    func retry(_ epoch: Int) {
        guard epoch == self.epoch, state != .closed, link == nil, handshaking == nil else { return }
        startAttempt()
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

    /// The handshake is done: everything the server must know again goes out first, then what was published meanwhile.
    private func established(_ handler: NATSChannelHandler) {
        handshaking = nil
        if link != nil, !switchLink(to: handler) { return }
        link = handler
        linkEpoch = epoch
        handler.establishedAt = eventLoop.now
        pool.succeeded()
        adopt(handler.info)
        dropUnsendable()
        guard link === handler else { return }
        handler.tellUnwritten()
        if let channel = handler.socket ?? handler.context?.channel { linkCut.connected(channel) }
        outstandingPings = 0
        outboundLimit = configuration.maxPendingOutboundBytes
        state = .connected
        restore()
        timer.schedule(.ping(epoch), at: eventLoop.now + configuration.pingInterval)
        scheduleFlush()
        let info = serverInfo ?? NATSServerInfo()
        logger.debug(
            hasBeenConnected ? "reconnected to NATS" : "connected to NATS",
            metadata: ["server": "\(handler.address)", "version": "\(info.version)"]
        )
        let promise = connectPromise
        connectPromise = nil
        if hasBeenConnected {
            statistics.reconnects += 1
            emit(.reconnected(info))
        } else {
            hasBeenConnected = true
            emit(.connected(info))
        }
        promise?.succeed(())
        guard link === handler else { return }
        clusterChanged(handler.info)
        moved(handler)
    }

    /// Puts SUB for every live subscription, the rest of its maximum, and the inbox in front of the buffered frames.
    private func restore() {
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
        if inboxSID != 0 {
            NATSEncoder.subscribe(subject: inboxSubject, queue: nil, sid: inboxSID, into: &buffer)
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
        linkLost(handler, error: error, lived: eventLoop.now - (handler.establishedAt ?? eventLoop.now))
    }

    /// - Parameter lived: how long the connection was of use, nil when that says nothing of the server: the next attempt
    ///   then comes at once.
    private func linkLost(_ handler: NATSChannelHandler, error: NATSError, lived: TimeAmount?) {
        if handler === handshaking {
            attemptFailed(error)
            return
        }
        guard handler === link else {
            if handler === move?.left {
                stopMoving()
                scheduleFlush()
                endBurst()
            }
            handler.detach()
            return
        }
        handshaking?.detach()
        handshaking = nil
        link = nil
        linkCut.disconnected()
        stopMoving()
        let unsent = takeUnwritten(&unwritten, of: handler)
        handler.detach()
        inBurst = false
        epoch += 1
        lastError = error
        logger.debug("lost the connection to NATS", metadata: ["error": "\(error.message)"])
        let mayReconnect = configuration.reconnect && state == .connected
        gate.reset()
        // Set before anybody is told, because those who are told may publish or request again.
        if mayReconnect {
            state = .reconnecting
            outboundLimit = max(0, configuration.reconnectBufferBytes)
            keepPublishes(unsent)
        } else {
            giveUp(unsent, error)
        }
        failWaiters(
            pongs: NATSError(.disconnected, error.message),
            requests: .disconnected
        )
        guard state != .closed else { return }
        emit(.disconnected(error))
        guard state != .closed else { return }
        if error.code == .authorization {
            statistics.refusedCredentials += 1
            if mayReconnect, isRefusedForTooLong() {
                close(error: error)
                return
            }
        }
        guard mayReconnect else {
            close(error: error)
            return
        }
        follow(pool.disconnected(lived: lived, using: &random), after: error)
    }

    /// Gives up the TCP connection that is there, or that is being made, and makes a new one at once; also ends the wait
    /// for the next attempt. What failed before does not count any more: when this attempt fails, too, which
    /// `retryingConnect` tells, the waits begin anew with the shortest. What it means for subscriptions, requests and
    /// publishes is the same as with any loss. Does nothing before the first `connect`, while draining, and after `close`.
    package func reconnect() {
        eventLoop.assertInEventLoop()
        switch state {
        case .connected:
            guard let link else { return }
            linkLost(link, error: NATSError(.disconnected, "a new connection was asked for"), lived: nil)
        case .reconnecting, .connecting:
            let abandoned = handshaking
            handshaking = nil
            inBurst = false
            pool.restart()
            startAttempt()
            // Last, because closing a socket that is still connecting fails its future at once.
            abandoned?.detach()
        case .idle, .draining, .closed: break
        }
    }

    // MARK: - Keep-alive

    func pingTick(_ epoch: Int) {
        guard epoch == linkEpoch, let link else { return }
        // The PONG may lie among what waits here.
        if gate.explainsSilence(bytesOut: statistics.bytesOut) || link.waitsForTurn {
            timer.schedule(.ping(epoch), at: eventLoop.now + configuration.pingInterval)
            return
        }
        outstandingPings += 1
        if outstandingPings > configuration.maxPingsOutstanding {
            linkLost(
                link,
                error: NATSError(.staleConnection, "\(configuration.maxPingsOutstanding) pings stayed unanswered")
            )
            return
        }
        unwritten.forgetWritten()
        sendPing(.none)
        timer.schedule(.ping(epoch), at: eventLoop.now + configuration.pingInterval)
    }

    @discardableResult
    func sendPing(_ waiter: PongWaiter) -> Int {
        NATSEncoder.ping(into: &outbound)
        scheduleFlush()
        return pongs.append(waiter)
    }
}
