// Owns: a script that no service runs: its Lua state with all that the host gives to scripts, but for what needs a connection.
// For fuzzers and tests. The thread that made it.

import CLuaVM
import CScriptObjects
import Logging
package import LuaVM
import ScriptRuntime

/// A script without a service.
package final class DetachedScript {
    private let script: Script

    /// The script's state.
    package var vm: LuaVM { script.vm }

    /// Makes the state; no file is read.
    package init() throws {
        let quiet = Logger(label: "panini.detached") { _ in SwiftLogNoOpLogHandler() }
        script = try Script(path: "detached.lua", overrides: PaniniOverrides(), logger: quiet)
    }

    /// Ends the state. Nothing may be called afterwards.
    package func close() { script.close() }

    /// Pushes a message as handlers get it. It has come to a listener that is not there any more.
    package func pushMessage(
        subject: [UInt8],
        reply: [UInt8],
        headers: [UInt8],
        payload: [UInt8],
        dataType: UInt8,
        onto L: OpaquePointer
    ) {
        lua_checkstack(L, 4)
        let message = panini_message_push(
            L,
            script.messaging.messageType,
            subject,
            subject.count,
            reply,
            reply.count,
            headers,
            headers.count,
            payload,
            payload.count
        )
        message?.pointee.owner = Int64.max
        message?.pointee.data_type = dataType
    }

    /// Pushes a request as handlers get it, of no route.
    package func pushRequest(
        method: [UInt8],
        path: [UInt8],
        query: [UInt8],
        headers: [UInt8],
        body: [UInt8],
        onto L: OpaquePointer
    ) {
        lua_checkstack(L, 4)
        let bytes = method + path + query + headers + body
        guard let request = panini_request_push(L, script.http.requestType, 0, bytes.count),
            let to = panini_request_bytes(request)
        else { return }
        bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(start: to, count: bytes.count).copyMemory(from: $0) }
        request.pointee.method_length = UInt32(method.count)
        request.pointee.path_length = UInt32(path.count)
        request.pointee.query_length = UInt32(query.count)
        request.pointee.headers_length = UInt32(headers.count)
        request.pointee.body_length = UInt32(body.count)
    }

    /// Pushes a handler as listeners with a validator have it, made of the three values on top of the stack, which it takes:
    /// the handler, the validator, and what a failure goes to, or nil. Its argument is a message.
    package func pushGuard(onto L: OpaquePointer) {
        lua_checkstack(L, 4)
        panini_validator_push_guard(L, script.messaging.guardHost)
    }

    /// Whether the value at an index is a validator.
    package func isValidator(_ L: OpaquePointer, _ index: CInt) -> Bool {
        panini_validator_at(L, index, script.validators.type) != nil
    }

    /// Whether the value at an index is a message.
    package func isMessage(_ L: OpaquePointer, _ index: CInt) -> Bool {
        panini_message_at(L, index, script.messaging.messageType) != nil
    }

    /// Pushes the value at an index as the log would show it.
    package func pushShown(_ L: OpaquePointer, _ index: CInt) {
        var shower = ValueShower(L, script: script)
        let text = shower.line(index)
        lua_checkstack(L, 4)
        vm.pushString(L, text)
    }
}

@available(*, unavailable)
extension DetachedScript: Sendable {}
