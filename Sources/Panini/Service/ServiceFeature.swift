// Owns: what a service knows of a capability: the state that it keeps beside the versions of the script, and the events that it
// handles. Loop-bound.

import NATS
import NIOCore
import ScriptRuntime

/// What a capability has in one service on one worker: connections, pools, counters. It outlives versions of the script.
///
/// The service makes one of each kind, and knows none of them by name. All functions have a default, which does nothing.
class ServiceFeature {
    /// Lives longer.
    unowned(unsafe) let service: Service

    required init(_ service: Service) { self.service = service }

    // MARK: Versions

    /// A version is the service's from here on; it may not serve yet.
    func attach(_ version: Script) {}

    /// There is a connection to the broker, and nothing of a version runs yet: what the version needs is looked for, or made.
    /// Its start tasks may use it.
    ///
    /// - Returns: What the version cannot begin without. It is given up when one of them fails.
    func prepare(_ version: Script) -> [Preparation] { [] }

    /// Sends the subscriptions of a version. The broker confirms them later.
    ///
    /// - Returns: Why they cannot be made; nil when they are under way.
    func subscribe(_ version: Script) -> PaniniError? { nil }

    /// The next version is made ready beside the one that serves.
    func stage(_ staging: inout Staging) {}

    /// What was made ready is taken back.
    func withdraw(_ staging: Staging) {}

    /// The new version takes over, in one step of the loop. Move to it whatever it continues with.
    func commit(_ staging: Staging, from old: Script, to new: Script) {}

    /// A version serves. Begin what runs by itself.
    ///
    /// - Parameter old: The version before, if there is one.
    func begin(_ version: Script, after old: Script?) {}

    /// The time of a replaced version is over. Close what it still has open.
    func drainTimedOut(_ version: Script) {}

    /// Refuses the messages and requests that wait and have not begun: their requesters get an error.
    ///
    /// - Returns: How many there were.
    func refuseWaiting(_ version: Script, _ reason: ReplyError) -> Int { 0 }

    // MARK: The broker

    /// The connection to the broker was made or lost, or tells of something else.
    func connectionEvent(_ event: NATSEvent) {}

    /// The broker takes less than is sent, or takes it again.
    func congestionChanged(_ change: NATSCongestion) {}

    // MARK: The end, in the order of these

    /// The service stops. Take nothing new.
    ///
    /// - Returns: Succeeds when nothing more comes in; nil when nothing comes in from now on.
    func drain() -> EventLoopFuture<Void>? { nil }

    /// Whether all that has come in has begun; a stop waits for that.
    var isIdle: Bool { true }

    /// The time for the stop is over. Nothing that has not begun may begin any more.
    func stopTimedOut() {}

    /// Ends its connections from another thread, when the worker does not come back from a script and another has its place; nil
    /// when it has none. Asked once, when the service is made.
    var cut: (@Sendable () -> Void)? { nil }

    /// `on_stop` has run, and the connection to the broker is about to end: what is held there is given back.
    ///
    /// - Returns: The connection ends when it does, within the time of the stop; nil when nothing is to be waited for.
    func willDisconnect() -> EventLoopFuture<Void>? { nil }

    /// Nothing runs any more: what brings work in is closed. The versions are still there.
    func shut() {}

    /// The versions are closed. Close what they used.
    func close() {}

    // MARK: What it shows

    /// Once a second while there is work.
    ///
    /// - Returns: Whether to look again when there is none.
    func housekeep() -> Bool { false }

    func count(into counters: inout WorkerCounters) {}

    func add(to status: inout WorkerStatus) {}
}

@available(*, unavailable)
extension ServiceFeature: Sendable {}

/// The features of a service on one worker.
struct ServiceFeatures {
    private(set) var all: [ServiceFeature] = []
    private var keys: [ObjectIdentifier] = []

    mutating func add(_ feature: ServiceFeature) {
        all.append(feature)
        keys.append(ObjectIdentifier(type(of: feature)))
    }

    /// The feature of a type; there is one of each in the list.
    @inline(__always)
    subscript<Feature: ServiceFeature>(_ kind: Feature.Type) -> Feature {
        // Words are compared: what is looked for on the way of a message must not count references.
        let key = ObjectIdentifier(kind)
        var place = 0
        while place < keys.count, keys[place] != key { place += 1 }
        precondition(place < keys.count, "the list of features has one of each that is asked for")
        return unsafeDowncast(all[place], to: kind)
    }
}
