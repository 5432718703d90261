// `panini new`: a project that runs, tests itself and is understood by editors.

import ArgumentParser
import Panini

struct NewCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new",
        abstract: "Make a project: a service with its test.",
        discussion: """
            Makes a folder with a service script, its test, what editors need (.luarc.json, panini.d.lua), a \
            Dockerfile and a compose file. Nothing that is there already is touched.

              panini new orders
              cd orders
              panini dev
              panini test

            \(CommandError.help)
            """
    )

    @Argument(help: "The service's name: letters, digits, _ and -.")
    var name: String

    @Option(help: ArgumentHelp("The folder to make; without it, the service's name.", valueName: "folder"))
    var dir: String?

    func validate() throws {
        guard !name.isEmpty, !name.hasPrefix("-"), name.utf8.allSatisfy(Self.isNameByte) else {
            throw ValidationError("\"\(name)\" cannot be a service's name: it may have letters, digits, _ and - only")
        }
        guard name.utf8.count <= 64 else { throw ValidationError("the name is longer than 64 characters") }
        guard dir != "" else { throw ValidationError("--dir is empty") }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    func run() throws {
        let folder = dir ?? name
        let files = ProjectTemplate.files(name: name)
        if try !NewFile.makeFolder(folder) {
            // A folder that is there may be an empty repository; what would be overwritten is named, and nothing is written.
            let taken = files.map(\.path).filter { NewFile.exists("\(folder)/\($0)") }
            guard taken.isEmpty else {
                throw CommandError("\(folder) has \(taken.joined(separator: ", ")) already; nothing was written")
            }
        }
        for file in files {
            try NewFile.write(Array(file.text.utf8), to: "\(folder)/\(file.path)", mode: 0o644)
        }
        StandardOutput.writeLine(
            """
            \(folder): a service named \(name)

              cd \(folder)
              panini dev         runs it with a broker of its own, and again at each save
              panini test        runs main_test.lua
              panini request \(name).hello '{"name": "Ada"}'
            """
        )
    }
}
