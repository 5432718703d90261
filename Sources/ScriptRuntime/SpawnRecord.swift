// Owns: a function that a script has spawned, while it runs, and who waits for what it leaves. Loop-bound.

public import Instrumentation
public import LuaVM

/// Somebody outside of Lua who has called a function, and hears of its end.
package protocol SpawnCaller: AnyObject {
    /// It has returned `count` values, which lie on top of `L`.
    func returned(_ script: Script, _ L: OpaquePointer, _ count: CInt)

    func failed(_ error: LuaError)
}

/// A function started by `app.spawn` or `app.wait_all`, while it runs.
public final class SpawnRecord: ActivityOwner {
    /// The handle's userdata in the registry, so that results outlive the coroutine; `nil` for `wait_all`.
    package var handle: LuaReference?
    /// Coroutines in `handle.wait()`.
    package var waiters: [UInt64] = []
    /// Who called from Swift.
    package var call: (any SpawnCaller)?
    /// The group and position of a `wait_all` that started it.
    package var group: WaitGroup?
    package var position = 0
    /// The groups of `wait_all` that wait for its handle, with the positions there.
    package var groups: [(group: WaitGroup, position: Int)] = []

    /// The coroutines that go on when it has ended.
    package var allWaiters: [UInt64] { waiters + groups.map(\.group.waiter) + (group.map { [$0.waiter] } ?? []) }

    /// It waits for another spawned function.
    package var isWaiting = false
    /// Whether somebody will see its error.
    package var isAwaited: Bool { !waiters.isEmpty || !groups.isEmpty }
    /// The span that it was started in.
    package var context: InstrumentationContext?
    /// The number of the request whose handler has spawned it; 0: none.
    package let request: UInt64
    /// Whose request that is; it lives as long as the script.
    unowned(unsafe) let parent: (any SpawnParent)?
    /// A stop waits for it: it was started by a handler or a tick, not by a task that may run for ever.
    package let holdsStop: Bool
    /// The account that it is charged to beside its budget, shared with the functions that it spawns.
    package var account: RunAccount?
    /// Why it was begun.
    package var resumeCause = ResumeCause.outside

    package init(script: Script, holdsStop: Bool, parent: (any SpawnParent)? = nil, request: UInt64 = 0) {
        self.holdsStop = holdsStop
        self.parent = parent
        self.request = request
        super.init(script: script)
    }

    public override func traits(of activity: Activity) -> ActivityTraits { holdsStop ? .holdsStop : .hasOpenEnd }

    public override func describe(_ activity: Activity, in running: inout RunningActivity) {
        running.spawned = self
        running.account = account
    }

    public override func spanContext(of activity: Activity) -> InstrumentationContext? { context }

    public override func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        script.keepResults(L, count, self)
    }

    /// The error is kept for those who wait, and logged when nobody does.
    public override func failed(_ activity: Activity, _ error: LuaError) { script.keepFailure(error, self) }

    public override func ended(_ activity: Activity) {
        parent?.spawnedEnded(request)
        guard holdsStop else { return }
        script.endActivity()
        if script.isEnding { script.host?.endIfIdle(script) }
    }
}

/// One `app.wait_all` call.
package final class WaitGroup {
    package var remaining: Int
    package let waiter: UInt64
    /// Tables in the registry: results and errors by position.
    package let results: LuaReference
    package let errors: LuaReference
    package var hasErrors = false

    package init(remaining: Int, waiter: UInt64, results: LuaReference, errors: LuaReference) {
        self.remaining = remaining
        self.waiter = waiter
        self.results = results
        self.errors = errors
    }
}

@available(*, unavailable)
extension WaitGroup: Sendable {}
