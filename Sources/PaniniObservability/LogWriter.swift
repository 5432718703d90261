// The thread that formats and writes log records, and the bounded queue in front of it. Logging code only appends to an
// array under a lock that is never held while something is written, so a slow console or a full disk cannot stop a
// handler: what does not fit is dropped, counted and reported.

/// Takes records from any thread and writes them on its own.
///
/// One of them is for the console and one for the files: a console that nobody reads does not keep records from the files.
package final class LogWriter: Sendable {
    private let queue: LogQueue

    /// How many bytes of records may wait unless something else is said.
    package static let defaultLimit = 64 << 20

    /// - Parameters:
    ///   - name: the thread's.
    ///   - sinks: where records go, in this order.
    ///   - limit: how many bytes of records may wait, by ``LogRecord/cost``.
    package init(name: String = "panini-log", sinks: sending [any LogSink], limit: Int = LogWriter.defaultLimit) {
        queue = LogQueue(name: name, sinks: sinks, limit: limit)
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
