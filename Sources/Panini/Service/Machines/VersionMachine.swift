// Owns: how far one version of a script on one worker has come: made ready beside the one that serves, serving, replaced,
// retired (docs/reload.md). A value without I/O: events go in, and the Service carries out the actions that come back. Lives
// on the worker's loop; may not know the loop, the connection, a Lua state, a promise or a log.

/// The phases of a version on one worker, in their order.
enum VersionPhase: UInt8, Comparable {
    case loaded

    // The version is made ready beside the one that serves.
    /// on_reload of the version that serves runs.
    case handingOver
    /// Features get what they need before anything of the version runs.
    case preparing
    case runningStartTasks
    case subscribing
    case openingPort
    /// The broker is asked whether it has taken the new subscriptions.
    case confirming
    /// The switch may come.
    case ready

    case serving

    // Another version serves.
    /// What has begun goes on to its end.
    case draining
    /// Nothing runs any more but on_stop.
    case retiring

    case retired

    @inline(__always)
    static func < (one: VersionPhase, other: VersionPhase) -> Bool { one.rawValue < other.rawValue }
}

/// What a service is to do next about one of its versions.
enum VersionAction<Failure> {
    /// Run on_reload of the version that serves; ``VersionMachine/handedOver(_:)`` follows.
    case handOver
    /// Log that what should have been handed over is lost.
    case reportLoss(Failure)
    /// Let features get what they need before anything of the version runs; ``VersionMachine/prepared(_:)`` follows.
    case prepare
    /// Run the version's start tasks; ``VersionMachine/startTasksEnded(_:)`` follows.
    case runStartTasks
    /// Subscribe what the version listens to and the one that serves does not; ``VersionMachine/subscribed(_:)`` follows.
    case subscribe
    /// Make the web server ready; ``VersionMachine/portOpened(_:addsSubjects:)`` follows.
    case openPort
    /// Ask the broker whether it has taken the new subscriptions; ``VersionMachine/confirmationEnded(_:)`` follows.
    case confirmSubscriptions
    /// Whoever waits until the version is ready hears of it.
    case completeStaging(LifecycleOutcome<Failure>)
    /// Take back what was made ready, and close the version.
    case withdraw
    /// Run the version's on_stop; ``VersionMachine/stopHooksEnded()`` follows.
    case runStopHooks
    /// Answer whoever still waits for the version. Its hooks have not begun yet if they are to run here.
    case giveUp(runsStopHooks: Bool)
    /// Close the version.
    case close
}

extension VersionAction: Equatable where Failure: Equatable {}

/// The life of one version of a script on one worker.
struct VersionMachine<Failure> {
    private(set) var phase = VersionPhase.loaded
    /// The broker has denied one of its subscriptions.
    private var denial: Failure?
    /// The version that serves is out of memory: what it cannot hand over does not stop this one.
    private var isRescue = false
    /// How many subscriptions end at the broker, and may still bring messages that are on their way.
    private var endingSubscriptions = 0

    /// The version does not serve yet.
    var isStaged: Bool { phase < .serving }
    /// Another version has taken over; what had begun goes on.
    var isDraining: Bool {
        @inline(__always) get { phase == .draining || phase == .retiring }
    }
    /// The end goes on as soon as nothing of the version runs or waits any more: then ``becameIdle()`` follows.
    var waitsForIdle: Bool { phase == .draining && endingSubscriptions == 0 }

    // MARK: - Beside the version that serves

    /// Makes the version ready.
    mutating func stage(isRescue: Bool) -> [VersionAction<Failure>] {
        guard phase == .loaded else { return [] }
        self.isRescue = isRescue
        phase = .handingOver
        return [.handOver]
    }

    mutating func handedOver(_ failure: Failure?) -> [VersionAction<Failure>] {
        guard phase == .handingOver else { return [] }
        if let failure, !isRescue { return giveUp(.failed(failure)) }
        phase = .preparing
        guard let failure else { return [.prepare] }
        return [.reportLoss(failure), .prepare]
    }

    mutating func prepared(_ failure: Failure?) -> [VersionAction<Failure>] {
        guard phase == .preparing else { return [] }
        if let failure = failure ?? denial { return giveUp(.failed(failure)) }
        phase = .runningStartTasks
        return [.runStartTasks]
    }

    mutating func startTasksEnded(_ failure: Failure?) -> [VersionAction<Failure>] {
        guard phase == .runningStartTasks else { return [] }
        if let failure = failure ?? denial { return giveUp(.failed(failure)) }
        phase = .subscribing
        return [.subscribe]
    }

    mutating func subscribed(_ failure: Failure?) -> [VersionAction<Failure>] {
        guard phase == .subscribing else { return [] }
        if let failure { return giveUp(.failed(failure)) }
        phase = .openingPort
        return [.openPort]
    }

    /// - Parameter addsSubjects: There are subscriptions that the broker has to confirm.
    mutating func portOpened(_ failure: Failure?, addsSubjects: Bool) -> [VersionAction<Failure>] {
        guard phase == .openingPort else { return [] }
        if let failure { return giveUp(.failed(failure)) }
        phase = .confirming
        return addsSubjects ? [.confirmSubscriptions] : confirmationEnded(nil)
    }

    /// The broker has denied a subscription of a version that is made ready.
    mutating func subscriptionDenied(_ failure: Failure) {
        if isStaged, denial == nil { denial = failure }
    }

    mutating func confirmationEnded(_ failure: Failure?) -> [VersionAction<Failure>] {
        guard phase == .confirming else { return [] }
        if let failure = denial ?? failure { return giveUp(.failed(failure)) }
        phase = .ready
        return [.completeStaging(.succeeded)]
    }

    /// The version is not to serve: the one that serves goes on.
    mutating func giveUp(_ reason: LifecycleOutcome<Failure>) -> [VersionAction<Failure>] {
        guard isStaged, phase != .loaded else { return [] }
        let isAwaited = phase != .ready
        phase = .retired
        return isAwaited ? [.completeStaging(reason), .withdraw] : [.withdraw]
    }

    // MARK: - Serving

    /// The first version of a service serves.
    mutating func serve() {
        if phase == .loaded { phase = .serving }
    }

    /// The switch.
    ///
    /// - Returns: Whether the version serves from here on. One that is not ready does not.
    mutating func commit() -> Bool {
        guard phase == .ready else { return false }
        phase = .serving
        return true
    }

    /// Another version serves from here on.
    mutating func replaced() {
        if phase == .serving { phase = .draining }
    }

    // MARK: - The end

    /// A subscription ends at the broker.
    mutating func subscriptionEnds() { endingSubscriptions += 1 }

    mutating func subscriptionEnded() { endingSubscriptions -= 1 }

    /// Nothing of the version runs or waits.
    mutating func becameIdle() -> [VersionAction<Failure>] {
        guard waitsForIdle else { return [] }
        phase = .retiring
        return [.runStopHooks]
    }

    mutating func stopHooksEnded() -> [VersionAction<Failure>] {
        guard phase == .retiring else { return [] }
        phase = .retired
        return [.close]
    }

    /// The time for its end is over.
    mutating func drainDeadlineReached() -> [VersionAction<Failure>] {
        guard isDraining else { return [] }
        let runsStopHooks = phase == .draining
        phase = .retired
        return [.giveUp(runsStopHooks: runsStopHooks), .close]
    }

    /// The service has closed the version.
    mutating func closed() { phase = .retired }
}

extension VersionMachine: Equatable where Failure: Equatable {}
extension VersionMachine: Hashable where Failure: Hashable {}
