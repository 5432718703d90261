// `panini check`: loads a script without connecting and prints what it would serve.

import ArgumentParser
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

            \(CommandFailure.help) A mistake in the script is 1, with file and line on standard error.
            """
    )

    @Argument(help: "The service script; without it, main.lua.", completion: .file(extensions: ["lua"]))
    var file: String?

    @OptionGroup var service: ServiceArguments

    @Flag(help: "Print a JSON object: service_name, version, listeners, timers, tasks, routes.")
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
        case .success(let report): StandardOutput.writeLine(json ? Self.json(report) : Self.text(report))
        case .failure(let error): throw CommandFailure(error, showsTraceback: overrides.contains("debug"))
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
        for route in report.routes {
            let subjects = route.subjects.isEmpty ? "" : "  (bridge to \(route.subjects.joined(separator: ", ")))"
            lines.append("  serves \(route.method) \(route.path)\(subjects)")
        }
        if report.tasks > 0 {
            lines.append("  \(report.tasks) \(report.tasks == 1 ? "task" : "tasks")")
        }
        if lines.count == 1 {
            lines.append("  nothing is registered at load time")
        }
        return lines.joined(separator: "\n")
    }

    /// The report for programs.
    static func json(_ report: PaniniServiceReport) -> String {
        let listeners = report.listeners.map { listener in
            JSONText.object([
                ("subject", JSONText.string(listener.subject)), ("queue", JSONText.string(listener.queue)),
                ("name", JSONText.string(listener.name)),
            ])
        }
        let timers = report.timers.map { timer in
            JSONText.object([
                ("name", JSONText.string(timer.name)), ("interval", ReadyReport.seconds(timer.interval)),
            ])
        }
        let routes = report.routes.map { route in
            let subjects = route.subjects.map { JSONText.string($0) }
            return JSONText.object(
                [("method", JSONText.string(route.method)), ("path", JSONText.string(route.path))]
                    + (subjects.isEmpty ? [] : [("subjects", JSONText.array(subjects))])
            )
        }
        return JSONText.object([
            ("service_name", JSONText.string(report.serviceName)), ("version", JSONText.string(report.version)),
            ("listeners", JSONText.array(listeners)), ("timers", JSONText.array(timers)),
            ("tasks", "\(report.tasks)"), ("routes", JSONText.array(routes)),
        ])
    }
}
