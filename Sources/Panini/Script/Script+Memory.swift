// Owns: what is done when a Lua state has no memory left for what the host wants to make in it. Worker's thread. The limit
// itself is kept in LuaVM.

import CLuaShim
import Logging
import LuaVM

extension Script {
    /// What a coroutine and the call that starts it take, at least.
    static let coroutineBytes = 4096
    /// How many bytes must be free below the limit for them to go back to the system at once.
    private static let worthGivingBack = 4 << 20

    private static let memoryError = LuaError(kind: .memory, message: LuaVM.memoryText)

    /// There is no memory for a message and its handler: the requester is told as if the handler had failed.
    func startWithoutMemory(
        _ listener: Listener,
        _ target: ListenerSubject,
        arrived: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer
    ) {
        // A few hundred bytes more than allowed: the log and the reply want the subjects.
        let co = vm.acquireCoroutine()
        let message = panini_message_push(
            co.thread,
            messageType,
            subject.baseAddress,
            subject.count,
            reply.baseAddress,
            reply.count,
            nil,
            0,
            nil,
            0
        ).unsafelyUnwrapped
        message.pointee.owner = listener.id
        if arrived != 0 {
            message.pointee.endpoint = Unmanaged.passUnretained(target.endpoint).toOpaque()
            message.pointee.arrived = arrived
        }
        listener.active += 1
        let activity = Activity.message(listener, message)
        service?.activityFailed(activity, Self.memoryError, of: self)
        vm.recycle(co)
        memoryFailed()
        service?.activityEnded(activity, of: self)
    }

    /// The same for what has no message.
    func settleUnstarted(_ activity: Activity) {
        service?.activityFailed(activity, Self.memoryError, of: self)
        fail(activity, Self.memoryError)
        memoryFailed()
        service?.activityEnded(activity, of: self)
    }

    /// There is no memory for a spawned function to begin, and so for none of those that wait behind it: they all fail at once.
    /// To look anew for each of them would cost a collection each.
    func failUnstarted(_ function: LuaReference, _ record: SpawnRecord) {
        fail(Self.memoryError, function, record) { _ in true }
        memoryFailed()
    }

    /// A function was spawned by functions that have spawned each other for longer than they may. It ends here with all that
    /// wait to begin and share their account.
    func endUnstarted(_ function: LuaReference, _ record: SpawnRecord) {
        fail(vm.overRate(options?.cpuRate ?? AppOptions().cpuRate), function, record) { other in
            other.account === record.account && other.drive == .own
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
        for record in failed { service?.activityEnded(.spawned(record), of: self) }
    }

    /// Something failed for want of memory. Usually that was its own doing, and the rest goes on; a state that is full even
    /// after a collection will not recover by itself.
    func memoryFailed() {
        guard !isExhaustionReported, phase == .live else { return }
        writer.removeAll()
        guard vm.isExhausted() else {
            // What one has hoarded is not kept for the next, whose blocks are of other sizes.
            if vm.memoryLimit - vm.memoryInUse > Self.worthGivingBack { panini_release_free_memory(vm.state) }
            return
        }
        isExhaustionReported = true
        service?.scriptExhausted(self)
    }
}

extension SpawnRecord {
    /// What one takes outside of Lua until it starts.
    static let charge = 512
}

extension Service {
    /// The Lua state of a script is full and stays so. Called once for each script, in the middle of its work: what is to
    /// be done about it begins in a later turn of the loop.
    func scriptExhausted(_ script: Script) {
        exhaustedScripts &+= 1
        logger.error(
            """
            the memory of the Lua state is used up: \(script.vm.memoryInUse) of \(script.vm.memoryLimit) bytes are in use \
            after a collection (limits.memory)
            """
        )
        onExhausted?(script)
    }
}
