// Owns: the order of start and stop (lua-api §4). Loop-bound.

import CLuaShim
import Logging
import LuaVM
import NATS
import NIOCore
import PaniniHTTP

extension Service {
    // MARK: - Start

    /// Connects, runs the start tasks, subscribes, starts tasks and timers. The future succeeds when the service is
    /// ready and fails with a ``PaniniError``.
    func start() -> EventLoopFuture<Void> {
        let promise = worker.eventLoop.makePromise(of: Void.self)
        startPromise = promise
        state = .starting
        connection.connect().assumeIsolated().whenComplete { [self] result in
            guard state == .starting else { return }
            switch result {
            case .success:
                script.phase = .live
                nextStartTask()
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
        web?.close()
        connection.close()
        script.close()
        promise.fail(error)
    }

    private func nextStartTask() {
        let tasks = script.registrations.startTasks
        guard startTaskIndex < tasks.count else { return subscribeAll() }
        script.enter { script.start(tasks[startTaskIndex].function, .startTask(index: startTaskIndex)) }
    }

    func startTaskFailed(_ index: Int, _ error: LuaError) {
        failure = PaniniError(
            code: .startTaskFailed,
            message: """
                \(options.serviceName): on_start_task (\(script.registrations.startTasks[index].origin)) failed: \
                \(error.message)
                """,
            traceback: error.traceback
        )
    }

    func startTaskEnded() {
        // From the next turn of the loop: a start must not nest, and the coroutine that has just ended goes back first.
        worker.eventLoop.assumeIsolated().execute { [self] in
            guard state == .starting else { return }
            if let failure { return startFailed(failure) }
            startTaskIndex += 1
            nextStartTask()
        }
    }

    private func subscribeAll() {
        for listener in script.registrations.listeners {
            for subject in listener.subjects {
                guard script.registrations.filters.admits(subject.pattern.subject) else {
                    logger.debug("listener \(subject.pattern.subject) is left out by the filters")
                    continue
                }
                if let error = subscribe(subject, of: listener) {
                    return startFailed(
                        PaniniError(
                            code: .subscribeDenied,
                            message:
                                "\(options.serviceName): cannot subscribe to \(subject.pattern.subject): \(error.message)"
                        )
                    )
                }
            }
        }
        warnOfDoubledSubjects()
        directory?.start()
        confirmSubscriptions()
    }

    /// Subscribes one subject of a listener.
    func subscribe(_ subject: ListenerSubject, of listener: Listener) -> CallError? {
        subject.service = self
        directory?.name(subject, of: listener)
        do throws(NATSError) {
            subject.subscription = try connection.subscribe(
                subject: subject.pattern.subject,
                queue: listener.queue,
                context: 0,
                handler: subject
            )
            return nil
        } catch {
            return CallError(error.code == .closed ? "closed" : "subscribe", error.message)
        }
    }

    private func warnOfDoubledSubjects() {
        var seen: [String: Listener] = [:]
        for listener in script.registrations.listeners {
            for subject in listener.subjects {
                let key = "\(subject.pattern.subject) \(listener.queue ?? "")"
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
            case .success: ready()
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
        guard state == .starting else {
            return logger.error("the broker denied the subscription to \(subject.pattern.subject): \(text)")
        }
        failure = PaniniError(
            code: .subscribeDenied,
            message: "\(options.serviceName): the broker denied the subscription to \(subject.pattern.subject): \(text)"
        )
    }

    private func ready() {
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
        state = .running
        startTasksAndTimers()
        startWebServer().assumeIsolated().whenComplete { [self] result in
            guard let promise = startPromise else { return }
            switch result {
            case .success:
                startPromise = nil
                promise.succeed()
            case .failure(let error):
                startFailed(error as? PaniniError ?? PaniniError(code: .webServer, message: "\(error)"))
            }
        }
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
            startPromise?.fail(CancellationError())
            startPromise = nil
            connection.close()
            script.close()
            promise.succeed()
        case .loaded, .stopped, .stopping:
            state = .stopped
            connection.close()
            script.close()
            promise.succeed()
        }
        return promise.futureResult
    }

    private func beginStop() {
        state = .stopping
        timerGeneration += 1
        directory?.stop()
        isWebDrained = web == nil
        web?.stop { [self] in
            isWebDrained = true
            stopIfIdle()
        }
        worker.schedule(.stopDeadline(self), at: worker.now &+ UInt64(nanoseconds(options.shutdownTimeout)))
        var drains: [EventLoopFuture<Void>] = []
        for listener in listeners.values {
            for subject in listener.subjects {
                if let subscription = subject.subscription { drains.append(connection.drain(subscription)) }
            }
        }
        // Whether the broker confirms or is gone: nothing more arrives.
        EventLoopFuture.andAllComplete(drains, on: worker.eventLoop).assumeIsolated().whenComplete { [self] _ in
            isDrained = true
            stopIfIdle()
        }
    }

    /// Goes on with the stop when nothing runs or waits any more.
    func stopIfIdle() {
        guard state == .stopping, isDrained, isWebDrained, stopHookIndex == nil, activeCount == 0, sync.isEmpty else {
            return
        }
        guard listeners.values.allSatisfy(\.pending.isEmpty) else { return }
        stopHookIndex = 0
        worker.eventLoop.assumeIsolated().execute { [self] in nextStopHook() }
    }

    private func nextStopHook() {
        guard state == .stopping, let index = stopHookIndex else { return }
        let hooks = script.registrations.stopHooks
        guard index < hooks.count else { return closeConnection() }
        script.enter {
            script.start(hooks[index].function, .stopHook(index: index)) { L in
                script.vm.pushString(L, "stop")
                return 1
            }
        }
    }

    func stopHookEnded() {
        guard let index = stopHookIndex else { return }
        stopHookIndex = index + 1
        worker.eventLoop.assumeIsolated().execute { [self] in nextStopHook() }
    }

    private func closeConnection() {
        guard !isClosing else { return }
        isClosing = true
        let rest = min(options.shutdownTimeout, 5)
        connection.drain(timeout: .nanoseconds(nanoseconds(max(rest, 0.5)))).assumeIsolated().whenComplete { [self] _ in
            stopped()
        }
    }

    private func stopped() {
        guard state != .stopped else { return }
        state = .stopped
        web?.close()
        connection.close()
        script.close()
        stopPromise?.succeed()
    }

    /// The stop has taken `shutdown_timeout`: whoever still waits is answered 503.
    func stopDeadlineReached() {
        guard state == .stopping, !isClosing else { return }
        var running = 0
        var waiting = 0
        for case .some(let job) in script.jobs {
            switch job.activity {
            case .message(let listener, let message):
                script.refuse(message, listener, .stopping)
                running += 1
                listener.active -= 1
            case .request(_, let request):
                script.refuse(request, .stopping)
                running += 1
            default: break
            }
            script.abandon(job)
        }
        for listener in listeners.values {
            while let message = listener.pending.popFirst() {
                waiting += 1
                message.withParts { _, reply, _, _ in
                    guard !reply.isEmpty, listener.replies else { return }
                    if message.arrived != 0 {
                        requestAnswered(listener.subjects[message.subjectIndex].endpoint, message.arrived, .stopping)
                    }
                    sendError(.stopping, to: reply)
                }
            }
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
        if stopHookIndex == nil {
            // What the hooks do before their first wait is still done; there is no time to wait.
            stopHookIndex = .max
            for index in script.registrations.stopHooks.indices {
                script.enter { script.start(script.registrations.stopHooks[index].function, .stopHook(index: index)) }
            }
            for case .some(let job) in script.jobs { script.abandon(job) }
        }
        closeConnection()
    }
}

/// Passes a connection's events on; the connection knows its delegate before the service is complete.
final class ConnectionEvents: NATSConnectionDelegate {
    unowned(unsafe) var service: Service?

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        service?.connectionEvent(event)
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        service?.readBurstEnded()
    }
}

@available(*, unavailable)
extension ConnectionEvents: Sendable {}
