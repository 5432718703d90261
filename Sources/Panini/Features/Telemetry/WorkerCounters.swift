// Owns: what a service counts, by name, and the names that metrics backends know. A value; any thread.

import NATS
import PaniniHTTP

/// What a service on one worker counts.
enum WorkerCounter: Int, CaseIterable {
    case refusedMessages
    case droppedMessages
    case undecodableMessages
    case invalidMessages
    case errorReplies
    case taskFailures
    case deniedPublishes
    case refusedHTTPRequests
    case exhaustedStates
    case httpConnections
    case httpRefusedConnections
    case httpRejectedRequests
    case webSockets
    case webSocketReceived
    case webSocketSent
    case webSocketFailures
    case webSocketRefusedSends
    case fetches
    case fetchFailures
    case unsentReplies
    case brokerErrors
    case refusedCredentials
    case waitedSends
    case congestions
    case refusedSends
    case lostPublishes
    case lostReplies
    case httpShedConnections
    case httpOverfullConnections
    case httpBrokenStreams
    case httpBrokenConnections

    /// The name that metrics backends know.
    var label: String {
        switch self {
        case .refusedMessages: "panini_refused_messages"
        case .droppedMessages: "panini_dropped_messages"
        case .undecodableMessages: "panini_undecodable_messages"
        case .invalidMessages: "panini_invalid_messages"
        case .errorReplies: "panini_error_replies"
        case .taskFailures: "panini_task_failures"
        case .deniedPublishes: "panini_denied_publishes"
        case .refusedHTTPRequests: "panini_refused_http_requests"
        case .exhaustedStates: "panini_exhausted_states"
        case .httpConnections: "panini_http_connections"
        case .httpRefusedConnections: "panini_http_refused_connections"
        case .httpRejectedRequests: "panini_http_rejected_requests"
        case .webSockets: "panini_websockets"
        case .webSocketReceived: "panini_websocket_received"
        case .webSocketSent: "panini_websocket_sent"
        case .webSocketFailures: "panini_websocket_failures"
        case .webSocketRefusedSends: "panini_websocket_refused_sends"
        case .fetches: "panini_fetches"
        case .fetchFailures: "panini_fetch_failures"
        case .unsentReplies: "panini_unsent_replies"
        case .brokerErrors: "panini_broker_errors"
        case .refusedCredentials: "panini_refused_credentials"
        case .waitedSends: "panini_waited_sends"
        case .congestions: "panini_congestions"
        case .refusedSends: "panini_refused_sends"
        case .lostPublishes: "panini_lost_publishes"
        case .lostReplies: "panini_lost_replies"
        case .httpShedConnections: "panini_http_shed_connections"
        case .httpOverfullConnections: "panini_http_overfull_connections"
        case .httpBrokenStreams: "panini_http_broken_streams"
        case .httpBrokenConnections: "panini_http_broken_connections"
        }
    }
}

/// What a service has counted since its start.
struct WorkerCounters: Sendable {
    private var values = [UInt64](repeating: 0, count: WorkerCounter.allCases.count)

    subscript(counter: WorkerCounter) -> UInt64 {
        get { values[counter.rawValue] }
        set { values[counter.rawValue] = newValue }
    }

    static func + (one: WorkerCounters, other: WorkerCounters) -> WorkerCounters {
        var sum = one
        for counter in WorkerCounter.allCases { sum[counter] &+= other[counter] }
        return sum
    }
}
