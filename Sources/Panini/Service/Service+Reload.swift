// Owns: the exchange of a service's script while it serves: the next one is made ready beside it, takes over in one step,
// and the old one drains (docs/reload.md). Loop-bound: all of it happens on the worker's loop.

import Bytes
import CLuaVM
import Logging
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP
import ScriptRuntime

extension Service {
    /// How many replaced versions may still be at work; the oldest is ended early when there are more.
    static let maximumDraining = 16

    /// Carries out what the life of a version asks for.
    func perform(_ actions: [VersionAction<PaniniError>], on version: Script) {
        for action in actions { perform(action, on: version) }
    }

    private func perform(_ action: VersionAction<PaniniError>, on version: Script) {
        switch action {
        case .handOver:
            handOver { [self] failure in perform(version.lifecycle.handedOver(failure), on: version) }
        case .reportLoss(let failure):
            logger.error("what the version that is out of memory hands over is lost: \(failure.message)")
        case .runStartTasks:
            version.phase = .live
            runStartTasks(of: version, state: staged?.state ?? .none) { [self] failure in
                perform(version.lifecycle.startTasksEnded(failure), on: version)
            }
        case .prepare:
            prepare(version) { [self] failure in perform(version.lifecycle.prepared(failure), on: version) }
        case .subscribe:
            perform(version.lifecycle.subscribed(subscribe(version)), on: version)
        case .openPort: openPort(for: version)
        case .confirmSubscriptions: confirmSubscriptions(of: version)
        case .completeStaging(let outcome):
            if let staged, staged.script === version { staged.promise.complete(outcome) }
        case .withdraw: withdraw(version)
        case .runStopHooks:
            worker.eventLoop.assumeIsolated().execute { [self] in
                guard version.lifecycle.isDraining else { return }
                runStopHooks(of: version, reason: "reload") { [self] in
                    perform(version.lifecycle.stopHooksEnded(), on: version)
                }
            }
        case .giveUp(let runsStopHooks): giveUp(version, runsStopHooks: runsStopHooks)
        case .close: retire(version)
        }
    }

    // MARK: - Beside

    /// Makes a script ready: what the serving one hands over, its start tasks, its subscriptions, its port.
    ///
    /// - Parameters:
    ///   - new: Just loaded.
    ///   - webPort: The port that another worker has bound.
    ///   - isRescue: The serving one is out of memory: what it cannot hand over is lost, and does not stop this.
    /// - Returns: Succeeds when ``commit()`` may follow; after a failure the serving script is as it was.
    func stage(_ new: Script, webPort: Int? = nil, isRescue: Bool = false) -> EventLoopFuture<Void> {
        let promise = worker.eventLoop.makePromise(of: Void.self)
        guard lifecycle.isServing, staged == nil, let options = new.options else {
            new.close()
            promise.fail(CancellationError())
            return promise.futureResult
        }
        var staging = Staging(script: new, options: options, webPort: webPort, promise: promise)
        for feature in features.all { feature.stage(&staging) }
        staged = staging
        attach(new)
        perform(new.lifecycle.stage(isRescue: isRescue), on: new)
        return promise.futureResult
    }

    private func handOver(_ completion: @escaping (PaniniError?) -> Void) {
        guard let hook = script.hooks.reloadHook else { return completion(nil) }
        guard !script.hooks.runner.isRunning else { return completion(nil) }
        script.hooks.runner.run(.reload, [hook], push: { _ in 0 }, completion: completion)
    }

    /// Keeps what on_reload returned.
    ///
    /// - Returns: Why that cannot be; nil when it is kept.
    func reloadHookReturned(_ L: OpaquePointer, _ count: CInt, of script: Script) -> LuaError? {
        guard count > 0 else { return nil }
        let first = lua_gettop(L) - count + 1
        if count >= 2, let error = script.returnedError(L, count) { return error }
        do throws(LuaSnapshotError) {
            staged?.state = try script.vm.snapshot(L, first)
            return nil
        } catch {
            return LuaError(kind: .runtime, message: error.message)
        }
    }

    private func openPort(for version: Script) {
        stageWeb(port: staged?.webPort).assumeIsolated().whenComplete { [self] result in
            var failure: PaniniError?
            if case .failure(let error) = result {
                failure = error as? PaniniError ?? PaniniError(code: .webServer, message: "\(error)")
            }
            perform(
                version.lifecycle.portOpened(failure, addsSubjects: staged?.hasSubscribed ?? false),
                on: version
            )
        }
    }

    private func confirmSubscriptions(of version: Script) {
        let seconds = max(staged?.options.connectTimeout ?? 1, 1)
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(seconds))
        connection.flush(deadline: deadline).assumeIsolated().whenComplete { [self] result in
            var failure: PaniniError?
            // Without a connection the subscriptions stand all the same: they are made with the next one.
            if case .failure(let error) = result, (error as? NATSError)?.code != .disconnected {
                failure = connectError(error)
            }
            perform(version.lifecycle.confirmationEnded(failure), on: version)
        }
    }

    /// A feature has subscribed something that a version needs: the broker is asked whether it has taken it.
    func hasSubscribed(for version: Script) {
        if staged?.script === version { staged?.hasSubscribed = true }
    }

    /// The broker has denied a subscription that a version needs.
    ///
    /// - Returns: Whether the start, or the version that is made ready, fails for it. If not, the feature tells of it.
    func subscriptionDenied(_ failure: PaniniError, of version: Script?) -> Bool {
        if lifecycle.isStarting {
            lifecycle.subscriptionDenied(failure)
            return true
        }
        guard let staged, staged.script === version else { return false }
        staged.script.lifecycle.subscriptionDenied(failure)
        return true
    }

    /// Gives up the next version; the serving one goes on.
    func unstage(_ reason: LifecycleOutcome<PaniniError>) {
        guard let version = staged?.script else { return }
        perform(version.lifecycle.giveUp(reason), on: version)
    }

    /// Takes back what was made ready.
    private func withdraw(_ new: Script) {
        guard let staging = staged, staging.script === new else { return }
        staged = nil
        for feature in features.all { feature.withdraw(staging) }
        _ = refuseWaiting(new, .stopping)
        // Its hook may be what has just ended: not in the middle of that. The service stays until then: the script asks it.
        worker.eventLoop.assumeIsolated().execute { [self] in close(new) }
    }

    /// Closes a version. What still waits for its turn under "sync" keeps the owners, and not the script.
    private func close(_ version: Script) {
        sync.replace { $0.owner.script === version ? nil : $0 }
        version.close()
    }

    /// The port that the next version's web server has, when that is a new one.
    var stagedPort: Int? {
        guard case .open(_, let port) = staged?.web else { return nil }
        return port
    }

    // MARK: - The switch

    /// Lets the staged script serve. One step: no message is looked at in between.
    ///
    /// - Returns: Nil when there is none that is ready.
    func commit() -> SwitchReport? {
        guard let staging = staged, staging.script.lifecycle.commit() else { return nil }
        staged = nil
        let old = script
        let new = staging.script
        var report = report(from: old, to: new)
        old.lifecycle.replaced()
        draining.append(old)
        script = new
        options = staging.options
        turn.setSlice(options.sliceLimit)
        logger = new.logger
        for feature in features.all { feature.commit(staging, from: old, to: new) }
        // Of what is served one at a time, the order stays.
        sync.replace { $0.owner.script === old ? $0.owner.handOver($0, to: new) : $0 }
        begin(new, after: old)
        report.inFlight = old.activeCount
        report.webPort = web.port
        drain(old)
        return report
    }

    // MARK: - The end of the old

    private func drain(_ old: Script) {
        old.version.drainAlarm = worker.schedule(
            WorkerAlarm(self, ServiceWork.drainDeadline(of: old.generation)),
            at: worker.now &+ UInt64(nanoseconds(options.drainTimeout))
        )
        // Not from within the switch: on_stop runs after everything of the new version has begun.
        worker.eventLoop.assumeIsolated().execute { [self] in retireIfIdle(old) }
        if draining.count > Self.maximumDraining, let oldest = draining.first {
            logger.warning(
                "\(draining.count) replaced versions are still at work: version \(oldest.generation) is ended early"
            )
            worker.eventLoop.assumeIsolated().execute { [self] in drainDeadlineReached(oldest) }
        }
    }

    /// Ends a replaced script when nothing of it runs any more: its on_stop, then its Lua state.
    func retireIfIdle(_ old: Script) {
        guard old.lifecycle.waitsForIdle, !lifecycle.isStopped, old.activeCount == 0 else { return }
        guard !old.features.all.contains(where: \.isBusy) else { return }
        perform(old.lifecycle.becameIdle(), on: old)
    }

    /// The time for the end of a replaced script is over.
    func drainDeadlineReached(_ old: Script) {
        guard !lifecycle.isStopped else { return }
        perform(old.lifecycle.drainDeadlineReached(), on: old)
    }

    /// Answers whoever still waits for a replaced script 503.
    private func giveUp(_ old: Script, runsStopHooks: Bool) {
        for feature in features.all { feature.drainTimedOut(old) }
        let running = giveUpRunning(old, .reloaded)
        let waiting = refuseWaiting(old, .reloaded)
        logger.warning(
            """
            version \(old.generation) did not end within drain_timeout (\(formatted(options.drainTimeout)) s): \
            \(running) running and \(waiting) waiting messages were answered 503
            """
        )
        old.forgetActivities()
        guard runsStopHooks else { return }
        // What the hooks do before their first wait is still done; there is no time to wait.
        runStopHooks(of: old, reason: "reload") {}
    }

    private func retire(_ old: Script) {
        draining.removeAll { $0 === old }
        // Tasks: nobody waits for their end.
        _ = giveUpRunning(old, .stopping)
        if let alarm = old.version.drainAlarm { worker.cancel(alarm) }
        old.version.drainAlarm = nil
        // The coroutine of its last hook goes back first.
        worker.eventLoop.assumeIsolated().execute { [self] in
            close(old)
            if lifecycle.isStopping { stopIfIdle() }
        }
    }
}
