// Owns: a queue that whoever waits in it can leave again at no cost: time-outs, stops and closed connections take waiters out
// of the middle. A value; its nodes are classes, used on one loop.

/// What stands in a ``LinkedQueue``.
public protocol LinkedQueueNode: AnyObject {
    /// Its neighbours; only the queue reads and writes them.
    var links: LinkedQueueLinks<Self> { get set }
}

/// A node's neighbours, and whether it stands in a queue.
public struct LinkedQueueLinks<Node: AnyObject> {
    @usableFromInline var next: Node?
    /// The queue holds it by its predecessor's `next`.
    @usableFromInline unowned(unsafe) var previous: Node?
    @usableFromInline var isLinked = false

    /// Of a node that stands in no queue.
    @inlinable
    public init() {}
}

/// First in, first out; a node can leave from anywhere.
public struct LinkedQueue<Node: LinkedQueueNode> {
    @usableFromInline var first: Node?
    @usableFromInline unowned(unsafe) var last: Node?
    @usableFromInline var nodeCount = 0

    /// An empty queue.
    @inlinable
    public init() {}

    /// How many nodes stand in it.
    @inlinable public var count: Int { nodeCount }

    /// Whether no node stands in it.
    @inlinable public var isEmpty: Bool { nodeCount == 0 }

    /// Puts a node behind all others.
    @inlinable
    public mutating func append(_ node: Node) {
        precondition(!node.links.isLinked, "a node stands in one queue, once")
        node.links.isLinked = true
        node.links.previous = last
        if let last { last.links.next = node } else { first = node }
        last = node
        nodeCount += 1
    }

    /// Puts a node before all others.
    @inlinable
    public mutating func prepend(_ node: Node) {
        precondition(!node.links.isLinked, "a node stands in one queue, once")
        node.links.isLinked = true
        node.links.next = first
        if let first { first.links.previous = node } else { last = node }
        first = node
        nodeCount += 1
    }

    /// Takes out the first node.
    @inlinable
    public mutating func popFirst() -> Node? {
        guard let node = first else { return nil }
        remove(node)
        return node
    }

    /// Takes a node of this queue out; does nothing when it has left before.
    @inlinable
    public mutating func remove(_ node: Node) {
        guard node.links.isLinked else { return }
        let next = node.links.next
        let previous = node.links.previous
        if let previous { previous.links.next = next } else { first = next }
        if let next { next.links.previous = previous } else { last = previous }
        node.links = LinkedQueueLinks()
        nodeCount -= 1
    }
}
