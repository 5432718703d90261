// How a connection's bytes get to a server and back: TCP, and what lies between TCP and the NATS protocol (TLS, WebSocket).
// Adds the channel handlers; knows nothing of the protocol above them. Loop-bound.

import NIOCore
import NIOPosix

extension NATSConnection {
    /// Opens the connection to `address` with `handler` at its end.
    ///
    /// - Returns: fails with the socket's error, or with a `NATSError` when a setting cannot be used.
    func openSocket(_ address: NATSServerAddress, _ handler: NATSChannelHandler) -> EventLoopFuture<Void> {
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        let bootstrap = ClientBootstrap(group: eventLoop)
            // Only so that the socket does not live on for ever: the attempt's own deadline is the one that counts.
            .connectTimeout(configuration.connectTimeout + .seconds(5))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 65536, maximum: 262_144)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
        // A literal address needs no resolver, and so no hop to its thread.
        let channel: EventLoopFuture<any Channel>
        if let literal = try? SocketAddress(ipAddress: address.host, port: address.port) {
            channel = bootstrap.connect(to: literal)
        } else {
            channel = bootstrap.connect(host: address.host, port: address.port)
        }
        return channel.map { _ in }
    }
}
