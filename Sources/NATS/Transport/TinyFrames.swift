// Owns: how many WebSocket frames a server may send that carry next to nothing. Each costs as much as one with a message, so that
// a server which only looks like one could keep the loop busy with two bytes a frame. A value without I/O or clock.

import NIOCore

/// Counts the frames of a connection that bring no operation of NATS along.
struct TinyFrames: Equatable {
    /// So many may come within ``interval``.
    static let limit = 1000
    static let interval = TimeAmount.seconds(1)
    /// No operation of NATS is shorter; a piece of one may be.
    static let shortest = 5

    private(set) var count = 0
    private var began: NIODeadline?

    /// A frame with so many bytes for the NATS protocol came; none for a ping, a pong, or an unknown opcode.
    ///
    /// - Returns: False when it is one too many.
    mutating func takes(_ bytes: Int) -> Bool {
        if bytes >= Self.shortest {
            // A proxy that cuts an operation in two makes no more of them than this forgives.
            if count > 0 { count -= 1 }
            return true
        }
        guard count < Self.limit else { return false }
        count += 1
        return true
    }

    /// A read has ended.
    mutating func settle(at now: NIODeadline) {
        guard count > 0 else { return }
        guard let began, now - began < Self.interval else {
            if began != nil { count = 0 }
            began = now
            return
        }
    }

    /// Why the connection is given up.
    static var error: NATSError {
        NATSError(
            .protocolViolation,
            "the server sent more than \(limit) WebSocket frames a second that carry next to nothing"
        )
    }
}
