// `panini types`: the definitions that editors read.

import ArgumentParser
import Panini

struct TypesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "types",
        abstract: "Print the definitions of the script API for editors.",
        discussion: """
            LuaCATS annotations of everything scripts can use, for lua-language-server and the editors that have it. \
            panini new puts the file into a project; a newer program has a newer one.

              panini types --output panini.d.lua

            \(CommandError.help)
            """
    )

    @Option(help: ArgumentHelp("Write to a file instead, over what is there.", valueName: "file"))
    var output: String?

    func run() throws {
        guard let output else { return StandardOutput.write(Array(PaniniTypes.definitions.utf8)) }
        try NewFile.write(Array(PaniniTypes.definitions.utf8), to: output, mode: 0o644, replacing: true)
    }
}
