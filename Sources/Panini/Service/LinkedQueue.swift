// Owns: a queue that whoever waits in it can leave again at no cost: time-outs, stops and closed connections take waiters out
// of the middle. A value; its nodes are classes, used on one loop.

/// What stands in a ``LinkedQueue``.
protocol LinkedQueueNode: AnyObject {
    var links: LinkedQueueLinks<Self> { get set }
}

/// A node's neighbours, and whether it stands in a queue.
struct LinkedQueueLinks<Node: AnyObject> {
    fileprivate var next: Node?
    /// The queue holds it by its predecessor's `next`.
    fileprivate unowned(unsafe) var previous: Node?
    fileprivate(set) var isLinked = false
}

/// First in, first out; a node can leave from anywhere.
struct LinkedQueue<Node: LinkedQueueNode> {
    private var first: Node?
    private unowned(unsafe) var last: Node?
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ node: Node) {
        precondition(!node.links.isLinked, "a node stands in one queue, once")
        node.links.isLinked = true
        node.links.previous = last
        if let last { last.links.next = node } else { first = node }
        last = node
        count += 1
    }

    mutating func prepend(_ node: Node) {
        precondition(!node.links.isLinked, "a node stands in one queue, once")
        node.links.isLinked = true
        node.links.next = first
        if let first { first.links.previous = node } else { last = node }
        first = node
        count += 1
    }

    mutating func popFirst() -> Node? {
        guard let node = first else { return nil }
        remove(node)
        return node
    }

    /// Takes a node of this queue out; does nothing when it has left before.
    mutating func remove(_ node: Node) {
        guard node.links.isLinked else { return }
        let next = node.links.next
        let previous = node.links.previous
        if let previous { previous.links.next = next } else { first = next }
        if let next { next.links.previous = previous } else { last = previous }
        node.links = LinkedQueueLinks()
        count -= 1
    }
}
