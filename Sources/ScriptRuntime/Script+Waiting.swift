// Owns: where a coroutine may wait, and sleeping: an alarm of the worker that it waits for. Worker's thread.

import LoopTools
import LuaVM

extension Script {
    /// Refuses a wait where Lua cannot suspend, and in a run that is to end, before anything is sent.
    package func requireSuspendable(_ call: HostCall) throws(UsageError) {
        guard !vm.isRunOver else { throw UsageError("\(call.name): the run is over") }
        guard vm.canSuspend(call.L) else {
            throw UsageError(
                "\(call.name) cannot wait here: inside a callback of table.sort, string.gsub and the like Lua cannot yield"
            )
        }
    }

    /// Suspends the running coroutine for some time.
    ///
    /// - Returns: What the host function returns.
    package func sleep(seconds: Double) -> CInt {
        guard let host, let id = vm.running?.id else { return 0 }
        let isShort = seconds < Self.shortSleep
        let alarm = host.worker.schedule(
            WorkerAlarm(self, id, in: isShort ? host.turn : nil),
            at: host.worker.now &+ UInt64(nanoseconds(seconds))
        )
        nextWait = Wait(host.worker, token: alarm.word, resumeCause: .own)
        return LuaVM.suspend
    }

    /// Shorter ones last for a turn of the loop, at least.
    private static let shortSleep = 0.001
}

extension Script: Resumable {
    /// A sleep is over.
    public func goOn(_ token: UInt64) {
        guard phase != .closed else { return }
        wake(token, .nothing)
        host?.workWasDone()
    }
}

extension Worker: WaitOwner {
    /// The sleep of this coroutine is no more.
    public func cancel(_ wait: Wait, of coroutine: UInt64) { cancel(DeadlineHandle(word: wait.token)) }
}
