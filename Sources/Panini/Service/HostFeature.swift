// Owns: what a host knows of a capability: that it keeps something for the whole program, and wants to hear what happens to
// services. Lives on the host's loop.

import NIOCore

/// What a feature may ask its host. On the host's loop.
protocol FeatureHost: AnyObject {
    var loop: any EventLoop { get }
    /// The backends of whoever runs the host; nil: there are none.
    var telemetry: HostTelemetry? { get }
    /// The scripts of the host, as it was given them.
    var scriptPaths: [String] { get }

    /// Asks each service that runs how it is doing and what it has counted.
    ///
    /// - Parameter body: Called on the loop, once for each that answers.
    func look(_ body: @escaping @Sendable (PaniniServiceStatus, WorkerCounters) -> Void)
}

/// What a capability has in one host: gauges, a server of its own, what services have in common.
///
/// The host makes one of each kind before any service starts, and knows none of them by name. All functions have a default,
/// which does nothing.
class HostFeature {
    /// How long a stop waits for it.
    static let stopLimit = TimeAmount.seconds(5)

    /// Lives longer.
    unowned(unsafe) let host: any FeatureHost

    required init(_ host: any FeatureHost) { self.host = host }

    // MARK: Start and stop

    /// The host starts.
    ///
    /// - Returns: The services start when it succeeds, and the host ends when it fails; nil when nothing is to be waited for.
    func start() -> Preparation? { nil }

    /// The stop begins: the services are still there.
    func willStop() {}

    /// The services have ended. Called once, also when the start has failed.
    ///
    /// - Returns: The host ends when this has come to an end, or takes longer than ``stopLimit``; nil when nothing is to be
    ///   waited for.
    func stop() -> EventLoopFuture<Void>? { nil }

    // MARK: What happens to services

    func started(_ report: PaniniServiceReport) {}

    func notStarted(_ service: String, _ error: PaniniError) {}

    func reloaded(_ report: PaniniReloadReport) {}

    /// The version before serves on.
    func notReloaded(_ service: String, _ error: PaniniError) {}

    /// A service that ran has ended by itself.
    func failed(_ service: String, _ error: PaniniError) {}

    /// Another worker has the place of one that was stuck.
    func workerReplaced(of service: String) {}
}

@available(*, unavailable)
extension HostFeature: Sendable {}
