// Owns: how a delivery is settled, as bytes (A7; ADR-15), and what a delay has to be for it to be kept (J24). Pure.

public import NIOCore

/// How a delivery is settled.
public enum JetStreamSettlement: Sendable, Hashable {
    /// It is done.
    case ack
    /// It is to be delivered again: at once, or after a delay.
    case nak(delay: TimeAmount?)
    /// It is not to be delivered again.
    case term(reason: String)

    /// The body of the message that says so.
    ///
    /// - Parameters:
    ///   - deliveries: how often the message was delivered.
    ///   - backoff: the waits of the consumer. From the second delivery on the server adds the difference of its steps
    ///     to a delay, which is taken off here; so a delay may be negative.
    package func body(deliveries: Int = 1, backoff: [TimeAmount] = []) -> [UInt8] {
        switch self {
        case .ack: return Array("+ACK".utf8)
        case .nak(let delay):
            // Only a bare one is immediate whatever the backoff says.
            guard let delay, delay > .zero else { return Array("-NAK".utf8) }
            var nanoseconds = delay.nanoseconds
            if let first = backoff.first {
                let step = backoff[min(max(deliveries - 1, 0), backoff.count - 1)]
                nanoseconds += first.nanoseconds - step.nanoseconds
            }
            return Array("-NAK {\"delay\":\(nanoseconds)}".utf8)
        case .term(let reason): return Array((reason.isEmpty ? "+TERM" : "+TERM \(reason)").utf8)
        }
    }

    /// The body that asks for more time.
    package static let inProgress = Array("+WPI".utf8)
}
