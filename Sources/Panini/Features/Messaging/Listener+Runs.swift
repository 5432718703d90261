// Owns: how a listener runs its handler on a message, and what becomes of one that fails. Hot path; loop-bound.

import CScriptObjects
import Logging
import LuaVM
import ScriptRuntime

extension Listener {
    /// Runs a handler on a message.
    ///
    /// - Parameter script: Its own.
    func start(
        in script: Script,
        _ target: ListenerSubject,
        arrived: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        let vm = script.vm
        guard vm.hasRoom(for: payload.count + headers.count + Script.coroutineBytes) else {
            return startWithoutMemory(target, arrived: arrived, subject: subject, reply: reply)
        }
        let co = vm.acquireCoroutine()
        // Index 1 keeps the message alive for as long as the coroutine lives: the answer needs it at the end.
        let message = panini_message_push(
            co.thread,
            messageType,
            subject.baseAddress,
            subject.count,
            reply.baseAddress,
            reply.count,
            headers.baseAddress,
            headers.count,
            payload.baseAddress,
            payload.count
        ).unsafelyUnwrapped
        message.pointee.owner = id
        message.pointee.data_type = dataType
        message.pointee.params_reference = target.parametersIndex
        if arrived != 0 {
            // Not retained: the listener lives as long as this message's handler, and holds its subjects.
            message.pointee.endpoint = Unmanaged.passUnretained(target.endpoint).toOpaque()
            message.pointee.arrived = arrived
        }
        vm.push(reply.isEmpty ? publishEntry : requestEntry, onto: co.thread)
        lua_pushvalue(co.thread, 1)
        beginHandler(in: script)
        script.current = RunningActivity(holdsStop: true, subject: UnsafeMutableRawPointer(message))
        script.settle(
            co,
            vm.resume(co, argumentCount: 1),
            Activity(self, token: UInt(bitPattern: message))
        )
    }

    /// There is no memory for a message and its handler: the requester is told as if the handler had failed.
    private func startWithoutMemory(
        _ target: ListenerSubject,
        arrived: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer
    ) {
        // A few hundred bytes more than allowed: the log and the reply want the subjects.
        let vm = script.vm
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
        message.pointee.owner = id
        if arrived != 0 {
            message.pointee.endpoint = Unmanaged.passUnretained(target.endpoint).toOpaque()
            message.pointee.arrived = arrived
        }
        beginHandler(in: script)
        let activity = Activity(self, token: UInt(bitPattern: message))
        failed(activity, Script.memoryError)
        vm.recycle(co)
        script.memoryFailed()
        ended(activity)
    }

    /// Starts the message that has waited the longest.
    ///
    /// - Returns: False when none waits.
    func startNextWaiting() -> Bool {
        guard let message = pending.popFirst() else { return false }
        let target = subjects[message.subjectIndex]
        message.withParts { subject, reply, headers, payload in
            start(
                in: script,
                target,
                arrived: message.arrived,
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload
            )
        }
        return true
    }

    /// What a script says of a message goes to the service's log; the file is that of the script's generation.
    func handlerFailed(_ message: UnsafeMutablePointer<panini_message>, _ error: LuaError) {
        guard let service = script.service else { return }
        let subject = script.text(script.subjectOf(message))
        // An error with a code is an answer that the script chose; anything else is a fault, and the wire gets no details.
        if let problem = error.errorsProblem { script.logErrorsLeftOut(problem, of: origin) }
        if error.isTable, let code = error.code {
            if message.pointee.reply_length == 0 || !replies
                || message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) != 0
            {
                service.logger.warning("handler of \(subject) (\(origin)) failed: \(error.message)")
            }
            return script.refuse(
                message,
                self,
                ReplyError(code: code, message: error.message, errors: error.errors)
            )
        }
        service.logger.error(
            "handler of \(subject) (\(origin)) failed: \(error.message)",
            metadata: service.traceback(error)
        )
        script.refuse(message, self, error.reply(debug: service.debug))
    }
}

extension Listener: Resumable {
    /// There may be a free place for waiting messages.
    func goOn(_ token: UInt64) { script.service?.pumpNow(self) }
}
