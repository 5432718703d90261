// Owns: what a service says about itself in the NATS services protocol (ADR-32), and the JSON of its three responses. Values,
// any thread. May not know connections.

import Bytes
import Glibc
import NATSProtocol

/// Who a service is.
package struct NATSServiceIdentity: Sendable, Equatable {
    package var name: String
    /// Unique for this instance.
    package var id: String
    package var version: String
    package var description = ""
    package var metadata: [String: String] = [:]

    package init(name: String, id: String, version: String) {
        self.name = name
        self.id = id
        self.version = version
    }
}

/// One subject a service answers on, with its counters.
package struct NATSServiceEndpoint: Sendable, Equatable {
    package var name: String
    package var subject: String
    /// Empty for a plain subscription.
    package var queueGroup = ""
    package var metadata: [String: String] = [:]
    package var requests: UInt64 = 0
    package var errors: UInt64 = 0
    /// `<code>:<text>`, empty when there was none.
    package var lastError = ""
    /// Nanoseconds over all requests.
    package var processingTime: UInt64 = 0

    package init(name: String, subject: String) {
        self.name = name
        self.subject = subject
    }
}

/// The three questions of the protocol.
package enum NATSServiceVerb: Int, Sendable, CaseIterable {
    case ping
    case info
    case stats

    package var token: String {
        switch self {
        case .ping: "PING"
        case .info: "INFO"
        case .stats: "STATS"
        }
    }

    /// The answer as JSON, members in the order of ADR-32, in at most `limit` bytes. What does not fit are the last
    /// endpoints: they are left out, and the service's metadata tells how many.
    ///
    /// - Returns: nil when it does not fit without any endpoint either.
    package func answer(
        of identity: NATSServiceIdentity,
        endpoints: [NATSServiceEndpoint],
        started: String,
        limit: Int = .max
    ) -> NATSServiceAnswer? {
        let whole = document(of: identity, endpoints, started)
        guard whole.count > limit else { return NATSServiceAnswer(bytes: whole) }
        // The number with most digits, so that the final one takes no more room.
        var room = limit - document(of: identity.leavingOut(endpoints.count), [], started).count
        guard room >= 0 else { return nil }
        let kept = endpoints.prefix { endpoint in
            room -= json(of: endpoint).bytes().count + 1
            return room >= 0
        }
        let leftOut = endpoints.count - kept.count
        let bytes = document(of: leftOut == 0 ? identity : identity.leavingOut(leftOut), Array(kept), started)
        return NATSServiceAnswer(bytes: bytes, leftOut: leftOut)
    }

    private func document(
        of identity: NATSServiceIdentity,
        _ endpoints: [NATSServiceEndpoint],
        _ started: String
    ) -> [UInt8] {
        var members: [(String, JSONText)] = [
            ("type", .string("io.nats.micro.v1.\(token.lowercased())_response")), ("name", .string(identity.name)),
            ("id", .string(identity.id)), ("version", .string(identity.version)),
            ("metadata", .texts(identity.metadata)),
        ]
        switch self {
        case .ping: return JSONText.object(members).bytes()
        case .info: members.append(("description", .string(identity.description)))
        case .stats: members.append(("started", .string(started)))
        }
        members.append(("endpoints", .array(endpoints.map { json(of: $0) })))
        return JSONText.object(members).bytes()
    }

    private func json(of endpoint: NATSServiceEndpoint) -> JSONText {
        var members: [(String, JSONText)] = [
            ("name", .string(endpoint.name)), ("subject", .string(endpoint.subject)),
            ("queue_group", .string(endpoint.queueGroup)),
        ]
        switch self {
        case .ping: break
        case .info: members.append(("metadata", .texts(endpoint.metadata)))
        case .stats:
            let average = endpoint.requests == 0 ? 0 : endpoint.processingTime / endpoint.requests
            members.append(("num_requests", .whole(endpoint.requests)))
            members.append(("num_errors", .whole(endpoint.errors)))
            members.append(("last_error", .string(endpoint.lastError)))
            members.append(("processing_time", .whole(endpoint.processingTime)))
            members.append(("average_processing_time", .whole(average)))
        }
        return .object(members)
    }
}

/// What goes back for a question.
package struct NATSServiceAnswer: Sendable, Equatable {
    package let bytes: [UInt8]
    /// How many endpoints are not in it, for want of room.
    package var leftOut = 0
}

extension NATSServiceIdentity {
    /// The identity as it stands in an answer that misses endpoints. The schemas allow no member of our own.
    fileprivate func leavingOut(_ count: Int) -> NATSServiceIdentity {
        var identity = self
        identity.metadata["panini.endpoints_left_out"] = String(count)
        return identity
    }
}

/// A point in time as RFC 3339 asks, in UTC with nanoseconds.
func timestamp(_ time: timespec) -> String {
    var seconds = time.tv_sec
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func digits(_ number: Int, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    let date =
        "\(digits(Int(parts.tm_year) + 1900, 4))-\(digits(Int(parts.tm_mon) + 1, 2))-\(digits(Int(parts.tm_mday), 2))"
    let clock = "\(digits(Int(parts.tm_hour), 2)):\(digits(Int(parts.tm_min), 2)):\(digits(Int(parts.tm_sec), 2))"
    return "\(date)T\(clock).\(digits(time.tv_nsec, 9))Z"
}
