// The owner, subscriber and requester of a fuzzed connection: writes down what it is told, and notices what it may not be
// told. Loop-bound, like the connection.

import NATS

/// Listens to a connection and checks the order of what it hears.
final class ConnectionWitness: NATSConnectionDelegate, NATSSubscriptionHandler, NATSRequestSink {
    /// How a future, a request or a subscription came along.
    struct Ends {
        var started: Set<UInt64> = []
        var cancelled: Set<UInt64> = []
        private(set) var ended: Set<UInt64> = []

        /// Whether this was the first end of something that was started and not cancelled.
        mutating func end(_ context: UInt64) -> Bool {
            started.contains(context) && !cancelled.contains(context) && ended.insert(context).inserted
        }

        var open: Set<UInt64> { started.subtracting(cancelled).subtracting(ended) }
    }

    var requests = Ends()
    var subscriptions = Ends()
    /// `flush` and both kinds of `drain`.
    var futures = Ends()
    private(set) var reach = ConnectionScript.Reach()
    /// The first thing that was wrong.
    private(set) var failure: FuzzFailure?
    private(set) var isClosed = false
    private var isUp = false
    private var wasUp = false
    /// Called in the middle of every callback.
    var onCallback: (() -> Void)?

    func wrong(_ what: @autoclosure () -> String) {
        if failure == nil { failure = FuzzFailure(what()) }
    }

    func check(_ condition: Bool, _ what: @autoclosure () -> String) {
        if !condition { wrong(what()) }
    }

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        check(!isClosed, "event \(event) after the end")
        switch event {
        case .connected:
            check(!isUp && !wasUp, "connected twice")
            (isUp, wasUp) = (true, true)
            reach.connections += 1
        case .reconnected:
            check(!isUp && wasUp, "reconnected without a loss")
            reach.reconnects += 1
            isUp = true
        case .publishingEnds: reach.drains += 1
        case .disconnected:
            check(isUp, "disconnected twice")
            isUp = false
        case .closed:
            check(!isUp, "closed without a disconnect")
            check(connection.state == .closed, "closed in state \(connection.state)")
            isClosed = true
        default: break
        }
        onCallback?()
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        check(!isClosed, "a burst ends after the end")
        onCallback?()
    }

    func connection(_ connection: NATSConnection, congestion: NATSCongestion) {}

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        reach.messages += 1
        check(message.sid == subscription.sid, "a message of \(message.sid) came to \(subscription.sid)")
        check(!subscription.isEnded, "a message after the subscription's end")
        if let maximum = subscription.maximum {
            check(subscription.delivered <= maximum, "message \(subscription.delivered) of \(maximum)")
        }
        onCallback?()
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        reach.subscriptionsEnded += 1
        check(subscription.isEnded, "a subscription ended and says it has not")
        check(subscriptions.end(UInt64(subscription.sid)), "subscription \(subscription.sid) ended twice")
        onCallback?()
    }

    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {
        reach.replies += 1
        check(requests.end(context), "request \(context) was answered twice, or after it was cancelled")
        onCallback?()
    }

    func requestFailed(context: UInt64, error: NATSRequestError) {
        check(requests.end(context), "request \(context) failed (\(error)) after its end")
        onCallback?()
    }
}
