// Owns: which thread has the place of which worker, and what becomes of a worker whose thread does not come back from a
// script. A value without I/O; whoever has it does what it says. Lives on the host's loop.

/// What a host does about a worker that a script holds although its run was to end.
public struct PaniniStuckWorkerPolicy: Sendable, Equatable {
    enum Kind: Equatable {
        case report
        case replace(atMost: Int)
    }

    let kind: Kind

    /// The worker's place is given to a new thread with new connections and new Lua states; what the old thread does from
    /// then on has no effect. When `count` old threads have not come back, one more ends the host: it stops, and
    /// ``PaniniHost/run()`` fails with the code `too_many_stuck_workers`.
    ///
    /// - Parameter count: At least 0.
    public static func replace(atMost count: Int) -> PaniniStuckWorkerPolicy {
        PaniniStuckWorkerPolicy(kind: .replace(atMost: max(count, 0)))
    }

    /// At most eight old threads.
    public static let replace = replace(atMost: 8)

    /// Nothing but to say so: the worker's connection to the broker is ended when other workers can take its messages, and it
    /// takes its part again when it comes back.
    public static let report = PaniniStuckWorkerPolicy(kind: .report)
}

/// The places of a host's workers.
struct WorkerSeats {
    /// What is to be done about a thread that is stuck.
    enum StuckAction: Equatable {
        /// It is none of this host's workers, or is known to be stuck.
        case nothing
        /// The worker stays as it is.
        case report(worker: Int)
        /// Its place is given to a new thread.
        case replace(worker: Int, incarnation: Int)
        /// It would be replaced, if there were not too many already: the host ends.
        case end(worker: Int)
    }

    /// What is to be done about a thread that has come back.
    enum ReturnAction: Equatable {
        case nothing
        /// It is the worker still, and goes on.
        case goOn(worker: Int)
        /// It has lost its place: it ends.
        case retire(worker: Int)
    }

    private struct Seat: Equatable {
        let worker: Int
        let incarnation: Int
    }

    private let policy: PaniniStuckWorkerPolicy
    /// Of each worker, how often it was replaced.
    private var incarnations: [Int]
    private var threads: [UInt64: Seat] = [:]
    /// Threads that have lost their place and have not ended.
    private var givenUp: [UInt64: Seat] = [:]
    /// Workers that are stuck, and were not replaced.
    private(set) var stuck: Set<Int> = []
    /// How many were replaced so far.
    private(set) var replacements = 0
    private var isStopping = false

    init(workers: Int, policy: PaniniStuckWorkerPolicy) {
        self.policy = policy
        incarnations = Array(repeating: 0, count: workers)
    }

    /// How many threads have lost their place and have not ended.
    var givenUpCount: Int { givenUp.count }

    /// The workers of such threads.
    var givenUpWorkers: Set<Int> { Set(givenUp.values.map(\.worker)) }

    /// The thread that has a worker's place now; nil before it is known.
    func thread(of worker: Int) -> UInt64? {
        threads.first { $0.value == Seat(worker: worker, incarnation: incarnations[worker]) }?.key
    }

    /// A thread has taken a worker's place.
    mutating func sits(_ thread: UInt64, worker: Int, incarnation: Int) {
        threads[thread] = Seat(worker: worker, incarnation: incarnation)
    }

    /// A script holds the thread, and its run cannot be ended.
    mutating func isStuck(_ thread: UInt64) -> StuckAction {
        guard let seat = threads[thread], givenUp[thread] == nil else { return .nothing }
        guard !stuck.contains(seat.worker) else { return .nothing }
        guard case .replace(let limit) = policy.kind, !isStopping else {
            stuck.insert(seat.worker)
            return .report(worker: seat.worker)
        }
        guard givenUp.count < limit else {
            stuck.insert(seat.worker)
            return .end(worker: seat.worker)
        }
        givenUp[thread] = seat
        incarnations[seat.worker] += 1
        replacements += 1
        return .replace(worker: seat.worker, incarnation: incarnations[seat.worker])
    }

    /// The script has given the thread back.
    mutating func hasReturned(_ thread: UInt64) -> ReturnAction {
        if let seat = givenUp[thread] { return .retire(worker: seat.worker) }
        guard let seat = threads[thread], stuck.remove(seat.worker) != nil else { return .nothing }
        return .goOn(worker: seat.worker)
    }

    /// A thread that has lost its place has nothing left to do.
    mutating func hasEnded(_ thread: UInt64) {
        givenUp[thread] = nil
        threads[thread] = nil
    }

    /// The host stops: nobody is replaced any more.
    mutating func stop() { isStopping = true }
}
