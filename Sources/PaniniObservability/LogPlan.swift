// Where the records of a service go: handlers, and which logger uses which. A pure value; any thread. Made from the
// defaults here or from config/log_config.json by the host; knows neither JSON files nor open files.

package import Logging

/// The form of a log line.
package enum LogForm: Sendable, Equatable {
    /// Readable text.
    case text
    /// One JSON object a line.
    case json
}

/// The handlers and loggers of a service, after Python's logging configuration: a record goes to the handlers of its
/// logger and of every logger above it (`orders.db` is below `orders`, everything is below the root), if its level is at
/// least the logger's and the handler's.
package struct LogPlan: Sendable, Equatable {
    /// A file that handlers write to.
    package struct File: Sendable, Equatable {
        package var path: String
        package var form: LogForm
        /// The file is renamed before it grows beyond so many bytes; 0: it grows without bounds.
        package var maximumBytes: Int
        /// How many renamed files are kept; 0: the file is never renamed.
        package var backups: Int

        package init(
            path: String,
            form: LogForm = .json,
            maximumBytes: Int = LogPlan.defaultMaximumBytes,
            backups: Int = LogPlan.defaultBackups
        ) {
            self.path = path
            self.form = form
            self.maximumBytes = maximumBytes
            self.backups = backups
        }
    }

    /// A destination with its level.
    package struct Handler: Sendable, Equatable {
        package enum Target: Sendable, Equatable {
            /// A file, by its position in ``LogPlan/files``.
            case file(Int)
            /// A standard stream, nil for the program's usual one; the form is nil for the program's usual one.
            case console(descriptor: CInt?, form: LogForm?)
        }

        package var target: Target
        /// What is below is not written; nil for the console means what the program's command line says.
        package var level: Logger.Level?

        package init(_ target: Target, level: Logger.Level? = nil) {
            self.target = target
            self.level = level
        }
    }

    /// A logger by its name.
    package struct Entry: Sendable, Equatable {
        /// Nil: the level of the logger above.
        package var level: Logger.Level?
        /// Positions in ``LogPlan/handlers``.
        package var handlers: [Int]
        /// Whether records go on to the loggers above.
        package var propagates: Bool

        package init(level: Logger.Level? = nil, handlers: [Int], propagates: Bool = true) {
            self.level = level
            self.handlers = handlers
            self.propagates = propagates
        }
    }

    package static let defaultMaximumBytes = 1_000_000
    package static let defaultBackups = 10

    package var files: [File]
    package var handlers: [Handler]
    package var loggers: [String: Entry]
    package var root: Entry

    package init(files: [File], handlers: [Handler], loggers: [String: Entry], root: Entry) {
        self.files = files
        self.handlers = handlers
        self.loggers = loggers
        self.root = root
    }

    /// The plan of a service without a configuration file.
    package init(folder: String, service: String) {
        let names = ["\(service).log", "panini.log", "inter_services_request.log", "app.log", "errors.log"]
        files = names.map { File(path: "\(folder)/\($0)") }
        handlers = files.indices.map { Handler(.file($0), level: .debug) }
        handlers[4].level = .error
        handlers.append(Handler(.console(descriptor: nil, form: nil)))
        loggers = ["panini": Entry(handlers: [1]), "inter_services_request": Entry(handlers: [2])]
        // A service named after one of them has its own file beside, or rather: as well.
        loggers[service, default: Entry(handlers: [])].handlers.append(0)
        root = Entry(level: .debug, handlers: [3, 4, 5])
    }
}

/// Where the records of one logger go.
package struct LogRoute: Sendable, Equatable {
    package struct FileTarget: Sendable, Equatable {
        package let file: Int
        package let level: Logger.Level
    }

    package struct ConsoleTarget: Sendable, Equatable {
        package let descriptor: CInt?
        package let form: LogForm?
        package let level: Logger.Level
    }

    /// Each file once, with the lowest level that gets there.
    package private(set) var files: [FileTarget] = []
    package private(set) var consoles: [ConsoleTarget] = []

    /// The lowest level that goes to any file; nil when none does.
    package var fileLevel: Logger.Level? { files.map(\.level).min() }
    /// The lowest level that goes to any standard stream; nil when none does.
    package var consoleLevel: Logger.Level? { consoles.map(\.level).min() }

    fileprivate mutating func add(_ handler: LogPlan.Handler, from loggerLevel: Logger.Level, console: Logger.Level) {
        switch handler.target {
        case .file(let file):
            let level = max(loggerLevel, handler.level ?? loggerLevel)
            if let index = files.firstIndex(where: { $0.file == file }) {
                files[index] = FileTarget(file: file, level: min(level, files[index].level))
            } else {
                files.append(FileTarget(file: file, level: level))
            }
        case .console(let descriptor, let form):
            let level = max(loggerLevel, handler.level ?? console)
            if let index = consoles.firstIndex(where: { $0.descriptor == descriptor && $0.form == form }) {
                consoles[index] = ConsoleTarget(
                    descriptor: descriptor,
                    form: form,
                    level: min(level, consoles[index].level)
                )
            } else {
                consoles.append(ConsoleTarget(descriptor: descriptor, form: form, level: level))
            }
        }
    }
}

extension LogPlan {
    /// The route of a logger.
    ///
    /// - Parameters:
    ///   - name: The logger's name.
    ///   - isHost: Whether the record is about the service and not from its script: it is for the log named `panini`, too.
    ///   - consoleLevel: What the command line says about the console.
    package func route(of name: String, isHost: Bool, consoleLevel: Logger.Level) -> LogRoute {
        var route = LogRoute()
        addRoute(of: name, consoleLevel, to: &route)
        if isHost, name != "panini" { addRoute(of: "panini", consoleLevel, to: &route) }
        return route
    }

    private func addRoute(of name: String, _ consoleLevel: Logger.Level, to route: inout LogRoute) {
        var level: Logger.Level?
        var used: [Int] = []
        for entry in entries(above: name) {
            level = level ?? entry.level
            used += entry.handlers
            if !entry.propagates { break }
        }
        // The level may stand above the logger where the handlers end.
        let effective = level ?? entries(above: name).lazy.compactMap(\.level).first ?? .debug
        for handler in used { route.add(handlers[handler], from: effective, console: consoleLevel) }
    }

    /// The entries that count for a name, from the name itself up to the root.
    private func entries(above name: String) -> [Entry] {
        var result: [Entry] = []
        var rest = name[...]
        while !rest.isEmpty {
            if let entry = loggers[String(rest)] { result.append(entry) }
            guard let dot = rest.lastIndex(of: ".") else { break }
            rest = rest[..<dot]
        }
        return result + [root]
    }
}
