// Owns: what the host does when a Lua state has no memory left for an object of the host's. Worker's thread. LuaVM keeps the
// limit itself.

import CLuaVM
import CScriptObjects
import Logging
import LoopTools
package import LuaVM

extension Script {
    /// What a coroutine and the call that starts it take, at least.
    @inlinable public static var coroutineBytes: Int { 4096 }
    /// How many bytes must be free below the limit for them to go back to the system at once.
    private static let worthGivingBack = 4 << 20

    package static let memoryError = LuaError(kind: .memory, message: LuaVM.memoryText)

    /// There is no memory for a run to begin: it ends as if it had failed.
    package func failBeforeStart(_ activity: Activity) {
        activity.owner.failed(activity, Self.memoryError)
        memoryFailed()
        activity.owner.ended(activity)
    }

    /// There is no memory for a spawned function to begin, so there is none for those that wait behind it. They all fail at
    /// once: to try each of them would cost a collection each.
    package func failUnstarted(_ function: LuaReference, _ record: SpawnRecord) {
        fail(Self.memoryError, function, record) { _ in true }
        memoryFailed()
    }

    /// The account that a spawned function shares with its spawners is overdrawn. The function fails here, together with all
    /// that share the account and wait to begin.
    package func failOverdrawnSpawn(_ function: LuaReference, _ record: SpawnRecord) {
        fail(vm.overRate(limits.rate), function, record) { other in
            other.account === record.account && other.resumeCause == .own
        }
    }

    private func fail(
        _ error: LuaError,
        _ function: LuaReference,
        _ record: SpawnRecord,
        andAll isMeant: (SpawnRecord) -> Bool
    ) {
        vm.release(function)
        var failed = [record]
        ready.keep { item in
            guard case .start(let function, let record) = item, isMeant(record) else { return true }
            vm.discharge(SpawnRecord.charge)
            vm.release(function)
            failed.append(record)
            return false
        }
        keepFailure(error, ofAll: failed)
        for record in failed { record.ended(Activity(record)) }
    }

    /// Something failed because there was no memory. Usually it needed too much itself, and everything else goes on. A state
    /// that is full even after a collection will not recover by itself.
    package func memoryFailed() {
        guard !runs.isStateFull, phase == .live else { return }
        writer.removeAll()
        guard vm.isExhausted() else {
            // Free pages go back to the system at once: the next large user needs blocks of other sizes.
            if vm.memoryLimit - vm.memoryInUse > Self.worthGivingBack { panini_release_free_memory(vm.state) }
            return
        }
        runs.isStateFull = true
        host?.scriptExhausted(self)
    }
}

extension SpawnRecord {
    /// How many bytes one takes outside of Lua until it starts.
    package static let charge = 512
}
