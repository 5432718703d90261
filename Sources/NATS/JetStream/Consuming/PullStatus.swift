// Owns: what the server says about a pull instead of a message (A6; ADR-13, 37, 42): a number, a text, and what was
// left of the pull. Pure; read in place.

import Bytes
import NATSProtocol
import NIOCore

/// A status that came on a pull's own reply subject.
struct PullStatus: Equatable {
    enum Kind: Equatable {
        /// The server is there and has nothing.
        case heartbeat(consumerSequence: UInt64?)
        /// 404: a pull that does not wait has found nothing.
        case noMessages
        /// 408: its time is over.
        case expired
        /// 409: its bytes are used up.
        case batchCompleted
        /// 409: the next message is larger than what was left of its bytes.
        case exceedsBytes
        /// 409: another server leads the consumer.
        case leadershipChange
        /// 409: the server that leads the consumer goes.
        case serverShutdown
        /// 409: too many pulls wait.
        case tooManyPulls
        /// 409: it asks for more than the consumer allows.
        case beyond(Limit)
        /// 409: the consumer, or its stream, is gone.
        case deleted
        /// 423: another client is pinned.
        case wrongPin
        /// 503: there is no such consumer, or none that leads.
        case noResponders
        /// 400, 412, or a consumer that pushes: no further pull can help.
        case refused(JetStreamError)
        /// Anything else.
        case other(String)
    }

    /// What a consumer allows of a pull.
    enum Limit: Equatable {
        case batch(Int)
        case expires(TimeAmount)
        case bytes(Int)
    }

    let kind: Kind
    /// How many messages were left of the pull, nil when the server does not say.
    let pendingMessages: Int?
    /// How many bytes were left of it.
    let pendingBytes: Int?

    init(_ kind: Kind, pendingMessages: Int? = nil, pendingBytes: Int? = nil) {
        self.kind = kind
        self.pendingMessages = pendingMessages
        self.pendingBytes = pendingBytes
    }

    /// Reads the header block of a status.
    ///
    /// - Returns: nil when it has none.
    init?(headers block: UnsafeRawBufferPointer) {
        let lines = NATSHeaderLines(block)
        guard let status = lines.status else { return nil }
        let text = lines.statusDescription.map { String(decoding: $0, as: UTF8.self) } ?? ""
        func number(_ name: StaticString) -> Int? { lines.firstValue(of: name).flatMap(ASCII.decimal) }
        pendingMessages = number("Nats-Pending-Messages")
        pendingBytes = number("Nats-Pending-Bytes")
        kind =
            switch status {
            case 100: .heartbeat(consumerSequence: number("Nats-Last-Consumer").map(UInt64.init))
            case 404: .noMessages
            case 408: .expired
            case 409: Self.conflict(text)
            case 423: .wrongPin
            case 503: .noResponders
            case 400: .refused(JetStreamError(.invalidArgument, text))
            case 412: .refused(JetStreamError(.apiLevel, text))
            default: .other("\(status) \(text)")
            }
    }

    private static func conflict(_ text: String) -> Kind {
        let lower = text.inLowerASCII
        func limit(_ start: String) -> Substring? {
            lower.begins(with: start) ? lower.dropFirst(start.utf8.count) : nil
        }
        if lower.begins(with: "batch completed") { return .batchCompleted }
        if lower.begins(with: "message size exceeds maxbytes") { return .exceedsBytes }
        if lower.begins(with: "leadership change") { return .leadershipChange }
        if lower.begins(with: "server shutdown") { return .serverShutdown }
        if lower.begins(with: "exceeded maxwaiting") { return .tooManyPulls }
        if lower.begins(with: "consumer deleted") { return .deleted }
        if lower.begins(with: "consumer is push based") { return .refused(JetStreamError(.invalidArgument, text)) }
        if let number = limit("exceeded maxrequestbatch of ").flatMap({ Int($0) }) { return .beyond(.batch(number)) }
        if let number = limit("exceeded maxrequestmaxbytes of ").flatMap({ Int($0) }) { return .beyond(.bytes(number)) }
        if let time = limit("exceeded maxrequestexpires of ").flatMap({ duration($0) }) {
            return .beyond(.expires(time))
        }
        return .other("409 \(text)")
    }

    /// A duration as Go writes it: `1m30s`, `1.5s`, `250ms`.
    static func duration(_ text: Substring) -> TimeAmount? {
        var rest = text
        var total = 0.0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let number = Double(digits) else { return nil }
            switch String(unit) {
            case "h": total += number * 3600e9
            case "m": total += number * 60e9
            case "s": total += number * 1e9
            case "ms": total += number * 1e6
            case "us", "µs": total += number * 1e3
            case "ns": total += number
            default: return nil
            }
        }
        return total < 9e18 ? .nanoseconds(Int64(total)) : nil
    }
}
