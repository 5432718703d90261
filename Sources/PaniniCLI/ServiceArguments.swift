// What `run`, `dev` and `check` take beside their files, and how it becomes the host's overrides: command line over
// environment over configuration file.

import ArgumentParser
import Logging
import Panini
import PaniniObservability

/// Options for everything that loads scripts.
struct ServiceArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A broker's address: nats, tls, ws or wss; repeat it for several.",
            valueName: "nats://host:port"
        )
    )
    var server: [String] = []

    @Option(help: ArgumentHelp("Options as a JSON object, with the names of panini.app{...}.", valueName: "file"))
    var config: String?

    @OptionGroup var permissions: PermissionArguments

    @OptionGroup var appOptions: AppOptionArguments<ServiceOptions>

    /// Everything given outside the scripts, the strongest first.
    func overrides() throws -> PaniniOverrides {
        var overrides = try Self.overrides(server: server, flags: appOptions.rewritten, config: config)
        overrides.permissions = try permissions.permissions()
        return overrides
    }

    static func overrides(server: [String] = [], flags: [String], config: String?) throws -> PaniniOverrides {
        var overrides = PaniniOverrides()
        if !server.isEmpty {
            overrides.set("servers", texts: server, origin: "--server", source: .commandLine)
        }
        overrides.add(flags: flags)
        overrides.addEnvironment(OptionDefinition.all)
        if let urls = Environment.value(Environment.serversName) {
            overrides.set("servers", text: urls, origin: Environment.serversName, source: .environment)
        }
        if let config {
            try add(config, to: &overrides)
        }
        return overrides
    }

    /// The port given on the command line or in the environment, when it can be one: `dev` puts its broker there.
    var port: Int? {
        let flags = appOptions.rewritten.reversed().compactMap(AppOptionFlags.parts)
        let text = flags.first { $0.name == "port" }?.value ?? Environment.value("PANINI_PORT")
        return text.flatMap { Int($0) }.flatMap { (1...65_535).contains($0) ? $0 : nil }
    }

    private static func add(_ path: String, to overrides: inout PaniniOverrides) throws(CommandError) {
        let ending = path.split(separator: ".").last?.lowercased()
        if ending == "yaml" || ending == "yml" {
            throw CommandError("\(path): YAML is not supported yet; write the same options as JSON", exitCode: .usage)
        }
        do throws(PaniniError) {
            try overrides.add(json: readBytes(path, maximum: 1 << 20, takesPipes: true), path: path)
        } catch {
            throw CommandError(error.message, exitCode: .usage)
        }
    }
}

extension PaniniOverrides {
    /// Adds flags as ``AppOptionFlags`` has rewritten them.
    mutating func add(flags: [String]) {
        var lists: [String: (flag: String, texts: [String])] = [:]
        // The last of a repeated flag wins, as everywhere; those of a list add up.
        for option in flags.reversed() {
            guard let (name, flag, value) = AppOptionFlags.parts(option) else { continue }
            if case .list = OptionDefinition.byName[name]?.kind {
                let texts = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
                lists[name] = (flag, texts + (lists[name]?.texts ?? []))
            } else {
                set(name, text: value, origin: flag, source: .commandLine)
            }
        }
        for (name, list) in lists { set(name, texts: list.texts, origin: list.flag, source: .commandLine) }
    }

    /// Adds the variables that are set for these options.
    mutating func addEnvironment(_ definitions: [OptionDefinition]) {
        for definition in definitions {
            guard let value = Environment.value(definition.environmentName) else { continue }
            set(definition.name, text: value, origin: definition.environmentName, source: .environment)
        }
    }
}

/// How a service's log looks on the console.
struct LogArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Log what is at least so important: debug, info, warning or error; without it PANINI_LOG_LEVEL counts.",
            valueName: "level"
        )
    )
    var logLevel: LogLevel?

    @Flag(help: "Log as JSON lines.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Memory for records that wait for the console, and as much for those that wait for files (64MB); without it "
                + "PANINI_LOG_QUEUE counts.",
            valueName: "size"
        )
    )
    var logQueue: String?

    /// The smallest queue that makes sense.
    static let smallestQueue = 64 << 10

    enum LogLevel: String, ExpressibleByArgument {
        case debug
        case info
        case warning
        case error

        /// Reads a level in any case; names that other programs have for these mean the nearest.
        init?(argument: String) {
            switch argument.lowercased() {
            case "trace": self = .debug
            case "notice": self = .info
            case "warn": self = .warning
            case "critical", "fatal": self = .error
            case let name:
                guard let level = LogLevel(rawValue: name) else { return nil }
                self = level
            }
        }

        var level: Logger.Level {
            switch self {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        }

        /// The level of an option, or that of the environment; nil when neither is given.
        static func effective(_ option: LogLevel?) throws(CommandError) -> LogLevel? {
            if let option { return option }
            guard let text = Environment.value(Environment.levelName) else { return nil }
            guard let level = LogLevel(argument: text) else {
                throw CommandError(
                    "\(Environment.levelName) must be debug, info, warning or error, not \"\(text.prefix(40))\"",
                    exitCode: .usage
                )
            }
            return level
        }
    }

    /// The size of the queues, nil when nothing is said about it.
    func queueLimit() throws(CommandError) -> Int? {
        let (name, text) =
            logQueue.map { ("--log-queue", $0) } ?? (
                Environment.queueName, Environment.value(Environment.queueName) ?? ""
            )
        if text.isEmpty, logQueue == nil { return nil }
        guard let bytes = parseSize(text), bytes >= Self.smallestQueue, bytes <= 1 << 40 else {
            throw CommandError(
                "\(name) must be a size from 64KB to 1024GB such as 64MB, not \"\(text)\"",
                exitCode: .usage
            )
        }
        return Int(bytes)
    }

    /// The log on `descriptor`, in effect for all loggers.
    func bootstrap(descriptor: CInt) throws(CommandError) -> PaniniLogs {
        let log = PaniniLogs(
            descriptor: descriptor,
            style: json ? .json : .text,
            level: try LogLevel.effective(logLevel)?.level,
            queueLimit: try queueLimit()
        )
        log.bootstrap()
        Environment.warnOfUnknown(Logger(label: "panini"))
        return log
    }
}

extension CommandError {
    /// An error of the host: wrong options are wrong usage, everything else is a failure.
    init(_ error: PaniniError, showsTraceback: Bool) {
        self.init(
            error.message,
            exitCode: Self.code(for: error),
            details: showsTraceback ? error.traceback : nil
        )
    }

    private static func code(for error: PaniniError) -> Code {
        switch error.code {
        case .invalidOption: .usage
        case .tooManyStuckWorkers: .stuck
        default: .failed
        }
    }
}
