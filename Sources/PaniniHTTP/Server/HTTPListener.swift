// Owns: the listening socket of a server, and TLS in front of each connection that it accepts. Loop-bound. Knows nothing of
// what is spoken behind that.

import Glibc
import LoopTools
import NIOCore
import NIOPosix
import NIOSSL

/// Where the connections of a server come from.
final class HTTPListener {
    private let eventLoop: any EventLoop
    /// Where other threads find the sockets.
    private let sockets: HTTPSockets
    private var channel: (any Channel)?
    /// What new connections begin with; nil: no TLS.
    var tls: NIOSSLContext?
    private var isClosed = false
    /// Told of connections that are not taken for want of descriptors.
    var onShortage: ((HTTPShortage) -> Void)?

    init(eventLoop: any EventLoop, sockets: HTTPSockets) {
        self.eventLoop = eventLoop
        self.sockets = sockets
    }

    /// Binds the port. Connections are accepted once ``accept()`` is called.
    ///
    /// - Parameters:
    ///   - configuration: Where to listen.
    ///   - serve: Gets each connection, behind TLS.
    /// - Returns: The address that is bound; fails with the system's error.
    func bind(
        _ configuration: HTTPServerConfiguration,
        serve: @escaping (any Channel) throws -> Void
    ) -> EventLoopFuture<SocketAddress> {
        guard configuration.sharesPort, !configuration.joinsPort, configuration.inherited == nil else {
            return listen(configuration, serve)
        }
        let box = NIOLoopBound((self, serve), eventLoop: eventLoop)
        return probe(configuration).flatMap {
            let (listener, serve) = box.value
            return listener.listen(configuration, serve)
        }
    }

    /// Fails when somebody else has the port: a socket that shares it would not notice.
    private func probe(_ configuration: HTTPServerConfiguration) -> EventLoopFuture<Void> {
        ServerBootstrap(group: eventLoop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .bind(host: configuration.host, port: configuration.port)
            .flatMap { $0.close() }
    }

    private func listen(
        _ configuration: HTTPServerConfiguration,
        _ serve: @escaping (any Channel) throws -> Void
    ) -> EventLoopFuture<SocketAddress> {
        let box = NIOLoopBound((self, serve), eventLoop: eventLoop)
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(
                .socketOption(NIOBSDSocket.Option(rawValue: SO_REUSEPORT)),
                value: configuration.sharesPort ? 1 : 0
            )
            .serverChannelOption(.autoRead, value: false)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AcceptPause { box.value.0.onShortage?(.accept(errno: $0.errnoCode)) }
                    )
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (listener, serve) = box.value
                    guard listener.hasRoom(for: channel) else { throw ChannelError.ioOnClosedChannel }
                    guard listener.sockets.accepted(channel) else { throw ChannelError.ioOnClosedChannel }
                    try serve(channel)
                }
            }
        // Not the configuration: it would keep what is inherited.
        let port = configuration.port
        return bind(bootstrap, configuration).flatMapThrowing { channel in
            guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
            let listener = box.value.0
            listener.channel = channel
            listener.sockets.listens(channel, port: address.port ?? port)
            if listener.isClosed { channel.close(promise: nil) }
            return address
        }
    }

    /// Whether a connection may stay. It may not when its descriptor is one of those that are kept for the program itself: it
    /// is closed without a word then, as saying one would keep the descriptor for as long as the client likes.
    private func hasRoom(for channel: any Channel) -> Bool {
        guard let descriptor = HTTPSockets.descriptor(of: channel) else { return true }
        let limit = DescriptorLimit.current
        if limit.admits(descriptor) { return true }
        onShortage?(.descriptors(limit: limit.all, reserve: limit.reserve))
        return false
    }

    private func bind(
        _ bootstrap: ServerBootstrap,
        _ configuration: HTTPServerConfiguration
    ) -> EventLoopFuture<any Channel> {
        guard let inherited = configuration.inherited else {
            return bootstrap.bind(host: configuration.host, port: configuration.port)
        }
        guard let descriptor = inherited.copy() else {
            return eventLoop.makeFailedFuture(IOError(errnoCode: EMFILE, reason: "dup"))
        }
        return bootstrap.withBoundSocket(descriptor)
    }

    /// Begins to accept connections; those that came since the port was bound are waiting.
    func accept() {
        guard !isClosed else { return }
        channel?.setOption(.autoRead, value: true).whenFailure { _ in }
    }

    /// Puts TLS in front of a connection, where there is any.
    func secure(_ channel: any Channel) throws {
        if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
    }

    /// Listens no more, for good.
    func close() {
        isClosed = true
        channel?.close(promise: nil)
        channel = nil
    }
}

@available(*, unavailable)
extension HTTPListener: Sendable {}
