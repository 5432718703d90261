// Owns: the move away from a server that is about to shut down (lame duck), without a gap. Another server is connected while
// the old connection still works; then everything new goes over the new one, and the old one is listened to until what was
// under way has arrived. The machine decides, this carries out. Loop-bound.
//
// In the time between SUB at the new server and UNSUB at the old one, both deliver: a plain subscription may get a message
// of that time twice. The other order would lose messages, and a message has no identity to tell copies by. Queue groups
// and replies come once, so they stay at the old server until the rest of the cluster has surely heard of the new place:
// the new server's PONG says nothing about the others, and what they still send to a place that is gone is lost.

import NATSProtocol
import NIOCore

/// A connection whose server is left: another one is in use.
struct OldLink {
    let handler: NATSChannelHandler
    /// What it had not written when it was left.
    var unwritten: UnwrittenFrames
    /// Who waits for a PONG from its server.
    var pongs: PongQueue
    /// Drains whose barrier at the new server was passed, while the old one may still have messages for them.
    var drains: [PongWaiter] = []
    /// What is subscribed at its server.
    var sids: [Int]
}

extension NATSConnection {
    /// How long the old server's last replies are waited for; it closes by itself 10 s after its announcement.
    static let lateReplyTime = TimeAmount.seconds(2)
    /// How long queue groups and replies stay at both servers. Servers tell each other of subscriptions in milliseconds
    /// unless they are busy.
    static let spreadingTime = TimeAmount.seconds(1)

    /// Listens to the connection in use beside the one that takes its place.
    func keepOldLink() {
        guard let link else { return }
        oldLink = OldLink(
            handler: link,
            unwritten: unwritten,
            pongs: pongs,
            sids: subscriptions.sorted().filter { $0.phase == .active }.map(\.sid)
        )
        unwritten = UnwrittenFrames()
        pongs = PongQueue(base: pongs.nextTicket)
    }

    /// The new server has the subscriptions: the old one forgets those that would get everything twice.
    func unsubscribePlain() {
        guard let old = oldLink else { return }
        var buffer = ByteBuffer()
        var staying: [Int] = []
        for sid in old.sids {
            if subscriptions.find(sid)?.queue != nil {
                staying.append(sid)
            } else {
                NATSEncoder.unsubscribe(sid: sid, into: &buffer)
            }
        }
        oldLink?.sids = staying
        if buffer.readableBytes > 0 {
            send(buffer, over: old.handler)
        }
    }

    /// The old server forgets the rest, and says when it has sent everything.
    func unsubscribeRest(_ epoch: Int) {
        guard let old = oldLink else { return }
        var buffer = ByteBuffer()
        for sid in old.sids {
            NATSEncoder.unsubscribe(sid: sid, into: &buffer)
        }
        NATSEncoder.ping(into: &buffer)
        oldLink?.pongs.append(.moveUnsubscribed(epoch))
        send(buffer, over: old.handler)
    }

    /// Drains need not wait for the old server any longer.
    func releaseBarriers() {
        let drains = oldLink?.drains ?? []
        oldLink?.drains = []
        for waiter in drains { passed(waiter) }
    }

    /// Closes the old connection; who still waits for its server fails.
    func closeOldLink() {
        guard var old = oldLink else { return }
        oldLink = nil
        // If the barrier was not reached: what did not leave goes over the connection that is in use.
        var unsent = takeUnwritten(&old.unwritten, of: old.handler)
        outbound.writeBuffer(&unsent)
        old.handler.detach()
        fail(old.pongs.removeAll(), .disconnected)
        guard link != nil else {
            return fail(old.drains, state == .closed ? .closed : .disconnected)
        }
        for waiter in old.drains { passed(waiter) }
    }

    /// Whether a drain must wait for the barrier at the old server, too; it is remembered then.
    func isBehindMove(_ waiter: PongWaiter?) -> Bool {
        guard let waiter, machine.hasBarrierAtOldServer else { return false }
        oldLink?.drains.append(waiter)
        return true
    }

    // MARK: - The old server

    func receiveLatePong(_ handler: NATSChannelHandler) {
        passed(oldLink?.pongs.popFirst())
    }

    func answerPing(_ handler: NATSChannelHandler) {
        guard handler === oldLink?.handler, mayAnswerPing(handler) else { return }
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
