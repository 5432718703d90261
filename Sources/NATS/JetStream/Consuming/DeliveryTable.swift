// Owns: the deliveries that are not settled yet: which need more time (J23), and with which message a consumer that is
// made again has to begin (J12). A value without I/O, used on one loop.

import NIOCore

/// Names a delivery; harmless after it was settled.
package struct JetStreamDeliveryID: Hashable, Sendable {
    let slot: Int
    let generation: UInt64

    /// That of a delivery which is not to be settled.
    static let none = JetStreamDeliveryID(slot: -1, generation: 0)
}

struct DeliveryTable {
    private struct Entry {
        var generation: UInt64 = 0
        var isUsed = false
        var sequence: UInt64 = 0
        var reply = ""
        var extended = NIODeadline.uptimeNanoseconds(0)
        var end = NIODeadline.uptimeNanoseconds(0)
    }

    private var entries: [Entry] = []
    private var free: [Int] = []
    /// The highest sequence that was delivered.
    private(set) var lastSequence: UInt64 = 0

    /// How many are not settled.
    var count: Int { entries.count - free.count }

    /// A message was delivered.
    ///
    /// - Parameters:
    ///   - reply: where it is settled.
    ///   - end: until when more time is asked for.
    mutating func insert(
        sequence: UInt64,
        reply: String,
        at now: NIODeadline,
        until end: NIODeadline
    ) -> JetStreamDeliveryID {
        let slot = free.popLast() ?? entries.count
        if slot == entries.count { entries.append(Entry()) }
        entries[slot].isUsed = true
        entries[slot].sequence = sequence
        entries[slot].reply = reply
        entries[slot].extended = now
        entries[slot].end = end
        lastSequence = max(lastSequence, sequence)
        return JetStreamDeliveryID(slot: slot, generation: entries[slot].generation)
    }

    /// A delivery is settled; false when it was before.
    @discardableResult
    mutating func remove(_ id: JetStreamDeliveryID) -> Bool {
        guard id.slot >= 0, id.slot < entries.count, entries[id.slot].isUsed,
            entries[id.slot].generation == id.generation
        else {
            return false
        }
        entries[id.slot].isUsed = false
        entries[id.slot].generation &+= 1
        entries[id.slot].reply = ""
        free.append(id.slot)
        return true
    }

    mutating func removeAll() {
        for slot in entries.indices where entries[slot].isUsed {
            remove(JetStreamDeliveryID(slot: slot, generation: entries[slot].generation))
        }
    }

    /// The sequence behind which everything is still to be delivered: what was settled with all before it stays done.
    /// Nil when nothing was delivered.
    var firstUnsettled: UInt64? {
        guard lastSequence > 0 else { return nil }
        var first = lastSequence + 1
        for entry in entries where entry.isUsed { first = min(first, entry.sequence) }
        return first
    }

    /// Calls `body` with the reply subject of each delivery that needs more time now.
    mutating func extend(at now: NIODeadline, each interval: TimeAmount, _ body: (String) -> Void) {
        for slot in entries.indices where entries[slot].isUsed {
            guard now < entries[slot].end, now >= entries[slot].extended + interval else { continue }
            entries[slot].extended = now
            body(entries[slot].reply)
        }
    }
}
