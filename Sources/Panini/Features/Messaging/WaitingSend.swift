// Owns: a publish or request of a script that waits until the broker takes more, with what will be sent as it was when the
// script called: a table may be another by then. Loop-bound.

import LoopTools
import LuaVM
import NATS
import NIOCore
import ScriptRuntime

/// A send that waits for room.
final class WaitingSend: LinkedQueueNode {
    enum Kind {
        case publish
        /// A publish that waits for the broker's word, too.
        case confirmed
        case request(deadline: NIODeadline, DataType)
    }

    enum Payload {
        /// A string of the script's, which cannot change; kept alive, not copied.
        case text(LuaReference)
        /// What a table was encoded to; counted as memory of the script.
        case bytes([UInt8])
    }

    let kind: Kind
    let script: Script
    let coroutine: UInt64
    let subject: [UInt8]
    let reply: [UInt8]
    let headers: [UInt8]
    let payload: Payload
    /// When a request has waited as long as it may.
    var alarm: DeadlineHandle?
    var links = LinkedQueueLinks<WaitingSend>()

    init(
        _ kind: Kind,
        script: Script,
        coroutine: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: [UInt8],
        headers: [UInt8],
        payload: Payload
    ) {
        self.kind = kind
        self.script = script
        self.coroutine = coroutine
        self.subject = Array(subject)
        self.reply = reply
        self.headers = headers
        self.payload = payload
    }

    /// Calls `body` with subject, reply, headers and payload; valid during the call, which runs no Lua.
    func withParts<Result>(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) ->
            Result
    ) -> Result {
        subject.withUnsafeBytes { subject in
            reply.withUnsafeBytes { reply in
                headers.withUnsafeBytes { headers in
                    withPayload { body(subject, reply, headers, $0) }
                }
            }
        }
    }

    private func withPayload<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        switch payload {
        case .bytes(let bytes): return bytes.withUnsafeBytes(body)
        case .text(let reference): return script.withString(reference, body)
        }
    }

    /// The subjects whose denial it shall hear of.
    var watched: [String] {
        [subject, reply].filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }
    }

    /// Gives back what it holds in the Lua state.
    func releasePayload() {
        guard script.phase != .closed else { return }
        switch payload {
        case .text(let reference): script.vm.release(reference)
        case .bytes(let bytes): script.vm.discharge(bytes.count)
        }
    }
}

@available(*, unavailable)
extension WaitingSend: Sendable {}

extension WaitingSend: Resumable {
    /// It has waited as long as it may.
    func goOn(_ token: UInt64) { script.service?.sendTimedOut(self) }
}

extension WaitingSend: WaitOwner {
    func cancel(_ wait: Wait, of coroutine: UInt64) { script.service?.forget(self) }
}
