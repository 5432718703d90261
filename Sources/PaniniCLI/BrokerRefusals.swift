// What the broker refused of what a client command asked for. The broker says so by itself, before it confirms a flush: a
// command that did not look would say "done". A value; any thread.

import NATS

/// The broker's errors since this was made.
struct BrokerRefusals {
    private let events: NATSEventStream

    init(_ client: NATSClient) {
        events = client.events
    }

    /// To be called after a flush.
    ///
    /// - Throws: the first error that the broker reported.
    func check() throws(NATSError) {
        for event in events.takeBuffered() {
            switch event {
            case .publishViolation(_, let text), .subscriptionViolation(_, _, let text):
                throw NATSError(.permissionViolation, "the broker denied it: \(text)")
            case .serverError(let text), .slowConsumer(let text):
                throw NATSError(.serverError, "the broker reported an error: \(text)")
            case .publishesLost(_, let error): throw error
            case .disconnected(let error?):
                throw NATSError(.disconnected, "the connection was lost before the broker confirmed: \(error.message)")
            default: break
            }
        }
    }
}
