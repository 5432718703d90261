// The queue of a log writer and the loop of its thread. `submit` is called on any thread; see the class for what its lock
// protects.

import Glibc
import Logging

/// Safe to share: every property below `mutex` is read and written only while `mutex` is held; `sinks` belong to the
/// writer's thread until `hasEnded` is set, and to the holder of `mutex` from then on.
final class LogQueue: @unchecked Sendable {
    private let name: String
    private let sinks: [any LogSink]
    private let limit: Int
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let hasWork = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let hasWritten = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    private var pending: [LogRecord] = []
    /// The bytes of what waits, and of what is being written.
    private var pendingBytes = 0
    private var batchBytes = 0
    /// Dropped and not yet reported; how many of them the thread has seen; when it last reported.
    private var dropped = 0
    private var droppedSeen = 0
    private var reportedAt = 0
    private var droppedTotal = 0
    /// What is being written has the report in it.
    private var isReporting = false
    private var submitted = 0
    private var written = 0
    /// The thread sleeps until there is something.
    private var isWaiting = false
    /// The thread gives the first record company.
    private var isLingering = false
    private var flushers = 0
    private var isStopping = false
    private var hasEnded = false
    private var thread: pthread_t?

    /// How long the thread lets records gather after the first: a wake-up costs the logging thread more than a record.
    private static let lingering = 0.01
    /// With so many bytes it begins at once.
    private static let urgentBytes = 256 << 10
    /// While records are dropped without an end, it is said this often, in seconds.
    private static let reportInterval = 10

    init(name: String, sinks: sending [any LogSink], limit: Int) {
        self.name = name
        self.sinks = sinks
        self.limit = limit
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(hasWork, &attributes)
        pthread_cond_init(hasWritten, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(hasWritten)
        pthread_cond_destroy(hasWork)
        pthread_mutex_destroy(mutex)
        hasWritten.deallocate()
        hasWork.deallocate()
        mutex.deallocate()
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    var droppedInTotal: Int { locked { droppedTotal } }

    // MARK: Any thread

    func submit(_ record: LogRecord) {
        let cost = record.cost
        locked {
            if hasEnded {
                for sink in sinks {
                    sink.write(record)
                    sink.flush()
                }
            } else if pendingBytes + batchBytes + cost > limit {
                dropped += 1
                droppedTotal += 1
            } else {
                pending.append(record)
                pendingBytes += cost
                submitted += 1
                if isWaiting || (isLingering && pendingBytes >= Self.urgentBytes) {
                    wake()
                }
            }
        }
    }

    private func wake() {
        isWaiting = false
        isLingering = false
        pthread_cond_signal(hasWork)
    }

    func flush(timeout: Double) -> Bool {
        var deadline = Self.deadline(in: timeout)
        return locked {
            flushers += 1
            defer { flushers -= 1 }
            wake()
            let goal = submitted
            while written < goal || dropped > 0 || isReporting, !hasEnded {
                if pthread_cond_timedwait(hasWritten, mutex, &deadline) != 0 {
                    return written >= goal && dropped == 0 && !isReporting
                }
            }
            return true
        }
    }

    private static func deadline(in seconds: Double) -> timespec {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let nanoseconds = Int(deadline.tv_nsec) + Int(seconds.truncatingRemainder(dividingBy: 1) * 1e9)
        deadline.tv_sec += Int(seconds) + nanoseconds / 1_000_000_000
        deadline.tv_nsec = nanoseconds % 1_000_000_000
        return deadline
    }

    func startThread() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                let queue = Unmanaged<LogQueue>.fromOpaque(context).takeRetainedValue()
                ThreadName.set(queue.name)
                queue.run()
                return nil
            },
            context
        )
        locked {
            if result == 0 {
                self.thread = thread
            } else {
                // No thread to be had: write directly rather than not at all.
                Unmanaged<LogQueue>.fromOpaque(context).release()
                hasEnded = true
            }
        }
    }

    func stop(joining: Bool) {
        let thread = locked {
            isStopping = true
            wake()
            defer { self.thread = nil }
            return self.thread
        }
        guard let thread else { return }
        if joining {
            pthread_join(thread, nil)
        } else {
            pthread_detach(thread)
        }
    }

    // MARK: The writer's thread

    private func run() {
        var batch: [LogRecord] = []
        while takeBatch(&batch) {
            for sink in sinks {
                for record in batch {
                    sink.write(record)
                }
                sink.flush()
            }
        }
    }

    /// Reports the last batch as written and waits for the next. Returns false when there is none and never will be.
    private func takeBatch(_ batch: inout [LogRecord]) -> Bool {
        // Records are freed outside of the lock: a thread that logs would wait for that, with a full queue for as long as it logs.
        batch.removeAll(keepingCapacity: batch.capacity <= 4096)
        return locked {
            written = submitted - pending.count
            batchBytes = 0
            isReporting = false
            pthread_cond_broadcast(hasWritten)
            while pending.isEmpty, dropped == 0 {
                if isStopping {
                    hasEnded = true
                    pthread_cond_broadcast(hasWritten)
                    return false
                }
                isWaiting = true
                pthread_cond_wait(hasWork, mutex)
            }
            isWaiting = false
            linger()
            swap(&batch, &pending)
            batchBytes = pendingBytes
            pendingBytes = 0
            if let report = takeReport() {
                batch.append(report)
                isReporting = true
            }
            return true
        }
    }

    private func linger() {
        guard dropped == 0, pendingBytes < Self.urgentBytes, flushers == 0, !isStopping else { return }
        isLingering = true
        var deadline = Self.deadline(in: Self.lingering)
        while isLingering, pthread_cond_timedwait(hasWork, mutex, &deadline) == 0 {}
        isLingering = false
    }

    /// What to say about dropped records: once for each time in which there were any, when it is over, or now and then
    /// while it has no end.
    private func takeReport() -> LogRecord? {
        guard dropped > 0 else { return nil }
        let now = Int(Self.deadline(in: 0).tv_sec)
        if droppedSeen == 0 { reportedAt = now }
        let goesOn = dropped != droppedSeen
        droppedSeen = dropped
        if goesOn, now - reportedAt < Self.reportInterval { return nil }
        defer {
            dropped = 0
            droppedSeen = 0
        }
        return LogRecord(
            level: .warning,
            name: LogRecord.ownName,
            message: "dropped \(dropped) log records: they came faster than they could be written"
        )
    }
}
