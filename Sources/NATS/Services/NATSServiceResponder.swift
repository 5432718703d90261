// Owns: the control subjects of the NATS services protocol (ADR-32): nine plain subscriptions, each answered for whoever asks
// with a reply subject. Loop-bound. May not know how the service does its work.

import Glibc
import NATSProtocol
import NIOCore

/// Who knows the endpoints at the moment of a question. Called on the loop.
package protocol NATSServiceSource: AnyObject {
    /// The endpoints as they are now.
    var serviceEndpoints: [NATSServiceEndpoint] { get }
    /// The server denied a control subject; the others may still work.
    func serviceSubjectDenied(_ subject: String, _ text: String)
    /// An answer outgrew what the server takes, `limit` bytes.
    ///
    /// - Parameter leftOut: how many endpoints were left out; nil when the asker got an error instead.
    func serviceAnswerTooLarge(_ verb: NATSServiceVerb, leftOut: Int?, limit: Int)
}

/// Answers PING, INFO and STATS of one service instance.
package final class NATSServiceResponder: NATSSubscriptionHandler {
    /// May change in its description, version and metadata; the answers from then on have the new one.
    package var identity: NATSServiceIdentity
    /// When the instance began, RFC 3339.
    package let started: String
    private let prefix: String
    private weak var source: (any NATSServiceSource)?
    private unowned let connection: NATSConnection
    private var isStarted = false
    private var subscriptions: [NATSSubscription] = []
    /// Control subjects that the server denied.
    private var denied: [(subject: String, verb: Int)] = []
    /// Answers that were cut or refused because they outgrew the server's `max_payload`.
    package private(set) var oversizedAnswers: UInt64 = 0

    /// - Parameters:
    ///   - prefix: what the control subjects begin with; `$SRV` unless an account maps it elsewhere.
    ///   - connection: must live as long as the responder is started.
    package init(
        identity: NATSServiceIdentity,
        prefix: String = "$SRV",
        connection: NATSConnection,
        source: any NATSServiceSource
    ) {
        self.identity = identity
        self.prefix = prefix
        self.connection = connection
        self.source = source
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        started = timestamp(now)
    }

    /// A name no other instance has.
    package static func makeID() -> String { NATSConnection.uniqueName() }

    /// Subscribes to the nine control subjects.
    ///
    /// - Throws: `NATSError` as `NATSConnection.subscribe`.
    package func start() throws(NATSError) {
        guard !isStarted else { return }
        isStarted = true
        for verb in NATSServiceVerb.allCases {
            let all = "\(prefix).\(verb.token)"
            for subject in [all, "\(all).\(identity.name)", "\(all).\(identity.name).\(identity.id)"] {
                try subscribe(subject, verb.rawValue)
            }
        }
    }

    private func subscribe(_ subject: String, _ verb: Int) throws(NATSError) {
        subscriptions.append(try connection.subscribe(subject: subject, queue: nil, context: verb, handler: self))
    }

    /// Whether the server denied control subjects.
    package var isDenied: Bool { !denied.isEmpty }

    /// Asks anew for the control subjects that were denied. To be called after a reconnect, when the server's permissions
    /// may be others.
    ///
    /// - Throws: `NATSError` as `NATSConnection.subscribe`.
    package func retryDenied() throws(NATSError) {
        let retried = denied
        denied = []
        for (subject, verb) in retried {
            try subscribe(subject, verb)
        }
    }

    /// Ends the subscriptions: the service is not found any more. Questions that are under way are still answered.
    package func stop() {
        isStarted = false
        denied = []
        let ending = subscriptions
        subscriptions = []
        for subscription in ending {
            _ = connection.drain(subscription)
        }
    }

    package func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        guard !message.reply.isEmpty, let verb = NATSServiceVerb(rawValue: subscription.context), let source else {
            return
        }
        let endpoints = verb == .ping ? [] : source.serviceEndpoints
        let limit = connection.maximumPayload
        let answer = verb.answer(of: identity, endpoints: endpoints, started: started, limit: limit)
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        // A refusal (no room, connection lost) is an answer that does not come: the asker's timeout deals with it.
        if let answer {
            _ = answer.bytes.withUnsafeBytes {
                connection.publish(subject: message.reply, reply: none, headers: none, payload: $0, room: .reply)
            }
        } else {
            _ = Self.errorHeaders(limit: limit).withUnsafeBytes {
                connection.publish(subject: message.reply, reply: none, headers: $0, payload: none, room: .reply)
            }
        }
        if answer.map({ $0.leftOut > 0 }) ?? true {
            oversizedAnswers += 1
            source.serviceAnswerTooLarge(verb, leftOut: answer?.leftOut, limit: limit)
        }
    }

    /// The error reply of ADR-32 for an answer that cannot be made small enough.
    private static func errorHeaders(limit: Int) -> [UInt8] {
        var headers = NATSHeaders()
        _ = headers.add("Nats-Service-Error", "the answer is larger than the server's max_payload of \(limit) bytes")
        _ = headers.add("Nats-Service-Error-Code", "500")
        return headers.encoded()
    }

    package func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        guard isStarted, case .permissionViolation(let text) = reason else { return }
        subscriptions.removeAll { $0 === subscription }
        denied.append((subscription.subject, subscription.context))
        source?.serviceSubjectDenied(subscription.subject, text)
    }
}

@available(*, unavailable)
extension NATSServiceResponder: Sendable {}
