// Owns: the limits of a server. Pure values; any thread.

/// Where a server listens and what it puts up with.
package struct HTTPServerConfiguration: Sendable {
    /// The address to bind.
    package var host = "127.0.0.1"
    /// The port; 0 for a free one.
    package var port = 8080
    /// Whether other sockets of this program listen on the same port: the system spreads connections over them.
    package var sharesPort = false
    /// Whether another socket of this program has the port already.
    package var joinsPort = false
    /// A socket that listens on the port already, of a worker whose place this one takes; nil: the port is bound.
    package var inherited: HTTPListeningSocket?
    /// The largest head of a request in bytes: request line and headers; beyond it 431.
    package var maximumHeaderBytes = 16384
    /// The most header fields of a request; beyond it 431.
    package var maximumHeaderCount = 100
    /// Seconds from a request's first byte to the end of its head; then 408.
    package var headerTimeout = 10.0
    /// Seconds for a request's body; then 408.
    package var bodyTimeout = 30.0
    /// Seconds a connection may stay without a request.
    package var idleTimeout = 60.0
    /// The shortest of all other times that have to be kept, in seconds.
    package var shortestTime = Double.infinity
    /// The most open connections; further ones get a 503 and are closed.
    package var maximumConnections = 10000

    /// What all web servers of the host together may hold for their clients, in bytes; beyond it the connections that hold
    /// most are ended.
    package var maximumMemory = Int.max
    /// What one connection may hold beside its largest request or response, in bytes; beyond it it is ended.
    package var maximumConnectionMemory = 64 << 20

    /// The certificate with its chain and the key, as paths of PEM files; nil: no TLS.
    package var tls: (certificate: String, key: String)?
    /// Whether HTTP/2 is spoken: over TLS where the client knows it too, without TLS with clients that begin with it.
    package var speaksHTTP2 = true
    /// The most requests at once over one HTTP/2 connection.
    package var maximumStreams = 128

    /// Whether responses are compressed for clients that ask for it.
    package var compresses = true
    /// Whether the delegate is told of every response.
    package var reportsResponses = false

    /// The default limits.
    package init() {}
}

/// What a server has counted since its start.
package struct HTTPServerCounters: Sendable, Equatable {
    package var connections: UInt64 = 0
    package var refusedConnections: UInt64 = 0
    /// Connections closed as soon as they were accepted, because the descriptors for clients are taken.
    package var surplusConnections: UInt64 = 0
    /// How many times nothing could be accepted, for want of descriptors or memory.
    package var failedAccepts: UInt64 = 0
    package var requests: UInt64 = 0
    /// Requests that the server itself refused, by the status it gave.
    package var refusedRequests: [Int: UInt64] = [:]
    /// Connections closed for having been idle.
    package var idleClosed: UInt64 = 0
    /// Connections ended because all web servers together held too much, and these most of it.
    package var shedConnections: UInt64 = 0
    /// Connections ended for what they alone held.
    package var overfullConnections: UInt64 = 0
    /// Streams of HTTP/2 that were reset for what the client sent on them.
    package var brokenStreams: UInt64 = 0
    /// Connections of HTTP/2 that were ended for what the client sent.
    package var brokenConnections: UInt64 = 0
}
