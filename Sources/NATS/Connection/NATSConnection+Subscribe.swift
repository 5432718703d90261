// Owns: subscribing and the ends of subscriptions, and the PING/PONG barrier they share with `flush`. Loop-bound.

import LoopTools
import NATSProtocol
package import NIOCore

extension NATSConnection {
    /// Subscribes. While there is no connection the subscription is kept and made with it.
    ///
    /// - Parameters:
    ///   - queue: the queue group, nil for none.
    ///   - context: free for the owner.
    /// - Throws: `NATSError` with code `invalidSubject`, `invalidQueue`, `messageTooLarge`, `closed` or `draining`.
    package func subscribe(
        subject: String,
        queue: String?,
        context: Int = 0,
        handler: any NATSSubscriptionHandler
    ) throws(NATSError) -> NATSSubscription {
        eventLoop.assertInEventLoop()
        guard state != .closed else { throw .closed }
        guard state != .draining else { throw .draining }
        guard NATSSubject.isValidForSubscribe(subject) else {
            throw NATSError(.invalidSubject, "cannot subscribe to \"\(subject)\"")
        }
        if let queue, !NATSSubject.isValidQueue(queue) {
            throw NATSError(.invalidQueue, "\"\(queue)\" cannot name a queue group")
        }
        try checkLine(subject: subject, queue: queue, sid: subscriptions.lastSID + 1)
        let subscription = NATSSubscription(
            sid: subscriptions.makeSID(),
            subject: subject,
            queue: queue,
            context: context,
            handler: handler
        )
        subscriptions.insert(subscription)
        if link != nil {
            NATSEncoder.subscribe(subject: subject, queue: queue, sid: subscription.sid, into: &outbound)
            scheduleFlush()
        }
        return subscription
    }

    /// Ends a subscription: at once, or after it has got `maximum` messages in all since it was made. The last call
    /// wins; a maximum that is reached already ends it at once. Ended subscriptions are left alone. One that drains ends at once
    /// when no maximum is given: what the server had sent is not delivered any more.
    package func unsubscribe(_ subscription: NATSSubscription, after maximum: Int? = nil) {
        eventLoop.assertInEventLoop()
        if subscription.phase == .draining, maximum == nil { return end(subscription, .unsubscribed) }
        guard subscription.phase == .active else { return }
        if let maximum, maximum > subscription.delivered {
            subscription.maximum = maximum
            if link != nil {
                NATSEncoder.unsubscribe(sid: subscription.sid, maximum: maximum, into: &outbound)
                scheduleFlush()
            }
            return
        }
        if link != nil {
            NATSEncoder.unsubscribe(sid: subscription.sid, into: &outbound)
            scheduleFlush()
        }
        end(subscription, maximum == nil ? .unsubscribed : .maximumReached)
    }

    /// Ends a subscription without loss: the server stops sending, what it had sent is delivered, then the
    /// subscription ends.
    ///
    /// - Returns: fails with `disconnected` or `closed` when the connection breaks meanwhile.
    package func drain(_ subscription: NATSSubscription) -> EventLoopFuture<Void> {
        eventLoop.assertInEventLoop()
        guard subscription.phase == .active else { return eventLoop.makeSucceededVoidFuture() }
        guard link != nil else {
            // The server knows nothing of it: nothing can be under way.
            end(subscription, .drained)
            return eventLoop.makeSucceededVoidFuture()
        }
        subscription.phase = .draining
        NATSEncoder.unsubscribe(sid: subscription.sid, into: &outbound)
        let promise = eventLoop.makePromise(of: Void.self)
        sendPing(.subscriptionDrained(subscription, promise))
        return promise.futureResult
    }

    /// Takes the subscription out and tells its handler, once.
    func end(_ subscription: NATSSubscription, _ reason: NATSSubscriptionEnd) {
        guard subscription.phase != .ended else { return }
        subscription.phase = .ended
        subscriptions.remove(subscription.sid)
        subscription.handler.subscriptionEnded(subscription, reason: reason)
    }

    // MARK: - Flush

    /// Waits until the server has worked on everything sent so far.
    ///
    /// - Parameter subjects: subjects and reply subjects published to just before, whose denial by the server should be
    ///   known: the result then fails with `permissionViolation`.
    /// - Returns: fails with `timeout` at `deadline`, at once with `disconnected` when there is no connection or it
    ///   breaks, with `closed` after `close`.
    package func flush(deadline: NIODeadline, watching subjects: [String] = []) -> EventLoopFuture<Void> {
        eventLoop.assertInEventLoop()
        guard state != .closed else { return eventLoop.makeFailedFuture(NATSError.closed) }
        guard link != nil else { return eventLoop.makeFailedFuture(NATSError.disconnected) }
        let promise = eventLoop.makePromise(of: Void.self)
        let timeout = timer.schedule(.flushTimedOut(pongs.nextTicket), at: deadline)
        sendPing(.flush(FlushWaiter(promise: promise, deadline: timeout, watchedSubjects: subjects)))
        return promise.futureResult
    }

    func flushTimedOut(_ ticket: Int) {
        var place = pongs.abandon(ticket)
        if case .none = place { place = oldLink?.pongs.abandon(ticket) ?? .none }
        guard case .flush(let waiter) = place else { return }
        waiter.promise.fail(NATSError(.timeout, "the server did not confirm in time"))
    }
}
