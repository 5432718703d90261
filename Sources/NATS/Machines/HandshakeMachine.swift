// Owns: the first words between client and server: INFO, then TLS where it is wanted, CONNECT and PING in one write, then PONG
// (with `verbose` after a +OK). A value without I/O: events go in, and one action comes out. May not know sockets.

/// State of one connection's handshake.
struct HandshakeMachine: Equatable {
    enum State: Equatable {
        case awaitingInfo
        case awaitingTLS
        case awaitingPong
        case finished
        case failed
    }

    enum Action: Equatable {
        case nothing
        /// Encrypt the connection, then call `tlsEstablished`.
        case startTLS
        /// Send CONNECT and PING.
        case sendConnect
        /// Answer a PING.
        case sendPong
        /// The handshake is done.
        case complete
        /// The handshake cannot succeed any more.
        case fail(Failure)
    }

    enum Failure: Equatable {
        /// TLS is wanted, and the server has none.
        case tlsUnavailable
        /// The server spoke out of turn.
        case unexpected(String)
        /// The server sent -ERR.
        case refused(String)
    }

    private(set) var state = State.awaitingInfo

    /// What INFO and the settings say about TLS on a connection that is not encrypted yet.
    enum TLSNeed: Equatable {
        case none
        case upgrade
        case unavailable
    }

    mutating func info(tls: TLSNeed) -> Action {
        switch state {
        case .awaitingInfo:
            switch tls {
            case .unavailable: return fail(.tlsUnavailable)
            case .upgrade:
                state = .awaitingTLS
                return .startTLS
            case .none:
                state = .awaitingPong
                return .sendConnect
            }
        // Whatever comes in the clear now did not come from whom TLS is about to prove.
        case .awaitingTLS: return fail(.unexpected("INFO before the TLS handshake"))
        case .awaitingPong, .finished, .failed:
            return .nothing
        }
    }

    /// The TLS handshake is done; with TLS first it comes before INFO.
    mutating func tlsEstablished() -> Action {
        guard state == .awaitingTLS else { return .nothing }
        state = .awaitingPong
        return .sendConnect
    }

    mutating func pong() -> Action {
        switch state {
        case .awaitingInfo, .awaitingTLS: return fail(.unexpected("PONG before CONNECT"))
        case .awaitingPong:
            state = .finished
            return .complete
        case .finished, .failed: return .nothing
        }
    }

    mutating func ok() -> Action {
        isBeforeConnect ? fail(.unexpected("+OK before CONNECT")) : .nothing
    }

    mutating func ping() -> Action {
        switch state {
        case .awaitingInfo, .awaitingTLS: fail(.unexpected("PING before CONNECT"))
        case .awaitingPong: .sendPong
        case .finished, .failed: .nothing
        }
    }

    /// A message: nothing is subscribed yet, so it is nobody's.
    mutating func message() -> Action {
        isBeforeConnect ? fail(.unexpected("MSG before CONNECT")) : .nothing
    }

    mutating func error(_ text: String) -> Action {
        switch state {
        case .awaitingInfo, .awaitingTLS, .awaitingPong: fail(.refused(text))
        case .finished, .failed: .nothing
        }
    }

    private var isBeforeConnect: Bool { state == .awaitingInfo || state == .awaitingTLS }

    private mutating func fail(_ failure: Failure) -> Action {
        state = .failed
        return .fail(failure)
    }
}
