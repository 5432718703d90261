// `panini reload`: new code for running services.

import ArgumentParser
import Glibc
import NATSProtocol
import Panini

struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Replace the code of running services by what their files hold now.",
        discussion: """
            The new version is loaded beside the one that serves; when it is ready it takes over, and what had begun ends \
            on the old one. No request is lost. A version that does not load changes nothing.

              panini reload
              panini reload orders
              panini reload orders --json

            Services of all panini run and panini dev of the same user are found; SIGHUP does the same for one program.
            Exit codes: 0 reloaded, 1 a service could not be reloaded or there is none of that name, 2 wrong usage.
            """
    )

    @Argument(help: "The service's name, or its script's path; without it all services.")
    var service: String?

    @Flag(help: "Print a JSON array, one object for each service.")
    var json = false

    func run() throws {
        var question = [("command", JSONText.string("reload"))]
        if let service { question.append(("service", JSONText.string(service))) }
        let answers = try ControlClient.askAll(JSONText.object(question))
        let results = answers.flatMap { answer in
            (answer["results"]?.array ?? []).map { (pid: answer["pid"]?.integer ?? 0, result: $0) }
        }
        guard !results.isEmpty else {
            throw CommandFailure(service.map { "no service \($0) is running" } ?? "no services are running")
        }
        let failures = results.filter { $0.result["success"]?.bool != true }
        if json {
            StandardOutput.writeLine(JSONText.array(results.map { Self.object($0.pid, $0.result) }))
            // The array says why.
            if !failures.isEmpty { Glibc.exit(CommandFailure.Code.failed.rawValue) }
            return
        }
        for (_, result) in results where result["success"]?.bool == true {
            StandardOutput.writeLine(result["line"]?.string ?? "")
        }
        let reasons = failures.map { "not reloaded: \($0.result["error"]?.string ?? "")" }
        for reason in reasons.dropLast() { StandardError.say("panini: \(reason)") }
        if let last = reasons.last { throw CommandFailure(last) }
    }

    private static func object(_ pid: Int, _ result: JSONValue) -> String {
        guard result["success"]?.bool == true else {
            return JSONText.object([
                ("pid", "\(pid)"), ("success", "false"), ("code", JSONText.string(result["code"]?.string)),
                ("error", JSONText.string(result["error"]?.string)),
            ])
        }
        func list(_ name: String) -> String {
            JSONText.array((result[name]?.array ?? []).map { JSONText.string($0.string) })
        }
        var milliseconds = 0.0
        if case .number(let number) = result["ms"] { milliseconds = number }
        if case .integer(let number) = result["ms"] { milliseconds = Double(number) }
        return JSONText.object([
            ("pid", "\(pid)"), ("success", "true"), ("service", JSONText.string(result["service"]?.string)),
            ("from", "\(result["from"]?.integer ?? 0)"), ("to", "\(result["to"]?.integer ?? 0)"),
            ("ms", "\(milliseconds)"), ("added", list("added")), ("removed", list("removed")),
            ("changed", list("changed")), ("in_flight", "\(result["in_flight"]?.integer ?? 0)"),
        ])
    }
}
