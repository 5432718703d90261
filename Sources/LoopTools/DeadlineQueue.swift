// Owns: many deadlines in one heap. A pure value: time is passed in. Entries live in reused slots, so nothing is allocated per
// entry in steady state; a cancelled entry leaves its heap node behind, and the heap is rebuilt when such nodes outnumber
// the live ones. Inlinable, because it is generic and on the path of every request and sleep; public and no product, because
// Swift 6.3 takes nothing of `package` into another module.

public import NIOCore

/// Names one entry of a `DeadlineQueue`; harmless after the entry is gone.
public struct DeadlineHandle: Equatable, Sendable {
    @usableFromInline let slot: UInt32
    @usableFromInline let generation: UInt32

    @inlinable
    init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// Names no entry.
    @inlinable public static var none: DeadlineHandle { DeadlineHandle(slot: .max, generation: 0) }

    /// The handle as one word.
    @inlinable public var word: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    /// The handle that a word stands for.
    @inlinable
    public init(word: UInt64) {
        self.init(slot: UInt32(truncatingIfNeeded: word), generation: UInt32(truncatingIfNeeded: word >> 32))
    }
}

/// Entries ordered by deadline, and by insertion where deadlines are equal.
public struct DeadlineQueue<Payload> {
    @usableFromInline
    struct Node {
        @usableFromInline let deadline: NIODeadline
        @usableFromInline let sequence: UInt64
        @usableFromInline let handle: DeadlineHandle

        @inlinable
        init(deadline: NIODeadline, sequence: UInt64, handle: DeadlineHandle) {
            self.deadline = deadline
            self.sequence = sequence
            self.handle = handle
        }

        @inlinable
        func isBefore(_ other: Node) -> Bool {
            deadline == other.deadline ? sequence < other.sequence : deadline < other.deadline
        }
    }

    @usableFromInline
    struct Slot {
        @usableFromInline var payload: Payload?
        @usableFromInline var generation: UInt32 = 0

        @inlinable
        init() {}
    }

    @usableFromInline var heap: [Node] = []
    @usableFromInline var slots: [Slot] = []
    @usableFromInline var freeSlots: [UInt32] = []
    @usableFromInline var sequence: UInt64 = 0

    /// An empty queue.
    @inlinable
    public init() {}

    /// How many entries wait.
    @inlinable public var count: Int { slots.count - freeSlots.count }

    /// Whether nothing waits.
    @inlinable public var isEmpty: Bool { count == 0 }

    /// The place in the order that the next entry will get.
    @inlinable public var nextSequence: UInt64 { sequence }

    /// How many heap nodes there are, those of cancelled entries included; for tests of the bound on them.
    @inlinable var nodeCount: Int { heap.count }

    /// Adds an entry.
    @inlinable
    public mutating func insert(_ payload: Payload, at deadline: NIODeadline) -> DeadlineHandle {
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = UInt32(slots.count)
            slots.append(Slot())
        }
        slots[Int(slot)].payload = payload
        let handle = DeadlineHandle(slot: slot, generation: slots[Int(slot)].generation)
        heap.append(Node(deadline: deadline, sequence: sequence, handle: handle))
        sequence &+= 1
        siftUp(heap.count - 1)
        return handle
    }

    /// Removes the entry of `handle` and returns its payload; nil when it fired or was cancelled before.
    @inlinable
    @discardableResult
    public mutating func cancel(_ handle: DeadlineHandle) -> Payload? {
        guard Int(handle.slot) < slots.count, slots[Int(handle.slot)].generation == handle.generation else {
            return nil
        }
        let payload = release(handle)
        if heap.count > 64, heap.count > 2 * count {
            rebuild()
        }
        return payload
    }

    /// The earliest deadline, nil when nothing waits.
    @inlinable
    public mutating func nextDeadline() -> NIODeadline? {
        dropCancelled()
        return heap.first?.deadline
    }

    /// Takes the earliest entry when its deadline is not after `now` and it was inserted before `sequence`; nil when
    /// there is none. The second condition keeps one round finite even when every entry inserts another that is due.
    @inlinable
    public mutating func popDue(now: NIODeadline, before sequence: UInt64 = .max) -> Payload? {
        dropCancelled()
        guard let first = heap.first, first.deadline <= now, first.sequence < sequence else { return nil }
        removeFirst()
        return release(first.handle)
    }

    /// Removes all entries; their handles turn stale.
    @inlinable
    public mutating func removeAll() {
        for node in heap where slots[Int(node.handle.slot)].generation == node.handle.generation {
            _ = release(node.handle)
        }
        heap.removeAll(keepingCapacity: true)
    }

    // MARK: Slots

    @inlinable
    mutating func release(_ handle: DeadlineHandle) -> Payload? {
        let payload = slots[Int(handle.slot)].payload
        slots[Int(handle.slot)].payload = nil
        slots[Int(handle.slot)].generation &+= 1
        freeSlots.append(handle.slot)
        return payload
    }

    @inlinable
    func isLive(_ node: Node) -> Bool {
        slots[Int(node.handle.slot)].generation == node.handle.generation
    }

    // MARK: Heap

    @inlinable
    mutating func dropCancelled() {
        while let first = heap.first, !isLive(first) {
            removeFirst()
        }
    }

    @inlinable
    mutating func removeFirst() {
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            siftDown(0)
        }
    }

    @inlinable
    mutating func rebuild() {
        heap = heap.filter { isLive($0) }
        var index = heap.count / 2
        while index > 0 {
            index -= 1
            siftDown(index)
        }
    }

    @inlinable
    mutating func siftUp(_ start: Int) {
        let node = heap[start]
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard node.isBefore(heap[parent]) else { break }
            heap[index] = heap[parent]
            index = parent
        }
        heap[index] = node
    }

    @inlinable
    mutating func siftDown(_ start: Int) {
        let node = heap[start]
        let count = heap.count
        var index = start
        while true {
            var child = 2 * index + 1
            guard child < count else { break }
            if child + 1 < count, heap[child + 1].isBefore(heap[child]) {
                child += 1
            }
            guard heap[child].isBefore(node) else { break }
            heap[index] = heap[child]
            index = child
        }
        heap[index] = node
    }
}

extension DeadlineQueue: Sendable where Payload: Sendable {}
extension DeadlineQueue.Node: Sendable where Payload: Sendable {}
extension DeadlineQueue.Slot: Sendable where Payload: Sendable {}
