// Owns: the exchange of a service's script while it serves: the next one is made ready beside it, takes over in one step,
// and the old one drains (docs/reload.md). Loop-bound: all of it happens on the worker's loop.

import CLuaShim
import Logging
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP

extension Service {
    /// How many replaced versions may still be at work; the oldest is ended early when there are more.
    static let maximumDraining = 16

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
        guard state == .running, staged == nil, let options = new.options else {
            new.close()
            promise.fail(CancellationError())
            return promise.futureResult
        }
        var staging = Staging(script: new, options: options, promise: promise)
        for listener in script.listeners where !listener.isEnded {
            for subject in listener.subjects where subject.subscription != nil {
                staging.free[SubscriptionKey(of: subject), default: FIFO()].append(subject)
            }
        }
        staged = staging
        attach(new, options)
        for listener in new.registrations.listeners { listener.places = 0 }
        handOver { [self] failure in
            guard staged?.script === new else { return }
            if let failure {
                guard isRescue else { return unstage(failure) }
                logger.error("what the version that is out of memory hands over is lost: \(failure.message)")
            }
            new.phase = .live
            runStartTasks(of: new, state: staged?.state ?? .none) { [self] failure in
                guard staged?.script === new else { return }
                if let failure = failure ?? staged?.failure { return unstage(failure) }
                subscribeStaged(new, webPort)
            }
        }
        return promise.futureResult
    }

    private func handOver(_ completion: @escaping (PaniniError?) -> Void) {
        guard let hook = script.registrations.reloadHook else { return completion(nil) }
        guard !script.hook.isRunning else { return completion(nil) }
        runHooks(of: script, [hook], { _ in .reloadHook }, push: { _ in 0 }, completion: completion)
    }

    private func subscribeStaged(_ new: Script, _ webPort: Int?) {
        if let failure = subscribeListeners(of: new) { return unstage(failure) }
        warnOfDoubledSubjects(of: new)
        stageWeb(port: webPort).assumeIsolated().whenComplete { [self] result in
            guard staged?.script === new else { return }
            if case .failure(let error) = result {
                return unstage(error as? PaniniError ?? PaniniError(code: .webServer, message: "\(error)"))
            }
            confirmStaged(new)
        }
    }

    private func confirmStaged(_ new: Script) {
        guard let staging = staged, staging.added > 0 else { return stagedReady(new, nil) }
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(max(staging.options.connectTimeout, 1)))
        connection.flush(deadline: deadline).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: stagedReady(new, nil)
            // Without a connection the subscriptions stand all the same: they are made with the next one.
            case .failure(let error as NATSError) where error.code == .disconnected: stagedReady(new, nil)
            case .failure(let error): stagedReady(new, connectError(error))
            }
        }
    }

    private func stagedReady(_ new: Script, _ failure: PaniniError?) {
        guard let staging = staged, staging.script === new else { return }
        if let failure = staging.failure ?? failure { return unstage(failure) }
        staging.promise.succeed()
    }

    /// Takes a subscription of the serving version for a subject of the next one, if there is one.
    func claim(_ subject: ListenerSubject, of listener: Listener) -> Bool {
        guard staged != nil, listener.script === staged?.script else { return false }
        let key = SubscriptionKey(of: subject)
        guard let old = staged?.free[key]?.popFirst() else {
            staged?.added += 1
            return false
        }
        staged?.claims.append((old, subject))
        return true
    }

    /// Gives up the next version; the serving one goes on.
    func unstage(_ error: any Error) {
        guard let staging = staged else { return }
        staged = nil
        let new = staging.script
        new.standing = .retired
        if case .open(let server, _) = staging.web { server.close() }
        for listener in new.listeners {
            for subject in listener.subjects {
                if let subscription = subject.subscription { connection.unsubscribe(subscription) }
            }
        }
        _ = giveUpWaiting(new, .stopping)
        staging.promise.fail(error)
        // Its hook may be what has just ended: not in the middle of that.
        worker.eventLoop.assumeIsolated().execute { new.close() }
    }

    /// The port that the next version's web server has, when that is a new one.
    var stagedPort: Int? {
        guard case .open(_, let port) = staged?.web else { return nil }
        return port
    }

    // MARK: - The switch

    /// Lets the staged script serve. One step: no message is looked at in between.
    func commit() -> SwitchReport {
        guard let staging = staged else { return SwitchReport() }
        staged = nil
        let old = script
        let new = staging.script
        var report = report(from: old, to: new)
        old.standing = .draining
        new.standing = .serving
        draining.append(old)
        script = new
        options = staging.options
        turn.setSlice(options.sliceLimit)
        logger = new.logger
        for (from, to) in staging.claims { move(from, to) }
        for listener in new.listeners { listener.places = listener.concurrency }
        moveWaiting(of: old)
        endListening(old)
        switchWeb(staging.web)
        webSocketsMove(from: old, to: new)
        directoryFollows()
        for listener in new.listeners where !listener.pending.isEmpty { startWaiting(listener) }
        let timers = old.registrations.timers
        startTasksAndTimers(of: new, before: timers)
        for timer in timers { timer.isOn = false }
        report.inFlight = old.activeCount
        report.webPort = webPort
        drain(old)
        return report
    }

    private func move(_ from: ListenerSubject, _ to: ListenerSubject) {
        guard let subscription = from.subscription, !subscription.isEnded else {
            // Ended since it was claimed, by the old version itself.
            if let listener = to.listener, let error = subscribe(to, of: listener) {
                logger.error("cannot subscribe to \(to.pattern.subject): \(error.message)")
            }
            return
        }
        to.takeOver(from.endpoint)
        to.subscription = subscription
        subscription.handler = to
        from.subscription = nil
        from.successor = to
    }

    /// Messages that wait for a free place and have not begun run on the new version.
    private func moveWaiting(of old: Script) {
        for listener in old.listeners where !listener.pending.isEmpty {
            var rest = PendingMessages()
            while let message = listener.pending.popFirst() {
                let subject = listener.subjects[message.subjectIndex]
                guard let next = subject.successor, let target = next.listener else {
                    rest.append(message)
                    continue
                }
                target.pending.append(message.moved(to: next.position))
            }
            listener.pending = rest
        }
        // Of those that are served one at a time, the order stays.
        sync.replace { start in
            switch start {
            case .message(let listener) where listener.script === old && listener.pending.isEmpty: nil
            case .tick(let timer) where timer.script === old: nil
            case .request(let route, let request) where route.script === old: moved(request, from: old)
            default: start
            }
        }
        guard sync.isOn else { return }
        for listener in script.listeners {
            for _ in 0..<listener.pending.count { sync.append(.message(listener)) }
        }
    }

    private func startWaiting(_ listener: Listener) {
        if sync.isOn {
            if !sync.isBusy { script.defer(.syncNext) }
        } else {
            pump(listener)
        }
    }

    /// What the new version has not taken over ends at the broker; what is under way still comes to the old one.
    private func endListening(_ old: Script) {
        for listener in old.listeners {
            for subject in listener.subjects {
                guard let subscription = subject.subscription else { continue }
                old.endingSubscriptions += 1
                connection.drain(subscription).assumeIsolated().whenComplete { [self] _ in
                    old.endingSubscriptions -= 1
                    retireIfIdle(old)
                }
            }
        }
    }

    private func directoryFollows() {
        if options.services, directory == nil {
            directory = ServiceDirectory(service: self)
            directory?.start()
        } else if !options.services, let directory {
            directory.stop()
            self.directory = nil
        }
        directory?.optionsChanged()
        endpointsChanged()
    }

    // MARK: - The end of the old

    private func drain(_ old: Script) {
        old.drainAlarm = worker.schedule(
            .drainDeadline(self, old),
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
        guard old.standing == .draining, state != .stopped, old.activeCount == 0, old.endingSubscriptions == 0 else {
            return
        }
        guard openWebSockets(of: old) == 0 else { return }
        guard !old.hook.isRunning, !old.isRetiring, old.listeners.allSatisfy(\.pending.isEmpty) else { return }
        old.isRetiring = true
        worker.eventLoop.assumeIsolated().execute { [self] in
            guard old.standing == .draining else { return }
            runStopHooks(of: old, reason: "reload") { [self] in retire(old) }
        }
    }

    /// The time for its end is over: whoever still waits is answered 503.
    func drainDeadlineReached(_ old: Script) {
        guard old.standing == .draining, state != .stopped else { return }
        // What ends by itself now does not begin the end anew.
        let isRetiring = old.isRetiring
        old.isRetiring = true
        webSocketsClose(of: old)
        let reason = ReplyError(
            503,
            "the service was reloaded, and the handler of the version before did not end in time"
        )
        let running = giveUpRunning(old, reason)
        let waiting = giveUpWaiting(old, reason)
        logger.warning(
            """
            version \(old.generation) did not end within drain_timeout (\(formatted(options.drainTimeout)) s): \
            \(running) running and \(waiting) waiting messages were answered 503
            """
        )
        old.activeCount = 0
        if !isRetiring {
            // What the hooks do before their first wait is still done; there is no time to wait.
            runStopHooks(of: old, reason: "reload") {}
        }
        retire(old)
    }

    private func retire(_ old: Script) {
        guard old.standing == .draining else { return }
        old.standing = .retired
        draining.removeAll { $0 === old }
        // Tasks: nobody waits for their end.
        _ = giveUpRunning(old, .stopping)
        if let alarm = old.drainAlarm { worker.cancel(alarm) }
        old.drainAlarm = nil
        // The coroutine of its last hook goes back first.
        worker.eventLoop.assumeIsolated().execute { [self] in
            old.close()
            if state == .stopping { stopIfIdle() }
        }
    }
}

extension SubscriptionKey {
    init(of subject: ListenerSubject) {
        self.init(subject: subject.pattern.key, queue: subject.brokerQueue.map(ExactText.init))
    }
}
