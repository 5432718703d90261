// `panini test`: runs test files written in Lua, each with a broker and fresh services of its own.

import ArgumentParser
import Glibc
import Logging
import Panini
import PaniniObservability
import PaniniTesting

struct TestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Run the tests of services.",
        discussion: """
            A test file is Lua: test("name", function(t) ... end). orders_test.lua tests the service of orders.lua in its \
            folder or the one above; --service names others. Each file gets a broker of its own and services that have \
            just started. Without FILE all files here and in tests that end in _test.lua are run.

              panini test
              panini test orders_test.lua --filter total
              panini test all_test.lua --service orders.lua --service stock.lua

            In a test: t.request, t.publish, t.listen and t.sleep are those of an app; t.subscribe(subject) gives a box \
            with next([timeout]) and count(); t.equal(actual, expected), t.ok(value), t.matches(text, pattern), \
            t.raises(fn [, pattern]), t.eventually(fn [, timeout]) and t.skip(reason) check.

            The options of panini.app{...} can be given for the services as to run. \(PermissionArguments.help) That goes \
            for the services; the tests themselves are ordinary scripts. Exit codes: 0 all tests passed, \
            1 a test failed, or something could not run, 2 wrong usage.
            """
    )

    @Argument(help: "Test files; without any, *_test.lua here and in tests.", completion: .file(extensions: ["lua"]))
    var files: [String] = []

    @Option(
        help: ArgumentHelp(
            "A service's script, in place of the one that the file's name says; repeatable.",
            valueName: "file"
        )
    )
    var service: [String] = []

    @Option(help: ArgumentHelp("Run only tests whose name contains this.", valueName: "text"))
    var filter: String?

    @Option(help: ArgumentHelp("How many seconds a test may take.", valueName: "seconds"))
    var timeout = 10.0

    @Option(
        help: ArgumentHelp(
            "Show the services' log from this level on: debug, info, warning or error.",
            valueName: "level"
        )
    )
    var logLevel: LogArguments.LogLevel?

    @Option(help: ArgumentHelp("Options as a JSON object, with the names of panini.app{...}.", valueName: "file"))
    var config: String?

    @OptionGroup var permissions: PermissionArguments

    @OptionGroup var appOptions: AppOptionArguments<ServiceOptions>

    func validate() throws {
        guard timeout > 0, timeout <= 86_400 else {
            throw ValidationError("--timeout must be a number of seconds above 0 and up to 86400, not \(timeout)")
        }
    }

    func run() async throws {
        var overrides = try ServiceArguments.overrides(flags: appOptions.rewritten, config: config)
        overrides.permissions = try permissions.permissions()
        let files = try files.isEmpty ? TestFiles.here() : files
        let level = try LogArguments.LogLevel.effective(logLevel)
        let log = PaniniLogs(descriptor: 2, style: .text, level: level?.level ?? .critical)
        log.bootstrap()
        Environment.sayUnknown()
        var total = TestTotal()
        var tests: [PaniniScriptTest] = []
        for file in files { tests.append(PaniniScriptTest(path: file, services: try services(of: file))) }
        try PermissionArguments.check(overrides.permissions, tests.flatMap(\.services))
        for var test in tests {
            let file = test.path
            test.overrides = overrides
            test.overrides.permissions = overrides.permissions.naming(only: test.services)
            test.filter = filter
            test.timeout = timeout
            StandardOutput.writeLine(file)
            do {
                let outcomes = try await test.run(logger: Logger(label: "panini")) { outcome in
                    StandardOutput.writeLine(TestTotal.line(outcome))
                }
                total.add(outcomes)
                if outcomes.isEmpty, filter == nil {
                    total.broken += 1
                    StandardOutput.writeLine("  FAIL  has no test: test(\"name\", function(t) ... end)")
                }
            } catch {
                total.broken += 1
                let text = "\(error)".split(separator: "\n", omittingEmptySubsequences: false).joined(
                    separator: "\n        "
                )
                StandardOutput.writeLine("  FAIL  \(text)")
            }
        }
        log.shutdown()
        StandardOutput.writeLine(total.line)
        if total.ran == 0, total.broken == 0 { throw CommandError("no test has a name with \"\(filter ?? "")\"") }
        guard total.failed == 0, total.broken == 0 else { throw CommandError("not all tests passed") }
    }

    private func services(of file: String) throws(CommandError) -> [String] {
        guard service.isEmpty else { return service }
        guard let script = TestFiles.script(of: file) else {
            throw CommandError(
                "\(file): which service does it test? There is no \(TestFiles.wanted(of: file)); name one with --service",
                exitCode: .usage
            )
        }
        return [script]
    }
}

/// Which files are tests, and of what.
enum TestFiles {
    private static let ending = "_test.lua"

    /// Every test file of the current directory and of `tests`, in order of name.
    static func here() throws(CommandError) -> [String] {
        let found = names(in: ".") + names(in: "tests").map { "tests/\($0)" }
        guard !found.isEmpty else {
            throw CommandError("there is no file here, or in tests, whose name ends in \(ending)", exitCode: .usage)
        }
        return found
    }

    static func isTest(_ name: String) -> Bool { PaniniHostConfiguration.isTest(name) }

    /// `orders.lua` beside `orders_test.lua`, or in the folder above.
    static func script(of test: String) -> String? {
        guard test.hasSuffix(ending) else { return nil }
        let (folder, name) = parts(test)
        return [folder + name, folder + "../" + name].first { access($0, F_OK) == 0 }
    }

    /// What ``script(of:)`` looks for.
    static func wanted(of test: String) -> String { parts(test).name }

    private static func parts(_ test: String) -> (folder: String, name: String) {
        let folder = test.lastIndex(of: "/").map { String(test[...$0]) } ?? ""
        let name = test.dropFirst(folder.count)
        return (folder, (name.hasSuffix(ending) ? name.dropLast(ending.count) : name.dropLast(4)) + ".lua")
    }

    private static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(ending), !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }
}

/// What all files together came to.
struct TestTotal {
    private(set) var ran = 0
    private(set) var failed = 0
    private(set) var skipped = 0
    /// Files that could not be run.
    var broken = 0

    mutating func add(_ outcomes: [PaniniScriptTest.Outcome]) {
        ran += outcomes.count
        failed += outcomes.count { $0.failure != nil }
        skipped += outcomes.count { $0.skipped != nil }
    }

    var line: String {
        var parts = ["\(ran) \(ran == 1 ? "test" : "tests")", "\(failed) failed"]
        if skipped > 0 { parts.append("\(skipped) skipped") }
        if broken > 0 { parts.append("\(broken) \(broken == 1 ? "file" : "files") could not run") }
        return parts.joined(separator: ", ")
    }

    static func line(_ outcome: PaniniScriptTest.Outcome) -> String {
        let tenths = Int((outcome.seconds * 10_000).rounded())
        let time = "(\(tenths / 10).\(tenths % 10) ms)"
        if let failure = outcome.failure {
            let text = failure.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\n        ")
            return "  FAIL  \(outcome.name)  \(time)\n        \(text)"
        }
        if let reason = outcome.skipped { return "  skip  \(outcome.name): \(reason)" }
        return "  ok    \(outcome.name)  \(time)"
    }
}
