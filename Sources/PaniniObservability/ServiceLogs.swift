// The logs of one service: its plan, and the writers its records go to. Immutable; any thread.

package import Logging

/// What a record has to say about the service it belongs to.
package final class LogScope: Sendable {
    package let serviceName: String
    package let plan: LogPlan
    /// What the command line says about the console.
    let consoleLevel: Logger.Level

    init(serviceName: String, plan: LogPlan, consoleLevel: Logger.Level) {
        self.serviceName = serviceName
        self.plan = plan
        self.consoleLevel = consoleLevel
    }
}

/// Takes the records of a service.
package final class ServiceLogs: Sendable {
    package let scope: LogScope
    private let console: LogWriter
    private let files: LogWriter?

    /// What is below is of interest to nobody, as far as can be said without looking at the logger's name.
    private let lowestLevel: Logger.Level
    /// Whether every logger has the levels of the root: nothing depends on the name then.
    private let isUniform: Bool
    /// The lowest levels for files and console over all loggers; nil where nothing goes.
    private let fileLevel: Logger.Level?
    private let lowestConsoleLevel: Logger.Level?

    init(_ scope: LogScope, console: LogWriter, files: LogWriter?) {
        self.scope = scope
        self.console = console
        self.files = files
        let names = [""] + scope.plan.loggers.keys
        let routes = names.map { scope.plan.route(of: $0, isHost: false, consoleLevel: scope.consoleLevel) }
        fileLevel = routes.compactMap(\.fileLevel).min()
        lowestConsoleLevel = routes.compactMap(\.consoleLevel).min()
        lowestLevel = min(fileLevel ?? .critical, lowestConsoleLevel ?? .critical)
        isUniform = routes.allSatisfy { Self.level(of: $0) == Self.level(of: routes[0]) }
    }

    private static func level(of route: LogRoute) -> Logger.Level? {
        [route.fileLevel, route.consoleLevel].compactMap { $0 }.min()
    }

    /// Whether a record goes anywhere: to be asked before one is made.
    package func isEnabled(_ level: Logger.Level, for name: String) -> Bool {
        guard level >= lowestLevel else { return false }
        if isUniform { return true }
        let route = scope.plan.route(of: name, isHost: false, consoleLevel: scope.consoleLevel)
        return Self.level(of: route).map { level >= $0 } ?? false
    }

    /// Hands a record over; never waits.
    package func submit(_ record: LogRecord) {
        var record = record
        record.scope = scope
        if let files, let fileLevel, record.level >= fileLevel { files.submit(record) }
        if let lowestConsoleLevel, record.level >= lowestConsoleLevel { console.submit(record) }
    }

    /// A logger for what the host has to say about the service.
    package func makeLogger() -> Logger {
        Logger(label: scope.serviceName) { PaniniLogHandler(label: $0, level: lowestLevel, service: self) }
    }
}

/// Routes by name, computed once. Bounded: names come from scripts.
struct LogRouteCache {
    private struct Key: Hashable {
        let scope: ObjectIdentifier
        let name: String
        let isHost: Bool
    }

    private var routes: [Key: LogRoute] = [:]
    /// Keeps alive whose identities are keys.
    private var scopes: [ObjectIdentifier: LogScope] = [:]
    private static let limit = 512

    mutating func route(of record: LogRecord, in scope: LogScope) -> LogRoute {
        let key = Key(scope: ObjectIdentifier(scope), name: record.name, isHost: record.isHost)
        if let route = routes[key] { return route }
        if routes.count >= Self.limit {
            routes = [:]
            scopes = [:]
        }
        let route = scope.plan.route(of: record.name, isHost: record.isHost, consoleLevel: scope.consoleLevel)
        routes[key] = route
        scopes[ObjectIdentifier(scope)] = scope
        return route
    }
}
