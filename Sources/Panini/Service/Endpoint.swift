// Owns: what the services protocol tells of one listener subject's requests: counters and the last error. Written by its
// worker; read by the one that answers for all of them.

import ScriptRuntime
import Synchronization

/// The statistics of one endpoint.
final class Endpoint: Sendable {
    /// Messages with a reply subject.
    let requests = Atomic<UInt64>(0)
    /// Requests answered by an error reply.
    let errors = Atomic<UInt64>(0)
    /// From arrival to reply, in nanoseconds, over all answered requests.
    let processingTime = Atomic<UInt64>(0)
    /// The code and the text of the last error, cut to what a header holds.
    private let last = Mutex<ReplyError?>(nil)

    init() {}

    /// Goes on from what another one has counted.
    convenience init(continuing other: Endpoint) {
        self.init()
        requests.store(other.requests.load(ordering: .relaxed), ordering: .relaxed)
        errors.store(other.errors.load(ordering: .relaxed), ordering: .relaxed)
        processingTime.store(other.processingTime.load(ordering: .relaxed), ordering: .relaxed)
        lastError = other.lastError
    }

    var lastError: ReplyError? {
        get { last.withLock { $0 } }
        set { last.withLock { $0 = newValue } }
    }
}

extension Atomic<UInt64> {
    /// Adds, where only one thread writes: no locked instruction.
    @inline(__always)
    func add(_ amount: UInt64) { store(load(ordering: .relaxed) &+ amount, ordering: .relaxed) }
}
