// `panini check`: loads a script without connecting and prints what it would serve.

import ArgumentParser
import Bytes
import Logging
import NATSProtocol
import Panini
import PaniniObservability

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Load a script without connecting and show what it would serve.",
        discussion: """
            Runs the file, so that wrong options and subjects are found as well as syntax errors. What the script \
            prints while it loads goes to standard error.

              panini check orders.lua
              panini check orders.lua --json

            \(CommandError.help) A mistake in the script is 1, with file and line on standard error.
            """
    )

    @Argument(help: "The service script; without it, main.lua.", completion: .file(extensions: ["lua"]))
    var file: String?

    @OptionGroup var service: ServiceArguments

    @Flag(
        help:
            "Print a JSON object: service_name, version, listeners, timers, tasks, routes, and registrations of other features."
    )
    var json = false

    func validate() throws {
        if file == nil { _ = try ProjectScript.path() }
    }

    func run() throws {
        let file = file ?? ProjectScript.usual
        let overrides = try service.overrides()
        let log = PaniniLogs(
            descriptor: 2,
            style: .text,
            level: try LogArguments.LogLevel.effective(nil)?.level ?? .info
        )
        log.bootstrap()
        Environment.warnOfUnknown(Logger(label: "panini"))
        try PermissionArguments.check(overrides.permissions, [file])
        let result: Result<PaniniServiceReport, PaniniError>
        do throws(PaniniError) {
            result = .success(
                try PaniniCheck.check(path: file, overrides: overrides, logger: Logger(label: "panini"))
            )
        } catch {
            result = .failure(error)
        }
        log.shutdown()
        switch result {
        case .success(let report):
            StandardOutput.writeLine(json ? Self.json(report).written(.printed) : Self.text(report))
        case .failure(let error): throw CommandError(error, showsTraceback: overrides.contains("debug"))
        }
    }

    /// The report for people.
    static func text(_ report: PaniniServiceReport) -> String {
        var lines = ["\(report.serviceName) \(report.version)"]
        for listener in report.listeners {
            var line = "  listens to \(listener.subject)"
            if let queue = listener.queue { line += "  (queue group \(queue))" }
            if let name = listener.name { line += "  as \(name)" }
            lines.append(line)
        }
        for timer in report.timers {
            lines.append("  timer\(timer.name.map { " \($0)" } ?? "") every \(ReadyReport.seconds(timer.interval)) s")
        }
        lines += report.routes.map { "  " + ReadyReport.line($0) }
        lines += report.registrations.map { "  " + ReadyReport.line($0) }
        if report.tasks > 0 {
            lines.append("  \(report.tasks) \(report.tasks == 1 ? "task" : "tasks")")
        }
        if lines.count == 1 {
            lines.append("  nothing is registered at load time")
        }
        return lines.joined(separator: "\n")
    }

    private static func json(_ registration: PaniniServiceReport.Registration) -> JSONText {
        .object([
            ("kind", .string(registration.kind)), ("name", .string(registration.name)),
            ("details", .object(registration.details.map { ($0.name, .string($0.value)) })),
        ])
    }

    /// The report for programs.
    static func json(_ report: PaniniServiceReport) -> JSONText {
        let listeners = report.listeners.map { listener in
            JSONText.object([
                ("subject", .string(listener.subject)), ("queue", .text(listener.queue)),
                ("name", .text(listener.name)),
            ])
        }
        let timers = report.timers.map { timer in
            // Whole seconds without a fraction.
            let interval = Int64(exactly: timer.interval).map { JSONText.integer($0) } ?? .number(timer.interval)
            return JSONText.object([("name", .text(timer.name)), ("interval", interval)])
        }
        let routes = report.routes.map { route in
            var members: [(String, JSONText)] = [("method", .string(route.method)), ("path", .string(route.path))]
            if !route.subjects.isEmpty { members.append(("subjects", .list(route.subjects))) }
            return JSONText.object(members)
        }
        var members: [(String, JSONText)] = [
            ("service_name", .string(report.serviceName)), ("version", .string(report.version)),
            ("listeners", .array(listeners)), ("timers", .array(timers)), ("tasks", .whole(report.tasks)),
            ("routes", .array(routes)),
        ]
        if !report.registrations.isEmpty { members.append(("registrations", .array(report.registrations.map(json)))) }
        return .object(members)
    }
}
