// What a client asks for in CONNECT. A plain value. A client that sends commands without CONNECT is a person at a
// terminal: as with nats-server it is then answered verbosely and checked pedantically.

import NATSProtocol

/// The options of one client connection.
package struct ClientOptions: Equatable {
    /// Whether each command is answered with `+OK`.
    package var verbose = true
    /// Whether published subjects are checked.
    package var pedantic = true
    /// Whether the client gets the messages it publishes itself.
    package var echo = true
    /// Whether the client understands headers.
    package var headers = false
    /// Whether a request that nobody hears is answered with status 503.
    package var noResponders = false
    /// The client's own name, for the log.
    package var name = ""

    package enum Refusal: Error, Equatable {
        case notAnObject
        case wrongType(field: String)
        case noRespondersWithoutHeaders

        /// The text inside `-ERR '...'`.
        package var wireText: String {
            switch self {
            case .notAnObject: "Parser Error: \(ClientProtocolError.Usage.connect.rawValue)"
            case .wrongType(let field): "Parser Error: CONNECT has a wrong type in \(field)"
            case .noRespondersWithoutHeaders: "no responders requires headers support"
            }
        }
    }

    package init() {}

    /// Takes over the fields that `json` names; the others stay as they are. Unknown fields are for other servers.
    package mutating func apply(json: UnsafeRawBufferPointer) throws(Refusal) {
        guard let value = try? JSONValue(parsing: json), case .object(let fields) = value else {
            throw .notAnObject
        }
        try Self.take("verbose", of: fields, into: &verbose)
        try Self.take("pedantic", of: fields, into: &pedantic)
        try Self.take("echo", of: fields, into: &echo)
        try Self.take("headers", of: fields, into: &headers)
        try Self.take("no_responders", of: fields, into: &noResponders)
        switch fields["name"] {
        case nil, .null: break
        case .string(let text): name = text
        default: throw .wrongType(field: "name")
        }
        if noResponders, !headers { throw .noRespondersWithoutHeaders }
    }

    private static func take(
        _ field: String,
        of fields: [String: JSONValue],  // text: names of the protocol, in ASCII
        into option: inout Bool
    ) throws(Refusal) {
        switch fields[field] {
        case nil, .null: break
        case .bool(let value): option = value
        default: throw .wrongType(field: field)
        }
    }
}
