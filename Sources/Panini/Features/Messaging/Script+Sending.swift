// Owns: publish, request, flush and sleep as scripts call them. Worker's thread. publish is hot: no String, no
// allocation unless there are options.

import CLuaVM
import CScriptObjects
import LoopTools
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import ScriptRuntime

extension Script {
    /// What a refusal means to the script: a subject that is none is misuse, everything else an error to return.
    private func refused(
        _ call: HostCall,
        _ service: Service,
        _ refusal: NATSPublishError,
        subject: UnsafeRawBufferPointer
    ) throws(UsageError) -> CInt {
        guard refusal == .invalidSubject else { return call.failure(service.describe(refusal)) }
        do throws(SubjectPattern.Invalid) {
            try SubjectPattern.checkPublishable(String(decoding: subject, as: UTF8.self))
        } catch {
            throw UsageError("\(call.name): \(error.message)")
        }
        throw UsageError("\(call.name): the subject is not valid")
    }

    func publish(_ call: HostCall, force: Bool) throws(UsageError) -> CInt {
        if let chain = force ? middlewares.publishSync : middlewares.publish {
            _ = try call.requireLive()
            return try goThrough(call, chain)
        }
        return try publishDirectly(call, force: force)
    }

    func publishDirectly(_ call: HostCall, force: Bool) throws(UsageError) -> CInt {
        let service = try call.requireLive()
        let subject = try call.bytes(1, "the subject")
        if let denied = publishDenied(subject) { return call.failure(denied) }
        if call.isNone(3), !force {
            // The common case by itself: nothing is built for options that are not there.
            let payload: UnsafeRawBufferPointer
            do throws(SendFailure) {
                payload = try encode(call.L, 2, dataType: nil)
            } catch {
                throw misuse(call, error)
            }
            let refusal = service.connection.publish(
                subject: subject,
                reply: emptyBytes,
                headers: emptyBytes,
                payload: payload,
                room: .wait
            )
            if let refusal { return try notTaken(call, service, refusal, .publish, subject, nil, payload) }
            return call.success()
        }
        let options = try SendOptions(call, 3, known: ["reply_to", "headers", "data_type", "force"])
        if let refusal = options.refusal { return call.failure(refusal) }
        if !options.replyTo.isEmpty, let denied = options.replyTo.withUnsafeBytes({ publishDenied($0) }) {
            return call.failure(denied)
        }
        let confirms = force || options.force
        if confirms { try requireSuspendable(call) }
        let payload: UnsafeRawBufferPointer
        do throws(SendFailure) {
            payload = try encode(call.L, 2, dataType: options.dataType)
        } catch {
            throw misuse(call, error)
        }
        let refusal = options.headers.withUnsafeBytes { headers in
            options.replyTo.withUnsafeBytes { reply in
                service.connection.publish(
                    subject: subject,
                    reply: reply,
                    headers: headers,
                    payload: payload,
                    room: .wait
                )
            }
        }
        if let refusal {
            return try notTaken(call, service, refusal, confirms ? .confirmed : .publish, subject, options, payload)
        }
        guard confirms else { return call.success() }
        return waitForBarrier(call, seconds: 10, publishing: options.watched(subject))
    }

    /// Waits for room where that is what a publish lacks, and where Lua can wait.
    private func notTaken(
        _ call: HostCall,
        _ service: Service,
        _ refusal: NATSPublishError,
        _ kind: WaitingSend.Kind,
        _ subject: UnsafeRawBufferPointer,
        _ options: SendOptions?,
        _ payload: UnsafeRawBufferPointer
    ) throws(UsageError) -> CInt {
        if canAwaitRoom(call, refusal) {
            return try awaitRoom(call, service, kind, subject: subject, options: options, payload: payload)
        }
        var refusal: NATSPublishError? = refusal
        if refusal == .bufferExceeded, service.connection.isCongested {
            // Others wait; what cannot may still have a place.
            refusal = (options?.headers ?? []).withUnsafeBytes { headers in
                (options?.replyTo ?? []).withUnsafeBytes { reply in
                    service.connection.publish(subject: subject, reply: reply, headers: headers, payload: payload)
                }
            }
        }
        guard let refusal else { return call.success() }
        return try refused(call, service, refusal, subject: subject)
    }

    private func misuse(_ call: HostCall, _ failure: SendFailure) -> UsageError {
        switch failure {
        case .unsendable(let text): UsageError("\(call.name): \(text)")
        case .refused(let error): UsageError("\(call.name): \(error.message)")
        }
    }

    func flush(_ call: HostCall) throws(UsageError) -> CInt {
        _ = try call.requireLive()
        let seconds = call.isNone(1) ? 10 : try call.seconds(1, "the timeout")
        try requireSuspendable(call)
        return waitForBarrier(call, seconds: seconds, publishing: [])
    }

    /// Suspends until the broker has taken everything sent so far.
    func waitForBarrier(_ call: HostCall, seconds: Double, publishing subjects: [String]) -> CInt {
        guard service != nil, let id = vm.running?.id else { return 0 }
        nextWait = .outside
        wakeAtBarrier(id, call.name, seconds: seconds, publishing: subjects)
        return LuaVM.suspend
    }

    /// Lets a coroutine go on when the broker has taken everything sent so far.
    func wakeAtBarrier(_ id: UInt64, _ name: StaticString, seconds: Double, publishing subjects: [String]) {
        service?.barrier(seconds: seconds, publishing: subjects) { [self] failure in
            wake(
                id,
                failure.map { .failure($0.code == .text("timeout") ? .timeout("\(name)", seconds: seconds) : $0) }
                    ?? .success
            )
        }
    }

    func sleep(_ call: HostCall) throws(UsageError) -> CInt {
        _ = try call.requireLive()
        let seconds = try call.seconds(1, "the duration")
        try requireSuspendable(call)
        return sleep(seconds: seconds)
    }

    // MARK: - Requests

    func request(_ call: HostCall) throws(UsageError) -> CInt {
        if let chain = middlewares.request {
            _ = try call.requireLive()
            try requireSuspendable(call)
            return try goThrough(call, chain)
        }
        return try requestDirectly(call)
    }

    func requestDirectly(_ call: HostCall) throws(UsageError) -> CInt {
        let service = try call.requireLive()
        let subject = try call.bytes(1, "the subject")
        if let denied = publishDenied(subject) { return call.failure(denied) }
        let options = try SendOptions(call, 3, known: ["timeout", "headers", "data_type", "response_data_type"])
        try requireSuspendable(call)
        guard let id = vm.running?.id else { return 0 }
        let payload: UnsafeRawBufferPointer
        do throws(SendFailure) {
            payload = try encode(call.L, 2, dataType: options.dataType)
        } catch {
            throw misuse(call, error)
        }
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(options.timeout))
        let outcome = options.headers.withUnsafeBytes { headers in
            service.connection.request(
                subject: subject,
                headers: headers,
                payload: payload,
                deadline: deadline,
                context: id,
                sink: self,
                room: .wait
            )
        }
        switch outcome {
        case .started(let request):
            nextWait = messaging.wait(for: request, options.responseDataType)
            return LuaVM.suspend
        case .refused(let refusal) where canAwaitRoom(call, refusal):
            let kind = WaitingSend.Kind.request(deadline: deadline, options.responseDataType)
            return try awaitRoom(call, service, kind, subject: subject, options: options, payload: payload)
        case .refused(let refusal):
            return try refused(call, service, refusal, subject: subject)
        }
    }
}

extension ScriptMessaging: WaitOwner {
    /// The wait for the reply to a request.
    func wait(for request: NATSRequestID, _ dataType: DataType) -> Wait {
        Wait(
            self,
            token: request.generation,
            detail: UInt64(request.slot) | UInt64(dataType.rawValue) << 32
        )
    }

    fileprivate static func dataType(of wait: Wait) -> DataType {
        wait.owner is ScriptMessaging
            ? DataType(rawValue: UInt8(truncatingIfNeeded: wait.detail >> 32)) ?? .json : .json
    }

    func cancel(_ wait: Wait, of coroutine: UInt64) {
        script.service?.connection.cancelRequest(
            NATSRequestID(slot: UInt32(truncatingIfNeeded: wait.detail), generation: wait.token)
        )
    }
}

extension Script: NATSRequestSink {
    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {
        guard phase != .closed else { return }
        let subject = reply.subject
        let headers = reply.headers
        let payload = reply.payload
        enter {
            resume(context) { L in pushReply(L, context, subject: subject, headers: headers, payload: payload) }
        }
    }

    func requestFailed(context: UInt64, error: NATSRequestError) {
        guard phase != .closed else { return }
        let failure: CallError
        switch error {
        case .timeout: failure = CallError("timeout", "no answer within the time limit")
        case .noResponders: failure = CallError("no_responders", "nobody listens on the subject")
        case .disconnected: failure = CallError("disconnected", "the connection to the broker was lost")
        case .closed: failure = CallError("closed", "the connection to the broker is closed")
        case .permissionViolation(let text): failure = CallError("permission", text)
        }
        wake(context, .failure(failure))
    }

    /// Pushes `data, nil, msg`, or `nil, err` for an error reply and for a payload that is not what was asked for.
    private func pushReply(
        _ L: OpaquePointer,
        _ id: UInt64,
        subject: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) -> CInt {
        if !headers.isEmpty, let error = serviceError(headers) {
            lua_pushnil(L)
            push(error, onto: L)
            attachData(L, payload)
            return 2
        }
        var dataType = DataType.json
        if let wait = suspendedRuns[Int(UInt32(truncatingIfNeeded: id))]?.wait {
            dataType = ScriptMessaging.dataType(of: wait)
        }
        if payload.isEmpty {
            lua_pushnil(L)
        } else {
            do throws(CallError) {
                try pushPayload(L, payload, dataType)
            } catch {
                lua_pushnil(L)
                push(
                    CallError("decode", "the reply cannot be read: \(error.message) (see response_data_type)"),
                    onto: L
                )
                return 2
            }
        }
        lua_pushnil(L)
        let message = panini_message_push(
            L,
            messaging.messageType,
            subject.baseAddress,
            subject.count,
            nil,
            0,
            headers.baseAddress,
            headers.count,
            payload.baseAddress,
            payload.count
        ).unsafelyUnwrapped
        message.pointee.data_type = dataType.rawValue
        return 3
    }

    /// The error that a service answered with (ADR-32), if it did.
    private func serviceError(_ headers: UnsafeRawBufferPointer) -> CallError? {
        let lines = NATSHeaderLines(headers)
        let code = lines.firstValue(of: "Nats-Service-Error-Code").flatMap {
            Int64(String(decoding: $0, as: UTF8.self))
        }
        let text = lines.firstValue(of: "Nats-Service-Error").map { String(decoding: $0, as: UTF8.self) }
        guard code != nil || text != nil else { return nil }
        return CallError(.number(code ?? 500), text ?? "error")
    }

    /// Adds the body of an error reply to the error table on top, as `data`, when it is JSON.
    private func attachData(_ L: OpaquePointer, _ payload: UnsafeRawBufferPointer) {
        guard !payload.isEmpty else { return }
        vm.pushString(L, "data" as StaticString)
        do throws(LuaJSONError) {
            try vm.pushJSON(payload, onto: L)
            lua_rawset(L, -3)
        } catch {
            lua_settop(L, -2)  // No JSON: the text of the error is all there is.
        }
    }
}
