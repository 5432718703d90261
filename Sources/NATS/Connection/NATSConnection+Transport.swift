// Owns: the way of a connection's bytes to a server and back: TCP, and what lies between TCP and the NATS protocol (TLS,
// WebSocket). It adds the channel handlers. A plain connection pays for none of it. Loop-bound; may not know the protocol.

import NATSProtocol
import NIOCore
import NIOPosix
import NIOSSL

extension NATSConnection {
    /// Opens the connection to `address` with `handler` at its end.
    ///
    /// - Returns: fails with the socket's error, or with a `NATSError` that says more.
    func openSocket(_ address: NATSServerAddress, _ handler: NATSChannelHandler) -> EventLoopFuture<Void> {
        if address.scheme == .ws, configuration.tls.refusesPlain {
            let error = NATSError(
                .tlsFailed,
                "the TLS settings ask for TLS, which ws:// does not have: use wss:// for \(address), or leave them out"
            )
            return eventLoop.makeFailedFuture(error)
        }
        guard address.scheme == .wss || configuration.tls.isFirst && !address.scheme.isWebSocket else {
            return connect(address, handler, nil)
        }
        handler.isEncrypted = true
        return readTLSContext().assumeIsolated().flatMap { context -> EventLoopFuture<Void> in
            guard self.handshaking === handler else { return self.eventLoop.makeFailedFuture(NATSError.closed) }
            return self.connect(address, handler, context)
        }.nonisolated()
    }

    /// How much one read takes at most. What is read has to be decoded as a whole: over WebSocket a read is full of frames before
    /// anybody can say that others have their turn.
    private static func largestRead(_ address: NATSServerAddress) -> Int {
        address.scheme.isWebSocket ? 16384 : 262_144
    }

    /// How many reads follow each other before other connections have theirs.
    private static func mostReads(_ address: NATSServerAddress) -> UInt { address.scheme.isWebSocket ? 1 : 4 }

    private func connect(
        _ address: NATSServerAddress,
        _ handler: NATSChannelHandler,
        _ tls: NIOSSLContext?
    ) -> EventLoopFuture<Void> {
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        let upgraded = address.scheme.isWebSocket ? eventLoop.makePromise(of: Void.self) : nil
        let configuration = configuration
        let bootstrap = ClientBootstrap(group: eventLoop)
            // Only so that the socket does not live on for ever: the attempt's own deadline is the one that counts.
            .connectTimeout(configuration.connectTimeout + .seconds(5))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 4096, maximum: Self.largestRead(address))
            )
            .channelOption(.maxMessagesPerRead, value: Self.mostReads(address))
            .channelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        try pipeline.addHandler(Self.tlsHandler(tls, address, configuration.tls))
                    }
                    if let upgraded {
                        bound.value.socket = channel
                        let settings = WebSocketUpgrade.Settings(
                            maximumMessageBytes: configuration.maxInboundMessageBytes,
                            maximumOwedPongs: configuration.maxOwedPongs
                        )
                        let handler = bound.value
                        try WebSocketUpgrade.add(
                            to: pipeline,
                            address,
                            settings,
                            last: bound,
                            describe: { TransportFailure.error($0, handler) },
                            upgraded: upgraded
                        )
                    } else {
                        try pipeline.addHandler(bound.value)
                    }
                }
            }
        // A literal address needs no resolver, and so no hop to its thread.
        let channel: EventLoopFuture<any Channel>
        if let literal = try? SocketAddress(ipAddress: address.host, port: address.port) {
            channel = bootstrap.connect(to: literal)
        } else {
            channel = bootstrap.connect(host: address.host, port: address.port)
        }
        guard let upgraded else { return channel.map { _ in } }
        channel.whenFailure { upgraded.fail($0) }
        return upgraded.futureResult
    }

    // MARK: - TLS

    /// Whether the connection must be encrypted before CONNECT.
    func tlsNeed(of handler: NATSChannelHandler, _ info: NATSServerInfo) -> HandshakeMachine.TLSNeed {
        // Over WebSocket, INFO speaks of the server's TCP port.
        if handler.isEncrypted || handler.address.scheme.isWebSocket { return .none }
        if info.tlsRequired { return .upgrade }
        guard configuration.tls.refusesPlain || handler.address.scheme == .tls else { return .none }
        return info.tlsAvailable ? .upgrade : .unavailable
    }

    /// Encrypts the connection that `handler` has in the clear.
    func startTLS(_ handler: NATSChannelHandler) {
        handler.isEncrypted = true
        readTLSContext().assumeIsolated().whenComplete { [self] result in
            guard handshaking === handler, let context = handler.context else { return }
            guard !handler.hasLeftover else {
                // It must not become the beginning of what comes encrypted.
                let error = NATSError(.protocolViolation, "the server sent data before the TLS handshake")
                return linkLost(handler, error: error)
            }
            do {
                let tls = try Self.tlsHandler(try result.get(), handler.address, configuration.tls)
                try context.pipeline.syncOperations.addHandler(tls, position: .first)
            } catch {
                linkLost(handler, error: TransportFailure.error(error, handler))
            }
        }
    }

    private func readTLSContext() -> EventLoopFuture<NIOSSLContext> {
        let options = configuration.tls
        return NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) { try TLSContext.make(options) }
    }

    private static func tlsHandler(
        _ context: NIOSSLContext,
        _ address: NATSServerAddress,
        _ options: NATSTLSOptions
    ) throws(NATSError) -> NIOSSLClientHandler {
        let name = options.serverName ?? address.certificateName
        do {
            // Without a name the certificate is checked against the address of the peer.
            guard !isIPAddress(name) else { return try NIOSSLClientHandler(context: context, serverHostname: nil) }
            guard options.verifiesServer else {
                return try NIOSSLClientHandler(context: context, serverHostname: name)
            }
            return try NIOSSLClientHandler._makeSSLClientHandler(context: context, serverHostname: name) {
                certificate,
                channel in
                channel.eventLoop.makeCompletedFuture {
                    try CertificateNames.check(certificate, for: name, of: address)
                }
            }
        } catch {
            throw NATSError(.tlsFailed, "\"\(name)\" cannot be the name of a certificate")
        }
    }
}

extension NATSServerAddress {
    /// The name the server's certificate must carry, unless the settings give one.
    var certificateName: String { tlsName ?? host }
}
