// The app's options as command line flags: `--web-port 9000`, `--no-reconnect`. There are as many flags as options, all
// from the one table in OptionDefinition, so they are not declared to ArgumentParser one by one: this rewrites them to
// one hidden option before it sees them. A pure function.

import Bytes
import Panini

enum AppOptionFlags {
    /// The hidden option's name.
    static let hiddenName = "app-option"

    /// What a command has: its own flags, for suggestions, and the options of the table.
    private struct Command {
        let own: [String]
        let flags: [String: OptionDefinition]

        init(_ own: [String], _ definitions: [OptionDefinition]) {
            self.own = own + ["--help", "--version"]
            flags = Dictionary(uniqueKeysWithValues: definitions.map { ($0.flag, $0) })
        }

        /// Every flag there is.
        var spellings: [String] {
            own
                + flags.values.flatMap { definition in
                    guard case .boolean = definition.kind else { return [definition.flag] }
                    return [definition.flag, "--no-\(definition.flag.dropFirst(2))"]
                }.sorted()
        }
    }

    private static let commands: [String: Command] = {
        let permissions = ["--trust", "--untrusted"] + PermissionDefinition.all.map(\.flag)
        let service = ["--server", "--config", "--log-level", "--log-queue", "--json"] + permissions
        let host = service + ["--wedged", "--wedged-after"] + ["--strict", "--workers", "--watch"]
        return [
            "run": Command(host, OptionDefinition.all),
            "dev": Command(host + ["--no-watch"], OptionDefinition.all),
            "check": Command(service, OptionDefinition.all),
            "test": Command(
                ["--service", "--filter", "--timeout", "--log-level", "--config"] + permissions,
                OptionDefinition.all
            ),
            "publish": Command(["--server", "--header", "--reply"], security),
            "request": Command(["--server", "--header", "--timeout", "--json"], security),
            "subscribe": Command(["--server", "--count", "--queue", "--json"], security),
        ]
    }()

    /// The flags of a command that are no options of the app.
    static func ownFlags(of command: String) -> [String] { commands[command]?.own ?? [] }

    /// The options that the client commands share with services.
    static let security = OptionDefinition.all.filter { $0.name.hasPrefix("auth.") || $0.name.hasPrefix("tls.") }

    /// Turns every flag of an app option into `--app-option=<name>=<flag>=<value>`; everything else stays.
    static func rewrite(_ arguments: [String]) throws(CommandError) -> [String] {
        guard let name = arguments.first(where: { !$0.hasPrefix("-") }), let command = commands[name] else {
            return arguments
        }
        var result: [String] = []
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            index += 1
            if argument == "--" {
                return result + arguments[(index - 1)...]
            }
            if command.own.contains("--trust"), let rewritten = trust(argument) {
                result.append(rewritten)
                continue
            }
            guard let given = Flag(argument, command) else {
                try checkSpelling(argument, command)
                result.append(argument)
                continue
            }
            var value = given.value
            if value == nil {
                if case .boolean = given.definition.kind {
                    value = given.isNegated ? "false" : "true"
                } else if index < arguments.count, isValue(arguments[index]) {
                    value = arguments[index]
                    index += 1
                }
            }
            guard let value else {
                throw CommandError(
                    "\(given.text) takes a value: \(given.definition.summary)",
                    exitCode: .usage
                )
            }
            result.append("--\(hiddenName)=\(given.definition.name)=\(given.text)=\(value)")
        }
        return result
    }

    /// `--trust` is `--trust=*`, and the same for `--untrusted`.
    private static func trust(_ argument: String) -> String? {
        for flag in ["--trust", "--untrusted"] {
            if argument == flag { return "\(flag)-script=*" }
            if argument.hasPrefix(flag + "=") { return "\(flag)-script\(argument.dropFirst(flag.count))" }
        }
        return nil
    }

    /// Whether an argument can be what a flag before it wants. A text with more dashes is no flag: the text of a
    /// credentials file begins so.
    private static func isValue(_ argument: String) -> Bool { !argument.hasPrefix("--") || argument.hasPrefix("---") }

    /// Refuses what is neither a flag of the commands themselves nor one of an app option, when it looks like one of
    /// the latter: ArgumentParser would suggest its own only.
    private static func checkSpelling(_ argument: String, _ command: Command) throws(CommandError) {
        guard argument.hasPrefix("--") else { return }
        let name = String(argument.prefix { $0 != "=" })
        guard !command.own.contains(name) else { return }
        // `--password` for `--auth-password`: the end of one flag means that flag.
        let isNegated = name.hasPrefix("--no-")
        let ending = "-" + name.dropFirst(isNegated ? 5 : 2)
        let longer = command.spellings.filter { $0.hasPrefix("--no-") == isNegated && $0.hasSuffix(ending) }
        let near = longer.count == 1 ? longer.first : nearestName(to: name, in: command.spellings)
        guard let near else { return }
        throw CommandError("unknown option \(name); did you mean \(near)?", exitCode: .usage)
    }

    /// The parts of a rewritten flag.
    static func parts(_ rewritten: String) -> (name: String, flag: String, value: String)? {
        let parts = rewritten.split(separator: "=", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        return parts.count == 3 ? (parts[0], parts[1], parts[2]) : nil
    }

    /// One line for each option, for a help text.
    static func help(_ definitions: [OptionDefinition]) -> String {
        definitions.map { definition in
            var flag = definition.flag
            switch definition.kind {
            case .boolean: flag = "--[no-]\(flag.dropFirst(2))"
            case .string, .choice: flag += " <text>"
            case .path: flag += " <file>"
            case .integer: flag += " <n>"
            case .number: flag += " <number>"
            case .size: flag += " <size>"
            case .list: flag += " <a,b>"
            case .map: flag += " <name=text,...>"
            }
            let padding = String(repeating: " ", count: max(1, 36 - flag.count))
            return "  \(flag)\(padding)\(definition.summary)"
        }.joined(separator: "\n")
    }

    private struct Flag {
        let definition: OptionDefinition
        /// As written, without a value.
        let text: String
        let isNegated: Bool
        /// What stands behind an equals sign.
        let value: String?

        init?(_ argument: String, _ command: Command) {
            guard argument.hasPrefix("--") else { return nil }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            text = parts[0]
            value = parts.count == 2 ? parts[1] : nil
            if let definition = command.flags[text] {
                self.definition = definition
                isNegated = false
                return
            }
            guard text.hasPrefix("--no-"), value == nil, let definition = command.flags["--" + text.dropFirst(5)],
                case .boolean = definition.kind
            else { return nil }
            self.definition = definition
            isNegated = true
        }
    }
}
