// Owns: what goes back for a message: values, error replies, msg.respond; and decoding `msg.data`. Hot path; loop-bound.

import Bytes
import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import NATS
import NATSProtocol
import ScriptRuntime

extension Script {
    /// Answers a message with what its handler returned.
    func answer(
        _ L: OpaquePointer,
        _ count: CInt,
        _ listener: Listener,
        _ message: UnsafeMutablePointer<panini_message>
    ) {
        let first = lua_gettop(L) - count + 1
        let headers = takeReplyHeaders(message)
        if count >= 2, lua_type(L, first) == LUA_TNIL, lua_type(L, first + 1) != LUA_TNIL {
            let error = readError(L, first + 1)
            listener.counters.failed &+= 1
            if message.pointee.reply_length == 0 || message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) != 0 {
                logger.warning(
                    message.pointee.flags & UInt8(PANINI_MESSAGE_INVALID) == 0
                        ? "handler of \(text(subjectOf(message))) (\(listener.origin)) failed: \(error.message)"
                        : "message on \(text(subjectOf(message))) dropped, \(listener.counters.invalid) invalid so far for the handler at \(listener.origin): \(error.message)"
                )
            }
            return refuse(
                message,
                listener,
                ReplyError(
                    code: error.code,
                    message: error.message,
                    errors: errorList(L, first + 1, of: listener.origin)
                )
            )
        }
        guard message.pointee.reply_length > 0, listener.replies else { return }
        if message.pointee.flags & UInt8(PANINI_MESSAGE_UNSENT | PANINI_MESSAGE_ANSWERED)
            == UInt8(PANINI_MESSAGE_UNSENT),
            lua_type(L, first) == LUA_TNIL
        {
            // msg.respond failed. A nil result does not replace that error, because a middleware may return nil without meaning
            // an answer.
            return refuse(message, listener, .internalError)
        }
        guard message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) == 0 else {
            logger.warning(
                "handler of \(text(subjectOf(message))) (\(listener.origin)) returned a value after msg.respond; it was not sent"
            )
            return
        }
        noteAnswered(message)
        do throws(SendFailure) {
            try headers.withUnsafeBufferPointer { headers throws(SendFailure) in
                try send(
                    L,
                    first,
                    dataType: nil,
                    subject: replyOf(message),
                    reply: emptyBytes,
                    headers: UnsafeRawBufferPointer(headers)
                )
            }
            if message.pointee.arrived != 0 { service?.requestAnswered(message) }
        } catch {
            replyFailed(message, listener, error)
        }
    }

    /// A reply could not be sent as it is: the requester gets an error, and the log says why.
    private func replyFailed(
        _ message: UnsafeMutablePointer<panini_message>,
        _ listener: Listener,
        _ failure: SendFailure
    ) {
        listener.counters.failed &+= 1
        let reason: String
        var isTold = service?.debug == true
        switch failure {
        case .unsendable(let problem):
            reason = "the reply cannot be sent: \(problem)"
            logger.error("handler of \(text(subjectOf(message))) (\(listener.origin)): \(reason)")
        case .refused(let error):
            // An error reply would be lost as well.
            if error.isLoss { return service?.replyLost(error) ?? () }
            reason = "the reply was not sent: \(error.message)"
            // What the broker takes is no secret.
            isTold = true
            // The requester chose the reply subject: what is wrong with it must not fill the log.
            service?.fault(
                .unsentReply,
                .error,
                "handler of \(text(subjectOf(message))) (\(listener.origin)): \(reason)"
            )
        }
        message.pointee.flags &= ~UInt8(PANINI_MESSAGE_ANSWERED)
        refuse(message, listener, isTold ? ReplyError(500, reason) : .internalError)
    }

    /// A reply has gone out, or is about to.
    @inline(__always)
    func noteAnswered(_ message: UnsafeMutablePointer<panini_message>) {
        message.pointee.flags |= UInt8(PANINI_MESSAGE_ANSWERED)
        if message.pointee.request != 0 { messaging.spawnedRequests.answered(message.pointee.request) }
    }

    /// Sends the error reply of a request, once; does nothing for a one-way message.
    func refuse(_ message: UnsafeMutablePointer<panini_message>, _ listener: Listener, _ error: ReplyError) {
        _ = takeReplyHeaders(message)
        guard message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) == 0 else { return }
        noteAnswered(message)
        guard message.pointee.reply_length > 0, listener.replies else { return }
        if message.pointee.arrived != 0 { service?.requestAnswered(message, error) }
        service?.sendError(error, to: replyOf(message))
    }

    /// The list `errors` of an error that a handler returned; one that cannot be sent is left out, and the log says so.
    func errorList(_ L: OpaquePointer, _ index: CInt, of origin: String) -> [UInt8] {
        let list = vm.errorList(L, index)
        if let problem = list.problem { logErrorsLeftOut(problem, of: origin) }
        return list.json
    }

    func logErrorsLeftOut(_ problem: String, of origin: String) {
        logger.warning("handler at \(origin): the list of its error is left out of the reply: \(problem)")
    }

    /// Why a value did not go out.
    enum SendFailure: Error {
        /// It is no message at all: misuse.
        case unsendable(String)
        /// The connection did not take it.
        case refused(CallError)
    }

    /// Encodes the Lua value at an index and hands it to the connection as a reply, which needs no room.
    func send(
        _ L: OpaquePointer,
        _ index: CInt,
        dataType: DataType?,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer
    ) throws(SendFailure) {
        let payload = try encode(L, index, dataType: dataType)
        guard let service else { return }
        if let error = service.publish(
            subject: subject,
            reply: reply,
            headers: headers,
            payload: payload,
            room: .reply
        ) {
            throw .refused(error)
        }
    }

    /// The bytes of a value: of a string in place, of everything else in the writer; valid until the next encoding.
    @inline(__always)
    func encode(_ L: OpaquePointer, _ index: CInt, dataType: DataType?) throws(SendFailure) -> UnsafeRawBufferPointer {
        switch lua_type(L, index) {
        case LUA_TSTRING where dataType != .json:
            let bytes = vm.stringBytes(L, index) ?? emptyBytes
            if dataType == .string, !UTF8Text.isValid(bytes) {
                throw .unsendable("data_type is \"string\", but the text is not UTF-8; use \"bytes\"")
            }
            return bytes
        case LUA_TNIL, LUA_TNONE:
            return emptyBytes
        default:
            if let dataType, dataType != .json {
                throw .unsendable(
                    "data_type is \"\(DataType.names[Int(dataType.rawValue)])\", but the value is no string"
                )
            }
            writer.removeAll(keepingCapacity: true)
            do throws(LuaJSONError) {
                try vm.encodeJSON(L, index, into: writer)
            } catch {
                throw .unsendable(error.description)
            }
            return writer.bytes
        }
    }

    static let noMemory = CallError("memory", LuaVM.memoryText)

    /// Pushes the value of a payload; throws what `err.message` or the 400 says.
    func pushPayload(
        _ L: OpaquePointer,
        _ payload: UnsafeRawBufferPointer,
        _ dataType: DataType
    ) throws(CallError) {
        switch dataType {
        case .json:
            do throws(LuaJSONError) {
                try vm.pushJSON(payload, onto: L)
            } catch {
                if error.kind == .memory { throw Self.noMemory }
                throw CallError("decode", "the payload is not valid JSON: \(error.description)")
            }
        case .string:
            guard vm.hasRoom(for: payload.count) else { throw Self.noMemory }
            guard UTF8Text.isValid(payload) else { throw CallError("decode", "the payload is not valid UTF-8") }
            vm.pushString(L, payload)
        case .bytes:
            guard vm.hasRoom(for: payload.count) else { throw Self.noMemory }
            vm.pushString(L, payload)
        }
    }

    func subjectOf(_ message: UnsafeMutablePointer<panini_message>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: panini_message_subject(message), count: Int(message.pointee.subject_length))
    }

    func replyOf(_ message: UnsafeMutablePointer<panini_message>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: panini_message_reply(message), count: Int(message.pointee.reply_length))
    }

    func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
}

/// No bytes: a missing reply subject, no headers, an empty payload.
var emptyBytes: UnsafeRawBufferPointer {
    @inline(__always) get { UnsafeRawBufferPointer(start: nil, count: 0) }
}

/// Called by C on the first use of `msg.data`: pushes the value, or the error that becomes the reply 400.
func decodeMessage(
    _ L: OpaquePointer?,
    _ context: UnsafeMutableRawPointer?,
    _ message: UnsafeMutablePointer<panini_message>?
) -> CInt {
    guard let L, let message else { return 0 }
    let script = Script.from(context)
    let payload = UnsafeRawBufferPointer(
        start: panini_message_payload(message),
        count: Int(message.pointee.payload_length)
    )
    do throws(CallError) {
        try script.pushPayload(L, payload, DataType(rawValue: message.pointee.data_type) ?? .json)
        return 1
    } catch {
        if error == Script.noMemory {
            script.vm.pushString(L, LuaVM.memoryText)
            return LuaVM.raise
        }
        script.service?.counters.decodingFailed()
        script.push(CallError(.number(400), error.message), onto: L)
        return LuaVM.raise
    }
}

/// Called by C where a script reads a text of the message that is no UTF-8: pushes the error that becomes the reply 400.
let messageIsNoText: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafePointer<CChar>?) -> CInt = {
    L,
    context,
    what in
    guard let L, let what else { return LuaVM.raise }
    let script = Script.from(context)
    script.service?.counters.decodingFailed()
    script.push(CallError(.number(400), "the \(String(cString: what)) is not valid UTF-8"), onto: L)
    return LuaVM.raise
}

/// Called by C for `msg.respond(value [, options])`.
func respondToMessage(
    _ L: OpaquePointer?,
    _ context: UnsafeMutableRawPointer?,
    _ message: UnsafeMutablePointer<panini_message>?
) -> CInt {
    guard let L, let message else { return 0 }
    let call = HostCall(L: L, script: Script.from(context), name: "msg.respond")
    do throws(UsageError) {
        return try call.script.respond(call, message)
    } catch {
        return call.raise(error)
    }
}

extension Script {
    fileprivate func respond(
        _ call: HostCall,
        _ message: UnsafeMutablePointer<panini_message>
    ) throws(UsageError) -> CInt {
        let options = try SendOptions(call, 2, known: ["headers", "data_type"])
        guard message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) == 0 else {
            throw UsageError("msg.respond: the message on \(text(subjectOf(message))) has been answered already")
        }
        guard message.pointee.reply_length > 0 else {
            return call.failure(CallError("no_reply", "the message on \(text(subjectOf(message))) asks for no reply"))
        }
        do throws(SendFailure) {
            try options.headers.withUnsafeBufferPointer { headers throws(SendFailure) in
                try send(
                    call.L,
                    1,
                    dataType: options.dataType,
                    subject: replyOf(message),
                    reply: emptyBytes,
                    headers: UnsafeRawBufferPointer(headers)
                )
            }
        } catch {
            noteUnsent(message)
            switch error {
            case .unsendable(let text): throw UsageError("msg.respond: \(text)")
            case .refused(let error):
                if error.isLoss { service?.sendBacklog.lostReplies &+= 1 }
                return call.failure(error)
            }
        }
        noteAnswered(message)
        // A script may keep a message longer than its listener lives, with whom its counters go.
        if message.pointee.arrived != 0, let service, messaging.listeners[message.pointee.owner] != nil {
            service.requestAnswered(message, options.serviceError)
        }
        return call.success()
    }
}
