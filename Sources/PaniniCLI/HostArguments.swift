// What `run` and `dev` take that is about the program and not about one service: which scripts, how many workers.

import ArgumentParser
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

    func workerCount() throws(CommandFailure) -> Int {
        let (origin, text) =
            workers.map { ("--workers", $0) }
            ?? (Environment.workersName, Environment.value(Environment.workersName) ?? "1")
        if text == "auto" { return min(System.coreCount, Self.mostWorkers) }
        guard let count = Int(text), (1...Self.mostWorkers).contains(count) else {
            throw CommandFailure(
                "\(origin) must be auto or a number from 1 to \(Self.mostWorkers), not \"\(text)\"",
                exitCode: .usage
            )
        }
        return count
    }

    func configuration(overrides: PaniniOverrides, watches: Bool) throws(CommandFailure) -> PaniniHostConfiguration {
        var scripts: [String] = []
        var optional: Set<String> = []
        for file in files.isEmpty ? [ProjectScript.usual] : files {
            guard let found = PaniniHostConfiguration.scripts(in: file) else {
                scripts.append(file)
                continue
            }
            guard !found.isEmpty else { throw CommandFailure("\(file): no scripts (*.lua) in this folder") }
            scripts += found
            optional.formUnion(found)
        }
        var configuration = PaniniHostConfiguration(scripts: scripts, overrides: overrides)
        configuration.optionalScripts = optional
        configuration.workers = try workerCount()
        configuration.isStrict = strict
        configuration.watchesFiles = watches
        configuration.stuckWorkers = wedge.policy
        configuration.controlDirectory = ControlDirectory.usual
        return configuration
    }
}
