// Owns: what a connection tells its owner besides messages. Values, any thread; the delegate is called on the loop.

public import NATSProtocol

/// Something that happened to a connection. More kinds may come: handle the others with `default`.
public enum NATSEvent: Sendable, Equatable {
    /// The first connection is up, subscriptions are made.
    case connected(NATSServerInfo)
    /// The connection is lost; with `reconnect`, attempts begin now.
    case disconnected(NATSError?)
    /// Up again, or, without a `disconnected` before, moved to another server because the last one is about to shut down
    /// (see `lameDuck`); subscriptions are made anew and buffered publishes are on their way.
    case reconnected(NATSServerInfo)
    /// An attempt failed; `attempt` counts from 1 since the last success.
    case retryingConnect(attempt: Int, error: NATSError)
    /// Publishes that had been accepted are given up: they are too large for the server the client is connected to now
    /// (`messageTooLarge`) or carry headers it does not know (`headersUnsupported`), the connection is closed before they
    /// could be sent, or it was lost in a way that leaves open whether they were (`disconnected`).
    case publishesLost(count: Int, error: NATSError)
    /// The connection is draining and takes no more publishes once this event is handled.
    case publishingEnds
    /// The end: nothing happens any more.
    case closed(NATSError?)
    /// A publish was denied.
    case publishViolation(subject: String, text: String)
    /// A subscription was denied and has ended.
    case subscriptionViolation(subject: String, sid: Int?, text: String)
    /// The server calls this client too slow, and is about to drop it.
    case slowConsumer(String)
    /// A reader of this subscription is too slow: its buffer is full and new messages are dropped. Told once until it
    /// takes messages again.
    case subscriptionTooSlow(subject: String, sid: Int)
    /// A message was passed over because it is larger than `maxInboundMessageBytes`; a request that it answers has its
    /// time-out.
    case messageSkipped(subject: String, limit: Int)
    /// The server is about to shut down. Without another server the connection stays until the server closes it;
    /// otherwise it moves by itself.
    case lameDuck
    /// The cluster has servers that were not known, as `host:port`.
    case discoveredServers([String])
    /// The cluster told of more servers than `maxDiscoveredServers`, or of some that are no addresses: so many are left
    /// out. Told once until a list is taken in whole.
    case serversIgnored(count: Int)
    /// An -ERR that keeps the connection open.
    case serverError(String)
}

/// The owner of a connection. Both are called on the loop.
package protocol NATSConnectionDelegate: AnyObject {
    func connection(_ connection: NATSConnection, event: NATSEvent)
    /// Something has been read, and is about to be delivered.
    func connectionReadBurstBegan(_ connection: NATSConnection)
    /// All messages of one read were delivered; what is published now still goes into the same write.
    func connectionReadBurstEnded(_ connection: NATSConnection)
    /// ``NATSConnection/turnFlag`` is set, and something has just been delivered: ``NATSConnection/holdForTurn()`` leaves the
    /// rest for later.
    func connectionTurnIsOver(_ connection: NATSConnection)
    /// The server takes less than is sent, or again what is. `began` comes from within the send that finds no room.
    func connection(_ connection: NATSConnection, congestion: NATSCongestion)
}

extension NATSConnectionDelegate {
    package func connectionReadBurstBegan(_ connection: NATSConnection) {}
    package func connectionTurnIsOver(_ connection: NATSConnection) {}
}

/// Why a publish or request was refused; nothing was sent.
package enum NATSPublishError: Error, Sendable, Equatable {
    case invalidSubject
    case invalidReply
    /// Headers and payload together exceed the server's `max_payload`.
    case tooLarge(limit: Int)
    case headersUnsupported
    /// The subjects make a line that is longer than `maxControlLineBytes`.
    case lineTooLong(limit: Int)
    /// The outbound or reconnect buffer is full.
    case bufferExceeded
    case draining
    case closed
    /// Requests only: there is no connection to send it on.
    case disconnected
    /// Requests only: as many as configured are waiting.
    case tooManyRequests
}

/// Counters of a connection, kept over reconnects.
public struct NATSStatistics: Sendable, Equatable {
    /// Messages received, also those for nobody.
    public var messagesIn: UInt64 = 0
    /// Messages published, requests included.
    public var messagesOut: UInt64 = 0
    /// Bytes read from the socket.
    public var bytesIn: UInt64 = 0
    /// Bytes handed to the socket.
    public var bytesOut: UInt64 = 0
    /// How often a lost connection was made again.
    public var reconnects: UInt64 = 0
    /// Publishes and requests refused because a buffer was full.
    public var refusedBufferFull: UInt64 = 0
    /// How often the server took less than was sent for so long that sends had to wait, until it had caught up.
    public var congestions: UInt64 = 0
    /// Publishes that were accepted and given up; see ``NATSEvent/publishesLost(count:error:)``.
    public var lostPublishes: UInt64 = 0
    /// Bytes that a TLS or WebSocket connection had not written when it was lost; the publishes in them are lost.
    public var lostBytes: UInt64 = 0
    /// Messages that no subscription or request waited for: late replies, and what was under way at an unsubscribe.
    public var unclaimedMessages: UInt64 = 0
    /// Messages passed over because they were larger than `maxInboundMessageBytes`.
    public var oversizedMessages: UInt64 = 0
    /// Messages dropped because the reader of their subscription was too slow.
    public var droppedMessages: UInt64 = 0
    /// How often a subscription's buffer became full.
    public var slowConsumers: UInt64 = 0
    /// How often a server refused the credentials.
    public var refusedCredentials: UInt64 = 0
    /// PINGs that were answered together with others, because the server did not read.
    public var joinedPongs: UInt64 = 0
    /// Errors the server reported.
    public var serverErrors: UInt64 = 0
    /// Servers that the cluster told of and that were left out, counted anew with each list.
    public var ignoredServers: UInt64 = 0
    /// Writes handed to the socket; messages per write is `messagesOut / writes`.
    public var writes: UInt64 = 0

    /// All zero.
    public init() {}
}
