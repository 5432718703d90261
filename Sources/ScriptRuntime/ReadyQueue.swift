// Owns: the line of what waits for the outermost level. A value of a Script; loop-bound.

import LoopTools

/// First in, first out.
@usableFromInline
package struct ReadyQueue {
    private var items = FIFO<ReadyItem>()
    /// Whether nothing waits: a word of its own, because each message looks at it, from wherever it comes.
    @usableFromInline package private(set) var isEmpty = true

    package init() {}

    package mutating func append(_ item: ReadyItem) {
        items.append(item)
        isEmpty = false
    }

    package mutating func popFirst() -> ReadyItem? {
        defer { isEmpty = items.isEmpty }
        return items.popFirst()
    }

    /// Takes out what is not to be kept; the others keep their order.
    package mutating func keep(_ keeps: (ReadyItem) -> Bool) {
        items.keep(keeps)
        isEmpty = items.isEmpty
    }
}
