// A NATS-protocol broker inside the process, for the first minute of a newcomer (`panini dev`) and for tests: core
// protocol only, no clusters, no persistence, no credentials, loopback by default. This file is its Sendable face; all
// its state lives on one event loop (BrokerCore), reached through `eventLoop.execute`.

import Glibc
package import Logging
import LoopTools
package import NIOCore
import NIOPosix

/// A running broker.
package final class EmbeddedBroker: Sendable {
    /// The host and port clients connect to; the port is the real one when 0 was asked for.
    package let address: (host: String, port: Int)

    private let eventLoop: any EventLoop
    private let listener: any Channel
    private let core: NIOLoopBound<BrokerCore>
    private let timers: [RepeatedTask]

    /// `nats://host:port`.
    package var url: String {
        address.host.utf8.contains(UInt8(ascii: ":"))
            ? "nats://[\(address.host)]:\(address.port)" : "nats://\(address.host):\(address.port)"
    }

    private init(
        address: (host: String, port: Int),
        eventLoop: any EventLoop,
        listener: any Channel,
        core: NIOLoopBound<BrokerCore>,
        timers: [RepeatedTask]
    ) {
        self.address = address
        self.eventLoop = eventLoop
        self.listener = listener
        self.core = core
        self.timers = timers
    }

    /// Starts a broker and returns once clients can connect.
    ///
    /// - Parameters:
    ///   - configuration: address and limits.
    ///   - group: where its one event loop is taken from; the group must outlive the broker.
    ///   - logger: told about clients that are refused or closed.
    /// - Throws: ``StartError`` when the address cannot be listened on.
    package static func start(
        configuration: Configuration = Configuration(),
        group: any EventLoopGroup,
        logger: Logger
    ) async throws -> EmbeddedBroker {
        guard (0...65_535).contains(configuration.port) else {
            throw StartError(kind: .other, description: "port \(configuration.port) is not between 0 and 65535")
        }
        var configuration = configuration
        configuration.maximumConnections = min(configuration.maximumConnections, mostConnections())
        let limits = configuration
        let eventLoop = group.next()
        let core = try await eventLoop.submit {
            NIOLoopBound(BrokerCore(configuration: limits, logger: logger), eventLoop: eventLoop)
        }.get()
        let serverID = makeServerID()
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AcceptPause { core.value.acceptFailed($0.errnoCode) }
                    )
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 << 10, high: 256 << 10))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard hasRoom(for: channel) else {
                        core.value.refuseDescriptor()
                        throw ChannelError.ioOnClosedChannel
                    }
                    try channel.pipeline.syncOperations.addHandler(
                        BrokerClientHandler(core: core.value, serverID: serverID)
                    )
                }
            }
        let listener: any Channel
        do {
            listener = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
        } catch {
            throw StartError(error, configuration)
        }
        let interval = configuration.pingInterval
        let pings = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            core.value.pingClients()
        }
        let settling = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
            core.value.settleWarnings()
            core.value.settleMemory()
        }
        return EmbeddedBroker(
            address: (configuration.host, listener.localAddress?.port ?? configuration.port),
            eventLoop: eventLoop,
            listener: listener,
            core: core,
            timers: [pings, settling]
        )
    }

    /// Stops listening and closes every client. Returns when all of that is done; a second call does nothing.
    package func stop() async {
        for timer in timers { timer.cancel() }
        try? await listener.close().get()
        let core = core
        try? await eventLoop.submit { core.value.closeAll() }.get()
        // Closing a client ends in its channelInactive, at the latest in the loop's next round.
        try? await eventLoop.submit {}.get()
    }

    /// The counters as they are now.
    package func statistics() async -> Statistics {
        let core = core
        return (try? await eventLoop.submit { core.value.statistics }.get()) ?? Statistics()
    }

    /// How many connections the process has room for: it needs some files for itself, and one for each client that is told
    /// that there are too many.
    private static func mostConnections() -> Int {
        let files = DescriptorLimit.current.all
        return max(1, files - reserve(of: files))
    }

    private static func reserve(of files: Int) -> Int { max(64, files / 8) }

    /// Whether a client's descriptor is none of the last ones, which are for others in the same program (`panini dev`): a
    /// number tells how many are in use at least. Half the reserve, as each client that is told why it is refused has one.
    private static func hasRoom(for channel: any Channel) -> Bool {
        let descriptor = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { $0 }
        guard let descriptor else { return true }
        let files = DescriptorLimit.current.all
        return Int(descriptor) < files - min(reserve(of: files), files) / 2
    }

    /// 56 characters beginning with N, in the shape of a server's public key; nobody holds the private one.
    private static func makeServerID() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
        return "N" + String((0..<55).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] })
    }
}

extension EmbeddedBroker.StartError {
    fileprivate init(_ error: any Error, _ configuration: EmbeddedBroker.Configuration) {
        let place = "\(configuration.host):\(configuration.port)"
        if let error = error as? IOError, error.errnoCode == EADDRINUSE {
            self.init(kind: .addressInUse, description: "cannot listen on \(place): the address is already in use")
        } else if let error = error as? IOError {
            self.init(
                kind: .other,
                description: "cannot listen on \(place): \(String(cString: strerror(error.errnoCode)))"
            )
        } else {
            self.init(kind: .other, description: "cannot listen on \(place): the host name is not known")
        }
    }
}
