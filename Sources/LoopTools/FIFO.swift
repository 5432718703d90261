// Owns: NIO's ring buffer as a queue that costs nothing until something waits in it, and gives a large block back when it has been
// emptied. A value. Inlinable, because it is generic and on the path of messages.

public import NIOCore

/// First in, first out.
public struct FIFO<Element> {
    /// A block of more elements than this is given back when the queue is empty.
    @inlinable static var keptCapacity: Int { 1024 }

    /// Nil until something has waited: thousands of listeners have a queue each, and most of them never use it.
    @usableFromInline var items: CircularBuffer<Element>?

    /// An empty queue, which has allocated nothing.
    @inlinable
    public init() {}

    /// How many wait.
    @inlinable public var count: Int { items?.count ?? 0 }
    /// Whether nobody waits.
    @inlinable public var isEmpty: Bool { items?.isEmpty ?? true }

    /// The one that has waited the longest.
    @inlinable public var first: Element? { items?.first }

    /// Puts one behind all others.
    @inlinable
    public mutating func append(_ element: Element) {
        if items == nil { items = CircularBuffer(initialCapacity: 4) }
        items?.append(element)
    }

    /// Takes out what is not to be kept; the others keep their order.
    @inlinable
    public mutating func keep(_ keeps: (Element) -> Bool) { items?.removeAll { !keeps($0) } }

    /// Takes out the one that has waited the longest.
    @inlinable
    public mutating func popFirst() -> Element? {
        guard let element = items?.popFirst() else { return nil }
        if let capacity = items?.capacity, capacity > Self.keptCapacity, isEmpty { items = nil }
        return element
    }
}
