// Owns: the publishes of other threads that wait for the loop: one buffer of encoded frames under a lock. Whoever appends to
// the idle outbox asks the loop to come; everybody after that just appends, until the loop has found it empty. Any thread.

import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore

final class NATSOutbox: Sendable {
    /// What publishing threads need to know of the connection.
    struct Terms: Equatable {
        var maximumPayload = Int.max
        var headersRefused = false
        var refusal: NATSPublishError?
        /// How many bytes the connection still takes.
        var room: Int

        /// Whether `connection` takes everything that these terms allow.
        func isCovered(by connection: NATSConnection) -> Bool {
            connection.maximumPayload >= maximumPayload && (headersRefused || !connection.headersRefused)
        }
    }

    private struct State {
        var frames = ByteBuffer()
        /// The memory of the last batch, for the next but one.
        var spare = ByteBuffer()
        var count = 0
        /// How many bytes the loop has taken and not accounted for in `terms` yet.
        var taken = 0
        /// Whether the loop was asked to come, and has not found the outbox empty since.
        var isRequested = false
        /// What the loop last said about the connection.
        var terms: Terms
        var lastRequest: UInt64 = 0
    }

    /// A buffer that grew beyond this is not kept.
    private static let retainedCapacity = 4 << 20

    private let state: NIOLockedValueBox<State>

    init(room: Int) {
        state = NIOLockedValueBox(State(terms: Terms(room: room)))
    }

    /// Encodes one publish whose subjects are valid; true when the loop must be asked to fetch.
    func append(
        subject: String,
        reply: String,
        headers: [UInt8],
        payload: UnsafeRawBufferPointer
    ) throws(NATSError) -> Bool {
        var subject = subject
        var reply = reply
        let size = headers.count + payload.count
        let outcome: Result<Bool, NATSError> = state.withLockedValue { state in
            if let refusal = state.terms.refusal { return .failure(refusal.error) }
            guard size <= state.terms.maximumPayload else {
                return .failure(NATSPublishError.tooLarge(limit: state.terms.maximumPayload).error)
            }
            guard headers.isEmpty || !state.terms.headersRefused else {
                return .failure(NATSPublishError.headersUnsupported.error)
            }
            let room = NATSEncoder.publishOverhead + subject.utf8.count + reply.utf8.count + size
            guard state.taken + state.frames.readableBytes + room <= state.terms.room else {
                return .failure(NATSPublishError.bufferExceeded.error)
            }
            let mustHop = !state.isRequested
            state.isRequested = true
            state.count += 1
            subject.withUTF8 { subject in
                reply.withUTF8 { reply in
                    headers.withUnsafeBytes { headers in
                        NATSEncoder.publish(
                            subject: UnsafeRawBufferPointer(subject),
                            reply: UnsafeRawBufferPointer(reply),
                            headers: headers,
                            payload: payload,
                            into: &state.frames
                        )
                    }
                }
            }
            return .success(mustHop)
        }
        return try outcome.get()
    }

    /// How many more bytes it takes.
    var room: Int {
        state.withLockedValue { max(0, $0.terms.room - $0.taken - $0.frames.readableBytes) }
    }

    /// A number for a request, never given out before.
    func makeRequestContext() -> UInt64 {
        state.withLockedValue { state in
            state.lastRequest += 1
            return state.lastRequest
        }
    }

    /// Takes everything that waits; on the loop. Hand the buffer back with ``giveBack(_:)``. What was taken counts against
    /// the room until ``update(_:)``: otherwise, with a connection that is full, each try would let some more in.
    func take() -> (frames: ByteBuffer, count: Int) {
        state.withLockedValue { state in
            let count = state.count
            state.count = 0
            var taken = ByteBuffer()
            if count > 0 {
                swap(&taken, &state.frames)
                swap(&state.frames, &state.spare)
                state.taken = taken.readableBytes
            }
            return (taken, count)
        }
    }

    /// Returns a taken buffer whose bytes were sent, so that steady publishing allocates nothing.
    func giveBack(_ frames: inout ByteBuffer) {
        guard frames.capacity > 0, frames.capacity <= Self.retainedCapacity else { return }
        // In place: a second reference, and clearing would allocate.
        frames.clear()
        state.withLockedValue { swap(&$0.spare, &frames) }
    }

    /// Called by the loop when it has done what it was asked for; whether it must look again, because something came
    /// meanwhile. A publisher asks anew only after a false.
    func settle() -> Bool {
        state.withLockedValue { state in
            state.isRequested = state.count > 0
            return state.isRequested
        }
    }

    /// Puts back what the connection had no room for, in front of what came since; on the loop.
    func putBack(_ frames: ByteBuffer, _ count: Int) {
        state.withLockedValue { state in
            var all = frames
            all.writeBuffer(&state.frames)
            state.frames = all
            state.count += count
            state.taken = 0
        }
    }

    /// What the loop knows about the connection now.
    func update(_ terms: Terms) {
        state.withLockedValue { state in
            state.terms = terms
            state.taken = 0
        }
    }
}

extension NATSPublishError {
    /// The refusal as an error for people.
    package var error: NATSError {
        switch self {
        case .invalidSubject: NATSError(.invalidSubject, "the subject is not valid")
        case .invalidReply: NATSError(.invalidSubject, "the reply subject is not valid")
        case .tooLarge(let limit):
            NATSError(.messageTooLarge, "the message is larger than the server's limit of \(limit) bytes")
        case .lineTooLong(let limit):
            NATSError(
                .messageTooLarge,
                "the subject and the reply subject are too long together: the server takes lines of \(limit) bytes"
            )
        case .headersUnsupported: NATSError(.headersUnsupported, "the server does not know headers")
        case .bufferExceeded: NATSError(.bufferExceeded, "too many bytes wait for the server")
        case .draining: .draining
        case .closed: .closed
        case .disconnected: .disconnected
        case .tooManyRequests: NATSError(.tooManyRequests, "too many requests wait for their reply")
        }
    }
}
