// Owns: running coroutines: start, suspension, end, failure. The hot path of every message goes through here.

import CLuaShim
import Logging
import LuaVM
import NIOCore
import PaniniHTTP

extension Script {
    /// Runs `body` as one entry into Lua from the loop, and afterwards what became ready by it.
    @inline(__always)
    func enter(_ body: () -> Void) {
        guard depth == 0, let share else {
            depth += 1
            body()
            depth -= 1
            return
        }
        // Messages are read by who works for the service already.
        let isInside = panini_share_is_entered(share) != 0
        let previous = isInside ? nil : panini_share_enter(share)
        depth = 1
        body()
        depth = 0
        if panini_share_is_over(share) != 0 { service?.turn.sliceEnded() }
        if !ready.isEmpty { runReady() }
        if !isInside { _ = panini_share_enter(previous) }
    }

    /// Whether nothing may be begun now: what comes belongs into ``ready``.
    var mustWait: Bool {
        @inline(__always) get { depth > 0 || share.map { panini_share_is_over($0) != 0 && isTurnAwaited } ?? false }
    }

    @inline(never)
    private var isTurnAwaited: Bool { service?.turn.isWaiting == true }

    @inline(__always)
    func runReadyIfNeeded() {
        if !ready.isEmpty { runReady() }
    }

    /// Leaves work to the outermost level.
    func `defer`(_ item: ReadyItem) {
        ready.append(item)
        if depth == 0 { runReady() }
    }

    private func runReady() {
        guard depth == 0, let turn = service?.turn, !turn.isWaiting else { return }
        let previous = turn.enter()
        defer { turn.leave(previous) }
        chargedUntil = 0
        while depth == 0, phase != .closed, !turn.isWaiting, let item = ready.popFirst() {
            depth += 1
            switch item {
            case .start, .resume: break
            default: chargedUntil = 0
            }
            switch item {
            case .start(let function, let record):
                vm.discharge(SpawnRecord.charge)
                guard vm.hasRoom(for: Self.coroutineBytes) else {
                    failUnstarted(function, record)
                    break
                }
                guard !isOverdrawn(record.account, record.drive) else {
                    endUnstarted(function, record)
                    break
                }
                let co = vm.acquireCoroutine()
                vm.push(function, onto: co.thread)
                vm.release(function)
                if isTraced { beginSpan(co, .spawned(record)) }
                current = RunningActivity(.spawned(record))
                runningAccount = record.account
                current.drive = record.drive
                let outcome = charging(record.account) { vm.resume(co, argumentCount: 0) }
                settle(co, outcome, .spawned(record))
            case .resume(let id, let completion):
                if !resume(id, { push(completion, onto: $0) }) { release(completion) }
            case .pump(let listener): service?.pumpNow(listener)
            case .syncNext: service?.syncNextNow()
            case .request(let route, let request): start(route, request)
            case .stream(let function, let route, let request, let kind):
                startStream(function, route, request, kind)
            case .webSocket(let session): advance(session)
            case .task(let index): service?.runTask(index, of: self)
            case .tick(let timer): service?.timerDue(timer)
            case .hook(let index): service?.runHook(index, of: self)
            case .expiry(let list): service?.expire(list, of: self)
            case .swift: takeCompletions()
            }
            depth -= 1
            turn.itemEnded()
        }
    }

    /// Runs a handler on a message.
    func start(
        _ listener: Listener,
        _ target: ListenerSubject,
        arrived: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        guard vm.hasRoom(for: payload.count + headers.count + Self.coroutineBytes) else {
            return startWithoutMemory(listener, target, arrived: arrived, subject: subject, reply: reply)
        }
        let co = vm.acquireCoroutine()
        // Index 1 keeps the message alive for as long as the coroutine lives: the answer needs it at the end.
        let message = panini_message_push(
            co.thread,
            messageType,
            subject.baseAddress,
            subject.count,
            reply.baseAddress,
            reply.count,
            headers.baseAddress,
            headers.count,
            payload.baseAddress,
            payload.count
        ).unsafelyUnwrapped
        message.pointee.owner = listener.id
        message.pointee.data_type = listener.dataType
        message.pointee.params_reference = target.parametersIndex
        if arrived != 0 {
            // Not retained: the listener lives as long as this message's handler, and holds its subjects.
            message.pointee.endpoint = Unmanaged.passUnretained(target.endpoint).toOpaque()
            message.pointee.arrived = arrived
        }
        vm.push(reply.isEmpty ? listener.publishEntry : listener.requestEntry, onto: co.thread)
        lua_pushvalue(co.thread, 1)
        listener.active += 1
        current = RunningActivity(holdsStop: true, message: message)
        settle(co, vm.resume(co, argumentCount: 1), .message(listener, message))
    }

    /// Runs a registered function; `push` pushes its arguments and returns their number.
    func start(_ function: LuaReference, _ activity: Activity, push: (OpaquePointer) -> CInt = { _ in 0 }) {
        let co = vm.acquireCoroutine()
        vm.push(function, onto: co.thread)
        if isTraced { beginSpan(co, activity) }
        current = RunningActivity(activity)
        let count = push(co.thread)
        if activity.hasOpenEnd { beginAccount(.own) }
        settle(co, charging(current.account) { vm.resume(co, argumentCount: count) }, activity)
    }

    /// A run without an end begins.
    func beginAccount(_ drive: Drive) {
        let account = makeAccount()
        runningAccount = account
        current.account = account
        current.drive = drive
    }

    /// Goes on with a suspended coroutine; false when the completion comes too late and finds nobody. `push` may return
    /// ``LuaVM/raise`` with an error value on top: the call that waits then raises it.
    @discardableResult
    func resume(_ id: UInt64, _ push: (OpaquePointer) -> CInt) -> Bool {
        guard let co = vm.coroutine(id: id), Int(co.slot) < jobs.count, let job = jobs[Int(co.slot)] else {
            return false
        }
        let count = push(co.thread)
        current = RunningActivity(job.activity)
        current.drive = job.wait.drive
        current.spawned?.isWaiting = false
        if let account = job.account {
            runningAccount = account
            current.account = account
        }
        job.wait = .none
        if isOverdrawn(current.account, current.drive) { vm.endNext(co) }
        let raises = count == LuaVM.raise
        let outcome = charging(current.account) {
            vm.resume(co, argumentCount: raises ? 1 : count, raising: raises)
        }
        if outcome == .suspended {
            // Still the same handler under the same deadline.
            job.wait = nextWait
            nextWait = .none
            if job.activity.hasOpenEnd { vm.renewBudget(co) }
            return true
        }
        forget(job, slot: Int(co.slot))
        settle(co, outcome, job.activity)
        return true
    }

    /// Wakes a coroutine from within another's run, or from outside any.
    func wake(_ id: UInt64, _ completion: Completion) {
        self.defer(.resume(id, completion))
    }

    func settle(_ co: LuaCoroutine, _ outcome: LuaOutcome, _ activity: Activity) {
        if middlewares.observationCount > 0, outcome != .suspended {
            // Of calls inside a coroutine of the script's own that was never run to its end.
            endObservations(slot: Int(co.slot), activity, vm.isKilled(co) ? .overBudget : .internalError)
        }
        switch outcome {
        case .returned(let count):
            if isTraced { endSpan(slot: Int(co.slot), returnedError(co.thread, count)) }
            finish(co, count, activity)
            vm.recycle(co)
            service?.activityEnded(activity, of: self)
        case .suspended:
            park(co, activity)
        case .failed:
            dropWait(co, activity)
            // The message goes with its coroutine, at the next step of the collector.
            let (activity, message) = detached(activity)
            defer { panini_message_free(message) }
            let error = vm.takeError(co)
            if isTraced { endSpan(slot: Int(co.slot), error) }
            service?.activityFailed(activity, error, of: self)
            fail(activity, error)
            if error.kind == .memory { memoryFailed() }
            // Nothing of a coroutine that was ended by its budget runs any more, also not what closes its streams.
            if error.kind == .cpu { service?.fetcher.cancelAll(of: self, context: co.id) }
            if let message, message.pointee.request != 0 { handlerEnded(message.pointee.request) }
            service?.activityEnded(activity, of: self)
        }
    }

    /// The activity with a message of its own, to be freed; the same one where there is none.
    private func detached(_ activity: Activity) -> (Activity, UnsafeMutablePointer<panini_message>?) {
        guard case .message(let listener, let message) = activity else { return (activity, nil) }
        _ = takeReplyHeaders(message)
        guard let copy = panini_message_detach(message) else { fatalError("out of memory for the answer of a failure") }
        return (.message(listener, copy), copy)
    }

    /// Takes back what a run was about to wait for when it was ended: no other coroutine may come to wait for it.
    private func dropWait(_ co: LuaCoroutine, _ activity: Activity) {
        if case .none = nextWait { return }
        let job = Job(activity: activity, coroutine: co.id)
        job.wait = nextWait
        nextWait = .none
        service?.cancel(job, of: self)
    }

    private func park(_ co: LuaCoroutine, _ activity: Activity) {
        let job = Job(activity: activity, coroutine: co.id)
        if activity.hasOpenEnd { job.account = current.account }
        job.wait = nextWait
        nextWait = .none
        let slot = Int(co.slot)
        while jobs.count <= slot { jobs.append(nil) }
        jobs[slot] = job
        suspendedCount += 1
        if suspendedCount > suspendedPeak { suspendedPeak = suspendedCount }
        switch activity {
        case .message(let listener, _):
            service?.armDeadline(of: job, nanoseconds: listener.timeoutNanoseconds, in: self)
        case .request(let route, _): service?.armDeadline(of: job, nanoseconds: route.timeoutNanoseconds, in: self)
        case .webSocket(let session, let turn) where turn != .handler:
            service?.armDeadline(of: job, nanoseconds: session.webSocket.timeoutNanoseconds, in: self)
        default: if activity.hasOpenEnd { vm.renewBudget(co) }
        }
    }

    private func forget(_ job: Job, slot: Int) {
        job.list?.remove(job)
        jobs[slot] = nil
        suspendedCount -= 1
        // A burst of thousands must not keep its table for ever.
        if suspendedCount == 0, jobs.count > 4096 { jobs = [] }
    }

    /// Gives up a suspended coroutine: its time is over, or the service stops.
    ///
    /// - Parameter closes: Whether its variables are closed, which may take a tenth of a budget.
    func abandon(_ job: Job, _ reason: ReplyError = .stopping, closes: Bool = true) {
        guard let co = vm.coroutine(id: job.coroutine) else { return }
        endObservations(slot: Int(co.slot), job.activity, reason)
        service?.cancel(job, of: self)
        forget(job, slot: Int(co.slot))
        if isTraced { endSpan(slot: Int(co.slot), job.activity, givenUp: reason) }
        // For what is closed with it.
        current = RunningActivity(job.activity)
        runningAccount = job.account ?? current.account
        current.account = runningAccount
        depth += 1
        vm.discard(co, closes: closes)
        depth -= 1
    }

    // MARK: - Ends

    private func finish(_ co: LuaCoroutine, _ count: CInt, _ activity: Activity) {
        switch activity {
        case .message(let listener, let message):
            // Lua counts the message at index 1 among the results.
            if count > 1 {
                answer(co.thread, count - 1, listener, message)
            } else if message.pointee.flags & UInt8(PANINI_MESSAGE_UNSENT) != 0 {
                // msg.respond could not, and nothing else has answered.
                refuse(message, listener, .internalError)
            }
            if message.pointee.request != 0 { handlerEnded(message.pointee.request) }
        case .request(let route, let request):
            // The same for the request.
            answer(co.thread, count - 1, route, request)
        case .stream(let route, let request):
            if count >= 2, let error = returnedError(co.thread, count) {
                service?.streamFailed(route, request, error)
            } else {
                request.endStream(isComplete: true)
            }
        case .spawned(let record):
            keepResults(co.thread, count, record)
        case .reloadHook: service?.reloadHookReturned(co.thread, count, of: self)
        case .startTask, .stopHook, .task, .tick, .webSocket:
            // `return nil, err` is an error here too: the field's way of failing must not be silent.
            if count >= 2, let error = returnedError(co.thread, count) {
                service?.activityFailed(activity, error, of: self)
            }
        }
    }

    func returnedError(_ L: OpaquePointer, _ count: CInt) -> LuaError? {
        let first = lua_gettop(L) - count + 1
        guard lua_type(L, first) == LUA_TNIL, lua_type(L, first + 1) != LUA_TNIL else { return nil }
        let error = readError(L, first + 1)
        return LuaError(kind: .runtime, message: error.message, code: error.code, isTable: true)
    }

    func fail(_ activity: Activity, _ error: LuaError) {
        if case .spawned(let record) = activity { keepFailure(error, record) }
    }

    /// Code and text of an error value that a script returned.
    func readError(_ L: OpaquePointer, _ index: CInt) -> (code: LuaError.Code?, message: String) {
        let index = lua_absindex(L, index)
        guard lua_type(L, index) == LUA_TTABLE else {
            return (nil, vm.string(L, index, upTo: LuaVM.longestAnswerText) ?? scalarText(L, index))
        }
        // Objects of a class have their fields behind `__index`, and a text of their own.
        if !isPlainError(L, index) { return vm.describeError(L, index) }
        var code: LuaError.Code?
        switch panini_field(L, index, "code") {
        case LUA_TNUMBER where lua_isinteger(L, -1) != 0: code = .integer(lua_tointegerx(L, -1, nil))
        case LUA_TNUMBER: code = Int64(exactly: lua_tonumberx(L, -1, nil)).map { .integer($0) }
        case LUA_TSTRING: code = .string(vm.string(L, -1, upTo: Self.longestErrorCode) ?? "")
        default: break
        }
        _ = panini_field(L, index, "message")
        let message = vm.string(L, -1, upTo: LuaVM.longestAnswerText) ?? scalarText(L, -1)
        lua_settop(L, -3)
        return (code, message)
    }

    private static let longestErrorCode = 1024

    /// Whether the error table at an index has no metatable, or that of the errors that calls return.
    private func isPlainError(_ L: OpaquePointer, _ index: CInt) -> Bool {
        guard lua_getmetatable(L, index) != 0 else { return true }
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(errorType))
        defer { lua_settop(L, -3) }
        return lua_rawequal(L, -1, -2) != 0
    }

    private func scalarText(_ L: OpaquePointer, _ index: CInt) -> String {
        switch lua_type(L, index) {
        case LUA_TNUMBER where lua_isinteger(L, index) != 0: String(lua_tointegerx(L, index, nil))
        case LUA_TNUMBER: String(lua_tonumberx(L, index, nil))
        case LUA_TBOOLEAN: lua_toboolean(L, index) != 0 ? "true" : "false"
        default: "error"
        }
    }

    // MARK: - Results for those who wait

    /// Gives back what a completion holds when nobody waits for it any more.
    private func release(_ completion: Completion) {
        switch completion {
        case .nothing, .success, .failure, .fetched, .fetchedPiece: break
        case .reference(let reference), .spawnResults(let reference): vm.release(reference)
        case .group(let group):
            vm.release(group.results)
            vm.release(group.errors)
        }
    }

    private func push(_ completion: Completion, onto L: OpaquePointer) -> CInt {
        switch completion {
        case .nothing: return 0
        case .success:
            lua_pushboolean(L, 1)
            return 1
        case .failure(let error):
            lua_pushnil(L)
            push(error, onto: L)
            return 2
        case .reference(let reference):
            vm.push(reference, onto: L)
            vm.release(reference)
            return 1
        case .spawnResults(let reference):
            vm.push(reference, onto: L)
            vm.release(reference)
            let count = pushKept(L, lua_gettop(L))
            return count
        case .fetched(let head, let body):
            push(head, body, onto: L)
            return 1
        case .fetchedPiece(let piece):
            piece.withUnsafeReadableBytes { vm.pushString(L, $0) }
            return 1
        case .group(let group): return push(group, onto: L)
        }
    }

    /// Pushes what `app.wait_all` returns, and gives the group's tables back.
    func push(_ group: WaitGroup, onto L: OpaquePointer) -> CInt {
        vm.push(group.results, onto: L)
        if group.hasErrors { vm.push(group.errors, onto: L) } else { lua_pushnil(L) }
        vm.release(group.results)
        vm.release(group.errors)
        return 2
    }
}
