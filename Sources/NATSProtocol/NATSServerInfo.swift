// What a server says about itself in INFO. Every field is optional: a server or proxy may leave out any of them. A pure
// value, any thread.

/// The fields of a server's INFO that a client needs.
public struct NATSServerInfo: Sendable, Equatable {
    /// The server's unique id, empty when it sent none.
    public var serverID = ""
    /// The server's name, empty when it sent none.
    public var serverName = ""
    /// The server's version, empty when it sent none.
    public var version = ""
    /// The protocol level, 0 when absent; 1 and above know asynchronous INFO and `echo`.
    public var protocolLevel = 0
    /// The host the server says it listens on.
    public var host = ""
    /// The port the server says it listens on, 0 when absent.
    public var port = 0
    /// Whether messages may carry headers.
    public var supportsHeaders = false
    /// Whether the server asks for credentials.
    public var authenticationRequired = false
    /// Whether the server only talks TLS.
    public var tlsRequired = false
    /// Whether the server can talk TLS.
    public var tlsAvailable = false
    /// The largest message (headers and payload together) in bytes; nil when the server named none.
    public var maxPayload: Int?
    /// The number the server gave this connection, nil when absent.
    public var clientID: Int?
    /// This client's address as the server sees it, empty when absent.
    public var clientAddress = ""
    /// The challenge for key authentication, nil when the server sent none.
    public var nonce: String?
    /// The cluster's name, empty when absent.
    public var cluster = ""
    /// Other servers of the cluster, as `host:port`.
    public var connectURLs: [String] = []
    /// Other servers of the cluster for WebSocket clients, as `host:port`.
    public var webSocketConnectURLs: [String] = []
    /// Whether the server is about to shut down and asks clients to move.
    public var lameDuckMode = false
    /// Whether JetStream is on.
    public var jetStream = false
    /// The JetStream domain, empty when absent.
    public var domain = ""
    /// Whether the client's account is the system account.
    public var isSystemAccount = false
    /// The level of the JetStream API, 0 when absent.
    public var apiLevel = 0
    /// Whether this INFO is about the client's own connection: it comes after CONNECT, from servers that send it.
    public var isConnectInfo = false

    package init() {}

    /// Reads the JSON document of an INFO line. Unknown members are ignored, members of a wrong type count as absent.
    package init(json: UnsafeRawBufferPointer) throws(JSONError) {
        let value = try JSONValue(parsing: json)
        guard case .object = value else { throw JSONError(kind: .unexpectedByte, offset: 0) }
        serverID = value["server_id"]?.string ?? ""
        serverName = value["server_name"]?.string ?? ""
        version = value["version"]?.string ?? ""
        protocolLevel = value["proto"]?.integer ?? 0
        host = value["host"]?.string ?? ""
        port = value["port"]?.integer ?? 0
        supportsHeaders = value["headers"]?.bool ?? false
        authenticationRequired = value["auth_required"]?.bool ?? false
        tlsRequired = value["tls_required"]?.bool ?? false
        tlsAvailable = value["tls_available"]?.bool ?? false
        maxPayload = value["max_payload"]?.integer.flatMap { $0 > 0 ? $0 : nil }
        clientID = value["client_id"]?.integer
        clientAddress = value["client_ip"]?.string ?? ""
        nonce = value["nonce"]?.string
        cluster = value["cluster"]?.string ?? ""
        connectURLs = value["connect_urls"]?.array?.compactMap(\.string) ?? []
        webSocketConnectURLs = value["ws_connect_urls"]?.array?.compactMap(\.string) ?? []
        lameDuckMode = value["ldm"]?.bool ?? false
        jetStream = value["jetstream"]?.bool ?? false
        domain = value["domain"]?.string ?? ""
        isSystemAccount = value["acc_is_sys"]?.bool ?? false
        apiLevel = value["api_lvl"]?.integer ?? 0
        isConnectInfo = value["connect_info"]?.bool ?? false
    }
}
