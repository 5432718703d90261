// Owns: requests that wait for their reply. A token on the wire names slot and generation, so a reply finds its request by
// array index, and a late reply finds nothing. A value, used on the connection's loop only.

import Bytes
import LoopTools
import NATSProtocol
import NIOCore

/// Names one request; harmless after the request has ended.
package struct NATSRequestID: Equatable, Sendable {
    package let slot: UInt32
    package let generation: UInt64

    package init(slot: UInt32, generation: UInt64) {
        self.slot = slot
        self.generation = generation
    }
}

/// Where the outcome of a request goes. Exactly one of the two is called, once, on the loop; neither after
/// `cancelRequest`.
package protocol NATSRequestSink: AnyObject {
    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage)
    func requestFailed(context: UInt64, error: NATSRequestError)
}

/// Why a request got no reply.
package enum NATSRequestError: Error, Sendable, Equatable {
    case timeout
    case noResponders
    case disconnected
    case closed
    /// The server denied the publish or the inbox, with the server's text.
    case permissionViolation(String)
}

/// Pending requests in reused slots.
struct RequestTable {
    struct Entry {
        var generation: UInt64 = 0
        var context: UInt64 = 0
        var sink: (any NATSRequestSink)?
        /// A hash of the subject, to find the request a permission violation speaks of.
        var subjectHash: UInt64 = 0
        var deadline = DeadlineHandle.none
    }

    static let slotBits: UInt64 = 24
    static let generationMask: UInt64 = (1 << 36) - 1
    /// Characters of a token.
    static let tokenLength = 10

    private var entries: [Entry] = []
    private var free: [UInt32] = []

    /// How many requests wait.
    var count: Int { entries.count - free.count }

    mutating func insert(context: UInt64, sink: any NATSRequestSink, subjectHash: UInt64) -> NATSRequestID {
        let slot: UInt32
        if let last = free.popLast() {
            slot = last
        } else {
            slot = UInt32(entries.count)
            entries.append(Entry())
        }
        entries[Int(slot)].context = context
        entries[Int(slot)].sink = sink
        entries[Int(slot)].subjectHash = subjectHash
        return NATSRequestID(slot: slot, generation: entries[Int(slot)].generation)
    }

    mutating func setDeadline(_ deadline: DeadlineHandle, of id: NATSRequestID) {
        entries[Int(id.slot)].deadline = deadline
    }

    /// Takes the request of `id` out; nil when it has ended before.
    mutating func remove(_ id: NATSRequestID) -> Entry? {
        let slot = Int(id.slot)
        guard slot < entries.count, entries[slot].generation == id.generation, entries[slot].sink != nil else {
            return nil
        }
        let entry = entries[slot]
        entries[slot].sink = nil
        entries[slot].generation = (entry.generation &+ 1) & Self.generationMask
        free.append(id.slot)
        return entry
    }

    /// The ids of all waiting requests, or of those whose subject has `hash`.
    func pending(subjectHash hash: UInt64? = nil) -> [NATSRequestID] {
        var ids: [NATSRequestID] = []
        for (slot, entry) in entries.enumerated() where entry.sink != nil && (hash == nil || entry.subjectHash == hash)
        {
            ids.append(NATSRequestID(slot: UInt32(slot), generation: entry.generation))
        }
        return ids
    }

    // MARK: Tokens

    /// Writes the token of `id`: its 60 bits, six to a character.
    static func writeToken(_ id: NATSRequestID, to target: UnsafeMutableRawPointer) {
        var bits = id.generation << slotBits | UInt64(id.slot)
        var index = tokenLength
        while index > 0 {
            index -= 1
            let six = UInt8(truncatingIfNeeded: bits & 63)
            let character: UInt8
            switch six {
            case 0..<26: character = UInt8(ascii: "A") + six
            case 26..<52: character = UInt8(ascii: "a") + six - 26
            case 52..<62: character = UInt8(ascii: "0") + six - 52
            case 62: character = UInt8(ascii: "-")
            default: character = UInt8(ascii: "_")
            }
            target.storeBytes(of: character, toByteOffset: index, as: UInt8.self)
            bits >>= 6
        }
    }

    /// The id a token spells; nil when it is none of ours.
    static func readToken(_ token: UnsafeRawBufferPointer) -> NATSRequestID? {
        guard token.count == tokenLength else { return nil }
        var bits: UInt64 = 0
        for byte in token {
            let six: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): six = byte - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): six = byte - UInt8(ascii: "a") + 26
            case ASCII.zero...ASCII.nine: six = byte - ASCII.zero + 52
            case ASCII.minus: six = 62
            case UInt8(ascii: "_"): six = 63
            default: return nil
            }
            bits = bits << 6 | UInt64(six)
        }
        return NATSRequestID(
            slot: UInt32(truncatingIfNeeded: bits & ((1 << slotBits) - 1)),
            generation: bits >> slotBits
        )
    }

    /// FNV-1a with 64 bits: enough to tell the subjects of waiting requests apart when a violation names one.
    static func hash(_ subject: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in subject {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
        }
        return hash
    }
}
