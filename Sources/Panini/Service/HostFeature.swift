// Owns: what a host knows of a capability: that it keeps something for the whole program, and wants to hear what happens to
// services. Lives on the host's loop.

import Bytes
import NATSProtocol
import NIOCore

/// What a feature may ask its host. On the host's loop.
protocol FeatureHost: AnyObject {
    var loop: any EventLoop { get }
    /// The backends of whoever runs the host; nil: there are none.
    var telemetry: HostTelemetry? { get }
    /// What was given for an option of the whole host (``OptionDefinition/ofHost``), or its default.
    ///
    /// Throws when that cannot be, with a text that names where it was given.
    func value(of option: OptionDefinition) throws(PaniniError) -> OptionValue?

    /// The scripts of the host, as it was given them.
    var scriptPaths: [String] { get }

    /// Asks every service how it is doing and what it has counted; also those that start, and those that stop.
    ///
    /// - Parameter limit: What a worker has not said by then is not in the numbers. One that computes counts as busy.
    /// - Returns: In the order of the configuration. Does not fail.
    func look(within limit: TimeAmount) -> EventLoopFuture<[(PaniniServiceStatus, WorkerCounters)]>
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

    // MARK: Before the start

    /// What it gives to the features of all scripts, which find it by its type in `script.place`. Asked once.
    var given: (any Sendable)? { nil }

    /// The backends of metrics and traces that services get.
    ///
    /// - Parameter telemetry: Those of whoever runs the host, and of features before this one.
    func telemetry(over telemetry: HostTelemetry?) -> HostTelemetry? { telemetry }

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

    /// A script of ``FeatureHost/scriptPaths`` is loaded and started, for the first time or again.
    func starting(_ path: String) {}

    func started(_ report: PaniniServiceReport, from path: String) {}

    /// - Parameter service: Its name; its path where that is not known.
    func notStarted(_ service: String, _ error: PaniniError, from path: String) {}

    /// A script makes no app, and need not.
    func leftOut(_ path: String) {}

    func reloaded(_ report: PaniniReloadReport) {}

    /// The version before serves on.
    func notReloaded(_ service: String, _ error: PaniniError) {}

    /// A service that ran has ended by itself.
    func failed(_ service: String, _ error: PaniniError) {}

    /// Another worker has the place of one that was stuck.
    func workerReplaced(of service: String) {}

    /// A worker does not come back from a script, or is back again.
    func workerChanged(_ worker: Int, isStuck: Bool) {}

    // MARK: The control socket

    /// A question that the control socket does not know.
    ///
    /// - Parameters:
    ///   - command: Its member `command`.
    ///   - question: The whole of it.
    /// - Returns: The answer; nil when the command is none of the feature's.
    func answer(_ command: String, _ question: JSONValue) -> EventLoopFuture<JSONText>? { nil }
}

@available(*, unavailable)
extension HostFeature: Sendable {}
