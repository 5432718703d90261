// Owns: what a service on one worker has counted since its start, beside the faults of its broker. A value of a Service;
// loop-bound. Each counter is written here and nowhere else.

/// The counters of a service on one worker.
struct ServiceCounters {
    /// Lua states that were full even after a collection.
    private(set) var exhaustedScripts: UInt64 = 0
    /// Payloads and bodies that are not what they should be.
    private(set) var undecodable: UInt64 = 0
    /// Messages and requests that a validator did not accept.
    private(set) var invalidMessages: UInt64 = 0
    /// Messages that found too many waiting.
    private(set) var refusedMessages: UInt64 = 0
    /// Those among them that nobody waits for an answer of.
    private(set) var droppedMessages: UInt64 = 0
    private(set) var errorReplies: UInt64 = 0
    /// Tasks and ticks that have failed.
    private(set) var failedTasks: UInt64 = 0
    /// Requests of the web server that found too many under way.
    private(set) var refusedRequests: UInt64 = 0

    mutating func scriptExhausted() { exhaustedScripts &+= 1 }

    mutating func decodingFailed() { undecodable &+= 1 }

    mutating func validationFailed() { invalidMessages &+= 1 }

    mutating func messageRefused(isOneWay: Bool) {
        refusedMessages &+= 1
        if isOneWay { droppedMessages &+= 1 }
    }

    mutating func errorReplied() { errorReplies &+= 1 }

    mutating func taskFailed() { failedTasks &+= 1 }

    mutating func requestRefused() { refusedRequests &+= 1 }
}
