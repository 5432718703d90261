// Owns: the order of start and stop (lua-api §4). Loop-bound.

import CLuaShim
import Logging
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP

extension Service {
    // MARK: - Start

    /// Connects, runs the start tasks and subscribes. The future succeeds when the broker has taken all subscriptions;
    /// ``activate(webPort:)`` goes on. It fails with a ``PaniniError``.
    func start() -> EventLoopFuture<Void> {
        let promise = worker.eventLoop.makePromise(of: Void.self)
        startPromise = promise
        state = .starting
        connection.connect().assumeIsolated().whenComplete { [self] result in
            guard state == .starting else { return }
            switch result {
            case .success:
                script.phase = .live
                runStartTasks(of: script) { [self] failure in
                    guard state == .starting else { return }
                    if let failure = failure ?? self.failure { startFailed(failure) } else { subscribeAll() }
                }
            case .failure(let error):
                startFailed(connectError(error))
            }
        }
        return promise.futureResult
    }

    func startFailed(_ error: PaniniError) {
        guard let promise = startPromise else { return fail(error) }
        startPromise = nil
        failure = error
        state = .stopped
        turn.end()
        web?.close()
        connection.close()
        closeScripts()
        fetcher.close()
        promise.fail(error)
    }

    /// Runs a script's start tasks, with what the version before handed over.
    func runStartTasks(
        of script: Script,
        state: LuaSnapshot = .none,
        completion: @escaping (PaniniError?) -> Void
    ) {
        runHooks(
            of: script,
            script.registrations.startTasks,
            { .startTask(index: $0) },
            push: { L in
                script.vm.push(state, onto: L)
                return 1
            },
            completion: completion
        )
    }

    /// Closes every Lua state of the service.
    private func closeScripts() {
        for script in scripts { script.close() }
        draining = []
        staged = nil
    }

    private func subscribeAll() {
        if let failure = subscribeListeners(of: script) { return startFailed(failure) }
        warnOfDoubledSubjects(of: script)
        directory?.start()
        confirmSubscriptions()
    }

    /// Subscribes what a script listens to since it was loaded.
    func subscribeListeners(of script: Script) -> PaniniError? {
        for listener in script.registrations.listeners {
            for subject in listener.subjects {
                guard script.registrations.filters.admits(subject.pattern.subject) else {
                    logger.debug("listener \(subject.pattern.subject) is left out by the filters")
                    continue
                }
                if let error = subscribe(subject, of: listener) {
                    return PaniniError(
                        code: .subscribeDenied,
                        message:
                            "\(options.serviceName): cannot subscribe to \(subject.pattern.subject): \(error.message)"
                    )
                }
            }
        }
        return nil
    }

    func warnOfDoubledSubjects(of script: Script) {
        var seen: [ExactText: Listener] = [:]
        for listener in script.registrations.listeners {
            for subject in listener.subjects {
                let key = ExactText("\(subject.pattern.subject) \(listener.queue ?? "")")
                if let other = seen[key], listener.queue == nil {
                    logger.warning(
                        """
                        two listeners on \(subject.pattern.subject) (\(other.origin), \(listener.origin)): both run, and a \
                        requester takes the first reply
                        """
                    )
                }
                seen[key] = listener
            }
        }
    }

    /// Waits until the broker has taken every subscription; over a reconnect, too.
    func confirmSubscriptions() {
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(max(options.connectTimeout, 1)))
        connection.flush(deadline: deadline).assumeIsolated().whenComplete { [self] result in
            guard state == .starting else { return }
            if let failure { return startFailed(failure) }
            switch result {
            case .success:
                startPromise?.succeed()
                startPromise = nil
            case .failure(let error):
                guard let error = error as? NATSError, error.code == .disconnected || error.code == .timeout else {
                    return startFailed(connectError(error))
                }
                // The connection is made again with all its subscriptions; then the broker can confirm them.
                awaitsReconnect = true
            }
        }
    }

    func subscriptionDenied(_ subject: ListenerSubject, _ text: String) {
        let error = PaniniError(
            code: .subscribeDenied,
            message: "\(options.serviceName): the broker denied the subscription to \(subject.pattern.subject): \(text)"
        )
        if state == .starting {
            failure = error
        } else if let staged, subject.listener?.script === staged.script, subject.listener?.isDynamic == false {
            self.staged?.failure = staged.failure ?? error
        } else {
            logger.error("the broker denied the subscription to \(subject.pattern.subject): \(text)")
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
        guard state == .starting else { return worker.eventLoop.makeFailedFuture(CancellationError()) }
        if worker.isFirst, !isReplacement { announce() }
        state = .running
        let promise = worker.eventLoop.makePromise(of: Void.self)
        startPromise = promise
        startTasksAndTimers(of: script)
        startWebServer(port: webPort, inherited).assumeIsolated().whenComplete { [self] result in
            guard let promise = startPromise else { return }
            switch result {
            case .success:
                startPromise = nil
                promise.succeed()
            case .failure(let error):
                startFailed(error as? PaniniError ?? PaniniError(code: .webServer, message: "\(error)"))
            }
        }
        return promise.futureResult.assumeIsolated().map { [self] in self.webPort }.nonisolated()
    }

    /// Ends the service by itself: the host stops and reports the error.
    func fail(_ error: PaniniError) {
        guard failure == nil else { return }
        failure = error
        onFailure?(error)
    }

    // MARK: - Stop

    /// Stops taking work, lets running handlers finish, runs on_stop, drains and closes. Never fails; ``failure`` tells.
    func stop() -> EventLoopFuture<Void> {
        if let stopPromise { return stopPromise.futureResult }
        let promise = worker.eventLoop.makePromise(of: Void.self)
        stopPromise = promise
        switch state {
        case .running: beginStop()
        case .starting:
            state = .stopped
            turn.end()
            startPromise?.fail(CancellationError())
            startPromise = nil
            connection.close()
            closeScripts()
            fetcher.close()
            promise.succeed()
        case .loaded, .stopped, .stopping:
            state = .stopped
            turn.end()
            connection.close()
            closeScripts()
            promise.succeed()
        }
        return promise.futureResult
    }

    private func beginStop() {
        unstage(CancellationError())
        state = .stopping
        directory?.stop()
        isWebDrained = web == nil
        web?.stop { [self] in
            isWebDrained = true
            stopIfIdle()
        }
        worker.schedule(.stopDeadline(self), at: worker.now &+ UInt64(nanoseconds(options.shutdownTimeout)))
        var drains: [EventLoopFuture<Void>] = []
        for listener in scripts.flatMap(\.listeners) {
            for subject in listener.subjects {
                if let subscription = subject.subscription { drains.append(connection.drain(subscription)) }
            }
        }
        // Whether the broker confirms or is gone: nothing more arrives.
        EventLoopFuture.andAllComplete(drains, on: worker.eventLoop).assumeIsolated().whenComplete { [self] _ in
            isDrained = true
            for script in draining { retireIfIdle(script) }
            stopIfIdle()
        }
    }

    /// Goes on with the stop when nothing runs or waits any more.
    func stopIfIdle() {
        for script in draining { retireIfIdle(script) }
        guard state == .stopping, isDrained, isWebDrained, !runsStopHooks, sync.isEmpty, draining.isEmpty else {
            return
        }
        guard script.activeCount == 0, script.listeners.allSatisfy(\.pending.isEmpty) else { return }
        runsStopHooks = true
        worker.eventLoop.assumeIsolated().execute { [self] in
            guard state == .stopping else { return }
            runStopHooks(of: script, reason: "stop") { [self] in closeConnection() }
        }
    }

    /// Runs a script's on_stop; one that fails is logged, and the others run.
    func runStopHooks(of script: Script, reason: StaticString, completion: @escaping () -> Void) {
        runHooks(
            of: script,
            script.registrations.stopHooks,
            { .stopHook(index: $0) },
            push: { L in
                script.vm.pushString(L, reason)
                return 1
            },
            completion: { _ in completion() }
        )
    }

    /// Another worker has this one's place: nothing of it is to have an effect any more, and nobody waits for it.
    func abandon() {
        guard state != .stopped else { return }
        onFailure = nil
        onExhausted = nil
        unstage(CancellationError())
        if let startPromise {
            self.startPromise = nil
            startPromise.fail(CancellationError())
        }
        stopped()
    }

    private func closeConnection() {
        guard !isClosing else { return }
        isClosing = true
        // When the time is over, only what is written already has a moment more.
        let rest = failure?.code == .shutdownTimeout ? 1 : min(options.shutdownTimeout, 5)
        connection.drain(timeout: .nanoseconds(nanoseconds(max(rest, 0.5)))).assumeIsolated().whenComplete { [self] _ in
            stopped()
        }
    }

    private func stopped() {
        guard state != .stopped else { return }
        state = .stopped
        turn.end()
        web?.close()
        for server in endingWebs { server.close() }
        connection.close()
        closeScripts()
        closeLocalExchanges()
        fetcher.close()
        stopPromise?.succeed()
    }

    /// The stop has taken `shutdown_timeout`: whoever still waits is answered 503.
    func stopDeadlineReached() {
        guard state == .stopping, !isClosing else { return }
        var running = 0
        var waiting = 0
        // Messages that were read and are not delivered wait as the others do: none of them begins.
        for listener in scripts.flatMap(\.listeners) { listener.places = 0 }
        turn.takeRest()
        for script in scripts {
            running += giveUpRunning(script, .stopping)
            waiting += giveUpWaiting(script, .stopping)
        }
        failure =
            failure
            ?? PaniniError(
                code: .shutdownTimeout,
                message: """
                    \(options.serviceName): shutdown_timeout (\(formatted(options.shutdownTimeout)) s) is over: \
                    \(running) running and \(waiting) waiting messages were answered 503
                    """
            )
        if !runsStopHooks {
            // What the hooks do before their first wait is still done; there is no time to wait.
            runsStopHooks = true
            for index in script.registrations.stopHooks.indices {
                script.enter {
                    script.start(script.registrations.stopHooks[index].function, .stopHook(index: index)) { L in
                        script.vm.pushString(L, "stop")
                        return 1
                    }
                }
            }
            let closing = ClosingTime(options)
            for case .some(let job) in script.jobs { script.abandon(job, closes: closing.isLeft) }
        }
        closeConnection()
    }

    /// Ends what a script runs; those who wait for it are answered.
    ///
    /// - Returns: How many handlers that were.
    func giveUpRunning(_ script: Script, _ reason: ReplyError) -> Int {
        var count = 0
        var hadTurn = false
        let closing = ClosingTime(options)
        for case .some(let job) in script.jobs {
            hadTurn = hadTurn || job.activity.takesTurn
            switch job.activity {
            case .message(let listener, let message):
                script.refuse(message, listener, reason)
                count += 1
                listener.active -= 1
            case .request(_, let request):
                script.refuse(request, reason)
                count += 1
                requestsInFlight -= 1
            case .stream(_, let request): request.connection?.endStream(request.number, isComplete: false)
            default: break
            }
            script.abandon(job, reason, closes: closing.isLeft)
        }
        script.giveUpSpawned(reason)
        if sync.isOn, hadTurn {
            sync.isBusy = false
            if state == .running, !sync.isEmpty { self.script.defer(.syncNext) }
        }
        return count
    }

    /// Answers what waits for a free place of a script's listeners.
    func giveUpWaiting(_ script: Script, _ reason: ReplyError) -> Int {
        var count = 0
        script.ready.keep { item in
            guard case .request(_, let request) = item else { return true }
            count += 1
            script.activeCount -= 1
            requestsInFlight -= 1
            script.refuse(request, reason)
            return false
        }
        for listener in script.listeners {
            while let message = listener.pending.popFirst() {
                count += 1
                message.withParts { _, reply, _, _ in
                    guard !reply.isEmpty, listener.replies else { return }
                    if message.arrived != 0 {
                        requestAnswered(listener.subjects[message.subjectIndex].endpoint, message.arrived, reason)
                    }
                    sendError(reason, to: reply)
                }
            }
        }
        return count
    }
}

/// How long variables may take to be closed when a whole script is given up: all together one budget of a run. What is left
/// then is dropped as it is.
private struct ClosingTime {
    private let end: UInt64

    init(_ options: AppOptions) { end = LuaVM.threadTime &+ UInt64(nanoseconds(options.cpuLimit)) }

    var isLeft: Bool { LuaVM.threadTime < end }
}

/// Passes a connection's events on; the connection knows its delegate before the service is complete.
final class ConnectionEvents: NATSConnectionDelegate {
    unowned(unsafe) var service: Service?

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        service?.connectionEvent(event)
    }

    func connectionReadBurstBegan(_ connection: NATSConnection) {
        _ = service?.turn.enter()
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        service?.readBurstEnded()
    }

    func connectionTurnIsOver(_ connection: NATSConnection) {
        service?.turn.sliceEnded()
    }

    func connection(_ connection: NATSConnection, congestion: NATSCongestion) {
        service?.congestionChanged(congestion)
    }
}

@available(*, unavailable)
extension ConnectionEvents: Sendable {}
