// Owns: the events of runs for features that watch them: for traces, and for work that must follow a run however it ends.
// Loop-bound.

package import LuaVM

/// A feature that hears of each run while ``Script/watchedRuns`` is not zero.
package protocol RunWatcher: ScriptFeature {
    /// A function is about to run; it lies at an index of the coroutine's stack.
    func runBegins(_ coroutine: LuaCoroutine, _ activity: Activity, function index: CInt)

    /// A run is about to end: it has returned or failed, and its result is not handled yet.
    func runWillEnd(_ coroutine: LuaCoroutine, _ activity: Activity)

    /// It has ended.
    ///
    /// - Parameter error: What it failed with; asked for only when it matters.
    func runDidEnd(_ coroutine: LuaCoroutine, _ error: @autoclosure () -> LuaError?)

    /// It is given up.
    func runIsGivenUp(slot: Int, _ activity: Activity, _ reason: ReplyError)

    /// The run that is under way has spawned a function.
    func runSpawned(_ record: SpawnRecord)
}

extension RunWatcher {
    package func runBegins(_ coroutine: LuaCoroutine, _ activity: Activity, function index: CInt) {}
    package func runWillEnd(_ coroutine: LuaCoroutine, _ activity: Activity) {}
    package func runDidEnd(_ coroutine: LuaCoroutine, _ error: @autoclosure () -> LuaError?) {}
    package func runIsGivenUp(slot: Int, _ activity: Activity, _ reason: ReplyError) {}
    package func runSpawned(_ record: SpawnRecord) {}
}
