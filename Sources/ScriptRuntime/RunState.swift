// Owns: what runs and waits in a script. A value of a Script; loop-bound.

package import LuaVM

/// The runs of one script.
@usableFromInline
package struct RunState {
    /// What a stop, and the end of a script that was replaced, wait for: handlers, ticks, spawned functions.
    @usableFromInline package var activeCount = 0
    /// Suspended coroutines by their slot.
    package var suspendedRuns: [SuspendedRun?] = []
    package var suspendedCount = 0
    /// The most that waited at once since the last look at the memory.
    package var suspendedPeak = 0
    /// What the host function that is about to suspend waits for.
    @usableFromInline package var nextWait = Wait.none
    package var deadlineLists = DeadlineLists()
    /// Work for the outermost level, so that completions never nest.
    @usableFromInline package var ready = ReadyQueue()
    @usableFromInline package var depth = 0
    /// What runs now; the functions that it spawns inherit from it.
    @usableFromInline package var current = RunningActivity()
    /// The thread's CPU time at the end of the last charged segment, if nothing else was done since; 0 otherwise.
    package var chargedUntil: UInt64 = 0
    /// Keeps the account of ``current`` alive.
    package var runningAccount: RunAccount?
    /// How many things features want to hear the end of runs for.
    @usableFromInline package var watched = 0
    /// The log says that the state is full; whoever can replaces it.
    package var isStateFull = false

    /// The script is closed: nothing goes on.
    package mutating func giveUpAll() {
        suspendedRuns = []
        suspendedCount = 0
        deadlineLists = DeadlineLists()
        ready = ReadyQueue()
    }
}

extension Script {
    /// A handler, tick or function begins that a stop waits for.
    @inlinable @inline(__always)
    public func beginActivity() { runs.activeCount += 1 }

    /// It is over.
    @inlinable @inline(__always)
    public func endActivity() { runs.activeCount -= 1 }

    /// What still runs is given up: nobody waits for it any more.
    package func forgetActivities() { runs.activeCount = 0 }

    /// How many of them there are.
    @inlinable public var activeCount: Int {
        @inline(__always) get { runs.activeCount }
    }

    package var suspendedRuns: [SuspendedRun?] {
        @inline(__always) get { runs.suspendedRuns }
        @inline(__always) _modify { yield &runs.suspendedRuns }
    }

    package var suspendedCount: Int {
        @inline(__always) get { runs.suspendedCount }
        @inline(__always) _modify { yield &runs.suspendedCount }
    }

    package var suspendedPeak: Int {
        @inline(__always) get { runs.suspendedPeak }
        @inline(__always) _modify { yield &runs.suspendedPeak }
    }

    /// What the host function that is about to suspend waits for.
    @inlinable public var nextWait: Wait {
        @inline(__always) get { runs.nextWait }
        @inline(__always) _modify { yield &runs.nextWait }
    }

    package var deadlineLists: DeadlineLists {
        @inline(__always) get { runs.deadlineLists }
        @inline(__always) _modify { yield &runs.deadlineLists }
    }

    package var ready: ReadyQueue {
        @inline(__always) get { runs.ready }
        @inline(__always) _modify { yield &runs.ready }
    }

    /// How deep the calls into Lua are; 0: nothing of the script runs.
    @inlinable public var depth: Int {
        @inline(__always) get { runs.depth }
        @inline(__always) _modify { yield &runs.depth }
    }

    /// What runs now.
    @inlinable public var current: RunningActivity {
        @inline(__always) get { runs.current }
        @inline(__always) _modify { yield &runs.current }
    }

    package var chargedUntil: UInt64 {
        @inline(__always) get { runs.chargedUntil }
        @inline(__always) _modify { yield &runs.chargedUntil }
    }

    package var runningAccount: RunAccount? {
        @inline(__always) get { runs.runningAccount }
        @inline(__always) _modify { yield &runs.runningAccount }
    }

    /// How many things features want to hear the end of runs for; zero on the way of an ordinary message.
    @inlinable public var watchedRuns: Int {
        @inline(__always) get { runs.watched }
        @inline(__always) _modify { yield &runs.watched }
    }

    // MARK: - Telling features

    @inline(never)
    package func tellBegin(_ co: LuaCoroutine, _ activity: Activity, function index: CInt = -1) {
        for feature in features.watchers { feature.runBegins(co, activity, function: index) }
    }

    @inline(never)
    package func notifyRunWillEnd(_ co: LuaCoroutine, _ activity: Activity) {
        for feature in features.watchers { feature.runWillEnd(co, activity) }
    }

    @inline(never)
    package func notifyRunDidEnd(_ co: LuaCoroutine, _ error: @autoclosure () -> LuaError?) {
        for feature in features.watchers { feature.runDidEnd(co, error()) }
    }

    @inline(never)
    package func tellGivenUp(slot: Int, _ activity: Activity, _ reason: ReplyError) {
        for feature in features.watchers { feature.runIsGivenUp(slot: slot, activity, reason) }
    }
}
