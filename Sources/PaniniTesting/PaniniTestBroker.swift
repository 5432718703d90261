// Owns: a broker for one test: in this process, on a free port of loopback, gone afterwards. Any thread.

public import Logging
import NATSBroker
import NIOPosix

/// A NATS broker inside the process: the core protocol, nothing kept, a port of its own.
public final class PaniniTestBroker: Sendable {
    private let broker: EmbeddedBroker

    /// Where clients and services connect to: `nats://127.0.0.1:port`.
    public var url: String { broker.url }

    private init(_ broker: EmbeddedBroker) { self.broker = broker }

    /// Starts a broker, and returns when clients can connect.
    ///
    /// - Parameter logger: Told about clients that are refused.
    /// - Throws: When no port can be had.
    public static func start(logger: Logger) async throws -> PaniniTestBroker {
        var configuration = EmbeddedBroker.Configuration()
        configuration.port = 0
        return PaniniTestBroker(
            try await EmbeddedBroker.start(
                configuration: configuration,
                group: MultiThreadedEventLoopGroup.singleton,
                logger: logger
            )
        )
    }

    /// Closes every connection. Returns when that is done.
    public func stop() async { await broker.stop() }
}
