// The options of the app in completion scripts. ArgumentParser does not know them (AppOptionFlags), so they are put into the
// functions that it generates for the commands that take them. Pure functions; the tests ask a real bash.

import Panini

enum CompletionScript {
    /// Adds the flags of every command's app options to a generated script.
    static func adding(to script: String, shell: CompletionsCommand.Shell) -> String {
        var result: [String] = []
        var definitions: [OptionDefinition] = []
        for line in script.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix("_panini_"), line.hasSuffix("() {") {
                definitions = AppOptionFlags.definitions(of: String(line.dropFirst(8).dropLast(4)))
            }
            result.append(line)
            guard !definitions.isEmpty else { continue }
            switch (shell, line) {
            case (.bash, _): addBash(&result, definitions)
            case (.zsh, "    local -ar arg_specs=("): result += definitions.flatMap(zsh)
            default: break
            }
        }
        if shell == .fish { result += fish() }
        return result.joined(separator: "\n")
    }

    // MARK: - bash

    private static func addBash(_ lines: inout [String], _ definitions: [OptionDefinition]) {
        let line = lines[lines.count - 1]
        for (start, words) in [
            ("    non_repeating_flags=(", flags(definitions)), ("    non_repeating_options=(", options(definitions)),
        ] where line.hasPrefix(start) {
            lines[lines.count - 1] = start + words.joined(separator: " ") + " " + line.dropFirst(start.count)
        }
        guard line == "    case \"${prev}\" in" else { return }
        for definition in definitions where !definition.isBoolean {
            lines.append("    '\(definition.flag)')")
            switch definition.kind {
            case .path: lines.append("        __panini_add_completions -f")
            case .choice(let texts):
                lines.append("        __panini_add_completions -W '\(texts.joined(separator: " "))'")
            default: break
            }
            lines.append("        return")
            lines.append("        ;;")
        }
    }

    private static func flags(_ definitions: [OptionDefinition]) -> [String] {
        definitions.filter(\.isBoolean).flatMap { [$0.flag, $0.negatedFlag] }
    }

    private static func options(_ definitions: [OptionDefinition]) -> [String] {
        definitions.filter { !$0.isBoolean }.map(\.flag)
    }

    // MARK: - zsh

    private static func zsh(_ definition: OptionDefinition) -> [String] {
        let text = escaped(definition.summary, "'[]:\\").replacing("\\'", with: "'\\''")
        switch definition.kind {
        case .boolean: return ["        '\(definition.flag)[\(text)]'", "        '\(definition.negatedFlag)[\(text)]'"]
        case .path: return ["        '\(definition.flag)[\(text)]:file:_files'"]
        case .choice(let texts):
            return ["        '\(definition.flag)[\(text)]:value:(\(texts.joined(separator: " ")))'"]
        default: return ["        '\(definition.flag)[\(text)]:value:'"]
        }
    }

    // MARK: - fish

    private static func fish() -> [String] {
        AppOptionFlags.commandNames.flatMap { command in
            AppOptionFlags.definitions(of: command).flatMap { definition in
                let names =
                    definition.isBoolean
                    ? [definition.flag, definition.negatedFlag].map { String($0.dropFirst(2)) }
                    : [String(definition.flag.dropFirst(2))]
                let value: String =
                    switch definition.kind {
                    case .boolean: ""
                    case .path: " -rF"
                    case .choice(let texts): " -rfka '\(texts.joined(separator: " "))'"
                    default: " -rfka ''"
                    }
                let text = escaped(definition.summary, "'\\")
                return names.map { name in
                    """
                    complete -c 'panini' -n '__panini_should_offer_completions_for_flags_or_options "panini \(command)" \
                    \(name)' -l '\(name)' -d '\(text)'\(value)
                    """
                }
            }
        }
    }

    private static func escaped(_ text: String, _ special: String) -> String {
        text.map { special.contains($0) ? "\\\($0)" : String($0) }.joined()
    }
}

extension OptionDefinition {
    fileprivate var isBoolean: Bool {
        if case .boolean = kind { true } else { false }
    }

    fileprivate var negatedFlag: String { "--no-\(flag.dropFirst(2))" }
}
