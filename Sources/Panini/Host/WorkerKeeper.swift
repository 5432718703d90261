// Owns: the workers of a host as a whole: which thread is which worker, what is done when a script holds one, and their end.
// Lives on the host's loop; hears of stuck threads from the watchdog's.

import Logging
import LuaVM
import NIOCore
import ScriptRuntime

/// What the keeper of the workers tells the host.
protocol WorkerKeeperDelegate: AnyObject {
    /// The services, those that are about to start included.
    var services: [ServiceController] { get }
    /// A worker that keeps its place is stuck, or is so no longer.
    func workerChanged(_ worker: Int, isStuck: Bool)
    /// A worker's place is another thread's.
    func workerReplaced(_ worker: Int)
    /// Too many threads are held by scripts.
    func tooManyStuck(_ error: PaniniError)
}

/// Keeps the workers of a host going.
final class WorkerKeeper {
    private let loop: any EventLoop
    private let threads: WorkerThreads
    private let logger: Logger
    private let policy: PaniniStuckWorkerPolicy
    private var seats: WorkerSeats
    private var wedgeToken: UInt64?
    private(set) var workers: [Worker.Handle]
    unowned(unsafe) var delegate: (any WorkerKeeperDelegate)?

    init(
        count: Int,
        threads: WorkerThreads,
        loop: any EventLoop,
        policy: PaniniStuckWorkerPolicy,
        logger: Logger
    ) {
        self.loop = loop
        self.threads = threads
        self.policy = policy
        self.logger = logger
        seats = WorkerSeats(workers: count, policy: policy)
        workers = (0..<count).map { Worker.Handle(eventLoop: threads.makeLoop(), index: $0, host: loop) }
    }

    /// How many threads have lost their places and have not ended.
    var givenUpThreads: Int { seats.givenUpCount }
    /// How many workers were replaced so far.
    var replacements: Int { seats.replacements }

    // MARK: - Watching

    func start() {
        for worker in workers { learnThread(of: worker) {} }
        if policy != .report { WedgedWorkers.watchUnlessWatched(logger: logger) }
        let box = NIOLoopBound(self, eventLoop: loop)
        let loop = loop
        wedgeToken = WedgedWorkers.onChange { worker, isStuck in
            // The watchdog's thread; the host may have ended meanwhile.
            loop.execute { box.value.changed(worker, isStuck: isStuck) }
        }
    }

    private func learnThread(of worker: Worker.Handle, then body: @escaping () -> Void) {
        let box = NIOLoopBound((self, body), eventLoop: loop)
        worker.submit { _ in LuaWatchdog.threadNumber }.hop(to: loop).whenSuccess { number in
            let (this, body) = box.value
            this.seats.sits(number, worker: worker.index, incarnation: worker.incarnation)
            body()
        }
    }

    private func changed(_ thread: PaniniWedgedWorker, isStuck: Bool) {
        guard isStuck else {
            if case .goOn(let worker) = seats.hasReturned(thread.thread) {
                delegate?.workerChanged(worker, isStuck: false)
            }
            return
        }
        switch seats.isStuck(thread.thread) {
        case .nothing: LoaderThread.isStuck(thread)
        case .report(let worker): delegate?.workerChanged(worker, isStuck: true)
        case .replace(let worker, let incarnation): replace(worker, incarnation, thread)
        case .end(let worker):
            delegate?.workerChanged(worker, isStuck: true)
            delegate?.tooManyStuck(
                PaniniError(
                    code: .tooManyStuckWorkers,
                    message: """
                        a script of \(thread.service) holds worker-\(worker), and \(seats.givenUpCount) threads are held \
                        already: the program ends; see what the script calls that does not return
                        """
                )
            )
        }
    }

    private func replace(_ worker: Int, _ incarnation: Int, _ thread: PaniniWedgedWorker) {
        LuaWatchdog.giveUp(thread: thread.thread)
        let old = workers[worker]
        let new = Worker.Handle(eventLoop: threads.makeLoop(), index: worker, incarnation: incarnation, host: loop)
        workers[worker] = new
        logger.error(
            """
            worker-\(worker) is replaced: a script of \(thread.service) holds its thread in a call that does not return. What \
            ran there is lost; look for what the script calls (\(seats.givenUpCount) of these threads are held now)
            """
        )
        for service in delegate?.services ?? [] { service.lost(new, heldBy: thread.service) }
        delegate?.workerReplaced(worker)
        old.calls.value.fail(
            PaniniError(code: .workerStuck, message: "a script of \(thread.service) holds worker-\(worker)")
        )
        let box = NIOLoopBound(self, eventLoop: loop)
        let threads = threads
        // Behind what ends the services there.
        old.end().hop(to: loop).whenComplete { _ in
            let this = box.value
            this.seats.hasEnded(thread.thread)
            threads.end(old.eventLoop)
            this.logger.warning(
                "the thread that was worker-\(worker) has come back: nothing of it has an effect, and it ends"
            )
        }
        learnThread(of: new) {
            for service in box.value.delegate?.services ?? [] { service.threadStarted(worker) }
        }
    }

    // MARK: - Stop

    /// Nobody is replaced from now on.
    func stop() { seats.stop() }

    /// Ends the workers once all services have.
    ///
    /// - Returns: Why the host ends with an error: a script holds a thread.
    func end() -> EventLoopFuture<PaniniError?> {
        if let wedgeToken { WedgedWorkers.removeListener(wedgeToken) }
        wedgeToken = nil
        let ends = workers.map { worker in
            guard !seats.stuck.contains(worker.index) else { return loop.makeSucceededFuture(false) }
            // One that does not come back may not be known as stuck yet.
            return worker.end().hop(to: loop).map { true }.value(within: .seconds(1), or: false)
        }
        let box = NIOLoopBound(self, eventLoop: loop)
        return EventLoopFuture.whenAllSucceed(ends, on: loop).map { ends in
            let this = box.value
            let held = zip(this.workers, ends).filter { !$1 }.map(\.0)
            for worker in held { this.threads.leave(worker.eventLoop) }
            let all = this.seats.givenUpWorkers.union(held.map(\.index))
            if this.seats.givenUpCount > 0 { this.threads.leaveOthers(than: this.workers.map(\.eventLoop)) }
            return all.min().map {
                PaniniError(
                    code: .workerStuck,
                    message: "a script holds the thread of worker-\($0) and could not be ended"
                )
            }
        }
    }

    /// Lets no Lua run on the workers any more: the time for a stop is over.
    func endAllRuns() {
        for worker in workers {
            if let thread = seats.thread(of: worker.index) { LuaWatchdog.giveUp(thread: thread) }
        }
    }
}

@available(*, unavailable)
extension WorkerKeeper: Sendable {}
