// Owns: admission of messages: run now, wait, or refuse; what follows when a handler ends. Hot path; loop-bound.

import Logging
import LuaVM
import NATS
import NIOCore
import ScriptRuntime

extension Service {
    /// A message of a listener has arrived.
    func receive(
        _ listener: Listener,
        _ target: ListenerSubject,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        listener.counters.received &+= 1
        let arrived = requestArrived(target, reply)
        let isStarted = listener.withScript { script in
            guard listener.active < listener.places, listener.pending.isEmpty, !sync.isBusy, script.depth == 0 else {
                return false
            }
            if sync.isOn { sync.isBusy = true }
            script.depth = 1
            listener.start(
                in: script,
                target,
                arrived: arrived,
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload
            )
            script.depth = 0
            script.runReadyIfNeeded()
            return true
        }
        if isStarted { return }
        enqueue(listener, target, arrived, subject: subject, reply: reply, headers: headers, payload: payload)
    }

    /// A message has arrived for a listener that is not there any more: its version was ended while the broker still sent.
    func receivedTooLate(reply: UnsafeRawBufferPointer) {
        counters.messageRefused(isOneWay: reply.isEmpty)
        if !reply.isEmpty { sendError(.reloaded, to: reply) }
    }

    private func enqueue(
        _ listener: Listener,
        _ target: ListenerSubject,
        _ arrived: UInt64,
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        let size = subject.count + reply.count + headers.count + payload.count
        guard
            listener.pending.hasRoom(for: size, messages: options.pendingLimit, bytes: options.pendingBytesLimit)
        else { return overloaded(listener, target, arrived, reply: reply) }
        listener.pending.append(
            StoredMessage(
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload,
                subjectIndex: target.position,
                arrived: arrived
            )
        )
        if sync.isOn {
            sync.append(Activity(listener))
            if !sync.isBusy { deferTurn(on: listener.script) }
        } else if listener.active < listener.places {
            pump(listener)
        }
    }

    /// Answers 429, or drops; reports once per episode.
    private func overloaded(
        _ listener: Listener,
        _ target: ListenerSubject,
        _ arrived: UInt64,
        reply: UnsafeRawBufferPointer
    ) {
        listener.counters.refused &+= 1
        counters.messageRefused(isOneWay: reply.isEmpty)
        if !listener.isOverloaded {
            listener.isOverloaded = true
            logger.warning(
                """
                listener \(listener.subjectList) (\(listener.origin)) is overloaded: \(listener.pending.count) messages \
                wait (pending_limit \(options.pendingLimit), pending_bytes_limit \(options.pendingBytesLimit)); \
                requests are answered 429, one-way messages dropped
                """
            )
        }
        guard !reply.isEmpty, listener.replies else { return }
        if arrived != 0 { requestAnswered(target.endpoint, arrived, .overloaded) }
        sendError(.overloaded, to: reply)
    }

    /// A handler has ended, one way or the other.
    @inline(__always)
    func handlerEnded(_ listener: Listener, of script: Script) {
        if sync.isOn { return syncEnded(script) }
        if !listener.pending.isEmpty { pump(listener) }
        if listener.isEnded { releaseIfDone(listener) }
        endIfAwaited(script)
    }

    /// Starts waiting messages as far as the listener's limit allows, from the outermost level.
    func pump(_ listener: Listener) {
        guard !listener.isPumping else { return }
        listener.isPumping = true
        listener.script.defer(.goOn(listener, 0))
    }

    func pumpNow(_ listener: Listener) {
        while listener.active < listener.places, !lifecycle.isStopped, !connection.isCongested, !turn.isOver,
            listener.startNextWaiting()
        {}
        if turn.isOver, !lifecycle.isStopped, !listener.pending.isEmpty, listener.active < listener.places {
            return listener.script.defer(.goOn(listener, 0))
        }
        if connection.isCongested, !listener.pending.isEmpty, listener.active < listener.places {
            // Still pumping: it goes on when there is room.
            return sendBacklog.pausedListeners.append((listener.script, listener))
        }
        listener.isPumping = false
        if listener.isEnded { releaseIfDone(listener) }
        if listener.isOverloaded, listener.pending.count * 2 < options.pendingLimit {
            listener.isOverloaded = false
            logger.info(
                "listener \(listener.subjectList) has caught up; \(listener.counters.refused) messages were refused so far"
            )
        }
    }
}
