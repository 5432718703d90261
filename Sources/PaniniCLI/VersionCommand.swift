// `panini version`.

import ArgumentParser
import Bytes
import Panini

extension PaniniVersion {
    /// The Swift the program was compiled with, as far as a program can know it.
    static var swift: String {
        #if compiler(>=6.4)
        "6.4 or later"
        #elseif compiler(>=6.3)
        "6.3"
        #else
        "6.2"
        #endif
    }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Print the versions of panini, Swift and Lua.",
        discussion: """
              panini version
              panini version --json

            Exit code: 0.
            """
    )

    @Flag(help: "Print a JSON object: version, swift, lua, checks_table_keys.")
    var json = false

    func run() throws {
        let lua = PaniniRuntime.luaVersion.split(separator: " ").last.map(String.init) ?? PaniniRuntime.luaVersion
        if json {
            StandardOutput.writeLine(
                JSONText.object([
                    ("version", .string(PaniniVersion.current)), ("swift", .string(PaniniVersion.swift)),
                    ("lua", .string(lua)), ("checks_table_keys", .boolean(PaniniRuntime.checksTableKeys)),
                ]).written(.printed)
            )
        } else {
            StandardOutput.writeLine("panini \(PaniniVersion.current) (Swift \(PaniniVersion.swift), Lua \(lua))")
            if !PaniniRuntime.checksTableKeys { StandardError.say(PaniniRuntime.tableKeysWarning) }
        }
    }
}
