// `panini completions`: scripts that make a shell complete the command line.

import ArgumentParser
import Synchronization

struct CompletionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions",
        abstract: "Print a completion script for your shell.",
        discussion: """
            Commands, options and files are then completed with the tabulator key.

              bash   panini completions bash > ~/.local/share/bash-completion/completions/panini
              zsh    panini completions zsh > ~/.zfunc/_panini     (a folder of fpath, before compinit)
              fish   panini completions fish > ~/.config/fish/completions/panini.fish

            \(CommandError.help)
            """
    )

    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash
        case zsh
        case fish

        var shell: CompletionShell {
            switch self {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        }
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() throws {
        OptionShape.isForCompletion.store(true, ordering: .relaxed)
        StandardOutput.writeLine(PaniniCommand.completionScript(for: shell.shell))
    }
}
