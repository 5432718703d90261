// What `dev` tells about a service that is ready. Pure functions.

import Panini

enum ReadyReport {
    /// What is registered, and a command to try it.
    ///
    /// - Parameter server: the address to name in the command, nil when the usual one is meant.
    static func lines(_ report: PaniniServiceReport, server: String?) -> [String] {
        var lines: [String] = []
        for listener in report.listeners {
            let queue = listener.queue.map { "  (queue group \($0))" } ?? ""
            lines.append("listens to \(listener.subject)\(queue)")
        }
        for timer in report.timers {
            let name = timer.name.map { "timer \($0)" } ?? "timer"
            lines.append("\(name) every \(seconds(timer.interval)) s")
        }
        lines += report.routes.map(line)
        lines += report.registrations.map(line)
        if report.tasks > 0 {
            lines.append("\(report.tasks) \(report.tasks == 1 ? "task" : "tasks")")
        }
        if lines.isEmpty {
            lines.append("nothing is registered yet: app.listen(\"greet\", function(msg) ... end) is a start")
        }
        if let listener = report.listeners.first {
            let subject = quoted(example(of: listener.subject))
            let place = server.map { " --server \($0)" } ?? ""
            lines.append("try it:  panini request \(subject) '{\"name\":\"Ada\"}'\(place)")
        }
        return lines
    }

    /// What a route serves.
    static func line(_ route: PaniniServiceReport.Route) -> String {
        let subjects = route.subjects.isEmpty ? "" : "  (bridge to \(route.subjects.joined(separator: ", ")))"
        return "serves \(route.method) \(route.path)\(subjects)"
    }

    /// Something that a feature has let the script register.
    static func line(_ registration: PaniniServiceReport.Registration) -> String {
        let details = registration.details.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
        return "\(registration.kind) \(registration.name)\(details.isEmpty ? "" : "  (\(details))")"
    }

    /// A subject that the pattern matches: wildcards become a word.
    static func example(of pattern: String) -> String {
        pattern.split(separator: ".", omittingEmptySubsequences: false)
            .map { $0 == "*" || $0 == ">" ? "test" : String($0) }
            .joined(separator: ".")
    }

    /// Whole seconds without a fraction.
    static func seconds(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }

    /// Quoted for a shell when it needs to be.
    private static func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isPlain
            ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
