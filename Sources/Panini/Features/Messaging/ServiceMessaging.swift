// Owns: what a service has of messaging beside its connection: the sends that wait for the broker, the faults of the
// conversation, its place in the services protocol. Loop-bound.

import Bytes
import Logging
import LoopTools
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import ScriptRuntime

/// Messaging of a service on one worker.
final class ServiceMessaging: ServiceFeature {
    var faults = BrokerFaults()
    /// What waits for a broker that is too slow.
    var sendBacklog = SendBacklog()
    /// What the next version will take over, while it is made ready.
    var handover = SubscriptionHandover()
    /// Answers the NATS services protocol; nil when it is off.
    @exclusivity(unchecked) var directory: ServicesResponder?
    /// Knows when the read burst began that is going on.
    let events: ConnectionEvents
    let errorWriter = ByteWriter()

    required init(_ service: Service) {
        events = service.events
        super.init(service)
        if service.options.services { directory = ServicesResponder(service: service) }
    }

    // MARK: - Versions

    override func attach(_ version: Script) {
        guard let options = version.options else { return }
        for listener in version.messaging.loadTimeListeners { service.adopt(listener, options) }
    }

    override func subscribe(_ version: Script) -> PaniniError? {
        if let failure = service.subscribeListeners(of: version) { return failure }
        service.warnOfDoubledSubjects(of: version)
        if version === service.script { directory?.start() }
        return nil
    }

    override func stage(_ staging: inout Staging) {
        handover = SubscriptionHandover()
        for listener in service.script.messaging.listeners where !listener.isEnded {
            for subject in listener.subjects where subject.subscription != nil {
                handover.free[SubscriptionKey(of: subject), default: FIFO()].append(subject)
            }
        }
        // Messages that a new subscription brings before the switch wait.
        for listener in staging.script.messaging.loadTimeListeners { listener.places = 0 }
    }

    override func withdraw(_ staging: Staging) {
        handover = SubscriptionHandover()
        for listener in staging.script.messaging.listeners {
            for subject in listener.subjects {
                if let subscription = subject.subscription { service.connection.unsubscribe(subscription) }
            }
        }
    }

    override func commit(_ staging: Staging, from old: Script, to new: Script) {
        for (from, to) in handover.claims { service.move(from, to) }
        handover = SubscriptionHandover()
        for listener in new.messaging.listeners { listener.places = listener.concurrency }
        service.moveWaiting(of: old)
        service.endListening(old)
    }

    override func begin(_ version: Script, after old: Script?) {
        guard old != nil else { return }
        service.directoryFollows()
        let waiting = version.messaging.listeners.filter { !$0.pending.isEmpty }
        if service.sync.isOn {
            for listener in waiting { for _ in 0..<listener.pending.count { service.sync.append(Activity(listener)) } }
        }
        for listener in waiting { service.startWaiting(listener) }
    }

    override func refuseWaiting(_ version: Script, _ reason: ReplyError) -> Int {
        var count = 0
        for listener in version.messaging.listeners {
            while let message = listener.pending.popFirst() {
                count += 1
                message.withParts { _, reply, _, _ in
                    guard !reply.isEmpty, listener.replies else { return }
                    if message.arrived != 0 {
                        let endpoint = listener.subjects[message.subjectIndex].endpoint
                        service.requestAnswered(endpoint, message.arrived, reason)
                    }
                    service.sendError(reason, to: reply)
                }
            }
        }
        return count
    }

    // MARK: - The end

    override func drain() -> EventLoopFuture<Void>? {
        directory?.stop()
        var drains: [EventLoopFuture<Void>] = []
        for listener in service.scripts.flatMap(\.messaging.listeners) {
            for subject in listener.subjects {
                if let subscription = subject.subscription { drains.append(service.connection.drain(subscription)) }
            }
        }
        return EventLoopFuture.andAllComplete(drains, on: service.worker.eventLoop)
    }

    override var isIdle: Bool { service.script.messaging.listeners.allSatisfy(\.pending.isEmpty) }

    /// Messages that were read and are not delivered wait as the others do.
    override func stopTimedOut() {
        for listener in service.scripts.flatMap(\.messaging.listeners) { listener.places = 0 }
    }

    // MARK: - The broker

    override func connectionEvent(_ event: NATSEvent) {
        switch event {
        case .connected: faults.connected()
        case .disconnected, .closed:
            service.forgetSlowness()
            service.scheduleGoingOn()
        case .reconnected:
            faults.connected()
            service.repliesGoOn()
            directory?.reconnected()
        case .retryingConnect(let attempt, let error): service.retrying(attempt, error)
        case .publishingEnds: break  // A drain of our own has come to its last step.
        case .subscriptionViolation: break  // Told to the listener's subject.
        case .subscriptionTooSlow: break  // Only streams of NATSClient have buffers.
        case .publishesLost(let count, let error):
            service.logger.error("\(count) publishes are lost: \(oneLine(error.message))")
        case .publishViolation, .slowConsumer, .messageSkipped, .lameDuck, .discoveredServers, .serversIgnored,
            .serverError:
            service.noteFault(event)
        }
    }

    override func congestionChanged(_ change: NATSCongestion) { service.outflowChanged(change) }

    // MARK: - What it shows

    override func housekeep() -> Bool {
        service.settleFaults()
        return faults.isOpen
    }

    override func count(into counters: inout WorkerCounters) {
        let statistics = service.connection.statistics
        counters[.deniedPublishes] = faults.count(.deniedPublish)
        counters[.unsentReplies] = faults.count(.unsentReply)
        counters[.brokerErrors] = faults.count(.error)
        counters[.refusedCredentials] = statistics.refusedCredentials
        counters[.waitedSends] = sendBacklog.waited
        counters[.congestions] = statistics.congestions
        counters[.refusedSends] = statistics.refusedBufferFull
        counters[.lostPublishes] = statistics.lostPublishes
        counters[.lostReplies] = sendBacklog.lostReplies
    }

    override func add(to status: inout WorkerStatus) {
        for script in service.scripts where script.phase != .closed {
            status.waiting += script.messaging.listeners.reduce(0) { $0 + $1.pending.count }
        }
        status.waitingSends = sendBacklog.sends.count
    }
}

extension WorkerCounter {
    static let deniedPublishes = WorkerCounter("panini_denied_publishes")
    static let unsentReplies = WorkerCounter("panini_unsent_replies")
    static let brokerErrors = WorkerCounter("panini_broker_errors")
    static let refusedCredentials = WorkerCounter("panini_refused_credentials")
    static let waitedSends = WorkerCounter("panini_waited_sends")
    static let congestions = WorkerCounter("panini_congestions")
    static let refusedSends = WorkerCounter("panini_refused_sends")
    static let lostPublishes = WorkerCounter("panini_lost_publishes")
    static let lostReplies = WorkerCounter("panini_lost_replies")
}

extension Service {
    var messaging: ServiceMessaging { features[ServiceMessaging.self] }

    var brokerFaults: BrokerFaults {
        get { messaging.faults }
        _modify { yield &messaging.faults }
    }

    var sendBacklog: SendBacklog {
        get { messaging.sendBacklog }
        _modify { yield &messaging.sendBacklog }
    }

    var directory: ServicesResponder? {
        get { messaging.directory }
        set { messaging.directory = newValue }
    }
}
