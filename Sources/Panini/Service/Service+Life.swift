// Owns: the order of start and stop (docs/scripts.md). Loop-bound.

import Bytes
import CLuaVM
import Logging
import LoopTools
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP
import ScriptRuntime

extension Service {
    /// Carries out what the life of the service asks for.
    func perform(_ actions: [ServiceAction<PaniniError>]) {
        for action in actions { perform(action) }
    }

    private func perform(_ action: ServiceAction<PaniniError>) {
        switch action {
        case .connect: connect()
        case .runStartTasks:
            script.phase = .live
            runStartTasks(of: script) { [self] failure in perform(lifecycle.startTasksEnded(failure)) }
        case .prepare: prepare(script) { [self] failure in perform(lifecycle.prepared(failure)) }
        case .subscribe: subscribeAll()
        case .confirmSubscriptions: confirmSubscriptions()
        case .completeStart(let outcome): promises.start?.complete(outcome)
        case .completeActivation(let outcome): promises.activation?.complete(outcome)
        case .report(let error): callbacks.failed?(error)
        case .drain: drain()
        case .runStopHooks:
            // Not from within the handler that was the last one.
            worker.eventLoop.assumeIsolated().execute { [self] in
                guard lifecycle.isStopping else { return }
                runStopHooks(of: script, reason: "stop") { [self] in perform(lifecycle.stopHooksEnded()) }
            }
        case .giveUp(let runsStopHooks): giveUp(runsStopHooks: runsStopHooks)
        case .closeConnection: closeConnection()
        case .shutDown: shutDown()
        case .completeStop: promises.stop?.succeed()
        }
    }

    // MARK: - Start

    /// Connects, runs the start tasks and subscribes. The future succeeds when the broker has taken all subscriptions;
    /// ``activate(webPort:)`` goes on. It fails with a ``PaniniError``.
    func start() -> EventLoopFuture<Void> {
        let actions = lifecycle.start()
        guard !actions.isEmpty else { return worker.eventLoop.makeFailedFuture(CancellationError()) }
        let promise = worker.eventLoop.makePromise(of: Void.self)
        promises.start = promise
        perform(actions)
        return promise.futureResult
    }

    private func connect() {
        connection.connect().assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: perform(lifecycle.connectEnded(nil))
            case .failure(let error): perform(lifecycle.connectEnded(connectError(error)))
            }
        }
    }

    private static func stateFailure(_ why: String) -> PaniniError {
        PaniniError(code: .startTaskFailed, message: "what on_reload returned cannot be handed over: \(why)")
    }

    /// Runs a script's start tasks, with what the version before handed over.
    func runStartTasks(
        of script: Script,
        state: LuaSnapshot = .none,
        completion: @escaping (PaniniError?) -> Void
    ) {
        guard script.hooks.startTasks.isEmpty || script.vm.hasRoom(for: state.sizeInLua) else {
            return completion(Self.stateFailure(LuaVM.memoryText))
        }
        var failure: PaniniError?
        script.hooks.runner.run(
            .start,
            script.hooks.startTasks,
            push: { L in
                var isWhole = true
                let isInTime = script.vm.withinBudget { isWhole = script.vm.push(state, onto: L) }
                if !isWhole || !isInTime { failure = Self.stateFailure("it took too much CPU time to copy the data") }
                return 1
            },
            completion: { completion($0 ?? failure) }
        )
    }

    /// Waits for what features need before a version may serve.
    func prepare(_ version: Script, completion: @escaping (PaniniError?) -> Void) {
        let preparations = features.all.flatMap { $0.prepare(version) }
        guard !preparations.isEmpty else { return completion(nil) }
        let ends = preparations.map { $0.end(on: worker.eventLoop, for: options.serviceName) }
        EventLoopFuture.andAllSucceed(ends, on: worker.eventLoop).assumeIsolated().whenComplete {
            guard case .failure(let error) = $0 else { return completion(nil) }
            completion(error as? PaniniError ?? PaniniError(code: .notReady, message: "\(error)"))
        }
    }

    private func subscribeAll() {
        perform(lifecycle.subscribed(subscribe(script)))
    }

    /// Asks the broker for what a version needs.
    func subscribe(_ version: Script) -> PaniniError? {
        for feature in features.all {
            if let failure = feature.subscribe(version) { return failure }
        }
        return nil
    }

    /// Lets what runs by itself in a version begin.
    func begin(_ version: Script, after old: Script? = nil) {
        for feature in features.all { feature.begin(version, after: old) }
    }

    /// Waits until the broker has taken every subscription; over a reconnect, too.
    private func confirmSubscriptions() {
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(max(options.connectTimeout, 1)))
        connection.flush(deadline: deadline).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: perform(lifecycle.confirmationEnded(.confirmed))
            case .failure(let error as NATSError) where error.code == .disconnected || error.code == .timeout:
                perform(lifecycle.confirmationEnded(.unanswered))
            case .failure(let error): perform(lifecycle.confirmationEnded(.failed(connectError(error))))
            }
        }
    }

    /// Tells that the service has started, once for all workers.
    private func announce() {
        var subject = "panini_events.\(options.serviceName).\(clientName).started"
        subject.withUTF8 { subject in
            "{}".utf8CString.withUnsafeBytes { text in
                _ = publish(
                    subject: UnsafeRawBufferPointer(subject),
                    reply: emptyBytes,
                    headers: emptyBytes,
                    payload: UnsafeRawBufferPointer(rebasing: text[..<2])
                )
            }
        }
    }

    /// Begins to serve, once all workers have subscribed: tasks, timers, the web server last.
    ///
    /// - Parameters:
    ///   - webPort: The port that another worker has bound; nil for the one of the options.
    ///   - inherited: What listens there already, when this worker takes another's place.
    /// - Returns: The web server's port, when there is one.
    func activate(webPort: Int? = nil, inheriting inherited: HTTPListeningSocket? = nil) -> EventLoopFuture<Int?> {
        guard lifecycle.activate() else { return worker.eventLoop.makeFailedFuture(CancellationError()) }
        let promise = worker.eventLoop.makePromise(of: Void.self)
        promises.activation = promise
        if worker.isFirst, !isReplacement { announce() }
        begin(script)
        startWebServer(port: webPort, inherited).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: perform(lifecycle.portOpened(nil))
            case .failure(let error):
                perform(
                    lifecycle.portOpened(error as? PaniniError ?? PaniniError(code: .webServer, message: "\(error)"))
                )
            }
        }
        return promise.futureResult.assumeIsolated().map { [self] in web.port }.nonisolated()
    }

    /// Ends the service by itself: the host stops and reports the error.
    func fail(_ error: PaniniError) { perform(lifecycle.fail(error)) }

    // MARK: - Stop

    /// Stops taking work, lets running handlers finish, runs on_stop, drains and closes. Never fails;
    /// ``ServiceMachine/failure`` tells.
    func stop() -> EventLoopFuture<Void> {
        if let promise = promises.stop { return promise.futureResult }
        let promise = worker.eventLoop.makePromise(of: Void.self)
        promises.stop = promise
        perform(lifecycle.stop())
        return promise.futureResult
    }

    private func drain() {
        unstage(.cancelled)
        let drains = features.all.compactMap { $0.drain() }
        worker.schedule(alarm(.stopDeadline), at: worker.now &+ UInt64(nanoseconds(options.shutdownTimeout)))
        // Whether the broker confirms or is gone: nothing more arrives.
        EventLoopFuture.andAllComplete(drains, on: worker.eventLoop).assumeIsolated().whenComplete { [self] _ in
            lifecycle.intakeEnded()
            stopIfIdle()
        }
    }

    /// The stop has taken `shutdown_timeout`.
    func stopDeadlineReached() { perform(lifecycle.stopDeadlineReached()) }

    /// Goes on with the stop when nothing runs or waits any more.
    func stopIfIdle() {
        for script in draining { retireIfIdle(script) }
        guard lifecycle.waitsForIdle, sync.isEmpty, draining.isEmpty else { return }
        guard script.activeCount == 0, features.all.allSatisfy(\.isIdle) else { return }
        perform(lifecycle.becameIdle())
    }

    /// Runs a script's on_stop; one that fails is logged, and the others run.
    func runStopHooks(of script: Script, reason: StaticString, completion: @escaping () -> Void) {
        script.hooks.runner.run(
            .stop,
            script.hooks.stopHooks,
            push: { L in
                script.vm.pushString(L, reason)
                return 1
            },
            completion: { _ in completion() }
        )
    }

    /// Another worker has taken this one's place: nothing that it does may have an effect any more, and nobody waits for it.
    func abandon() {
        guard !lifecycle.isStopped else { return }
        callbacks = ServiceCallbacks()
        perform(lifecycle.abandon())
    }

    private func closeConnection() {
        // After a stop that timed out, data that is already written gets one more second.
        let rest = lifecycle.failure?.code == .shutdownTimeout ? 1 : min(options.shutdownTimeout, 5)
        let limit = TimeAmount.nanoseconds(nanoseconds(max(rest, 0.5)))
        let ends = features.all.compactMap { $0.willDisconnect() }
        guard !ends.isEmpty else { return drainConnection(limit) }
        EventLoopFuture.andAllComplete(ends, on: worker.eventLoop).value(within: limit, or: ()).assumeIsolated()
            .whenComplete { [self] _ in drainConnection(limit) }
    }

    private func drainConnection(_ limit: TimeAmount) {
        connection.drain(timeout: limit).assumeIsolated().whenComplete { [self] _ in
            perform(lifecycle.connectionDrained())
        }
    }

    private func shutDown() {
        turn.end()
        unstage(.cancelled)
        for feature in features.all { feature.shut() }
        connection.close()
        for script in scripts { script.close() }
        draining = []
        for feature in features.all { feature.close() }
    }

    /// Answers whoever still waits 503: there is no more time.
    private func giveUp(runsStopHooks: Bool) {
        var running = 0
        var waiting = 0
        for feature in features.all { feature.stopTimedOut() }
        turn.deliverRemaining()
        for script in scripts {
            running += giveUpRunning(script, .stopping)
            waiting += refuseWaiting(script, .stopping)
        }
        lifecycle.stopTimedOut(
            PaniniError(
                code: .shutdownTimeout,
                message: """
                    \(options.serviceName): shutdown_timeout (\(formatted(options.shutdownTimeout)) s) is over: \
                    \(running) running and \(waiting) waiting messages were answered 503
                    """
            )
        )
        guard runsStopHooks else { return }
        // What the hooks do before their first wait is still done; there is no time to wait.
        for (index, function) in script.hooks.stopHooks.enumerated() {
            script.hooks.runner.runAtOnce(.stop, index, function) { L in
                script.vm.pushString(L, "stop")
                return 1
            }
        }
        let closing = ClosingTime(options)
        for case .some(let suspendedRun) in script.suspendedRuns {
            script.abandon(suspendedRun, closes: closing.isLeft)
        }
    }

    /// Ends what a script runs; those who wait for it are answered.
    ///
    /// - Returns: How many handlers that were.
    func giveUpRunning(_ script: Script, _ reason: ReplyError) -> Int {
        var count = 0
        var hadTurn = false
        let closing = ClosingTime(options)
        for case .some(let suspendedRun) in script.suspendedRuns {
            let activity = suspendedRun.activity
            hadTurn = hadTurn || activity.traits.contains(.takesTurn)
            if activity.owner.givenUp(activity, reason) { count += 1 }
            script.abandon(suspendedRun, reason, closes: closing.isLeft)
        }
        for parent in script.spawning.parents { parent.giveUpSpawned(reason) }
        if sync.isOn, hadTurn {
            sync.isBusy = false
            if lifecycle.isServing, !sync.isEmpty { deferTurn() }
        }
        return count
    }

    /// Answers what waits for a free place of a script's listeners.
    func refuseWaiting(_ script: Script, _ reason: ReplyError) -> Int {
        var count = 0
        script.ready.keep { item in
            guard case .begin(let activity) = item, activity.owner.refuse(activity, reason) else { return true }
            count += 1
            return false
        }
        for feature in features.all { count += feature.refuseWaiting(script, reason) }
        return count
    }
}

/// How long variables may take to be closed when a whole script is given up: all together one budget of a run. What is left
/// then is dropped as it is.
private struct ClosingTime {
    private let end: UInt64

    init(_ options: AppOptions) { end = LuaVM.threadTime &+ UInt64(nanoseconds(options.limits.cpu)) }

    var isLeft: Bool { LuaVM.threadTime < end }
}

/// Passes a connection's events on; the connection knows its delegate before the service is complete.
final class ConnectionEvents: NATSConnectionDelegate {
    unowned(unsafe) var service: Service?
    /// The clock at the first request of the read burst that is going on; 0 when there was none.
    @exclusivity(unchecked) var burstTime: UInt64 = 0
    /// The service's: at hand, since every read of the socket begins with it.
    var share: OpaquePointer?

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        service?.connectionEvent(event)
    }

    func connectionReadBurstBegan(_ connection: NATSConnection) {
        if let share { _ = panini_share_enter(share) }
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        burstTime = 0
        service?.readBurstEnded()
    }

    func connectionTurnIsOver(_ connection: NATSConnection) {
        service?.turn.sliceEnded()
    }

    func connection(_ connection: NATSConnection, congestion: NATSCongestion) {
        for feature in service?.features.all ?? [] { feature.congestionChanged(congestion) }
    }
}

@available(*, unavailable)
extension ConnectionEvents: Sendable {}
