// Owns: the readers that a drain of the client waits for: those of its sequences, also of sequences that have ended. Lives on
// the loop of the client's core; knows the queues, may not know the connection.

/// What the readers of a sequence share.
protocol DrainedQueue: AnyObject, Sendable {
    /// Has it told, on any thread, when a reader has left; nil for no longer.
    func watch(_ onLeave: (@Sendable () -> Void)?)
    /// Whether nobody works on messages but, maybe, readers in `tasks`.
    func isSettled(except tasks: Set<Int>) -> Bool
}

extension MessageQueue: DrainedQueue {}

struct DrainReaders {
    /// The queues of all sequences that are still held by somebody.
    private var queues: [ObjectIdentifier: any DrainedQueue] = [:]
    /// The tasks that drain.
    private var drainers: Set<Int> = []
    /// Those not known to be done, once a drain has come to them.
    private var waiting: [any DrainedQueue]?

    mutating func add(_ queue: any DrainedQueue) {
        queues[ObjectIdentifier(queue)] = queue
    }

    mutating func remove(_ queue: any DrainedQueue) {
        queues[ObjectIdentifier(queue)] = nil
    }

    /// A reader in `task` is not waited for.
    mutating func except(_ task: Int?) {
        if let task { drainers.insert(task) }
    }

    /// Whether all readers are done. If not, `again` is called, on any thread, when it is worth asking again. The queues
    /// must have ended.
    mutating func areDone(_ again: @escaping @Sendable () -> Void) -> Bool {
        var waiting = waiting ?? queues.values.map { $0 }
        if self.waiting == nil {
            for queue in waiting { queue.watch(again) }
        }
        // Only the last is looked at until it is done: each is done once, however many there are.
        while let last = waiting.last, last.isSettled(except: drainers) {
            waiting.removeLast()
        }
        self.waiting = waiting
        return waiting.isEmpty
    }

    /// The client is closed.
    mutating func end() {
        for queue in queues.values { queue.watch(nil) }
        self = DrainReaders()
    }
}
