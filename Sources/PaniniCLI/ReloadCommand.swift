// `panini reload`: new code for running services.

import ArgumentParser
import Bytes
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

    /// How long a program may take to reload its services, in seconds.
    private static let patience = 60

    func run() throws {
        var question = [("command", JSONText.string("reload"))]
        if let service { question.append(("service", .string(service))) }
        // Loading, start tasks and on_reload have limits of their own; beyond them the program is stopped or held.
        let answers = try ControlClient.askAll(question, seconds: Self.patience)
        let results = answers.flatMap { answer in
            (answer["results"]?.array ?? []).map { (pid: answer["pid"]?.integer ?? 0, result: $0) }
        }
        guard !results.isEmpty else {
            throw CommandError(service.map { "no service \($0) is running" } ?? "no services are running")
        }
        let failures = results.filter { $0.result["success"]?.bool != true }
        if json {
            StandardOutput.writeLine(JSONText.array(results.map { Self.object($0.pid, $0.result) }).written(.printed))
            // The array says why.
            if !failures.isEmpty { Glibc.exit(CommandError.Code.failed.rawValue) }
            return
        }
        for (_, result) in results where result["success"]?.bool == true {
            StandardOutput.writeLine(result["line"]?.string ?? "")
        }
        let reasons = failures.map { "not reloaded: \($0.result["error"]?.string ?? "")" }
        for reason in reasons.dropLast() { StandardError.say("panini: \(reason)", indent: 4) }
        if let last = reasons.last { throw CommandError(last) }
    }

    private static func object(_ pid: Int, _ result: JSONValue) -> JSONText {
        guard result["success"]?.bool == true else {
            return .object([
                ("pid", .whole(pid)), ("success", .boolean(false)), ("code", .text(result["code"]?.string)),
                ("error", .text(result["error"]?.string)),
            ])
        }
        func list(_ name: String) -> JSONText {
            .array((result[name]?.array ?? []).map { .text($0.string) })
        }
        var milliseconds = 0.0
        if case .number(let number) = result["ms"] { milliseconds = number }
        if case .integer(let number) = result["ms"] { milliseconds = Double(number) }
        return .object([
            ("pid", .whole(pid)), ("success", .boolean(true)), ("service", .text(result["service"]?.string)),
            ("from", .whole(result["from"]?.integer ?? 0)), ("to", .whole(result["to"]?.integer ?? 0)),
            ("ms", .number(milliseconds)), ("added", list("added")), ("removed", list("removed")),
            ("changed", list("changed")), ("in_flight", .whole(result["in_flight"]?.integer ?? 0)),
        ])
    }
}
