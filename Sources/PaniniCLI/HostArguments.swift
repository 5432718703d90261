// What `run` and `dev` take that is about the program and not about one service: which scripts, how many workers.

import ArgumentParser
import Bytes
import Glibc
import NIOCore
import Panini

struct HostArguments: ParsableArguments {
    @Argument(
        help: "The service scripts, one service each; a folder stands for the scripts in it. Without any, main.lua.",
        completion: .file(extensions: ["lua"])
    )
    var files: [String] = []

    @Option(
        help: ArgumentHelp(
            "How many threads run scripts, each with a state of its own; auto: one for each processor (1).",
            valueName: "n|auto"
        )
    )
    var workers: String?

    @OptionGroup var wedge: WedgeArguments

    @Flag(help: "End at once when any of the services cannot be loaded or started.")
    var strict = false

    /// More threads than that are a mistake.
    static let mostWorkers = 1024

    func validate() throws {
        if files.isEmpty { _ = try ProjectScript.path() }
    }

    func workerCount() throws(CommandError) -> Int {
        let (origin, text) =
            workers.map { ("--workers", $0) }
            ?? (Environment.workersName, Environment.value(Environment.workersName) ?? "1")
        if text == "auto" { return min(System.coreCount, Self.mostWorkers) }
        guard let count = Int(text), (1...Self.mostWorkers).contains(count) else {
            throw CommandError(
                "\(origin) must be auto or a number from 1 to \(Self.mostWorkers), not \"\(text)\"",
                exitCode: .usage
            )
        }
        return count
    }

    func configuration(overrides: PaniniOverrides, watches: Bool) throws(CommandError) -> PaniniHostConfiguration {
        var scripts: [String] = []
        var optional: Set<String> = []
        for file in files.isEmpty ? [ProjectScript.usual] : files {
            guard let found = PaniniHostConfiguration.scripts(in: file) else {
                scripts.append(file)
                continue
            }
            guard !found.isEmpty else { throw CommandError("\(file): no scripts (*.lua) in this folder") }
            scripts += found
            optional.formUnion(found)
        }
        try Self.checkForRepetition(scripts)
        try PermissionArguments.check(overrides.permissions, scripts)
        var configuration = PaniniHostConfiguration(scripts: scripts, overrides: overrides)
        configuration.optionalScripts = optional
        configuration.workers = try workerCount()
        configuration.isStrict = strict
        configuration.watchesFiles = watches
        configuration.stuckWorkers = wedge.policy
        configuration.controlDirectory = ControlDirectory.usual
        return configuration
    }

    /// A file that is given twice is one script in two services of one name, each with half of the messages.
    private static func checkForRepetition(_ scripts: [String]) throws(CommandError) {
        guard let (first, again) = PaniniHostConfiguration.repetition(in: scripts) else { return }
        throw CommandError(
            """
            \(again) is given twice\(first.isExactly(again) ? "" : ", as \(first), too"): a process runs a script once; \
            --workers N runs it on N threads
            """,
            exitCode: .usage
        )
    }
}
