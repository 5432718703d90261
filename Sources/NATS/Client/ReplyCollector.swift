// Owns: the replies to one request of many (ADR-47). It ends on a number of replies, a total wait, a gap between replies,
// or an empty reply. Two timers at most, however many replies come. Loop-bound.

import NIOCore

final class ReplyCollector: NATSSubscriptionHandler {
    struct Ends: Sendable {
        var maxMessages: Int?
        var maxWait: TimeAmount
        var stall: TimeAmount?
        var sentinel: Bool
    }

    /// What was asked, to recognise its denial.
    let requestSubject: String
    private let ends: Ends
    private let feeder: MessageFeeder
    private unowned let core: NATSClientCore
    private var subscription: NATSSubscription?
    private var received = 0
    private var lastReply = NIODeadline.now()
    private var waitTimer: Scheduled<Void>?
    private var stallTimer: Scheduled<Void>?

    init(requestSubject: String, ends: Ends, feeder: MessageFeeder, core: NATSClientCore) {
        self.requestSubject = requestSubject
        self.ends = ends
        self.feeder = feeder
        self.core = core
    }

    /// The request is sent.
    func begin(_ subscription: NATSSubscription) {
        self.subscription = subscription
        waitTimer = core.connection.eventLoop.assumeIsolated().scheduleTask(in: ends.maxWait) { [weak self] in
            self?.finish(nil)
        }
    }

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        let isEmpty = message.payload.isEmpty
        if isEmpty, received == 0, message.status == 503 {
            return finish(NATSError(.noResponders, "nobody listens on the subject"))
        }
        if isEmpty, ends.sentinel {
            return finish(nil)
        }
        feeder.receive(message, on: subscription)
        received += 1
        if let maximum = ends.maxMessages, received >= maximum {
            return finish(nil)
        }
        if let stall = ends.stall {
            lastReply = core.connection.eventLoop.now
            if stallTimer == nil {
                watchForStall(in: stall, stall)
            }
        }
    }

    /// One timer for all replies: when it fires early for the last of them, it sleeps for the rest.
    private func watchForStall(in delay: TimeAmount, _ stall: TimeAmount) {
        stallTimer = core.connection.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, self.subscription != nil else { return }
            let rest = self.lastReply + stall - self.core.connection.eventLoop.now
            if rest > .zero {
                self.watchForStall(in: rest, stall)
            } else {
                self.finish(nil)
            }
        }
    }

    /// Ends the sequence; an error comes after the replies before it.
    func finish(_ error: NATSError?) {
        guard let subscription else { return }
        feeder.commit()
        feeder.queue.end(error)
        core.connection.unsubscribe(subscription)
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        self.subscription = nil
        waitTimer?.cancel()
        stallTimer?.cancel()
        core.forget(self)
        feeder.subscriptionEnded(subscription, reason: reason)
    }
}

@available(*, unavailable)
extension ReplyCollector: Sendable {}
