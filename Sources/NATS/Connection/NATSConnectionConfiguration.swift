// Owns: all settings of a connection, with their defaults. A value, any thread.

public import NIOCore

/// The settings of a connection to NATS.
public struct NATSConnectionConfiguration: Sendable {
    /// The servers to try, in this order unless ``randomizeServers``. Never empty when connecting.
    public var servers: [NATSServerAddress]

    /// How the client proves who it is. Default: not at all.
    public var authentication = NATSAuthentication.none

    /// How TLS is used. Default: when the address or the server asks for it.
    public var tls = NATSTLSOptions()

    /// The name the server shows for this client in its monitoring.
    public var name = ""

    /// How long one attempt may take, over the TCP connection and the whole handshake. Default 5 s.
    public var connectTimeout = TimeAmount.seconds(5)

    /// Whether a lost connection is made again. Default true.
    public var reconnect = true

    /// How often a server may fail in a row before it is dropped; without a server left the connection closes; negative (the default) without limit.
    public var maxReconnectAttempts = -1

    /// How long to wait after all servers were tried once. The first attempt after a loss is made at once. Default 2 s.
    public var reconnectWait = TimeAmount.seconds(2)

    /// What the wait grows to when attempts keep failing: it doubles per round up to this. Default 8 s; set it to
    /// ``reconnectWait`` for a constant wait.
    public var reconnectWaitMaximum = TimeAmount.seconds(8)

    /// A random time up to this is added to every wait, so that many clients do not return at once. Default 100 ms.
    public var reconnectJitter = TimeAmount.milliseconds(100)

    /// Instead of the growing wait: asked how long to wait after each lap over all servers, with the number of laps that
    /// failed since the last success, from 1. Called on the connection's loop. Default nil.
    public var reconnectDelay: (@Sendable (Int) -> TimeAmount)?

    /// Whether servers are tried in a random order, so that the clients of a cluster spread over it. Default true.
    public var randomizeServers = true

    /// Whether servers that the cluster tells of are left alone, and only ``servers`` are used. Default false.
    public var ignoresDiscoveredServers = false

    /// How many servers that the cluster tells of are kept beside ``servers``; the others are left out and counted.
    /// Default 128.
    public var maxDiscoveredServers = 128

    /// For how long a server may refuse the credentials that it took before, until the connection closes for good:
    /// passwords and credentials files are exchanged at both ends, and never at the same moment. Meanwhile attempts go on
    /// with the usual waits, and each reads files and asks providers anew. Counted for each server, from the first
    /// of the refusals that follow one another. Zero closes at the first refusal. The first connection fails at once in any case.
    /// Default 10 minutes.
    public var authenticationRetryTime = TimeAmount.minutes(10)

    /// Whether refused credentials never close the connection once it was up, however long it takes. Default false.
    public var ignoresAuthenticationErrors = false

    /// How many bytes may be published while there is no connection; 0 refuses publishing then. Default 8 MiB.
    public var reconnectBufferBytes = 8 << 20

    /// Whether the first connection is tried as persistently as later ones, instead of failing after one round.
    /// Default false.
    public var retryOnFailedConnect = false

    /// How often the server is pinged, to notice a dead connection. Default 120 s.
    public var pingInterval = TimeAmount.seconds(120)

    /// How many pings may stay unanswered before the connection counts as lost. Default 2.
    public var maxPingsOutstanding = 2

    /// How many PINGs of the server may wait for their answer while it reads nothing; they are answered together when it
    /// reads again. With more the connection counts as lost. Default 65 536.
    public var maxOwedPongs = 1 << 16

    /// Whether the server confirms every operation. Costs traffic, gains nothing but debugging. Default false.
    public var verbose = false

    /// Whether the server checks more strictly. Default false.
    public var pedantic = false

    /// Whether messages of this connection reach its own subscriptions. Default true.
    public var echo = true

    /// How many bytes may wait for a slow server before publishing is refused, or waits. Default 64 MiB.
    public var maxPendingOutboundBytes = 64 << 20

    /// How long a line may be that the client sends, in bytes: subject, reply subject or queue group, and the numbers
    /// behind them. A server closes the connection of a client that sends a longer one, so such publishes, requests and
    /// subscriptions are refused with ``NATSError/Code/messageTooLarge``. Default 4096, as that of nats-server; raise it
    /// together with the server's `max_control_line`.
    public var maxControlLineBytes = 4096

    /// How many requests may wait for their reply at once. Default 65 536.
    public var maxPendingRequests = 1 << 16

    /// The largest message accepted from the server, in bytes; larger ones are passed over, counted and told as
    /// ``NATSEvent/messageSkipped(subject:limit:)``. Default 64 MiB, the most a nats-server can be set to.
    public var maxInboundMessageBytes = 64 << 20

    /// What inbox subjects begin with. Default `_INBOX`.
    public var inboxPrefix = "_INBOX"

    /// Settings for `servers`, everything else at its default.
    public init(servers: [NATSServerAddress] = [NATSServerAddress(host: "127.0.0.1")]) {
        self.servers = servers
    }

    /// Settings for servers given as text, see ``NATSServerAddress/init(parsing:)``.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/invalidAddress``.
    public init(servers texts: [String]) throws(NATSError) {
        var servers: [NATSServerAddress] = []
        for text in texts {
            servers.append(try NATSServerAddress(parsing: text))
        }
        try Self.requireOneTransport(servers)
        self.init(servers: servers)
    }

    /// What one server says of its cluster is of use on its own kind of transport only.
    static func requireOneTransport(_ servers: [NATSServerAddress]) throws(NATSError) {
        let webSockets = servers.count { $0.scheme.isWebSocket }
        guard webSockets == 0 || webSockets == servers.count else {
            throw NATSError(.invalidAddress, "WebSocket and other addresses cannot be mixed")
        }
    }
}
