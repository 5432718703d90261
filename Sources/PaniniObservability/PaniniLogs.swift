// The logs of a program: its console, and the files of its services. The Sendable face of two writers; any thread.

public import Logging
import Synchronization

/// The logs of a program that runs Panini services: readable lines on the console, and the log files of each service.
///
/// A program sets it up once, gives it to swift-log and to its host, and shuts it down as the last thing it does:
///
/// ```swift
/// let logs = PaniniLogs()
/// LoggingSystem.bootstrap(logs.makeHandler)
/// configuration.logs = logs
/// ```
///
/// Nothing that is logged waits for a disk or a console: two threads write, and queues of a bounded size stand before
/// them. What does not fit is dropped, counted (``dropped``) and reported.
public final class PaniniLogs: Sendable {
    /// How log records look on the console.
    public enum Style: Sendable {
        /// Readable lines; coloured when the console is a terminal and `NO_COLOR` is not set.
        case text
        /// One JSON object a line.
        case json
    }

    private struct State {
        var files: LogWriter?
        var services: [String: ServiceLogs] = [:]
    }

    static let processName = "panini"

    private let console: LogWriter
    private let consoleLevel: Logger.Level
    private let forcesLevel: Bool
    private let queueLimit: Int
    private let lostRecords = LostRecords()
    private let state = Mutex(State())

    /// Makes the console's log. Files are opened when services are.
    ///
    /// - Parameters:
    ///   - descriptor: 1 for standard output, 2 for standard error.
    ///   - style: How records look on the console.
    ///   - level: What is below is not shown on the console; nil for `info`, or what a service's configuration file says.
    ///   - queueLimit: How many bytes of records may wait for the console, and as many for the files; nil for 64 MiB.
    public convenience init(
        descriptor: CInt = 1,
        style: Style = .text,
        level: Logger.Level? = nil,
        queueLimit: Int? = nil
    ) {
        let form: LogForm =
            switch style {
            case .text: .text
            case .json: .json
            }
        let limit = queueLimit ?? LogWriter.defaultLimit
        let sink = ConsoleSink(descriptor: descriptor, form: form)
        self.init(
            console: LogWriter(name: "panini-console", sinks: [sink], limit: limit),
            level: level,
            queueLimit: limit
        )
    }

    /// Makes logs with a console of any kind.
    package init(console: LogWriter, level: Logger.Level? = nil, queueLimit: Int = LogWriter.defaultLimit) {
        self.console = console
        self.queueLimit = queueLimit
        consoleLevel = level ?? .info
        forcesLevel = level != nil
    }

    /// A handler for one logger that writes here; what `LoggingSystem.bootstrap` asks for.
    ///
    /// Its records go to the console and, once services are open, into their files: one form of a record for Lua and Swift.
    ///
    /// - Parameter label: The logger's name.
    public func makeHandler(label: String) -> any LogHandler {
        PaniniLogHandler(label: label, level: consoleLevel, logs: self)
    }

    /// How many records were dropped because a queue was full, the console's and the files' together.
    public var dropped: Int { console.dropped + (state.withLock { $0.files }?.dropped ?? 0) }

    /// How many records could not be written to a file: a full disk, a folder that may not be written.
    public var lost: Int { lostRecords.total }

    /// Waits until everything logged so far is written.
    ///
    /// - Parameter timeout: At most so many seconds.
    /// - Returns: False when the time was up.
    @discardableResult
    public func flush(timeout: Double = 5) -> Bool {
        // Files first: what they have to say goes to the console.
        let areFilesWritten = state.withLock { $0.files }?.flush(timeout: timeout) ?? true
        return console.flush(timeout: timeout) && areFilesWritten
    }

    /// Writes what is waiting and ends the threads. Later records are written directly, without a thread.
    ///
    /// - Parameter timeout: How many seconds a console or disk that does not take anything may hold this up.
    public func shutdown(timeout: Double = 5) {
        state.withLock { $0.files }?.shutdown(timeout: timeout)
        console.shutdown(timeout: timeout)
    }

    // MARK: The host

    /// Opens the logs of a service. Files are opened in the background; what goes wrong there is reported on the console.
    package func open(service name: String, plan: LogPlan) -> ServiceLogs {
        var plan = plan
        for index in plan.handlers.indices {
            if case .console = plan.handlers[index].target, forcesLevel { plan.handlers[index].level = consoleLevel }
        }
        let service = state.withLock { state in
            if state.files == nil, !plan.files.isEmpty {
                state.files = LogWriter(
                    name: "panini-log",
                    sinks: [FileSink(lost: lostRecords, console: console)],
                    limit: queueLimit
                )
            }
            let service = ServiceLogs(
                LogScope(serviceName: name, plan: plan, consoleLevel: consoleLevel),
                console: console,
                files: plan.files.isEmpty ? nil : state.files
            )
            state.services[name] = service
            return service
        }
        // The first record has the files made.
        let places = plan.files.map(\.path).joined(separator: ", ")
        service.submit(
            LogRecord(level: .debug, name: LogRecord.ownName, message: "logging to \(places)", isHost: true)
        )
        return service
    }

    /// Takes a record of the program itself.
    func submit(_ record: LogRecord) {
        let files = state.withLock { $0.files }
        files?.submit(record)
        console.submit(record)
    }

    /// Takes what a logger of the program says about a service: it goes to that service's files. The console is the
    /// program's own, whatever the service's configuration says: nobody is to miss that a service is ready.
    func submit(_ record: LogRecord, service: String) {
        let (files, service) = state.withLock { ($0.files, $0.services[service]) }
        var scoped = record
        scoped.isHost = true
        scoped.scope = service?.scope
        files?.submit(scoped)
        console.submit(record)
    }

    /// Puts a record into the files alone: what the program says on standard error when it ends.
    public func noteInFiles(_ level: Logger.Level, _ text: String) {
        state.withLock { $0.files }?.submit(LogRecord(level: level, name: "panini", message: text))
    }
}
