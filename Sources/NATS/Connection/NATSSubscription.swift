// Owns: one subscription: what the server must know again after a reconnect, and whom its messages go to. Loop-bound.

/// A subscription of a connection. Made by `NATSConnection.subscribe`.
package final class NATSSubscription {
    enum Phase {
        case active
        /// UNSUB is sent, messages under way are still delivered; not made again after a reconnect.
        case draining
        case ended
    }

    /// The number messages carry, unique for the connection's whole life.
    package let sid: Int
    package let subject: String
    package let queue: String?
    /// Free for the owner.
    package let context: Int
    /// Gets the messages; another one may take its place at any time.
    package var handler: any NATSSubscriptionHandler

    /// How many messages were delivered, over all reconnects.
    @exclusivity(unchecked) package internal(set) var delivered = 0
    /// After how many delivered messages it ends, nil for never.
    package internal(set) var maximum: Int?
    var phase = Phase.active
    /// Its neighbours among those of the same subject and group, kept by the table that it stands in.
    unowned(unsafe) var older: NATSSubscription?
    unowned(unsafe) var newer: NATSSubscription?

    init(sid: Int, subject: String, queue: String?, context: Int, handler: any NATSSubscriptionHandler) {
        self.sid = sid
        self.subject = subject
        self.queue = queue
        self.context = context
        self.handler = handler
    }

    /// Whether it gets no more messages.
    package var isEnded: Bool { phase == .ended }
}

@available(*, unavailable)
extension NATSSubscription: Sendable {}
