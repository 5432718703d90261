// Owns: the order of a service's reloads over its workers: one at a time, all workers or none, the latest content wins
// (docs/reload.md). A value without I/O: events go in, and the ServiceController carries out the actions that come back.
// Lives on the host's loop; may not know the loop, a worker, a script, a promise or a log.

/// Why a reload did not happen.
enum ReloadProblem<Failure> {
    /// The service does not run.
    case notRunning
    /// A script holds this worker, which keeps its place.
    case workerHeld(Int)
    /// The service had begun to stop before the new version was with its workers.
    case stopping
    /// The service has stopped while the new version was made ready.
    case stopped
    /// Newer content is there, or the workers are not those that the version was loaded for.
    case superseded
    /// A worker was lost with the version.
    case workerLost(Failure)
    case failed(Failure)
}

extension ReloadProblem: Equatable where Failure: Equatable {}
extension ReloadProblem: Hashable where Failure: Hashable {}

/// What a controller is to do next.
enum ReloadAction<Waiter, Failure> {
    /// Load what the files hold now, once for each worker; ``ReloadMachine/loaded(workers:)`` or
    /// ``ReloadMachine/loadFailed(_:)`` follows.
    case load
    /// Close the loaded scripts that no worker has.
    case discardLoaded
    /// No worker serves: the version is what the next one starts with. ``ReloadMachine/committed()`` follows.
    case adopt
    /// Let the first worker make the version ready; ``ReloadMachine/firstStaged()`` or
    /// ``ReloadMachine/stagingFailed(_:)`` follows.
    case stageFirst
    /// Let all other workers do so; ``ReloadMachine/allStaged()`` or ``ReloadMachine/stagingFailed(_:)`` follows.
    case stageOthers
    /// Tell the workers that newer content is there: what is made ready waits for nothing any more.
    case supersedeStaged
    /// Let no worker keep what it has made ready.
    case withdrawStaged
    /// Let the version serve on each worker; ``ReloadMachine/committed()`` follows.
    case commit
    /// Log the reload, and answer who asked for it.
    case succeed([Waiter])
    /// Log the failure, and answer who asked for the reload.
    case fail([Waiter], ReloadProblem<Failure>)
    /// Log that the version was given up. Whoever asked for it is answered by what takes its place.
    case reportGivenUp(ReloadProblem<Failure>)
    /// Answer who asked for a reload that has not begun.
    case refuse([Waiter], ReloadProblem<Failure>)
    /// Start what serves where a worker was lost; ``ReloadMachine/proceed(isReplacing:)`` follows.
    case fillVacancies
}

extension ReloadAction: Equatable where Waiter: Equatable, Failure: Equatable {}

/// The reloads of one service over all its workers.
///
/// `Waiter` stands for somebody who has asked for a reload; each is answered once.
struct ReloadMachine<Waiter, Failure> {
    /// How far the reload has come that goes on.
    enum Phase: Equatable {
        case idle
        case loading
        case stagingFirst
        case stagingOthers
        case committing
    }

    /// Which workers serve, compared with those that a version was loaded for.
    enum Workers: Equatable {
        case same
        case changed
        case none
    }

    private(set) var phase = Phase.idle
    /// The version that serves is out of memory: it is replaced whether it hands anything over or not.
    private(set) var isRescue = false
    /// The service has started, and is not to stop.
    private var isServing = false
    /// Newer content is there than what is made ready, or a worker was lost with it.
    private var isSuperseded = false
    /// Those who have asked for the reload that goes on.
    private var waiters: [Waiter] = []
    /// Those who have asked for one meanwhile.
    private var queue: [Waiter] = []

    /// No reload goes on.
    var isIdle: Bool { phase == .idle }

    private var isStaging: Bool { phase == .stagingFirst || phase == .stagingOthers }

    // MARK: - The service

    mutating func started() { isServing = true }

    /// The service is to stop. A reload that goes on ends with it.
    mutating func stop() -> [ReloadAction<Waiter, Failure>] {
        isServing = false
        guard isIdle, !queue.isEmpty else { return [] }
        defer { queue = [] }
        return [.refuse(queue, .stopping)]
    }

    // MARK: - Requests

    /// Somebody asks for a reload.
    ///
    /// - Parameters:
    ///   - heldWorker: A worker that a script holds, and that keeps its place.
    ///   - isReplacing: A lost worker's place is being filled. The version that serves is started there first.
    mutating func request(
        by waiter: Waiter,
        isRescue: Bool,
        heldWorker: Int?,
        isReplacing: Bool
    ) -> [ReloadAction<Waiter, Failure>] {
        guard isServing else { return [.refuse([waiter], .notRunning)] }
        if let heldWorker { return [.refuse([waiter], .workerHeld(heldWorker))] }
        guard isIdle, !isReplacing else {
            queue.append(waiter)
            // What waits for its start tasks would be replaced at once.
            return supersede()
        }
        return begin([waiter], isRescue: isRescue)
    }

    private mutating func begin(_ waiters: [Waiter], isRescue: Bool) -> [ReloadAction<Waiter, Failure>] {
        phase = .loading
        self.waiters = waiters
        self.isRescue = isRescue
        isSuperseded = false
        return [.load]
    }

    private mutating func supersede() -> [ReloadAction<Waiter, Failure>] {
        guard isStaging, !isSuperseded else { return [] }
        isSuperseded = true
        return [.supersedeStaged]
    }

    /// A worker was lost.
    mutating func workerLost() -> [ReloadAction<Waiter, Failure>] {
        // What the others have made ready would wait for the lost one.
        supersede()
    }

    /// Begins the reload that was asked for meanwhile, if it may begin now.
    mutating func proceed(isReplacing: Bool) -> [ReloadAction<Waiter, Failure>] {
        guard isIdle, !isReplacing, !queue.isEmpty else { return [] }
        let waiting = queue
        queue = []
        guard isServing else { return [.refuse(waiting, .stopping)] }
        // One for all of them: whatever they saw, it is older than what is read now.
        return begin(waiting, isRescue: false)
    }

    // MARK: - The course of a reload

    /// The new version is loaded once for each worker.
    mutating func loaded(workers: Workers) -> [ReloadAction<Waiter, Failure>] {
        guard phase == .loading else { return [.discardLoaded] }
        guard isServing else { return [.discardLoaded] + end(.stopping) }
        switch workers {
        case .changed: return [.discardLoaded] + end(.superseded)
        case .none:
            phase = .committing
            return [.discardLoaded, .adopt]
        case .same:
            phase = .stagingFirst
            return [.stageFirst]
        }
    }

    mutating func loadFailed(_ problem: ReloadProblem<Failure>) -> [ReloadAction<Waiter, Failure>] {
        guard phase == .loading else { return [] }
        return [.discardLoaded] + end(problem)
    }

    /// The first worker has made the version ready, and has the port that the others share.
    mutating func firstStaged() -> [ReloadAction<Waiter, Failure>] {
        guard phase == .stagingFirst else { return [] }
        if let problem = reasonNotToCommit { return [.discardLoaded, .withdrawStaged] + end(problem) }
        phase = .stagingOthers
        return [.stageOthers]
    }

    /// All workers have made the version ready.
    mutating func allStaged() -> [ReloadAction<Waiter, Failure>] {
        guard phase == .stagingOthers else { return [] }
        if let problem = reasonNotToCommit { return [.withdrawStaged] + end(problem) }
        phase = .committing
        return [.commit]
    }

    /// What was told to the workers meanwhile may have reached some of them too late, and others not: none switches.
    private var reasonNotToCommit: ReloadProblem<Failure>? {
        if !isServing { return .stopped }
        return isSuperseded ? .superseded : nil
    }

    /// A worker could not make the version ready, and none of the others is still at it.
    mutating func stagingFailed(_ problem: ReloadProblem<Failure>) -> [ReloadAction<Waiter, Failure>] {
        switch phase {
        case .stagingFirst: [.discardLoaded, .withdrawStaged] + end(problem)
        case .stagingOthers: [.withdrawStaged] + end(problem)
        case .idle, .loading, .committing: []
        }
    }

    /// The version serves on all workers.
    mutating func committed() -> [ReloadAction<Waiter, Failure>] {
        guard phase == .committing else { return [] }
        return [.succeed(takeWaiters()), .fillVacancies]
    }

    private mutating func end(_ problem: ReloadProblem<Failure>) -> [ReloadAction<Waiter, Failure>] {
        let waiters = takeWaiters()
        switch problem {
        case .superseded: break
        case .workerLost where isServing: break
        case .notRunning, .workerHeld, .stopping, .stopped, .workerLost, .failed:
            return [.fail(waiters, problem), .fillVacancies]
        }
        queue += waiters
        return [.reportGivenUp(problem), .fillVacancies]
    }

    private mutating func takeWaiters() -> [Waiter] {
        defer { waiters = [] }
        phase = .idle
        return waiters
    }
}

extension ReloadMachine: Equatable where Waiter: Equatable, Failure: Equatable {}
extension ReloadMachine: Hashable where Waiter: Hashable, Failure: Hashable {}
