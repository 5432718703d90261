// The first words between client and server: INFO, then CONNECT and PING in one write, then PONG (with `verbose` after a
// +OK). A value without I/O: events in, one action out.

/// State of one connection's handshake.
struct HandshakeMachine: Equatable {
    enum State: Equatable {
        case awaitingInfo
        case awaitingPong
        case finished
        case failed
    }

    enum Action: Equatable {
        case nothing
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
        case tlsRequired
        /// The server spoke out of turn.
        case unexpected(String)
        /// The server sent -ERR.
        case refused(String)
    }

    private(set) var state = State.awaitingInfo

    mutating func info(tlsRequired: Bool) -> Action {
        switch state {
        case .awaitingInfo:
            if tlsRequired { return fail(.tlsRequired) }
            state = .awaitingPong
            return .sendConnect
        case .awaitingPong, .finished, .failed:
            return .nothing
        }
    }

    mutating func pong() -> Action {
        switch state {
        case .awaitingInfo: return fail(.unexpected("PONG before INFO"))
        case .awaitingPong:
            state = .finished
            return .complete
        case .finished, .failed: return .nothing
        }
    }

    mutating func ok() -> Action {
        state == .awaitingInfo ? fail(.unexpected("+OK before INFO")) : .nothing
    }

    mutating func ping() -> Action {
        switch state {
        case .awaitingInfo: fail(.unexpected("PING before INFO"))
        case .awaitingPong: .sendPong
        case .finished, .failed: .nothing
        }
    }

    /// A message: nothing is subscribed yet, so it is nobody's.
    mutating func message() -> Action {
        state == .awaitingInfo ? fail(.unexpected("MSG before INFO")) : .nothing
    }

    mutating func error(_ text: String) -> Action {
        switch state {
        case .awaitingInfo, .awaitingPong: fail(.refused(text))
        case .finished, .failed: .nothing
        }
    }

    private mutating func fail(_ failure: Failure) -> Action {
        state = .failed
        return .fail(failure)
    }
}
