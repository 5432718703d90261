// The INFO line, the first thing a client hears. A plain value.

import Bytes
import NATSProtocol
import NIOCore

/// What the broker says about itself.
struct ServerGreeting {
    /// The server version whose core protocol the broker speaks: clients look at it before they use a feature.
    static let protocolVersion = "2.10.0"
    static let serverName = "panini-broker"

    var serverID: String
    var host: String
    var port: Int
    var maximumPayload: Int
    var clientID: Int
    var clientAddress: String

    /// The line with its end.
    func encoded() -> ByteBuffer {
        var line = ByteBuffer()
        let information = JSONText.object([
            ("server_id", .string(serverID)), ("server_name", .string(Self.serverName)),
            ("version", .string(Self.protocolVersion)), ("proto", .integer(1)), ("host", .string(host)),
            ("port", .whole(port)), ("headers", .boolean(true)), ("max_payload", .whole(maximumPayload)),
            ("client_id", .whole(clientID)), ("client_ip", .string(clientAddress)),
        ])
        line.writeStaticString("INFO ")
        line.writeBytes(information.bytes())
        line.writeStaticString(" \r\n")
        return line
    }
}
