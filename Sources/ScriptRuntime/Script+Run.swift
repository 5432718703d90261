// Owns: running coroutines: start, suspension, end, failure. The hot path of every message goes through here.

public import CLuaVM
import Logging
import LoopTools
package import LuaVM
import NIOCore

extension Script {
    /// Runs `body` as one entry into Lua from the loop, and afterwards what became ready by it.
    @inlinable @inline(__always)
    public func enter(_ body: () -> Void) {
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
        if panini_share_is_over(share) != 0 { host?.turn.sliceEnded() }
        if !runs.ready.isEmpty { runReady() }
        if !isInside { _ = panini_share_enter(previous) }
    }

    /// Whether nothing may be begun now: new work goes into ``ready``.
    @inlinable public var mustDefer: Bool {
        @inline(__always) get { depth > 0 || share.map { panini_share_is_over($0) != 0 && isTurnAwaited } ?? false }
    }

    @usableFromInline
    var isTurnAwaited: Bool { host?.turn.isWaiting == true }

    /// Goes on with what has become ready.
    @inlinable @inline(__always)
    public func runReadyIfNeeded() {
        if !runs.ready.isEmpty { runReady() }
    }

    /// Leaves work to the outermost level.
    package func `defer`(_ item: ReadyItem) {
        ready.append(item)
        if depth == 0 { runReady() }
    }

    @usableFromInline
    func runReady() {
        guard depth == 0, let turn = host?.turn, !turn.isWaiting else { return }
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
                guard !isOverdrawn(record.account, record.resumeCause) else {
                    failOverdrawnSpawn(function, record)
                    break
                }
                let co = vm.acquireCoroutine()
                vm.push(function, onto: co.thread)
                vm.release(function)
                let activity = Activity(record)
                if watchedRuns > 0 { tellBegin(co, activity) }
                current = RunningActivity(activity)
                runningAccount = record.account
                current.resumeCause = record.resumeCause
                let outcome = charging(record.account) { vm.resume(co, argumentCount: 0) }
                settle(co, outcome, activity)
            case .resume(let id, let completion):
                if !resume(id, { push(completion, onto: $0) }) { release(completion) }
            case .begin(let activity): activity.owner.begin(activity)
            case .goOn(let owner, let token): owner.goOn(token)
            case .expiry(let list): expire(list)
            }
            depth -= 1
            turn.itemEnded()
        }
    }

    /// Runs a registered function; `push` pushes its arguments and returns their number.
    package func start(_ function: LuaReference, _ activity: Activity, push: (OpaquePointer) -> CInt = { _ in 0 }) {
        let co = vm.acquireCoroutine()
        vm.push(function, onto: co.thread)
        if watchedRuns > 0 { tellBegin(co, activity) }
        current = RunningActivity(activity)
        let count = push(co.thread)
        if activity.traits.contains(.hasOpenEnd) { beginAccount(.own) }
        settle(co, charging(current.account) { vm.resume(co, argumentCount: count) }, activity)
    }

    /// A run without an end begins.
    package func beginAccount(_ resumeCause: ResumeCause) {
        let account = makeAccount()
        runningAccount = account
        current.account = account
        current.resumeCause = resumeCause
    }

    /// Goes on with a suspended coroutine; false when the completion comes too late and finds nobody. `push` may return
    /// ``LuaVM/raise`` with an error value on top: the call that waits then raises it.
    @discardableResult
    package func resume(_ id: UInt64, _ push: (OpaquePointer) -> CInt) -> Bool {
        guard let co = vm.coroutine(id: id), Int(co.slot) < suspendedRuns.count,
            let suspendedRun = suspendedRuns[Int(co.slot)]
        else {
            return false
        }
        let count = push(co.thread)
        current = RunningActivity(suspendedRun.activity)
        current.resumeCause = suspendedRun.wait.resumeCause
        current.spawned?.isWaiting = false
        if let account = suspendedRun.account {
            runningAccount = account
            current.account = account
        }
        suspendedRun.wait = .none
        if isOverdrawn(current.account, current.resumeCause) { vm.endNext(co) }
        let raises = count == LuaVM.raise
        let outcome = charging(current.account) {
            vm.resume(co, argumentCount: raises ? 1 : count, raising: raises)
        }
        if outcome == .suspended {
            // Still the same handler under the same deadline.
            suspendedRun.wait = nextWait
            nextWait = .none
            if suspendedRun.activity.traits.contains(.hasOpenEnd) { vm.renewBudget(co) }
            return true
        }
        forget(suspendedRun, slot: Int(co.slot))
        settle(co, outcome, suspendedRun.activity)
        return true
    }

    /// Wakes a coroutine from within another's run, or from outside any.
    package func wake(_ id: UInt64, _ completion: Completion) {
        self.defer(.resume(id, completion))
    }

    package func settle(_ co: LuaCoroutine, _ outcome: LuaOutcome, _ activity: Activity) {
        let isWatched = watchedRuns > 0
        if isWatched, outcome != .suspended { notifyRunWillEnd(co, activity) }
        switch outcome {
        case .returned(let count):
            if isWatched { notifyRunDidEnd(co, returnedError(co.thread, count)) }
            activity.owner.returned(activity, co.thread, count)
            vm.recycle(co)
            activity.owner.ended(activity)
        case .suspended:
            park(co, activity)
        case .failed:
            dropWait(co)
            // The collector may free the run's data together with the coroutine, at its next step.
            guard let kept = activity.owner.keep(activity) else { return failWithoutMemory(co, activity) }
            defer { kept.owner.release(kept: kept) }
            let error = vm.takeError(co)
            if isWatched { notifyRunDidEnd(co, error) }
            kept.owner.failed(kept, error)
            if error.kind == .memory { memoryFailed() }
            // A coroutine that was ended by its budget runs no code any more, and so does not close its streams itself.
            if error.kind == .cpu { for feature in features.all { feature.runWasKilled(co.id) } }
            kept.owner.ended(kept)
        }
    }

    /// Ends a failed run when there is no memory to keep its data. The requester is answered before the coroutine is closed,
    /// with ``memoryError`` in place of the real error.
    private func failWithoutMemory(_ co: LuaCoroutine, _ activity: Activity) {
        activity.owner.failed(activity, Self.memoryError)
        let error = vm.takeError(co)
        if watchedRuns > 0 { notifyRunDidEnd(co, error) }
        memoryFailed()
        activity.owner.ended(activity)
    }

    /// Cancels the wait that a run was about to begin when it was ended: the next coroutine that suspends must not get it.
    private func dropWait(_ co: LuaCoroutine) {
        let wait = nextWait
        if wait.isNone { return }
        nextWait = .none
        wait.owner?.cancel(wait, of: co.id)
    }

    /// Cancels the wait of a coroutine.
    package func cancelWait(of suspendedRun: SuspendedRun) {
        let wait = suspendedRun.wait
        suspendedRun.wait = .none
        wait.owner?.cancel(wait, of: suspendedRun.coroutine)
    }

    private func park(_ co: LuaCoroutine, _ activity: Activity) {
        let suspendedRun = SuspendedRun(activity: activity, coroutine: co.id)
        let hasOpenEnd = activity.traits.contains(.hasOpenEnd)
        if hasOpenEnd { suspendedRun.account = current.account }
        suspendedRun.wait = nextWait
        nextWait = .none
        let slot = Int(co.slot)
        while suspendedRuns.count <= slot { suspendedRuns.append(nil) }
        suspendedRuns[slot] = suspendedRun
        suspendedCount += 1
        if suspendedCount > suspendedPeak { suspendedPeak = suspendedCount }
        if let limit = activity.owner.timeLimit(of: activity) {
            armDeadline(of: suspendedRun, nanoseconds: limit)
        } else if hasOpenEnd {
            vm.renewBudget(co)
        }
    }

    private func forget(_ suspendedRun: SuspendedRun, slot: Int) {
        suspendedRun.list?.remove(suspendedRun)
        suspendedRuns[slot] = nil
        suspendedCount -= 1
        // A burst of thousands must not keep its table for ever.
        if suspendedCount == 0, suspendedRuns.count > 4096 { suspendedRuns = [] }
    }

    /// Gives up a suspended coroutine: its time is over, or the service stops.
    ///
    /// - Parameter closes: Whether its variables are closed, which may take a tenth of a budget.
    package func abandon(_ suspendedRun: SuspendedRun, _ reason: ReplyError = .stopping, closes: Bool = true) {
        guard let co = vm.coroutine(id: suspendedRun.coroutine) else { return }
        if watchedRuns > 0 { tellGivenUp(slot: Int(co.slot), suspendedRun.activity, reason) }
        cancelWait(of: suspendedRun)
        forget(suspendedRun, slot: Int(co.slot))
        // Variables that are closed with the coroutine run code of the script.
        current = RunningActivity(suspendedRun.activity)
        runningAccount = suspendedRun.account ?? current.account
        current.account = runningAccount
        depth += 1
        vm.discard(co, closes: closes)
        depth -= 1
    }

    // MARK: - Ends

    package func returnedError(_ L: OpaquePointer, _ count: CInt) -> LuaError? {
        let first = lua_gettop(L) - count + 1
        guard lua_type(L, first) == LUA_TNIL, lua_type(L, first + 1) != LUA_TNIL else { return nil }
        let error = readError(L, first + 1)
        return LuaError(kind: .runtime, message: error.message, code: error.code, isTable: true)
    }

    /// Code and text of an error value that a script returned.
    package func readError(_ L: OpaquePointer, _ index: CInt) -> (code: LuaError.Code?, message: String) {
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
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(tables.errorType))
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
}
