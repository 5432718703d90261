// Owns: one received message as it stands in the read buffer. It exists only while the handler's callback runs.

package import NATSProtocol

/// A message as it arrived, in place: all parts point into the connection's read buffer and are valid only during the
/// callback that was given the message.
package struct NATSInboundMessage: ~Copyable {
    /// The subscription's number.
    package let sid: Int
    package let subject: UnsafeRawBufferPointer
    /// Where to answer; empty when the sender wants no answer.
    package let reply: UnsafeRawBufferPointer
    /// The raw header block from `NATS/1.0` to the blank line; empty when the message has none.
    package let headers: UnsafeRawBufferPointer
    package let payload: UnsafeRawBufferPointer

    @inline(__always)
    init(base: UnsafeRawPointer, message: NATSOperationParser.Message) {
        sid = message.sid
        subject = UnsafeRawBufferPointer(
            start: base + message.subjectStart,
            count: message.subjectEnd &- message.subjectStart
        )
        reply = UnsafeRawBufferPointer(start: base + message.replyStart, count: message.replyEnd &- message.replyStart)
        let payloadStart = message.payloadStart &+ message.headerLength
        headers = UnsafeRawBufferPointer(start: base + message.payloadStart, count: message.headerLength)
        payload = UnsafeRawBufferPointer(
            start: base + payloadStart,
            count: message.totalLength &- message.headerLength
        )
    }

    package var hasHeaders: Bool { !headers.isEmpty }

    /// The number of the status line (503 for "no responders"), nil when there is none.
    package var status: Int? { headers.isEmpty ? nil : NATSHeaderLines(headers).status }

    /// The headers as a value of their own. Allocates: for messages whose headers are really wanted.
    package var parsedHeaders: NATSHeaders { NATSHeaders(block: headers) }
}

/// What a subscription does with its messages.
package protocol NATSSubscriptionHandler: AnyObject {
    /// One message. Called on the loop, in the middle of a read burst. May call everything on the connection, also
    /// `unsubscribe` and `close`.
    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription)

    /// The subscription gets no more messages. Called once, on the loop.
    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd)
}

/// Why a subscription ended.
package enum NATSSubscriptionEnd: Sendable, Equatable {
    /// `unsubscribe` was called.
    case unsubscribed
    /// The number of messages given to `unsubscribe(after:)` was delivered.
    case maximumReached
    /// Drained: everything the server sent was delivered.
    case drained
    /// The connection broke while the subscription was draining.
    case disconnected
    /// The server denied it, with the server's text.
    case permissionViolation(String)
    /// The connection was closed.
    case closed
}
