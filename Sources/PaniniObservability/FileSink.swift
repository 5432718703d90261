// The log files of all services of the program. Lives on the file writer's thread: opening, writing and renaming files
// happens here and nowhere else.

import Logging

/// Sends each record to the files its route names.
final class FileSink: LogSink {
    private final class Opened {
        let scope: LogScope
        let files: [LogFile]

        init(_ scope: LogScope, _ files: [LogFile]) {
            self.scope = scope
            self.files = files
        }
    }

    private var files: [String: LogFile] = [:]
    /// The services by name and files: what a reloaded script logs to takes the place of what it logged to before.
    private var opened: [Opened] = []
    private var routes = LogRouteCache()
    private let lost: LostRecords
    private let console: LogWriter
    private var reports: [LogRecord] = []

    private var json = JSONLogFormat(processName: PaniniLogs.processName)
    private var text = TextLogFormat(isColoured: false, showsDate: true)
    /// The current record's lines, made when a file first wants them.
    private var jsonLine: [UInt8] = []
    private var textLine: [UInt8] = []
    private var recordNumber = 0

    /// - Parameters:
    ///   - lost: counts what cannot be written.
    ///   - console: is told when files cannot be written.
    init(lost: LostRecords, console: LogWriter) {
        self.lost = lost
        self.console = console
    }

    func write(_ record: LogRecord) {
        recordNumber += 1
        jsonLine.removeAll(keepingCapacity: jsonLine.capacity <= 1 << 20)
        textLine.removeAll(keepingCapacity: textLine.capacity <= 1 << 20)
        if let scope = record.scope {
            write(record, to: open(scope))
        } else {
            // The program's own: for everybody.
            for opened in opened { write(record, to: opened) }
        }
    }

    func flush() {
        for file in files.values { file.flush() }
        while !reports.isEmpty {
            let records = reports
            reports = []
            for record in records {
                console.submit(record)
                write(record)
            }
            for file in files.values { file.flush() }
        }
    }

    private func write(_ record: LogRecord, to opened: Opened) {
        for target in routes.route(of: record, in: opened.scope).files where record.level >= target.level {
            let file = opened.files[target.file]
            guard file.lastRecord != recordNumber else { continue }
            file.lastRecord = recordNumber
            switch file.form {
            case .json:
                if jsonLine.isEmpty { json.append(record, to: &jsonLine) }
                file.append(jsonLine)
            case .text:
                if textLine.isEmpty { text.append(record, to: &textLine) }
                file.append(textLine)
            }
        }
    }

    private func open(_ scope: LogScope) -> Opened {
        if let found = opened.last(where: { $0.scope === scope }) { return found }
        let health = LogHealth(total: lost) { [unowned self] in reports.append($0) }
        let files = scope.plan.files.map { file in
            if let open = self.files[file.path] { return open }
            let new = LogFile(file, health: health)
            self.files[file.path] = new
            new.open()
            return new
        }
        opened.removeAll { $0.scope.serviceName == scope.serviceName && $0.scope.plan.files == scope.plan.files }
        let new = Opened(scope, files)
        opened.append(new)
        return new
    }
}

@available(*, unavailable)
extension FileSink: Sendable {}
