// The app's options as command line flags: `--web-port 9000`, `--no-reconnect`. There are as many flags as options, all
// from the one table in OptionDefinition, so they are not declared to ArgumentParser one by one: this rewrites them to
// one hidden option before it sees them. A pure function.

import Panini

enum AppOptionFlags {
    /// The hidden option's name, and the commands that have it.
    static let hiddenName = "app-option"
    static let commands: Set<String> = ["run", "dev", "check"]

    /// Turns every flag of an app option into `--app-option=<name>=<flag>=<value>`; everything else stays.
    static func rewrite(_ arguments: [String]) throws(CommandFailure) -> [String] {
        guard let command = arguments.first(where: { !$0.hasPrefix("-") }), commands.contains(command) else {
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
            guard let given = Flag(argument) else {
                try checkSpelling(argument)
                result.append(argument)
                continue
            }
            var value = given.value
            if value == nil {
                if case .boolean = given.definition.kind {
                    value = given.isNegated ? "false" : "true"
                } else if index < arguments.count, !arguments[index].hasPrefix("--") {
                    value = arguments[index]
                    index += 1
                }
            }
            guard let value else {
                throw CommandFailure(
                    "\(given.text) takes a value: \(given.definition.summary)",
                    exitCode: .usage
                )
            }
            result.append("--\(hiddenName)=\(given.definition.name)=\(given.text)=\(value)")
        }
        return result
    }

    /// Refuses what is neither a flag of the commands themselves nor one of an app option, when it looks like one of
    /// the latter: ArgumentParser would suggest its own only.
    private static func checkSpelling(_ argument: String) throws(CommandFailure) {
        guard argument.hasPrefix("--") else { return }
        let name = String(argument.prefix { $0 != "=" })
        guard !ownFlags.contains(name), let near = nearestName(to: name, in: ownFlags + Flag.spellings) else { return }
        throw CommandFailure("unknown option \(name); did you mean \(near)?", exitCode: .usage)
    }

    /// The flags that `run`, `dev` and `check` declare.
    private static let ownFlags = ["--server", "--config", "--log-level", "--json", "--strict", "--help", "--version"]

    /// The parts of a rewritten flag.
    static func parts(_ rewritten: String) -> (name: String, flag: String, value: String)? {
        let parts = rewritten.split(separator: "=", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        return parts.count == 3 ? (parts[0], parts[1], parts[2]) : nil
    }

    /// One line for each option, for a help text.
    static var help: String {
        OptionDefinition.all.map { definition in
            var flag = definition.flag
            switch definition.kind {
            case .boolean: flag = "--[no-]\(flag.dropFirst(2))"
            case .string, .choice: flag += " <text>"
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

        private static let byFlag = Dictionary(uniqueKeysWithValues: OptionDefinition.all.map { ($0.flag, $0) })

        /// Every flag there is.
        static var spellings: [String] {
            OptionDefinition.all.flatMap { definition in
                guard case .boolean = definition.kind else { return [definition.flag] }
                return [definition.flag, "--no-\(definition.flag.dropFirst(2))"]
            }
        }

        init?(_ argument: String) {
            guard argument.hasPrefix("--") else { return nil }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            text = parts[0]
            value = parts.count == 2 ? parts[1] : nil
            if let definition = Self.byFlag[text] {
                self.definition = definition
                isNegated = false
                return
            }
            guard text.hasPrefix("--no-"), value == nil, let definition = Self.byFlag["--" + text.dropFirst(5)],
                case .boolean = definition.kind
            else { return nil }
            self.definition = definition
            isNegated = true
        }
    }
}
