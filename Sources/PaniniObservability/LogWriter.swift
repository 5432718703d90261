// The thread that formats and writes log records, and the bounded queue in front of it. Logging code only appends to an
// array under a lock that is never held while something is written, so a slow console or a full disk cannot stop a
// handler: what does not fit is dropped, counted and reported in one line.

import Glibc
import Logging

/// Takes records from any thread and writes them on its own.
///
/// All mutable state is in `queue`, under its lock; the sinks are used by the writer's thread only and, once that has
/// ended, under the same lock.
package final class LogWriter: Sendable {
    private let queue: LogQueue

    /// - Parameters:
    ///   - sinks: where records go, in this order.
    ///   - capacity: how many records may wait.
    package init(sinks: sending [any LogSink], capacity: Int = 10_000) {
        queue = LogQueue(sinks: sinks, capacity: capacity)
        queue.startThread()
    }

    deinit {
        queue.stop(joining: false)
    }

    /// Hands a record over. Never waits for output; after ``shutdown()`` it writes at once.
    package func submit(_ record: LogRecord) {
        queue.submit(record)
    }

    /// Waits until everything submitted so far was written.
    ///
    /// - Parameter timeout: at most so many seconds, as the console may be stuck.
    /// - Returns: false when the time was up.
    @discardableResult
    package func flush(timeout: Double = 5) -> Bool {
        queue.flush(timeout: timeout)
    }

    /// Writes what is waiting and ends the thread: the last thing a program does. Later records are written directly.
    package func shutdown(timeout: Double = 5) {
        // A stuck console must not keep the program from ending.
        queue.stop(joining: queue.flush(timeout: timeout))
    }

    /// How many records were dropped because the queue was full.
    package var dropped: Int { queue.droppedInTotal }
}

/// Safe to share: every property below `mutex` is read and written only while `mutex` is held; `sinks` belong to the
/// writer's thread until `hasEnded` is set, and to the holder of `mutex` from then on.
private final class LogQueue: @unchecked Sendable {
    private let sinks: [any LogSink]
    private let capacity: Int
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let hasWork = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let hasWritten = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    private var pending: [LogRecord] = []
    private var dropped = 0
    private var droppedTotal = 0
    private var submitted = 0
    private var written = 0
    private var isWaiting = false
    private var isStopping = false
    private var hasEnded = false
    private var thread: pthread_t?

    init(sinks: sending [any LogSink], capacity: Int) {
        self.sinks = sinks
        self.capacity = capacity
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(hasWork, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
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
        locked {
            if hasEnded {
                for sink in sinks {
                    sink.write(record)
                    sink.flush()
                }
            } else if pending.count >= capacity {
                dropped += 1
                droppedTotal += 1
            } else {
                pending.append(record)
                submitted += 1
                if isWaiting {
                    isWaiting = false
                    pthread_cond_signal(hasWork)
                }
            }
        }
    }

    func flush(timeout: Double) -> Bool {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let nanoseconds = Int(deadline.tv_nsec) + Int(timeout.truncatingRemainder(dividingBy: 1) * 1e9)
        deadline.tv_sec += Int(timeout) + nanoseconds / 1_000_000_000
        deadline.tv_nsec = nanoseconds % 1_000_000_000
        return locked {
            let goal = submitted
            while written < goal || dropped > 0, !hasEnded {
                if pthread_cond_timedwait(hasWritten, mutex, &deadline) != 0 {
                    return written >= goal && dropped == 0
                }
            }
            return true
        }
    }

    func startThread() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread,
            nil,
            { context in
                ThreadName.set("panini-log")
                guard let context else { return nil }
                Unmanaged<LogQueue>.fromOpaque(context).takeRetainedValue().run()
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
            pthread_cond_signal(hasWork)
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
        locked {
            written = submitted - pending.count
            batch.removeAll(keepingCapacity: batch.capacity <= 1024)
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
            swap(&batch, &pending)
            if dropped > 0 {
                batch.append(
                    LogRecord(
                        level: .warning,
                        name: "panini.log",
                        message: "dropped \(dropped) log records: they came faster than they could be written"
                    )
                )
                dropped = 0
            }
            return true
        }
    }
}
