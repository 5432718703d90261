// Leaving a server that is about to shut down (lame duck) without a gap: another server is connected while the old
// connection still works; then everything new goes over the new one, and the old one is listened to until what was under
// way has arrived. Loop-bound.
//
// In the time between SUB at the new server and UNSUB at the old one, both deliver: a plain subscription may get a message
// of that time twice. The other order would lose messages, and a message has no identity to tell copies by. Queue groups
// and replies come once, so they stay at the old server until the rest of the cluster has surely heard of the new place:
// the new server's PONG says nothing about the others, and what they still send to a place that is gone is lost.

import Logging
import NATSProtocol
import NIOCore

/// How far leaving a server has come.
struct MoveProgress {
    enum Step {
        /// Looking for another server; the old connection is in use.
        case connecting
        /// The new connection is in use; it has not confirmed its subscriptions yet.
        case subscribing
        /// The cluster gets to know the new place of queue groups and replies.
        case spreading
        /// UNSUBs are sent to the old server, their barrier is under way.
        case unsubscribing
        /// Replies to requests that went over the old connection may still come there.
        case replies
    }

    var step = Step.connecting
    /// Whom to try.
    var candidates: [NATSServerAddress]
    /// The old connection, once the new one is in use.
    var left: NATSChannelHandler?
    /// What the old connection had not written when it was left.
    var unwritten = UnwrittenFrames()
    /// Who waits for a PONG from the old server.
    var pongs = PongQueue()
    /// Drains whose barrier at the new server was passed, while the old one may still have messages for them.
    var drains: [PongWaiter] = []
    /// What is subscribed at the old server.
    var sids: [Int] = []
    /// The epoch of the new connection.
    var epoch = 0
}

extension NATSConnection {
    /// How long the old server's last replies are waited for; it closes by itself 10 s after its announcement.
    static let lateReplyTime = TimeAmount.seconds(2)
    /// How long queue groups and replies stay at both servers. Servers tell each other of subscriptions in milliseconds
    /// unless they are busy.
    static let spreadingTime = TimeAmount.seconds(1)

    /// The server asks its clients to leave.
    func leaveServer() {
        guard state == .connected, configuration.reconnect, move == nil else { return }
        move = MoveProgress(candidates: pool.others)
        connectNextCandidate()
    }

    private func connectNextCandidate() {
        guard state == .connected, move?.candidates.isEmpty == false, let address = move?.candidates.removeFirst()
        else {
            // Nowhere to go: stay as long as there is something to stay with.
            move = nil
            return
        }
        open(address)
    }

    /// The attempt with another server failed; the old connection goes on.
    func moveFailed(_ error: NATSError) {
        logger.debug("cannot move to another server", metadata: ["error": "\(error.message)"])
        connectNextCandidate()
    }

    /// The handshake with another server is done.
    ///
    /// - Returns: false when the new server is of no use.
    func switchLink(to handler: NATSChannelHandler) -> Bool {
        guard let old = link, move != nil, state == .connected, !handler.info.lameDuckMode,
            handler.info.serverID.isEmpty || handler.info.serverID != old.info.serverID
        else {
            handler.detach()
            endBurst()
            if move != nil { connectNextCandidate() }
            return false
        }
        // What was meant for the old server goes there, whole.
        writeOutbound()
        guard link === old else {
            handler.detach()
            inBurst = false
            return false
        }
        move?.left = old
        move?.unwritten = unwritten
        unwritten = UnwrittenFrames()
        move?.pongs = pongs
        move?.step = .subscribing
        move?.epoch = epoch
        move?.sids = subscriptions.sorted().filter { $0.phase == .active }.map(\.sid)
        pongs = PongQueue(base: pongs.nextTicket)
        pool.moved(to: handler.address)
        return true
    }

    /// The new connection is in use.
    func moved(_ handler: NATSChannelHandler) {
        guard move?.left != nil, move?.step == .subscribing, move?.epoch == epoch else { return }
        sendPing(.moveSubscribed(epoch))
    }

    /// The new server has confirmed the subscriptions: the old one may forget those that would get everything twice.
    func subscriptionsMoved(_ epoch: Int) {
        guard let left = move?.left, let sids = move?.sids, move?.epoch == epoch else { return }
        move?.step = .spreading
        timer.schedule(.spread(epoch), at: eventLoop.now + Self.spreadingTime)
        var buffer = ByteBuffer()
        var staying: [Int] = []
        for sid in sids {
            if subscriptions.find(sid)?.queue != nil {
                staying.append(sid)
            } else {
                NATSEncoder.unsubscribe(sid: sid, into: &buffer)
            }
        }
        move?.sids = staying
        if buffer.readableBytes > 0 {
            send(buffer, over: left)
        }
    }

    /// The other servers have had their time: the old one may forget the rest.
    func subscriptionsSpread(_ epoch: Int) {
        guard let left = move?.left, let sids = move?.sids, move?.epoch == epoch else { return }
        move?.step = .unsubscribing
        var buffer = ByteBuffer()
        for sid in sids {
            NATSEncoder.unsubscribe(sid: sid, into: &buffer)
        }
        NATSEncoder.ping(into: &buffer)
        move?.pongs.append(.moveUnsubscribed(epoch))
        send(buffer, over: left)
    }

    /// The old server has sent everything it had for the subscriptions.
    func subscriptionsLeft(_ epoch: Int) {
        guard move?.left != nil, move?.epoch == epoch else { return }
        if requests.count == 0 {
            stopMoving()
            endBurst()
            return
        }
        move?.step = .replies
        let drains = move?.drains ?? []
        move?.drains = []
        for waiter in drains { passed(waiter) }
        guard move?.epoch == epoch else { return }
        timer.schedule(.leave(epoch), at: eventLoop.now + Self.lateReplyTime)
    }

    func leave(_ epoch: Int) {
        guard move?.epoch == epoch, move?.left != nil else { return }
        stopMoving()
    }

    /// Ends a move in whatever step it is; who still waits for the old server fails.
    func stopMoving() {
        guard var ended = move else { return }
        move = nil
        if let left = ended.left {
            // The barrier was not reached: what did not leave goes over the connection that is in use.
            var unsent = takeUnwritten(&ended.unwritten, of: left)
            outbound.writeBuffer(&unsent)
            left.detach()
        }
        fail(ended.pongs.removeAll(), .disconnected)
        guard link != nil, state != .closed else {
            return fail(ended.drains, state == .closed ? .closed : .disconnected)
        }
        for waiter in ended.drains { passed(waiter) }
    }

    /// Whether a drain must wait for the barrier at the old server, too; it is remembered then.
    func isBehindMove(_ waiter: PongWaiter?) -> Bool {
        guard let waiter, move?.left != nil, move?.step != .replies else { return false }
        move?.drains.append(waiter)
        return true
    }

    // MARK: - The old server

    func receiveLatePong(_ handler: NATSChannelHandler) {
        passed(move?.pongs.popFirst())
    }

    func answerPing(_ handler: NATSChannelHandler) {
        guard handler === move?.left, mayAnswerPing(handler) else { return }
        var buffer = ByteBuffer()
        NATSEncoder.pong(into: &buffer)
        send(buffer, over: handler)
    }

    func send(_ buffer: ByteBuffer, over handler: NATSChannelHandler) {
        statistics.bytesOut &+= UInt64(buffer.readableBytes)
        statistics.writes &+= 1
        handler.write(buffer)
    }
}
