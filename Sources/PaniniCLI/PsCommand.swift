// `panini ps`: the services of all programs that run now.

import ArgumentParser
import Bytes
import NATSProtocol
import Panini

struct PsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps",
        abstract: "List the services that are running.",
        discussion: """
            Asks every panini run and panini dev of the same user. GEN counts the reloads; IN FLIGHT is what runs or waits \
            in handlers, WAITING are messages without a free place, OLD are replaced versions that still finish something. \
            BUSY is how much of a worker's time the service has taken over the last five seconds, and of which worker. \
            With --json there are further members: waiting_sends, publishes and requests that wait until the broker takes \
            more; web_bytes, what the web server holds for its clients; shed_connections, connections that it closed for what \
            they made it hold; figures, an object with what features of the host count; rows, what else they show; checks_table_keys, whether the host knows \
            how this build of Lua lays out its tables.

              panini ps
              panini ps --json

            The programs are found in PANINI_CONTROL_DIR, else in the user's run-time or temporary folder.
            \(CommandError.help)
            """
    )

    @Flag(help: "Print a JSON array, one object for each service.")
    var json = false

    func run() throws {
        let answers = try ControlClient.askAll([("command", .string("ps"))], seconds: 5)
        let rows = answers.flatMap { answer in
            (answer["services"]?.array ?? []).map { (pid: answer["pid"]?.integer ?? 0, service: $0) }
        }
        let unchecked = Set(answers.filter { $0["checks_table_keys"]?.bool == false }.compactMap { $0["pid"]?.integer })
        if json {
            let objects = rows.map { Self.object($0.pid, $0.service, checksTableKeys: !unchecked.contains($0.pid)) }
            return StandardOutput.writeLine(JSONText.array(objects).written(.printed))
        }
        guard !rows.isEmpty else { return StandardError.say("no services are running") }
        StandardOutput.writeLine(Self.table(rows))
        for line in Self.lines(of: rows) { StandardOutput.writeLine(line) }
        for pid in unchecked.sorted() { StandardError.say("\(pid): \(PaniniRuntime.tableKeysWarning)") }
    }

    /// One service for programs.
    static func object(_ pid: Int, _ service: JSONValue, checksTableKeys: Bool) -> JSONText {
        let texts = ["service", "version", "file", "state"].map { ($0, JSONText.text(service[$0]?.string)) }
        let numbers = [
            "generation", "workers", "stuck_workers", "replaced_workers", "given_up_threads", "listeners", "in_flight",
            "waiting", "waiting_sends", "draining", "busy_percent", "busiest_worker",
            "memory_bytes", "web_bytes", "shed_connections",
        ].map {
            ($0, JSONText.whole(service[$0]?.integer ?? 0))
        }
        var members: [(String, JSONText)] = [("pid", .whole(pid))]
        members += texts
        members += numbers
        members.append(("connected", .boolean(service["connected"]?.bool ?? false)))
        members.append(("uptime", .number(uptime(service))))
        members.append(("figures", .object(figures(of: service))))
        let shown = Self.rows(of: service)
        if !shown.isEmpty { members.append(("rows", .array(shown.map(\.json)))) }
        members.append(("checks_table_keys", .boolean(checksTableKeys)))
        return .object(members)
    }

    private static func figures(of service: JSONValue) -> [(String, JSONText)] {
        guard case .object(let figures) = service["figures"] else { return [] }
        return figures.sorted { $0.key < $1.key }.map { ($0.key, .whole($0.value.integer ?? 0)) }
    }

    /// What a feature shows of a service beside the table.
    private struct Row {
        let kind: String
        let name: String
        let details: [(name: String, value: String)]

        var json: JSONText {
            .object([
                ("kind", .string(kind)), ("name", .string(name)),
                ("details", .object(details.map { ($0.name, .string($0.value)) })),
            ])
        }

        var line: String {
            let text = details.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
            return VisibleText.line("\(kind) \(name)\(text.isEmpty ? "" : "  (\(text))")")
        }
    }

    private static func rows(of service: JSONValue) -> [Row] {
        (service["rows"]?.array ?? []).map { row in
            var details: [(name: String, value: String)] = []
            if case .object(let members) = row["details"] {
                details = members.sorted { $0.key < $1.key }.map { ($0.key, $0.value.string ?? "") }
            }
            return Row(kind: row["kind"]?.string ?? "", name: row["name"]?.string ?? "", details: details)
        }
    }

    /// The rows of all services, below the table.
    static func lines(of services: [(pid: Int, service: JSONValue)]) -> [String] {
        services.flatMap { pid, service -> [String] in
            let rows = rows(of: service)
            guard !rows.isEmpty else { return [] }
            return ["", VisibleText.line("\(service["service"]?.string ?? "") (\(pid))")] + rows.map { "  " + $0.line }
        }
    }

    private static func uptime(_ service: JSONValue) -> Double {
        switch service["uptime"] {
        case .number(let seconds): seconds
        case .integer(let seconds): Double(seconds)
        default: 0
        }
    }

    private static func table(_ rows: [(pid: Int, service: JSONValue)]) -> String {
        var lines = [
            [
                "PID", "SERVICE", "VERSION", "STATE", "GEN", "WORKERS", "IN FLIGHT", "WAITING", "OLD", "BUSY", "MEMORY",
                "UP",
                "FILE",
            ]
        ]
        for (pid, service) in rows {
            func number(_ name: String) -> String { "\(service[name]?.integer ?? 0)" }
            let stuck = service["stuck_workers"]?.integer ?? 0
            let isConnected = service["connected"]?.bool ?? false
            var state = service["state"]?.string ?? ""
            if state == "running", stuck > 0 {
                state = "\(stuck) stuck"
            } else if state == "running", !isConnected {
                state = "no broker"
            }
            let replaced = service["replaced_workers"]?.integer ?? 0
            if replaced > 0 { state += ", \(replaced) replaced" }
            lines.append([
                "\(pid)", service["service"]?.string ?? "", service["version"]?.string ?? "",
                state, number("generation"), number("workers"),
                number("in_flight"), number("waiting"), number("draining"), busy(service),
                size(service["memory_bytes"]?.integer ?? 0), time(uptime(service)), service["file"]?.string ?? "",
            ])
        }
        // Each in one cell, whatever it is made of.
        lines = lines.map { $0.map(VisibleText.line) }
        let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            zip(line, widths).map { text, width in text + String(repeating: " ", count: width - text.count) }
                .joined(separator: "  ").trimmingEnd()
        }.joined(separator: "\n")
    }

    /// "97% of 0": how much of which worker.
    private static func busy(_ service: JSONValue) -> String {
        let percent = service["busy_percent"]?.integer ?? 0
        return percent < 1 ? "0%" : "\(percent)% of \(service["busiest_worker"]?.integer ?? 0)"
    }

    private static func size(_ bytes: Int) -> String {
        bytes < 1 << 20 ? "\((bytes + 1023) >> 10) KiB" : "\((bytes + (1 << 19)) >> 20) MiB"
    }

    private static func time(_ seconds: Double) -> String {
        let whole = Int(seconds)
        if whole < 60 { return "\(whole)s" }
        if whole < 3600 { return "\(whole / 60)m" }
        return whole < 86400 ? "\(whole / 3600)h" : "\(whole / 86400)d"
    }
}

extension String {
    fileprivate func trimmingEnd() -> String {
        var text = self[...]
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
