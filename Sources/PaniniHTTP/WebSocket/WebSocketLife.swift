// Owns: how a connection lives and ends: who closes, what is waited for, and for how long (RFC 6455, section 7). A value
// without I/O and without a clock: it is told the server's ticks.

/// The life of one connection, from the end of the handshake.
package struct WebSocketLife: Equatable {
    /// What the connection has to do.
    package enum Action: Equatable {
        case none
        /// Send a close frame; then go on as with ``shut`` where nothing more is awaited.
        case sendClose(UInt16?, String, thenShut: Bool)
        /// Everything was said: write it out, then ``saidAll()``.
        case shut
        /// Close this side of the channel, and let the peer close the other.
        case shutOutput
        case ping
        /// Close the channel.
        case drop
    }

    private enum Phase: Equatable {
        case open
        /// Our close frame is out, the peer's is awaited.
        case closing
        /// Both are out, or there will be none: the peer's end of TCP is awaited.
        case shutting
        case gone
    }

    /// The times, in ticks.
    package struct Times: Equatable, Sendable {
        /// Silence after which the peer is pinged; 0: never.
        package var ping: UInt64
        /// Silence after which the peer is given up.
        package var idle: UInt64
        /// How long a close frame may take to be answered.
        package var close: UInt64
        /// How long the peer may take to close TCP.
        package var linger: UInt64

        package init(ping: UInt64, idle: UInt64, close: UInt64, linger: UInt64) {
            self.ping = ping
            self.idle = idle
            self.close = close
            self.linger = linger
        }
    }

    package var times: Times
    private var phase = Phase.open
    /// The tick at which something came last.
    private var heard: UInt64
    private var pinged: UInt64
    /// The tick at which the phase began.
    private var since: UInt64
    /// How it ended; nil while it is open. The first reason counts.
    package private(set) var end: WebSocketEnd?
    /// Somebody looks at what comes, and hears of the end.
    package private(set) var isObserved = false
    private var isEndTold = false
    private var isInputClosed = false
    private var isOutputShut = false

    package init(times: Times, now: UInt64) {
        self.times = times
        heard = now
        pinged = now
        since = now
    }

    package var isOpen: Bool { phase == .open }

    /// Whether what arrives is still looked at.
    package var reads: Bool { phase == .open || phase == .closing }

    // MARK: - Events

    /// Bytes have come.
    package mutating func hear(now: UInt64) { heard = now }

    /// Somebody looks from here on.
    package mutating func observe() { isObserved = true }

    /// Whether the one who looks is to hear of the end now: once.
    package mutating func tellsEnd() -> Bool {
        guard end != nil, isObserved, !isEndTold else { return false }
        isEndTold = true
        return true
    }

    /// The peer sends no more.
    package mutating func closeInput() { isInputClosed = true }

    /// What has come is read, as far as it can be.
    ///
    /// - Parameter isDeaf: This side does not read at the moment: there may be more.
    package mutating func inputRead(isDeaf: Bool) -> Action {
        guard isInputClosed, !isDeaf, reads || isOutputShut else { return .none }
        return lose("the peer closed without a close frame")
    }

    /// Everything that was to be said is written.
    package mutating func saidAll() -> Action {
        isOutputShut = true
        return isInputClosed ? lose("") : .shutOutput
    }

    /// This side wants to close.
    package mutating func close(_ end: WebSocketEnd, now: UInt64) -> Action {
        guard phase == .open else { return .none }
        self.end = end
        phase = .closing
        since = now
        return .sendClose(end.code, end.reason, thenShut: false)
    }

    /// The peer's close frame.
    package mutating func receive(close code: UInt16?, _ reason: String, now: UInt64) -> Action {
        switch phase {
        case .open:
            end = WebSocketEnd(code ?? WebSocketCode.none, reason)
            phase = .shutting
            since = now
            return .sendClose(code, "", thenShut: true)
        case .closing:
            phase = .shutting
            since = now
            return .shut
        case .shutting, .gone: return .none
        }
    }

    /// The peer broke a rule.
    package mutating func fail(_ code: UInt16, _ reason: String, now: UInt64) -> Action {
        switch phase {
        case .open:
            end = WebSocketEnd(code, reason)
            phase = .shutting
            since = now
            return .sendClose(code, reason, thenShut: true)
        case .closing:
            phase = .shutting
            since = now
            return .shut
        case .shutting, .gone: return .none
        }
    }

    /// The peer sends no more; or the connection is to be given up.
    package mutating func lose(_ reason: String) -> Action {
        guard phase != .gone else { return .none }
        if end == nil { end = WebSocketEnd(WebSocketCode.lost, reason) }
        phase = .gone
        return .drop
    }

    /// A tick of the server.
    ///
    /// - Parameters:
    ///   - isDeaf: This side does not read at the moment, so that silence says nothing.
    ///   - isMoving: The peer is still taking what was sent before the close frame.
    package mutating func advance(now: UInt64, isDeaf: Bool, isMoving: Bool = false) -> Action {
        if isMoving { since = now }
        switch phase {
        case .open:
            if isDeaf { heard = now }
            let silence = now &- heard
            if silence > times.idle {
                end = WebSocketEnd(WebSocketCode.lost, "the peer did not answer")
                phase = .shutting
                since = now
                return .sendClose(WebSocketCode.internalError, "no answer to a ping", thenShut: true)
            }
            guard times.ping > 0, silence >= times.ping, now &- pinged >= times.ping else { return .none }
            pinged = now
            return .ping
        case .closing: return now &- since > times.close ? lose("") : .none
        case .shutting: return now &- since > times.linger ? lose("") : .none
        case .gone: return .none
        }
    }
}
