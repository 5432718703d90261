// Owns: admission of messages: run now, wait, or refuse; what follows when a handler ends. Hot path; loop-bound.

import CLuaShim
import Logging
import LuaVM
import NATS
import NIOCore
import PaniniHTTP

extension Service {
    /// A message of a listener has arrived.
    func receive(
        _ listener: Listener,
        _ target: ListenerSubject,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        listener.received &+= 1
        let arrived = requestArrived(target, reply)
        let script = listener.script
        if listener.active < listener.places, listener.pending.isEmpty, !sync.isBusy, script.depth == 0 {
            if sync.isOn { sync.isBusy = true }
            script.activeCount += 1
            script.depth = 1
            script.start(
                listener,
                target,
                arrived: arrived,
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload
            )
            script.depth = 0
            script.runReadyIfNeeded()
            return
        }
        enqueue(listener, target, arrived, subject: subject, reply: reply, headers: headers, payload: payload)
    }

    private func enqueue(
        _ listener: Listener,
        _ target: ListenerSubject,
        _ arrived: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        let size = subject.count + reply.count + headers.count + payload.count
        guard
            listener.pending.hasRoom(for: size, messages: options.pendingLimit, bytes: options.pendingBytesLimit)
        else { return overloaded(listener, target, arrived, reply: reply) }
        listener.pending.append(
            StoredMessage(
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload,
                subjectIndex: target.position,
                arrived: arrived
            )
        )
        if sync.isOn {
            sync.append(.message(listener))
            if !sync.isBusy { listener.script.defer(.syncNext) }
        } else if listener.active < listener.places {
            pump(listener)
        }
    }

    /// Answers 429, or drops; reports once per episode.
    private func overloaded(
        _ listener: Listener,
        _ target: ListenerSubject,
        _ arrived: UInt64,
        reply: UnsafeRawBufferPointer
    ) {
        listener.refused &+= 1
        refusedMessages &+= 1
        if reply.isEmpty { droppedMessages &+= 1 }
        if !listener.isOverloaded {
            listener.isOverloaded = true
            logger.warning(
                """
                listener \(listener.subjectList) (\(listener.origin)) is overloaded: \(listener.pending.count) messages \
                wait (pending_limit \(options.pendingLimit), pending_bytes_limit \(options.pendingBytesLimit)); \
                requests are answered 429, one-way messages dropped
                """
            )
        }
        guard !reply.isEmpty, listener.replies else { return }
        if arrived != 0 { requestAnswered(target.endpoint, arrived, .overloaded) }
        sendError(.overloaded, to: reply)
    }

    /// A handler, task or tick has ended, one way or the other.
    func activityEnded(_ activity: Activity, of script: Script) {
        switch activity {
        case .message(let listener, _):
            listener.active -= 1
            script.activeCount -= 1
            if sync.isOn { return syncEnded(script) }
            if !listener.pending.isEmpty { pump(listener) }
            if listener.isEnded { releaseIfDone(listener) }
            if script.standing == .draining || state == .stopping { endIfIdle(script) }
        case .tick(let timer):
            script.activeCount -= 1
            tickEnded(timer)
            if sync.isOn { return syncEnded(script) }
            if script.isEnding { endIfIdle(script) }
        case .task:
            if sync.isOn { syncEnded(script) }
        case .spawned(let record):
            if record.request != 0 { script.spawnedEnded(record.request) }
            guard record.holdsStop else { return }
            script.activeCount -= 1
            if script.isEnding { endIfIdle(script) }
        case .request: requestEnded(activity, of: script)
        case .stream(_, let request):
            script.endWrites(to: request)
            requestEnded(activity, of: script)
        case .webSocket(let session, let turn): webSocketTurnEnded(session, turn)
        case .startTask, .reloadHook, .stopHook: hookEnded(script)
        }
    }

    /// Goes on with the stop, or with the end of a script that was replaced, when nothing of it runs any more.
    func endIfIdle(_ script: Script) {
        if state == .stopping { stopIfIdle() } else { retireIfIdle(script) }
    }

    /// Starts waiting messages as far as the listener's limit allows, from the outermost level.
    func pump(_ listener: Listener) {
        guard !listener.isPumping else { return }
        listener.isPumping = true
        listener.script.defer(.pump(listener))
    }

    func pumpNow(_ listener: Listener) {
        while listener.active < listener.places, state != .stopped, !connection.isCongested, !turn.isOver,
            let message = listener.pending.popFirst()
        {
            startStored(message, listener)
        }
        if turn.isOver, state != .stopped, !listener.pending.isEmpty, listener.active < listener.places {
            return listener.script.defer(.pump(listener))
        }
        if connection.isCongested, !listener.pending.isEmpty, listener.active < listener.places {
            // Still pumping: it goes on when there is room.
            return outflow.heldBack.append((listener.script, listener))
        }
        listener.isPumping = false
        if listener.isEnded { releaseIfDone(listener) }
        if listener.isOverloaded, listener.pending.count * 2 < options.pendingLimit {
            listener.isOverloaded = false
            logger.info(
                "listener \(listener.subjectList) has caught up; \(listener.refused) messages were refused so far"
            )
        }
    }

    private func startStored(_ message: StoredMessage, _ listener: Listener) {
        let script = listener.script
        script.activeCount += 1
        let target = listener.subjects[message.subjectIndex]
        message.withParts { subject, reply, headers, payload in
            script.start(
                listener,
                target,
                arrived: message.arrived,
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload
            )
        }
    }

    // MARK: - One at a time

    func syncEnded(_ script: Script) {
        sync.isBusy = false
        if !sync.isEmpty { self.script.defer(.syncNext) }
        if script.isEnding { endIfIdle(script) }
    }

    func syncNextNow() {
        while !sync.isBusy {
            guard !connection.isCongested else {
                outflow.holdsTurn = true
                return
            }
            if turn.isOver, !sync.isEmpty { return script.defer(.syncNext) }
            guard let start = sync.popFirst() else { return }
            sync.isBusy = true
            switch start {
            case .message(let listener):
                if let message = listener.pending.popFirst() {
                    startStored(message, listener)
                } else {
                    sync.isBusy = false
                }
            case .tick(let timer): if !runTick(timer) { sync.isBusy = false }
            case .task(let script, let index): runTask(index, of: script)
            case .request(let route, let request): route.script.enter { route.script.start(route, request) }
            case .webSocket(let session):
                session.isScheduled = false
                if !session.script.takeTurn(session) { sync.isBusy = false }
            }
        }
    }

    // MARK: - Failures

    /// Logs, counts and answers what failed.
    func activityFailed(_ activity: Activity, _ error: LuaError, of script: Script) {
        switch activity {
        case .message(let listener, let message):
            listener.failed &+= 1
            handlerFailed(listener, message, error)
        case .task(let index):
            taskFailed("task (\(script.registrations.tasks[index].origin))", error)
        case .tick(let timer):
            timer.failed &+= 1
            taskFailed("timer \(timer.label)", error)
        case .startTask(let index):
            hookFailed(script, "on_start_task (\(script.registrations.startTasks[index].origin))", error)
        case .reloadHook:
            hookFailed(script, "on_reload (\(script.registrations.reloadHook?.origin ?? script.path))", error)
        case .stopHook(let index):
            logger.error(
                "on_stop (\(script.registrations.stopHooks[index].origin)) failed: \(error.message)",
                metadata: traceback(error)
            )
        case .request(let route, let request): requestFailed(route, request, error)
        case .stream(let route, let request): streamFailed(route, request, error)
        case .webSocket(let session, let turn): webSocketTurnFailed(session, turn, error)
        case .spawned: break  // Kept for whoever waits; logged there when nobody does.
        }
    }

    /// What a script says of a message goes to the service's log; the file is that of the script's generation.
    private func handlerFailed(
        _ listener: Listener,
        _ message: UnsafeMutablePointer<panini_message>,
        _ error: LuaError
    ) {
        let script = listener.script
        let subject = script.text(script.subjectOf(message))
        // An error with a code is an answer that the script chose; anything else is a fault, and the wire gets no details.
        if let problem = error.errorsProblem { script.logErrorsLeftOut(problem, of: listener.origin) }
        if error.isTable, let code = error.code {
            if message.pointee.reply_length == 0 || !listener.replies
                || message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) != 0
            {
                logger.warning("handler of \(subject) (\(listener.origin)) failed: \(error.message)")
            }
            return script.refuse(
                message,
                listener,
                ReplyError(code: code, message: error.message, errors: error.errors)
            )
        }
        logger.error("handler of \(subject) (\(listener.origin)) failed: \(error.message)", metadata: traceback(error))
        script.refuse(message, listener, error.reply(debug: debug))
    }

    private func taskFailed(_ what: String, _ error: LuaError) {
        failedTasks &+= 1
        logger.error("\(what) failed: \(error.message)", metadata: traceback(error))
        guard !options.ignoreTaskExceptions else { return }
        fail(
            PaniniError(
                code: .taskFailed,
                message: "\(options.serviceName): \(what) failed: \(error.message) (ignore_task_exceptions is false)",
                traceback: error.traceback
            )
        )
    }

    func traceback(_ error: LuaError) -> Logger.Metadata? {
        error.traceback.map { ["lua.traceback": "\($0)"] }
    }

    // MARK: - Time limits

    /// Puts a handler that has begun to wait under its time limit.
    func armDeadline(of job: Job, nanoseconds: Int64, in script: Script) {
        let list = script.deadlineLists.list(nanoseconds: nanoseconds)
        let now = worker.now
        list.append(job, now: now)
        if list.alarm == nil { list.alarm = worker.schedule(.expire(script, list), at: job.deadline) }
    }

    /// Answers 504 for every handler of the list whose time is over.
    func expire(_ list: DeadlineList, of script: Script) {
        list.alarm = nil
        guard script.phase != .closed else { return }
        if script.depth == 0, turn.isWaiting { return script.defer(.expiry(list)) }
        let now = worker.now
        script.enter {
            while let job = list.first, job.deadline <= now {
                // Closing what is given up may take its time, too.
                if turn.isOver { return script.defer(.expiry(list)) }
                expire(job, of: script, seconds: Double(list.nanoseconds) / 1e9)
            }
        }
        if let job = list.first, list.alarm == nil {
            list.alarm = worker.schedule(.expire(script, list), at: job.deadline)
        }
        script.deadlineLists.removeIfUnused(list)
    }

    private func expire(_ job: Job, of script: Script, seconds: Double) {
        if case .request(let route, let request) = job.activity {
            return expire(job, of: script, route, request, seconds: seconds)
        }
        if case .webSocket(let session, let turn) = job.activity {
            return expireWebSocket(job, session, turn, seconds: seconds)
        }
        guard case .message(let listener, let message) = job.activity else { return script.abandon(job) }
        listener.failed &+= 1
        let subject = script.text(script.subjectOf(message))
        logger.error(
            "handler of \(subject) (\(listener.origin)) took longer than \(formatted(seconds)) s and was ended"
        )
        let error = ReplyError(504, "the handler took longer than \(formatted(seconds)) s")
        script.refuse(message, listener, error)
        if message.pointee.request != 0 { script.handlerEnded(message.pointee.request) }
        script.abandon(job, error)
        activityEnded(job.activity, of: script)
    }

    private func expire(_ job: Job, of script: Script, _ route: HTTPRoute, _ request: HTTPRequest, seconds: Double) {
        route.failed &+= 1
        logger.error(
            """
            handler of \(route.method) \(route.path) (\(route.origin)) took longer than \(formatted(seconds)) s and was \
            ended
            """
        )
        let error = ReplyError(504, "the handler took longer than \(formatted(seconds)) s")
        script.refuse(request, error)
        script.abandon(job, error)
        activityEnded(job.activity, of: script)
    }

    /// Takes back what a coroutine waits for.
    func cancel(_ job: Job, of script: Script) {
        switch job.wait {
        case .request(let id, _): connection.cancelRequest(id)
        case .write(let request): script.writers.remove(request, id: job.coroutine)
        case .webSocket(let session): cancel(job, of: session)
        case .sleep(let alarm): worker.cancel(alarm)
        case .room(let send): forget(send)
        case .fetch(let id): fetcher.cancel(id)
        case .swift(let task): task.cancel()
        case .none, .barrier, .spawned: break
        }
        job.wait = .none
    }
}
