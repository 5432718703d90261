// Owns: the variables of the environment that mean something to the program, in one table, and looking for those that only
// look so. Main thread, at the start.

import Bytes
@preconcurrency import Glibc
import Logging
import Panini

/// The process environment.
enum Environment {
    static let serversName = "NATS_URL"
    static let queueName = "PANINI_LOG_QUEUE"
    static let levelName = "PANINI_LOG_LEVEL"
    static let workersName = "PANINI_WORKERS"
    static let controlName = "PANINI_CONTROL_DIR"

    /// Every variable with the program's prefix that it knows: one for each option of an app, and the program's own.
    static let known: [String] =
        OptionDefinition.all.map(\.environmentName) + [queueName, levelName, workersName, controlName] + toolNames

    /// Of this project's own tools, which run the program.
    private static let toolNames = [
        "PANINI_BIN", "PANINI_NATS_SERVER", "PANINI_TEST_PATIENCE", "PANINI_TEST_FAST", "PANINI_TEST_LIMIT",
        "PANINI_STRICT_TIMES", "PANINI_SIEGE", "PANINI_SIEGE_TABLE", "PANINI_LUA", "PANINI_LUA_PACKAGES", "PANINI_LUPA",
        "PANINI_DOUBLES",
        "PANINI_SANITIZED", "PANINI_FAULTS", "PANINI_FUZZ", "PANINI_FUZZ_BUILD", "PANINI_STEP_LIMIT",
        "PANINI_TEST_TIMES", "PANINI_TEST_PROCESSES", "PANINI_ALONE", "PANINI_EXAMPLES", "PANINI_FUZZ_SECONDS",
        "PANINI_WARNINGS_AS_ERRORS", "PANINI_ROOT", "PANINI_TOOLS", "PANINI_VENV", "PANINI_DOCC",
        "PANINI_REQUIREMENTS", "PANINI_SCRIPTS", "PANINI_SWIFT_MINIMUM",
    ]

    static let prefix = "PANINI_"

    /// The variable's value; nil when it is not set or empty, which is how container files say "not set".
    static func value(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    /// Says of each variable with the program's prefix that the program does not know it. No failure: scripts may ask for
    /// variables of their own. Only names are shown: a value may be a secret.
    static func warnOfUnknown(_ logger: Logger) {
        for line in warnings(of: names()) { logger.warning("\(line)") }
    }

    /// The same on standard error, for commands that end at once.
    static func sayUnknown() {
        for line in warnings(of: names()) { StandardError.say("panini: \(line)") }
    }

    /// One line for each name that is not known, in their order.
    static func warnings(of names: [String]) -> [String] {
        let known = Set(known)
        return names.filter { $0.hasPrefix(prefix) && !known.contains($0) }.sorted().prefix(20).map { name in
            let shown = String(
                decoding: name.utf8.prefix(80).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F },
                as: UTF8.self
            )
            let flag = "--" + name.dropFirst(prefix.count).lowercased().map { $0 == "_" ? "-" : String($0) }.joined()
            if AppOptionFlags.ownFlags(of: "run").contains(flag) {
                return "the variable \(shown) means nothing to panini; give \(flag) on the command line"
            }
            guard let near = nearest(to: name) else {
                return "the variable \(shown) means nothing to panini; a script that asks for it gets it"
            }
            return "the variable \(shown) means nothing to panini; did you mean \(near)?"
        }
    }

    /// What was meant: a name with a slip in it, or one that has this one's words.
    private static func nearest(to name: String) -> String? {
        let options = known.dropLast(toolNames.count).map { String($0.dropFirst(prefix.count)).lowercased() }
        let written = String(name.dropFirst(prefix.count))
        if let near = nearestName(to: written, in: options) { return prefix + near.uppercased() }
        // PANINI_PASSWORD for PANINI_AUTH_PASSWORD: the end of one name means that name.
        let longer = options.filter { $0.hasSuffix("_" + written.lowercased()) }
        return longer.count == 1 ? longer.first.map { prefix + $0.uppercased() } : nil
    }

    /// The names of all variables that are set.
    private static func names() -> [String] {
        var names: [String] = []
        var entry = environ
        while let text = entry.pointee {
            names.append(String(String(cString: text).prefix { $0 != "=" }))
            entry += 1
        }
        return names
    }
}
