// What a service says about itself in the NATS services protocol (ADR-32), and the JSON of its three answers. Values, any
// thread. Knows nothing of connections.

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

    /// The answer as JSON, members in the order of ADR-32.
    package func answer(
        of identity: NATSServiceIdentity,
        endpoints: [NATSServiceEndpoint],
        started: String
    ) -> [UInt8] {
        var json = JSONObjectWriter()
        json.member("type", "io.nats.micro.v1.\(token.lowercased())_response")
        json.member("name", identity.name)
        json.member("id", identity.id)
        json.member("version", identity.version)
        json.member("metadata", identity.metadata)
        switch self {
        case .ping: break
        case .info:
            json.member("description", identity.description)
            json.members("endpoints", endpoints) { json, endpoint in
                json.member("name", endpoint.name)
                json.member("subject", endpoint.subject)
                json.member("queue_group", endpoint.queueGroup)
                json.member("metadata", endpoint.metadata)
            }
        case .stats:
            json.member("started", started)
            json.members("endpoints", endpoints) { json, endpoint in
                json.member("name", endpoint.name)
                json.member("subject", endpoint.subject)
                json.member("queue_group", endpoint.queueGroup)
                json.member("num_requests", endpoint.requests)
                json.member("num_errors", endpoint.errors)
                json.member("last_error", endpoint.lastError)
                json.member("processing_time", endpoint.processingTime)
                json.member(
                    "average_processing_time",
                    endpoint.requests == 0 ? 0 : endpoint.processingTime / endpoint.requests
                )
            }
        }
        return json.finish()
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
