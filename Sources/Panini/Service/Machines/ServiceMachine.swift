// Owns: how far a service on one worker has come: its start, readiness, stop and failure. A value without I/O:
// events go in, and a Service carries out the actions that come back. Lives on the worker's loop; may not know the loop, the
// connection, a script, a promise or a log.

/// How something ends that somebody waits for.
enum LifecycleOutcome<Failure> {
    case succeeded
    case failed(Failure)
    /// What it was for does not happen any more.
    case cancelled
}

extension LifecycleOutcome: Equatable where Failure: Equatable {}
extension LifecycleOutcome: Hashable where Failure: Hashable {}

/// The phases of a service on one worker, in their order.
enum ServicePhase: UInt8, Comparable {
    /// It has a script, and has done nothing.
    case loaded

    // The start.
    case connecting
    /// Features get what they need before anything of the script runs.
    case preparing
    case runningStartTasks
    case subscribing
    /// The broker is asked whether it has taken the subscriptions.
    case confirming
    /// The connection was lost before the broker had confirmed the subscriptions.
    case awaitingReconnect
    /// The broker has taken all subscriptions. The service waits until the other workers are as far.
    case subscribed

    // The service serves.
    /// Tasks and timers run; the web server's port is being opened.
    case openingPort
    case serving

    // The stop.
    /// No more work is taken; what runs goes on to its end.
    case draining
    case runningStopHooks
    /// What was sent leaves, then the connection ends.
    case closing

    case stopped

    @inline(__always)
    static func < (one: ServicePhase, other: ServicePhase) -> Bool { one.rawValue < other.rawValue }
}

/// What a service is to do next.
enum ServiceAction<Failure> {
    /// Connect to the broker; ``ServiceMachine/connectEnded(_:)`` follows.
    case connect
    /// Let features get what they need before anything of the script runs; ``ServiceMachine/prepared(_:)`` follows.
    case prepare
    /// Run the script's start tasks; ``ServiceMachine/startTasksEnded(_:)`` follows.
    case runStartTasks
    /// Subscribe what the script listens to; ``ServiceMachine/subscribed(_:)`` follows.
    case subscribe
    /// Ask the broker whether it has taken the subscriptions; ``ServiceMachine/confirmationEnded(_:)`` follows.
    case confirmSubscriptions
    /// Whoever waits for the start hears of its end.
    case completeStart(LifecycleOutcome<Failure>)
    /// Whoever waits for the activation hears of its end.
    case completeActivation(LifecycleOutcome<Failure>)
    /// Tell the host that the service ends by itself.
    case report(Failure)
    /// Take no more work. ``ServiceMachine/intakeEnded()`` follows, and ``ServiceMachine/stopDeadlineReached()`` when the
    /// time for the stop is over.
    case drain
    /// Run the script's on_stop; ``ServiceMachine/stopHooksEnded()`` follows.
    case runStopHooks
    /// Answer whoever still waits; ``ServiceMachine/stopTimedOut(_:)`` follows. The hooks have not begun yet if they are to
    /// run here.
    case giveUp(runsStopHooks: Bool)
    /// Let leave what was sent, and end the connection; ``ServiceMachine/connectionDrained()`` follows.
    case closeConnection
    /// Close everything at once.
    case shutDown
    /// Whoever waits for the stop hears of its end.
    case completeStop
}

extension ServiceAction: Equatable where Failure: Equatable {}

/// The answer to the question whether the broker has taken the subscriptions.
enum SubscriptionConfirmation<Failure> {
    case confirmed
    /// The connection is lost, or the broker is silent. The connection will be made again with all subscriptions.
    case unanswered
    case failed(Failure)
}

/// The life of a service on one worker.
struct ServiceMachine<Failure> {
    private(set) var phase = ServicePhase.loaded
    /// Why the service ends, or has ended, by itself.
    private(set) var failure: Failure?
    /// There has been a connection to the broker.
    private(set) var hasConnected = false
    /// Nothing comes in any more: the broker has taken the end of the subscriptions, the web server has no connections.
    private var hasIntakeEnded = false

    /// The start has begun, and the service does not serve yet.
    var isStarting: Bool { phase >= .connecting && phase < .openingPort }
    /// Messages and ticks are taken.
    var isServing: Bool { phase == .openingPort || phase == .serving }
    /// The stop has begun, and has not ended.
    var isStopping: Bool {
        @inline(__always) get { phase >= .draining && phase < .stopped }
    }
    var isStopped: Bool {
        @inline(__always) get { phase == .stopped }
    }
    /// The stop goes on as soon as nothing runs or waits any more: then ``becameIdle()`` follows.
    var waitsForIdle: Bool { phase == .draining && hasIntakeEnded }

    // MARK: - Start

    /// The start is wanted. Nothing comes back unless it is the first one.
    mutating func start() -> [ServiceAction<Failure>] {
        guard phase == .loaded else { return [] }
        phase = .connecting
        return [.connect]
    }

    /// There is a connection.
    mutating func connected() { hasConnected = true }

    mutating func connectEnded(_ failure: Failure?) -> [ServiceAction<Failure>] {
        guard phase == .connecting else { return [] }
        if let failure { return failStart(failure) }
        hasConnected = true
        phase = .preparing
        return [.prepare]
    }

    mutating func prepared(_ failure: Failure?) -> [ServiceAction<Failure>] {
        guard phase == .preparing else { return [] }
        if let failure = failure ?? self.failure { return failStart(failure) }
        phase = .runningStartTasks
        return [.runStartTasks]
    }

    mutating func startTasksEnded(_ failure: Failure?) -> [ServiceAction<Failure>] {
        guard phase == .runningStartTasks else { return [] }
        if let failure = failure ?? self.failure { return failStart(failure) }
        phase = .subscribing
        return [.subscribe]
    }

    mutating func subscribed(_ failure: Failure?) -> [ServiceAction<Failure>] {
        guard phase == .subscribing else { return [] }
        if let failure { return failStart(failure) }
        phase = .confirming
        return [.confirmSubscriptions]
    }

    /// The broker has denied a subscription during the start. The start fails at its next step.
    mutating func subscriptionDenied(_ failure: Failure) {
        if isStarting { self.failure = failure }
    }

    mutating func confirmationEnded(_ confirmation: SubscriptionConfirmation<Failure>) -> [ServiceAction<Failure>] {
        guard phase == .confirming else { return [] }
        if let failure { return failStart(failure) }
        switch confirmation {
        case .confirmed:
            phase = .subscribed
            return [.completeStart(.succeeded)]
        case .unanswered:
            phase = .awaitingReconnect
            return []
        case .failed(let failure): return failStart(failure)
        }
    }

    /// The connection was made again.
    mutating func reconnected() -> [ServiceAction<Failure>] {
        guard phase == .awaitingReconnect else { return [] }
        phase = .confirming
        return [.confirmSubscriptions]
    }

    /// All workers have subscribed: the service is to serve.
    ///
    /// - Returns: Whether tasks and timers start and the web server's port is opened now; ``portOpened(_:)`` follows then.
    mutating func activate() -> Bool {
        guard phase == .subscribed else { return false }
        phase = .openingPort
        return true
    }

    mutating func portOpened(_ failure: Failure?) -> [ServiceAction<Failure>] {
        guard phase == .openingPort else { return [] }
        guard let failure else {
            phase = .serving
            return [.completeActivation(.succeeded)]
        }
        self.failure = failure
        phase = .stopped
        return [.shutDown, .completeActivation(.failed(failure))]
    }

    private mutating func failStart(_ failure: Failure) -> [ServiceAction<Failure>] {
        self.failure = failure
        phase = .stopped
        return [.shutDown, .completeStart(.failed(failure))]
    }

    // MARK: - Failure

    /// There is no connection yet, and there will be none: credentials or settings are wrong.
    mutating func connectionRefused(_ failure: Failure) -> [ServiceAction<Failure>] {
        guard isStarting, !hasConnected else { return [] }
        return failStart(failure)
    }

    /// The connection has ended for good.
    mutating func connectionEnded(_ failure: Failure) -> [ServiceAction<Failure>] {
        switch phase {
        // The connection attempt says so itself.
        case .connecting where !hasConnected: []
        case .connecting, .preparing, .runningStartTasks, .subscribing, .confirming, .awaitingReconnect:
            failStart(failure)
        case .subscribed, .openingPort, .serving: fail(failure)
        case .loaded, .draining, .runningStopHooks, .closing, .stopped: []
        }
    }

    /// The service cannot go on. The host hears of the first reason, and stops it.
    mutating func fail(_ failure: Failure) -> [ServiceAction<Failure>] {
        guard self.failure == nil, phase != .stopped else { return [] }
        self.failure = failure
        return [.report(failure)]
    }

    // MARK: - Stop

    /// The stop is wanted, for the first time or again.
    mutating func stop() -> [ServiceAction<Failure>] {
        switch phase {
        case .stopped: return [.completeStop]
        case .loaded, .subscribed:
            phase = .stopped
            return [.shutDown, .completeStop]
        case .connecting, .preparing, .runningStartTasks, .subscribing, .confirming, .awaitingReconnect:
            phase = .stopped
            return [.shutDown, .completeStart(.cancelled), .completeStop]
        case .openingPort:
            phase = .draining
            return [.completeActivation(.cancelled), .drain]
        case .serving:
            phase = .draining
            return [.drain]
        case .draining, .runningStopHooks, .closing: return []
        }
    }

    /// Nothing more comes in, from wherever work comes.
    mutating func intakeEnded() {
        if phase == .draining { hasIntakeEnded = true }
    }

    /// Nothing runs and nothing waits.
    mutating func becameIdle() -> [ServiceAction<Failure>] {
        guard waitsForIdle else { return [] }
        phase = .runningStopHooks
        return [.runStopHooks]
    }

    mutating func stopHooksEnded() -> [ServiceAction<Failure>] {
        guard phase == .runningStopHooks else { return [] }
        phase = .closing
        return [.closeConnection]
    }

    /// The time for the stop is over.
    mutating func stopDeadlineReached() -> [ServiceAction<Failure>] {
        guard phase == .draining || phase == .runningStopHooks else { return [] }
        let runsStopHooks = phase == .draining
        phase = .closing
        return [.giveUp(runsStopHooks: runsStopHooks), .closeConnection]
    }

    /// The stop has not ended in its time; that is why the service failed unless there is a reason already.
    mutating func stopTimedOut(_ failure: Failure) {
        if self.failure == nil { self.failure = failure }
    }

    mutating func connectionDrained() -> [ServiceAction<Failure>] {
        guard phase == .closing else { return [] }
        phase = .stopped
        return [.shutDown, .completeStop]
    }

    /// Another worker has this one's place: everything ends at once, and whoever waits hears so.
    mutating func abandon() -> [ServiceAction<Failure>] {
        let before = phase
        phase = .stopped
        return switch before {
        case .stopped: []
        case .loaded, .subscribed, .serving: [.shutDown]
        case .connecting, .preparing, .runningStartTasks, .subscribing, .confirming, .awaitingReconnect:
            [.completeStart(.cancelled), .shutDown]
        case .openingPort: [.completeActivation(.cancelled), .shutDown]
        case .draining, .runningStopHooks, .closing: [.shutDown, .completeStop]
        }
    }
}

extension ServiceMachine: Equatable where Failure: Equatable {}
extension ServiceMachine: Hashable where Failure: Hashable {}
