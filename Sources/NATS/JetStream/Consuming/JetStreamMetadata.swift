// Owns: what the reply subject of a delivery tells about it (A7; ADR-15): nine tokens, or eleven and more with the
// domain in front. Pure; numbers are read in place.

import Bytes

/// What the server says about a delivery.
public struct JetStreamMetadata: Sendable, Hashable {
    /// The stream that the message is in.
    public let stream: String
    /// The consumer that delivers it.
    public let consumer: String
    /// The domain, empty for none.
    public let domain: String
    /// How often the message was delivered, this time included.
    public let deliveries: Int
    /// The message's number in the stream.
    public let streamSequence: UInt64
    /// The delivery's number.
    public let consumerSequence: UInt64
    /// When the message was stored.
    public let time: NATSTimestamp
    /// How many messages the consumer has still to deliver.
    public let pending: UInt64

    /// Whether it was delivered before.
    public var isRedelivered: Bool { deliveries > 1 }

    /// Reads the reply subject of a delivery.
    ///
    /// - Returns: nil when it is none.
    init?(ackSubject subject: String) {
        var subject = subject
        let numbers = subject.withUTF8 { AckSubject(UnsafeRawBufferPointer($0)) }
        guard let numbers else { return nil }
        let tokens = subject.parts(between: ASCII.dot)
        stream = String(tokens[numbers.streamToken])
        consumer = String(tokens[numbers.streamToken + 1])
        domain = numbers.streamToken > 2 && !tokens[2].isExactly("_") ? String(tokens[2]) : ""
        deliveries = numbers.deliveries
        streamSequence = numbers.streamSequence
        consumerSequence = numbers.consumerSequence
        time = numbers.time
        pending = numbers.pending
    }
}

/// The numbers in the reply subject of a delivery.
package struct AckSubject: Equatable, Sendable {
    /// Which token names the stream: 2, or 4 behind domain and account.
    package let streamToken: Int
    package let deliveries: Int
    package let streamSequence: UInt64
    package let consumerSequence: UInt64
    package let time: NATSTimestamp
    package let pending: UInt64

    init?(_ subject: UnsafeRawBufferPointer) {
        guard subject.count > 8, subject.prefix(8).elementsEqual("$JS.ACK.".utf8) else { return nil }
        var dots = 0
        for byte in subject where byte == ASCII.dot { dots += 1 }
        let count = dots + 1
        // Ten is neither; what may stand behind the eleventh is not ours to know.
        guard count == 9 || count >= 11 else { return nil }
        streamToken = count == 9 ? 2 : 4
        var token = 0
        var start = 0
        var numbers: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
        for index in 0...subject.count {
            guard index == subject.count || subject[index] == ASCII.dot else { continue }
            let place = token - streamToken - 2
            if place >= 0, place < 5 {
                guard let number = Self.number(UnsafeRawBufferPointer(rebasing: subject[start..<index])) else {
                    return nil
                }
                switch place {
                case 0: numbers.0 = number
                case 1: numbers.1 = number
                case 2: numbers.2 = number
                case 3: numbers.3 = number
                default: numbers.4 = number
                }
            }
            token += 1
            start = index + 1
        }
        guard let time = Int64(exactly: numbers.3), let deliveries = Int(exactly: numbers.0) else { return nil }
        self.deliveries = deliveries
        streamSequence = numbers.1
        consumerSequence = numbers.2
        self.time = NATSTimestamp(nanoseconds: time)
        pending = numbers.4
    }

    private static func number(_ digits: UnsafeRawBufferPointer) -> UInt64? {
        guard digits.count > 0 else { return nil }
        var value: UInt64 = 0
        for byte in digits {
            guard ASCII.isDigit(byte) else { return nil }
            let (product, overflows) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowsToo) = product.addingReportingOverflow(UInt64(byte - ASCII.zero))
            guard !overflows, !overflowsToo else { return nil }
            value = sum
        }
        return value
    }
}
