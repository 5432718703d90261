// Owns: what happens while a server takes less than is sent: who waits, who does not, and what is left unread. What is unsent
// stays within its bound, because those who can wait do, and because the messages whose replies would add to it are not
// read. CongestionGate has the rules; they are carried out here. Loop-bound.

import NATSProtocol
import NIOCore

/// What a send does when there is no room for it while there is a connection. Without one, each is refused when the
/// reconnect buffer is full.
package enum NATSRoomPolicy {
    /// It is refused.
    case refuse
    /// It is refused, and tried anew when the delegate is told that there is room.
    case wait
    /// It is taken: a reply to a message that was taken. What these add is bounded, as no more messages are read then.
    case reply
}

extension NATSConnection {
    /// Whether sends that can wait must wait now.
    package var isCongested: Bool {
        @inline(__always) get { gate.isClosed }
    }

    /// How many bytes wait for the socket.
    package var unsentSize: Int { unsentBytes }

    /// The most bytes that headers and payload of a message may have together.
    package var payloadLimit: Int { maximumPayload }

    /// Whether the server knows headers.
    package var takesHeaders: Bool { !headersRefused }

    /// How many bytes may be unsent with a message; -1 for one that must wait behind others.
    @inline(__always)
    func limit(_ policy: NATSRoomPolicy) -> Int {
        guard link != nil else { return outboundLimit }
        switch policy {
        case .refuse: return outboundLimit
        case .wait: return gate.isClosed ? -1 : gate.isLow(unsentBytes) ? .max : outboundLimit
        case .reply: return .max
        }
    }

    /// Looks at what became of a send: closes the gate, counts.
    @inline(__always)
    func settled(_ refusal: NATSPublishError?, _ policy: NATSRoomPolicy) -> NATSPublishError? {
        if let refusal { return refused(refusal, policy) }
        if policy != .refuse, unsentBytes > outboundLimit, link != nil { congested(holding: true) }
        return nil
    }

    @inline(never)
    private func refused(_ refusal: NATSPublishError, _ policy: NATSRoomPolicy) -> NATSPublishError {
        guard refusal == .bufferExceeded else { return refusal }
        if policy == .wait, link != nil {
            congested(holding: true)
        } else {
            statistics.refusedBufferFull += 1
        }
        return refusal
    }

    /// The delegate of a connection whose own messages do not lead to sends waits for room.
    func awaitRoom() {
        if link != nil { congested(holding: false) }
    }

    private func congested(holding: Bool) {
        let begins = gate.close(holding: holding)
        if holding {
            link?.hold(.congestion)
            oldLink?.handler.hold(.congestion)
        }
        if begins {
            statistics.congestions += 1
            delegate?.connection(self, congestion: .began)
        }
    }

    /// Bytes have been handed to the socket.
    func relieved() {
        let relief = gate.relieve(pending: unsentBytes)
        if relief.opens {
            // Not from within a send: those who wait send themselves.
            let box = NIOLoopBound(self, eventLoop: eventLoop)
            eventLoop.execute { box.value.opened() }
        }
        if relief.ends { delegate?.connection(self, congestion: .ended) }
    }

    private func opened() {
        guard state != .closed, !gate.isClosed else { return }
        let (wasHolding, readsFirst) = gate.open()
        if !readsFirst { delegate?.connection(self, congestion: .room) }
        if wasHolding { continueReading() }
        if readsFirst { delegate?.connection(self, congestion: .room) }
    }

    private func continueReading() {
        let old = oldLink?.handler
        old?.release(.congestion)
        link?.release(.congestion)
    }
}

/// What a connection tells of a server that takes less than is sent.
package enum NATSCongestion: Equatable {
    /// Sends wait from here on, and messages are left unread.
    case began
    /// There is room: those that wait are to be tried anew, until they are refused again.
    case room
    /// Little is left of what waited.
    case ended
}
