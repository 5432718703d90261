// Owns: what a service does while its broker takes less than it sends: sends of scripts wait and go on in their order, waiting
// messages are not begun, and the log says so once. Loop-bound.

import Logging
import LoopTools
import LuaVM
import NATS
import NIOCore
import ScriptRuntime

extension Service {
    /// How many sends go on before the loop looks for other work: each of them runs the script that waited.
    private static let sendsPerTurn = 16

    func outflowChanged(_ change: NATSCongestion) {
        switch change {
        case .began:
            sendBacklog.slowness.begin(at: worker.now)
            brokerStillSlow()
        case .room: sendWaiting()
        case .ended:
            let isTold = sendBacklog.slowness.end()
            cancelSlownessAlarm()
            guard isTold else { return }
            logger.info(
                "the broker has caught up; \(sendBacklog.waited) publishes and requests have waited for it so far"
            )
        }
    }

    /// The broker has become slow, or may be so still: tells it, and looks again later.
    func brokerStillSlow() {
        sendBacklog.slownessAlarm = nil
        if let nanoseconds = sendBacklog.slowness.look(at: worker.now) {
            let seconds = nanoseconds / 1_000_000_000
            logger.warning(
                """
                the broker takes messages more slowly than this service sends them\
                \(seconds > 0 ? ", for \(seconds) s now" : ""): \
                \(connection.unsentSize >> 10) KiB wait; publishes and requests wait for it, and no more messages are begun
                """
            )
        }
        guard let next = sendBacklog.slowness.next else { return }
        sendBacklog.slownessAlarm = worker.schedule(alarm(.brokerStillSlow), at: next)
    }

    /// There is no connection any more that could be slow.
    func forgetSlowness() {
        sendBacklog.slowness.forget()
        cancelSlownessAlarm()
    }

    private func cancelSlownessAlarm() {
        if let alarm = sendBacklog.slownessAlarm { worker.cancel(alarm) }
        sendBacklog.slownessAlarm = nil
    }

    /// There is room, or no connection any more: whoever waits goes on, as far as the room lasts.
    func sendWaiting() {
        sendBacklog.isScheduled = false
        var left = Self.sendsPerTurn
        while left > 0, !connection.isCongested, let send = sendBacklog.sends.popFirst() {
            guard goOn(send) else { break }
            left -= 1
        }
        if !connection.isCongested { beginHeldBack() }
        guard !sendBacklog.sends.isEmpty, !connection.isCongested else { return }
        scheduleGoingOn()
    }

    /// The same with the loop's next turn: from events of the connection, in the middle of which no script shall run.
    func scheduleGoingOn() {
        guard !sendBacklog.isScheduled else { return }
        sendBacklog.isScheduled = true
        turn.later(self, ServiceWork.sends.rawValue)
    }

    /// False when there was no room after all; it keeps its place then.
    private func goOn(_ send: WaitingSend) -> Bool {
        let refusal: NATSPublishError?
        var request: NATSRequestID?
        switch send.kind {
        case .publish, .confirmed:
            refusal = send.withParts { subject, reply, headers, payload in
                connection.publish(subject: subject, reply: reply, headers: headers, payload: payload, room: .wait)
            }
        case .request(let deadline, _):
            let start = send.withParts { subject, _, headers, payload in
                connection.request(
                    subject: subject,
                    headers: headers,
                    payload: payload,
                    deadline: deadline,
                    context: send.coroutine,
                    sink: send.script,
                    room: .wait
                )
            }
            switch start {
            case .started(let id):
                request = id
                refusal = nil
            case .refused(let reason): refusal = reason
            }
        }
        if refusal == .bufferExceeded, connection.isConnected {
            sendBacklog.sends.prepend(send)
            return false
        }
        forget(send)
        settle(send, refusal, request)
        return true
    }

    /// Lets the coroutine of a send that has gone, or failed, go on to what it waits for next.
    private func settle(_ send: WaitingSend, _ refusal: NATSPublishError?, _ request: NATSRequestID?) {
        let script = send.script
        if let refusal { return script.wake(send.coroutine, .failure(describe(refusal))) }
        let suspendedRun = script.suspendedRuns[Int(UInt32(truncatingIfNeeded: send.coroutine))]
        switch send.kind {
        case .publish: script.wake(send.coroutine, .success)
        case .confirmed:
            suspendedRun?.wait = .outside
            script.wakeAtBarrier(
                send.coroutine,
                "app.publish_sync",
                seconds: 10,
                publishing: send.watched
            )
        case .request(_, let dataType):
            if let request { suspendedRun?.wait = script.messaging.wait(for: request, dataType) }
        }
    }

    /// Takes a send out: it has gone, or nobody waits for it any more.
    func forget(_ send: WaitingSend) {
        sendBacklog.sends.remove(send)
        if let alarm = send.alarm { worker.cancel(alarm) }
        send.alarm = nil
        send.releasePayload()
    }

    /// A request has waited for room as long as it may take in all.
    func sendTimedOut(_ send: WaitingSend) {
        send.alarm = nil
        forget(send)
        send.script.wake(
            send.coroutine,
            .failure(CallError("timeout", "no answer within the time limit: the broker takes messages too slowly"))
        )
    }

    // MARK: - Messages that are not begun

    /// Begins what was held back.
    private func beginHeldBack() {
        let pausedListeners = sendBacklog.pausedListeners
        sendBacklog.pausedListeners = []
        for (script, listener) in pausedListeners where script.phase != .closed { script.defer(.goOn(listener, 0)) }
        turnsGoOn()
        let clients = sendBacklog.heldClients
        sendBacklog.heldClients = []
        for client in clients { client.goOn() }
    }

    // MARK: - Replies that are lost

    /// No connection took a reply: the log says so once, until there is one again.
    func replyLost(_ reason: CallError) {
        sendBacklog.lostReplies &+= 1
        guard !sendBacklog.isLossTold else { return }
        sendBacklog.isLossTold = true
        logger.error("replies are lost: \(reason.message)")
    }

    /// There is a connection again.
    func repliesGoOn() {
        guard sendBacklog.isLossTold else { return }
        sendBacklog.isLossTold = false
        logger.info("\(sendBacklog.lostReplies) replies were lost so far")
    }
}
