// Owns: a queue that costs nothing when it is empty and gives a large block back when it has been emptied. A value.

/// First in, first out.
struct FIFO<Element> {
    /// A block of more elements than this is given back when the queue is empty.
    private static var keptCapacity: Int { 1024 }

    private var items: [Element?] = []
    private var head = 0

    var count: Int { items.count - head }
    var isEmpty: Bool { head == items.count }

    mutating func append(_ element: Element) { items.append(element) }

    /// Takes out what is not to be kept; the others keep their order.
    mutating func keep(_ keeps: (Element) -> Bool) {
        var rest = FIFO()
        while let element = popFirst() {
            if keeps(element) { rest.append(element) }
        }
        self = rest
    }

    mutating func popFirst() -> Element? {
        guard head < items.count else { return nil }
        let element = items[head]
        items[head] = nil
        head += 1
        if head == items.count {
            items.removeAll(keepingCapacity: items.capacity <= Self.keptCapacity)
            head = 0
        } else if head >= 512, head * 2 >= items.count {
            // Half of it is spent: moving the rest down costs less than a step for each element taken.
            items.removeFirst(head)
            head = 0
        }
        return element
    }
}
