// Owns: publishes that wait for their acknowledgement, and those that wait for room among them (J33): how many, how
// many bytes, in which order. A value without I/O, used on one loop; a late acknowledgement finds nothing.

import LoopTools
import NIOCore

/// A message with what is to be told to whom.
struct PendingPublish {
    let subject: String
    /// An encoded header block, or empty.
    let headers: [UInt8]
    let payload: ByteBuffer
    let completion: Completion
    var attempts: JetStreamAttempts
    /// Told when there is room for it, or when it has ended before.
    var room: EventLoopPromise<Void>?
    /// Whether an attempt is on its way; false while it waits for room, for a pause to end or for the connection.
    var isSent = false
    var alarm = DeadlineHandle.none

    /// Who is told.
    enum Completion {
        case promise(EventLoopPromise<JetStreamPublishAck>)
        case sink(any JetStreamPublishSink, UInt64)
    }

    /// What it counts for against the limit in bytes.
    var size: Int { subject.utf8.count + headers.count + payload.readableBytes }
}

/// Where the outcome of a publish goes. Exactly one of the two is called, once, on the loop.
package protocol JetStreamPublishSink: AnyObject {
    func publishAcknowledged(context: UInt64, ack: JetStreamPublishAck)
    func publishFailed(context: UInt64, error: JetStreamError)
}

struct PublishTable {
    /// How much may be unacknowledged at once.
    struct Limits: Sendable, Equatable {
        /// How many messages; A15 of the notes.
        var messages = 4000
        /// How many bytes.
        var bytes = 8 << 20
    }

    private struct Slot {
        var generation: UInt64 = 0
        var publish: PendingPublish?
        /// Its place among all.
        var number: UInt64 = 0
        /// Whether it has room; false while it waits in line.
        var isAdmitted = false
    }

    let limits: Limits
    private var slots: [Slot] = []
    private var free: [UInt32] = []
    private var line = FIFO<NATSRequestID>()
    private var lastNumber: UInt64 = 0
    /// How many have room.
    private(set) var admitted = 0
    /// How many bytes those have.
    private(set) var admittedBytes = 0

    init(_ limits: Limits) { self.limits = limits }

    /// How many there are, with those that wait for room.
    var count: Int { slots.count - free.count }

    subscript(id: NATSRequestID) -> PendingPublish? {
        get {
            let slot = Int(id.slot)
            guard slot < slots.count, slots[slot].generation == id.generation else { return nil }
            return slots[slot].publish
        }
        set {
            guard self[id] != nil, let newValue else { return }
            slots[Int(id.slot)].publish = newValue
        }
    }

    /// Puts a publish in line. ``admit()`` tells when its turn has come.
    mutating func insert(_ publish: PendingPublish) -> NATSRequestID {
        let slot = free.popLast() ?? UInt32(slots.count)
        if Int(slot) == slots.count { slots.append(Slot()) }
        slots[Int(slot)].publish = publish
        lastNumber += 1
        slots[Int(slot)].number = lastNumber
        let id = NATSRequestID(slot: slot, generation: slots[Int(slot)].generation)
        line.append(id)
        return id
    }

    /// The next publish that has room, nil when none has. One that is larger than the limit goes alone.
    mutating func admit() -> NATSRequestID? {
        while let id = line.first {
            guard let publish = self[id] else {
                // It has left while it waited.
                _ = line.popFirst()
                continue
            }
            let isFull = admitted >= limits.messages || admittedBytes + publish.size > limits.bytes
            guard !isFull || admitted == 0 else { return nil }
            _ = line.popFirst()
            slots[Int(id.slot)].isAdmitted = true
            admitted += 1
            admittedBytes += publish.size
            return id
        }
        return nil
    }

    /// Takes a publish out; nil when it has ended before.
    mutating func remove(_ id: NATSRequestID) -> PendingPublish? {
        guard let publish = self[id] else { return nil }
        let slot = Int(id.slot)
        if slots[slot].isAdmitted {
            admitted -= 1
            admittedBytes -= publish.size
        }
        slots[slot] = Slot(generation: (slots[slot].generation &+ 1) & RequestTable.generationMask)
        free.append(id.slot)
        return publish
    }

    /// The ids of all that have room, or of all with those in line, in the order of their calls.
    func ids(onlyAdmitted: Bool = false) -> [NATSRequestID] {
        let indices = slots.indices.filter { slots[$0].publish != nil && (slots[$0].isAdmitted || !onlyAdmitted) }
        return indices.sorted { slots[$0].number < slots[$1].number }.map {
            NATSRequestID(slot: UInt32($0), generation: slots[$0].generation)
        }
    }
}
