// Owns: one subject of a listener: where the connection delivers its messages. Loop-bound; the first step of the hot path.

import LuaVM
import NATS

/// One subject of a listener.
final class ListenerSubject: NATSSubscriptionHandler {
    let pattern: SubjectPattern
    /// The registry's table of the pattern's named tokens, `{ name, index, ... }`; `nil` when it names none.
    let parameters: LuaReference?
    let parametersIndex: CInt
    /// Set by the listener that owns this subject, before the first subscription; nil when that, or its script, has ended. The
    /// connection keeps the subject for as long as the subscription lasts, which may be longer.
    unowned(unsafe) private(set) var listener: Listener?
    unowned(unsafe) var service: Service?
    unowned(unsafe) var messaging: ServiceMessaging?
    /// Its place among the listener's subjects.
    var position = 0
    var subscription: NATSSubscription?
    /// The queue group at the broker: the listener's own, or the one in which several workers share a plain listener.
    var brokerQueue: String?
    /// Which of several plain listeners of the same subject it is; nil where nobody asks.
    var ordinal: Int?
    /// What the services protocol tells of its requests; that of the subject before it, when a reload keeps that.
    private(set) var endpoint = Endpoint()
    /// Those it had before. Messages under way hold pointers to them, and live no longer than their subject.
    private var formerEndpoints: [Endpoint] = []
    /// Its name in the services protocol; empty until it is subscribed with the protocol on.
    var endpointName = ""
    /// Names what the services protocol tells of it; nil when that is nothing.
    var endpointRow: UInt64?
    /// Who takes over its subscription, or has done so.
    weak var successor: ListenerSubject?
    /// What the broker said when it denied the subscription.
    var denial: String?

    init(pattern: SubjectPattern, parameters: LuaReference?) {
        self.pattern = pattern
        self.parameters = parameters
        self.parametersIndex = parameters?.index ?? 0
    }

    /// Goes on with the statistics of the subject before it.
    func takeOver(_ other: Endpoint) {
        formerEndpoints.append(endpoint)
        endpoint = other
    }

    func attach(to listener: Listener, at position: Int) {
        self.listener = listener
        self.position = position
    }

    /// The listener is about to go. What its subscription still brings is answered 503.
    func detach() { listener = nil }

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        guard let service else { return }
        guard let listener else { return service.receivedTooLate(reply: message.reply) }
        service.receive(
            listener,
            self,
            subject: message.subject,
            reply: message.reply,
            headers: message.headers,
            payload: message.payload
        )
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        self.subscription = nil
        service?.endpointEnded(self)
        guard case .permissionViolation(let text) = reason else { return }
        denial = text
        service?.subscriptionDenied(self, text)
    }
}

@available(*, unavailable)
extension ListenerSubject: Sendable {}
