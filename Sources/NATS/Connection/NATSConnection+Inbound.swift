// Owns: what the server's operations mean: messages go to their subscription or request; PING, PONG, INFO and -ERR are
// answered or told. The channel handler calls this in the middle of a read burst. Loop-bound.

import Bytes
import LoopTools
import NATSProtocol
import NIOCore

extension NATSConnection {
    // MARK: - Messages

    @inline(__always)
    func receive(_ message: consuming NATSInboundMessage, _ handler: NATSChannelHandler) {
        statistics.messagesIn &+= 1
        guard handler === link || handler === oldLink?.handler else {
            perform(handler.handshake.message(), handler)
            return
        }
        if let subscription = subscriptions.find(message.sid) {
            deliver(message, to: subscription)
        } else if message.sid == inbox.sid {
            receiveReply(message)
        } else {
            statistics.unclaimedMessages &+= 1
        }
    }

    @inline(__always)
    private func deliver(_ message: borrowing NATSInboundMessage, to subscription: NATSSubscription) {
        let delivered = subscription.delivered &+ 1
        subscription.delivered = delivered
        if let maximum = subscription.maximum, delivered >= maximum {
            // Out of the table first: the handler may look, or subscribe again.
            subscriptions.remove(subscription.sid)
            subscription.handler.receive(message, on: subscription)
            end(subscription, .maximumReached)
        } else {
            subscription.handler.receive(message, on: subscription)
        }
    }

    /// A message whose payload is passed over. For the server it is delivered, and so it counts for a maximum.
    func receiveOversized(sid: Int, subject: UnsafeRawBufferPointer, _ handler: NATSChannelHandler) {
        statistics.messagesIn &+= 1
        statistics.oversizedMessages &+= 1
        guard handler === link || handler === oldLink?.handler else {
            perform(handler.handshake.message(), handler)
            return
        }
        let subject = String(decoding: subject, as: UTF8.self)
        if let subscription = subscriptions.find(sid) {
            subscription.delivered &+= 1
            if let maximum = subscription.maximum, subscription.delivered >= maximum {
                end(subscription, .maximumReached)
            }
        }
        emit(.messageSkipped(subject: subject, limit: configuration.maxInboundMessageBytes))
    }

    // MARK: - PING, PONG, +OK

    func receivePing(_ handler: NATSChannelHandler) {
        guard handler === link else {
            handler.handshake.state == .finished ? answerPing(handler) : perform(handler.handshake.ping(), handler)
            return
        }
        if unsentBytes >= Self.eagerFlushBytes {
            flushOutbound()
            guard handler === link else { return }
        }
        guard mayAnswerPing(handler) else { return }
        NATSEncoder.pong(into: &outbound)
        scheduleFlush()
    }

    /// Whether a PING is answered now. A server that does not read owes its answers to itself: they are joined to one, and
    /// beyond the bound the connection is given up.
    func mayAnswerPing(_ handler: NATSChannelHandler) -> Bool {
        switch handler.owePong() {
        case .now: return true
        case .later: statistics.joinedPongs &+= 1
        case .tooMany: linkLost(handler, error: handler.owedPongs.error)
        }
        return false
    }

    /// The socket has room again: one PONG for all PINGs that came meanwhile.
    func payPongs(_ handler: NATSChannelHandler) {
        guard handler !== link else { return NATSEncoder.pong(into: &outbound) }
        var buffer = ByteBuffer()
        NATSEncoder.pong(into: &buffer)
        send(buffer, over: handler)
    }

    func receiveOK(_ handler: NATSChannelHandler) {
        perform(handler.handshake.ok(), handler)
    }

    func receivePong(_ handler: NATSChannelHandler) {
        guard handler === link else {
            if handler === oldLink?.handler { return receiveLatePong(handler) }
            perform(handler.handshake.pong(), handler)
            return
        }
        machine.pongReceived()
        passed(pongs.popFirst())
    }

    func passed(_ waiter: PongWaiter?) {
        switch waiter {
        case nil, .some(.none): break
        case .flush(let waiter):
            timer.cancel(waiter.deadline)
            if let violation = waiter.violation {
                waiter.promise.fail(NATSError(.permissionViolation, violation))
            } else {
                waiter.promise.succeed(())
            }
        case .subscriptionDrained(let subscription, let promise):
            guard !isBehindMove(waiter) else { return }
            end(subscription, .drained)
            promise.succeed(())
        case .connectionDrain:
            guard !isBehindMove(waiter) else { return }
            carryOut(machine.barrierPassed())
        case .moveSubscribed(let epoch): carryOut(machine.moveConfirmed(epoch))
        case .moveUnsubscribed(let epoch):
            carryOut(machine.moveUnsubscribed(epoch, pendingRequests: requests.count))
        }
    }

    // MARK: - INFO

    func receiveInfo(_ json: UnsafeRawBufferPointer, _ handler: NATSChannelHandler) {
        let info: NATSServerInfo
        do {
            info = try NATSServerInfo(json: json)
        } catch {
            linkLost(
                handler,
                error: NATSError(
                    .protocolViolation,
                    "the server's INFO is not valid JSON: \(error.kind) at \(error.offset)"
                )
            )
            return
        }
        let wasLameDuck = handler.info.lameDuckMode
        handler.info = info
        guard handler === link else {
            if link == nil { adopt(info) }
            perform(handler.handshake.info(tls: tlsNeed(of: handler, info)), handler)
            return
        }
        adopt(info)
        carryOut([.learnCluster])
        if info.lameDuckMode, !wasLameDuck, handler === link {
            emit(.lameDuck)
            guard handler === link else { return }
            carryOut(machine.serverLeaves())
        }
    }

    /// What the server in use takes.
    func adopt(_ info: NATSServerInfo) {
        serverInfo = info
        maximumPayload = info.maxPayload ?? .max
        headersRefused = !info.supportsHeaders
    }

    // MARK: - -ERR

    func receiveError(_ bytes: UnsafeRawBufferPointer, _ handler: NATSChannelHandler) {
        let text = NATSServerFault.text(bytes)
        statistics.serverErrors += 1
        guard handler === link else {
            perform(handler.handshake.error(text), handler)
            return
        }
        switch NATSServerFault(text) {
        case .publishViolation(let subject):
            publishDenied(subject, text)
        case .replyViolation(let reply):
            replyDenied(reply, text)
        case .subscriptionViolation(let subject, let queue, let sid):
            subscriptionDenied(subject, queue, sid, text)
        case .authorization:
            emit(.serverError(text))
            linkLost(handler, error: NATSError(.authorization, text))
        case .staleConnection:
            linkLost(handler, error: NATSError(.staleConnection, text))
        case .tooManyConnections:
            linkLost(handler, error: NATSError(.serverError, text))
        case .slowConsumer:
            emit(.slowConsumer(text))
        case .other:
            emit(.serverError(text))
        }
    }

    private func publishDenied(_ subject: String, _ text: String) {
        pongs.markViolation(of: subject, text: text)
        var name = subject
        let hash = name.withUTF8 { RequestTable.hash(UnsafeRawBufferPointer($0)) }
        for id in requests.pending(subjectHash: hash) {
            failRequest(id, .permissionViolation(text))
        }
        emit(.publishViolation(subject: subject, text: text))
    }

    private func replyDenied(_ reply: String, _ text: String) {
        pongs.markViolation(of: reply, text: text)
        var name = reply
        let id = name.withUTF8 { inbox.requestID(ofReply: UnsafeRawBufferPointer($0)) }
        if let id {
            failRequest(id, .permissionViolation(text))
        }
        emit(.publishViolation(subject: reply, text: text))
    }

    private func subscriptionDenied(_ subject: String, _ queue: String?, _ sid: Int?, _ text: String) {
        if inbox.isOpen, sid == inbox.sid || sid == nil && subject.isExactly(inbox.pattern) {
            // Without an inbox no request can be answered. The next request asks for one again.
            inbox.sid = 0
            for id in requests.pending() {
                failRequest(id, .permissionViolation(text))
            }
        } else if let subscription = deniedSubscription(subject, queue, sid) {
            end(subscription, .permissionViolation(text))
        }
        emit(.subscriptionViolation(subject: subject, sid: sid, text: text))
    }

    private func deniedSubscription(_ subject: String, _ queue: String?, _ sid: Int?) -> NATSSubscription? {
        if let sid { return subscriptions.find(sid) }
        return subscriptions.newest(subject, queue)
    }
}
