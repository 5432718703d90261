// Owns: the limits of WebSocket connections and what is counted about them. Pure values; any thread.

/// What a route puts up with.
package struct WebSocketSettings: Equatable, Sendable {
    /// The largest message of a client, in bytes.
    package var maximumMessage = 1 << 20
    /// How many messages may wait to be looked at before the socket is left alone.
    package var maximumQueue = 64
    /// How many bytes may wait to be sent.
    package var maximumUnsent = 16 << 20
    /// Seconds of silence after which the peer is pinged; 0: never.
    package var pingInterval = 30.0
    /// Seconds of silence after which the peer is given up; nil: the server's.
    package var idleTimeout: Double?

    /// The default limits.
    package init() {}

    /// How long a close frame may take to be answered, in seconds.
    static let closeTimeout = 5.0

    /// The shortest time that has to be kept.
    package var shortestTime: Double { min(pingInterval > 0 ? pingInterval : .infinity, idleTimeout ?? .infinity) }
}

/// What has been counted since the server's start.
package struct WebSocketCounters: Equatable, Sendable {
    package var opened: UInt64 = 0
    package var received: UInt64 = 0
    package var sent: UInt64 = 0
    /// Connections that the server failed, by the code it gave.
    package var failed: [UInt16: UInt64] = [:]
    /// Peers that did not answer.
    package var timedOut: UInt64 = 0
    /// How often reading stopped because too much waited.
    package var paused: UInt64 = 0
    /// Messages that were not taken because too much waited to be sent.
    package var refusedSends: UInt64 = 0
}
