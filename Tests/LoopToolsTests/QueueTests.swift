// Queues: order, leaving from the middle, memory, cost.

import Testing

@testable import LoopTools

private final class Node: LinkedQueueNode {
    let number: Int
    var links = LinkedQueueLinks<Node>()

    init(_ number: Int) { self.number = number }
}

@Suite("Queues of those who wait")
struct LinkedQueueTests {
    @Test("first in, first out, and out of the middle")
    func order() {
        var queue = LinkedQueue<Node>()
        let nodes = (0..<6).map { Node($0) }
        let none = queue.popFirst()
        #expect(none == nil)
        for node in nodes { queue.append(node) }
        queue.remove(nodes[2])
        queue.remove(nodes[2])
        queue.remove(nodes[5])
        #expect(queue.count == 4)
        let first = queue.popFirst()
        #expect(first === nodes[0])
        queue.prepend(nodes[0])
        queue.append(nodes[2])
        let rest = (0..<5).map { _ in queue.popFirst()?.number }
        #expect(rest == [0, 1, 3, 4, 2])
        #expect(queue.isEmpty)
        queue.prepend(nodes[3])
        queue.append(nodes[4])
        let both = [queue.popFirst()?.number, queue.popFirst()?.number, queue.popFirst()?.number]
        #expect(both == [3, 4, nil])
    }

    @Test("nodes are let go when they leave")
    func memory() {
        var queue = LinkedQueue<Node>()
        weak var weakNode: Node?
        do {
            let node = Node(1)
            weakNode = node
            queue.append(node)
            queue.append(Node(2))
        }
        #expect(weakNode != nil)
        var number = queue.popFirst()?.number
        #expect(number == 1)
        #expect(weakNode == nil)
        number = queue.popFirst()?.number
        #expect(number == 2)
    }

    @Test("leaving costs the same wherever one stands")
    func cost() {
        var queue = LinkedQueue<Node>()
        let nodes = (0..<100_000).map { Node($0) }
        for node in nodes { queue.append(node) }
        // From the back: a search from the front would take five billion steps.
        for node in nodes.reversed() { queue.remove(node) }
        #expect(queue.isEmpty)
    }
}

@Suite("What is taken out of a queue")
struct QueueTests {
    @Test("leaves the others in their order")
    func keep() {
        var queue = FIFO<Int>()
        for number in 0..<3000 { queue.append(number) }
        for _ in 0..<700 { _ = queue.popFirst() }
        queue.keep { $0 % 3 == 0 }
        var rest: [Int] = []
        while let number = queue.popFirst() { rest.append(number) }
        #expect(rest == (700..<3000).filter { $0 % 3 == 0 })
    }
}
