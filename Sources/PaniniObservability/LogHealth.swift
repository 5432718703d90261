// Whether the log files of a service can be written, and what is said about it: once when it begins, once when it is
// over. Lives on the file writer's thread.

import Glibc
import Logging
import Synchronization

/// The counter of records that could not be written to files; any thread.
final class LostRecords: Sendable {
    private let count = Mutex(0)

    var total: Int { count.withLock { $0 } }

    func add(_ number: Int) { count.withLock { $0 += number } }
}

/// The state of a service's files.
final class LogHealth {
    private var failing: Set<String> = []
    private var lost = 0
    private let total: LostRecords
    /// Puts a record on the console, and into the files that can be written when it is flushed next.
    private let report: (LogRecord) -> Void

    init(total: LostRecords, report: @escaping (LogRecord) -> Void) {
        self.total = total
        self.report = report
    }

    /// A file cannot be opened or written.
    func fail(_ file: LogFile, _ problem: CInt) {
        if failing.isEmpty {
            say(
                .error,
                """
                cannot write the log file \(file.path): \(Self.text(problem)); the service goes on, its log is on the \
                console, and what files miss is counted
                """
            )
        }
        failing.insert(file.path)
    }

    /// A file was written.
    func work(_ file: LogFile) {
        guard !failing.isEmpty, failing.remove(file.path) != nil, failing.isEmpty else { return }
        say(.warning, "the log files are written again; \(lost) lines were not written meanwhile")
        lost = 0
    }

    /// Records are gone.
    func lose(_ number: Int) {
        lost += number
        total.add(number)
    }

    /// A file is full and keeps growing.
    func cannotRotate(_ file: LogFile, _ problem: CInt) {
        say(.error, "cannot rename the log file \(file.path): \(Self.text(problem)); it grows beyond its size")
    }

    private func say(_ level: Logger.Level, _ text: String) {
        report(LogRecord(level: level, name: LogRecord.ownName, message: text, isHost: true))
    }

    private static func text(_ problem: CInt) -> String { String(cString: strerror(problem)) }
}

@available(*, unavailable)
extension LogHealth: Sendable {}
