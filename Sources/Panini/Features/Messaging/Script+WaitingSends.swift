// Owns: how a send of a script begins to wait for room. Worker's thread, during one call from Lua.

import CLuaVM
import LoopTools
import LuaVM
import NATS
import NIOCore
import ScriptRuntime

extension Script {
    /// Whether a send that was not taken can wait for the broker to take more.
    func canAwaitRoom(_ call: HostCall, _ refusal: NATSPublishError) -> Bool {
        refusal == .bufferExceeded && service?.connection.isConnected == true && vm.canSuspend(call.L)
    }

    /// Suspends the calling coroutine until its message can be sent. The message lies at 2.
    func awaitRoom(
        _ call: HostCall,
        _ service: Service,
        _ kind: WaitingSend.Kind,
        subject: UnsafeRawBufferPointer,
        options: SendOptions?,
        payload: UnsafeRawBufferPointer
    ) throws(UsageError) -> CInt {
        guard let id = vm.running?.id else { return call.failure(service.describe(.bufferExceeded)) }
        let kept: WaitingSend.Payload
        if lua_type(call.L, 2) == LUA_TSTRING, options?.dataType != .json {
            lua_pushvalue(call.L, 2)
            kept = .text(vm.makeReference(call.L))
        } else {
            try call.charge(payload.count)
            kept = .bytes(Array(payload))
        }
        let send = WaitingSend(
            kind,
            script: self,
            coroutine: id,
            subject: subject,
            reply: options?.replyTo ?? [],
            headers: options?.headers ?? [],
            payload: kept
        )
        if case .request(let deadline, _) = kind {
            send.alarm = service.worker.schedule(WorkerAlarm(send), at: deadline.uptimeNanoseconds)
        }
        service.sendBacklog.sends.append(send)
        service.sendBacklog.waited &+= 1
        nextWait = Wait(send)
        return LuaVM.suspend
    }

    /// Calls `body` with the bytes of a string in the registry; valid during the call, which runs no Lua.
    func withString<Result>(_ reference: LuaReference, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        let L = vm.state
        lua_checkstack(L, 1)
        vm.push(reference, onto: L)
        defer { lua_settop(L, -2) }
        return body(vm.stringBytes(L, -1) ?? emptyBytes)
    }
}
