// A TCP proxy between client and server that does what networks do: cuts, swallows, and cuts up into single bytes. Keeps
// every byte the client sent, per connection.

import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

final class FaultProxy: Sendable {
    enum Mode: Sendable {
        case forward
        /// Every byte goes out in a write of its own.
        case split
    }

    private struct State {
        var mode = Mode.forward
        /// Both ends of every open connection.
        var open: [ObjectIdentifier: any Channel] = [:]
        /// Connections made before this number swallow everything.
        var firstHeard = 0
        var sent: [[UInt8]] = []
    }

    private let state = NIOLockedValueBox(State())
    private let listener: any Channel

    var port: Int { listener.localAddress?.port ?? 0 }

    /// What the client sent on each connection so far.
    var sent: [[UInt8]] { state.withLockedValue { $0.sent } }

    var connectionCount: Int { state.withLockedValue { $0.sent.count } }

    init(to target: Int) async throws {
        let state = state
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { client in
                let number = state.withLockedValue { state in
                    state.sent.append([])
                    return state.sent.count - 1
                }
                return ClientBootstrap(group: client.eventLoop)
                    .channelInitializer { server in
                        server.eventLoop.makeCompletedFuture {
                            try server.pipeline.syncOperations.addHandler(
                                Forwarder(to: client) { _ in Self.mode(state, number) }
                            )
                        }
                    }
                    .connect(host: "127.0.0.1", port: target)
                    .flatMapThrowing { server in
                        try client.pipeline.syncOperations.addHandler(
                            Forwarder(to: server) { bytes in
                                state.withLockedValue { $0.sent[number].append(contentsOf: bytes.readableBytesView) }
                                return Self.mode(state, number)
                            }
                        )
                        for end in [client, server] {
                            state.withLockedValue { $0.open[ObjectIdentifier(end)] = end }
                            end.closeFuture.whenComplete { _ in
                                state.withLockedValue { $0.open[ObjectIdentifier(end)] = nil }
                            }
                        }
                        _ = client.setOption(.autoRead, value: true)
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    private static func mode(_ state: NIOLockedValueBox<State>, _ number: Int) -> Mode? {
        state.withLockedValue { number < $0.firstHeard ? nil : $0.mode }
    }

    func use(_ mode: Mode) {
        state.withLockedValue { $0.mode = mode }
    }

    /// The connections there are go silent without being closed; new ones work.
    func blackhole() {
        state.withLockedValue { $0.firstHeard = $0.sent.count }
    }

    /// Closes every connection.
    func cut() {
        for end in state.withLockedValue({ Array($0.open.values) }) {
            end.close(promise: nil)
        }
    }

    func stop() async throws {
        cut()
        try await listener.close()
    }

    private final class Forwarder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let peer: any Channel
        private let mode: (ByteBuffer) -> Mode?

        init(to peer: any Channel, mode: @escaping (ByteBuffer) -> Mode?) {
            self.peer = peer
            self.mode = mode
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = unwrapInboundIn(data)
            switch mode(bytes) {
            case nil: break
            case .forward: peer.writeAndFlush(bytes, promise: nil)
            case .split:
                while let byte = bytes.readSlice(length: 1) {
                    peer.writeAndFlush(byte, promise: nil)
                }
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            peer.close(promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}
