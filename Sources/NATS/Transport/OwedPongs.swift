// Owns: PINGs whose answers cannot be written now, because the peer reads nothing. They are counted and answered together with
// one PONG when it reads again. A value without I/O, used on the connection's loop only.

/// Says when to answer a PING.
struct OwedPongs: Equatable {
    enum Answer: Equatable {
        /// Send a PONG.
        case now
        /// It is answered together with others, when the socket has room again.
        case later
        /// More than the limit came, while the peer took not a single answer: it only looks like a server.
        case tooMany
    }

    /// How many PINGs have no answer yet.
    private(set) var count = 0
    private let limit: Int

    /// - Parameter limit: how many may have none.
    init(limit: Int) {
        self.limit = max(0, limit)
    }

    /// A PING came.
    ///
    /// - Parameter hasRoom: whether the socket takes more bytes.
    mutating func ping(hasRoom: Bool) -> Answer {
        if hasRoom, count == 0 { return .now }
        guard count < limit else { return .tooMany }
        count += 1
        return .later
    }

    /// The socket has room again.
    ///
    /// - Returns: whether a PONG is due, for all that came.
    mutating func settle() -> Bool {
        defer { count = 0 }
        return count > 0
    }

    /// Why the connection is given up.
    var error: NATSError {
        NATSError(.protocolViolation, "the server sent more than \(limit) PINGs and did not read the answers")
    }
}
