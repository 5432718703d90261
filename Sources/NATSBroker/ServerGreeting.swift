// The INFO line, the first thing a client hears. A plain value.

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
        line.writeString(
            """
            INFO {"server_id":"\(serverID)","server_name":"\(Self.serverName)","version":"\(Self.protocolVersion)",\
            "proto":1,"host":"\(host)","port":\(port),"headers":true,"max_payload":\(maximumPayload),\
            "client_id":\(clientID),"client_ip":"\(clientAddress)"}\u{20}\r\n
            """
        )
        return line
    }
}
