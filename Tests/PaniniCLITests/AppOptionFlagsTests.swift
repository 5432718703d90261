// App options as flags: what is rewritten, what is left alone, and that each option has a flag.

import Panini
import Testing

@testable import PaniniCLI

@Suite struct AppOptionFlagsTests {
    static let cases: [(arguments: [String], rewritten: [String])] = [
        (["run", "a.lua"], ["run", "a.lua"]),
        (["run", "a.lua", "--port", "4333"], ["run", "a.lua", "--app-option=port=--port=4333"]),
        (["run", "--port=4333", "a.lua"], ["run", "--app-option=port=--port=4333", "a.lua"]),
        (["dev", "--auth-user", "ada"], ["dev", "--app-option=auth.user=--auth-user=ada"]),
        (["check", "--description", "a=b"], ["check", "--app-option=description=--description=a=b"]),
        (["check", "--description="], ["check", "--app-option=description=--description="]),
        (["run", "--debug", "a.lua"], ["run", "--app-option=debug=--debug=true", "a.lua"]),
        (["run", "--no-reconnect", "a.lua"], ["run", "--app-option=reconnect=--no-reconnect=false", "a.lua"]),
        (["run", "--reconnect=no"], ["run", "--app-option=reconnect=--reconnect=no"]),
        (
            ["run", "--max-reconnect-attempts", "-1"],
            ["run", "--app-option=max_reconnect_attempts=--max-reconnect-attempts=-1"]
        ),
        (
            ["run", "--auth-credentials", "-----BEGIN"],
            ["run", "--app-option=auth.credentials=--auth-credentials=-----BEGIN"]
        ),
        (["run", "a.lua", "--", "--port", "1"], ["run", "a.lua", "--", "--port", "1"]),
        // Left to ArgumentParser: its own options, unknown ones, and other commands.
        (["run", "--server", "nats://a", "--json", "-h"], ["run", "--server", "nats://a", "--json", "-h"]),
        (["run", "--xyzzy", "1"], ["run", "--xyzzy", "1"]),
        (["broker", "--port", "0"], ["broker", "--port", "0"]),
        // Client commands have those for credentials and TLS only.
        (
            ["request", "a", "--auth-token", "t", "--no-tls-verify"],
            ["request", "a", "--app-option=auth.token=--auth-token=t", "--app-option=tls.verify=--no-tls-verify=false"]
        ),
        (["subscribe", "a", "--web-port", "1"], ["subscribe", "a", "--web-port", "1"]),
        (["--version"], ["--version"]),
        ([], []),
    ]

    @Test(arguments: cases) func rewrites(_ arguments: [String], _ expected: [String]) throws {
        #expect(try AppOptionFlags.rewrite(arguments) == expected)
    }

    @Test(arguments: [["run", "--port"], ["run", "--port", "--debug"]]) func wantsAValue(_ arguments: [String]) {
        let error = #expect(throws: CommandError.self) { try AppOptionFlags.rewrite(arguments) }
        #expect(error?.exitCode == .usage)
    }

    @Test(arguments: [("--prot", "--port"), ("--no-reconect", "--no-reconnect"), ("--sever=x", "--server")])
    func suggestsTheNearestFlag(_ written: String, _ meant: String) {
        let error = #expect(throws: CommandError.self) { try AppOptionFlags.rewrite(["run", written]) }
        #expect(error?.message.hasSuffix("; did you mean \(meant)?") == true)
        #expect(error?.exitCode == .usage)
    }

    @Test(arguments: [
        (["run", "--password", "hunter2"], "--auth-password"), (["publish", "a", "--ca-file=x"], "--tls-ca-file"),
        (["request", "a", "--auth-tokn=hunter2"], "--auth-token"), (["subscribe", "--cuont", "2"], "--count"),
        (["subscribe", "a", "--no-verify"], "--no-tls-verify"),
    ]) func suggestsWithoutShowingValues(_ arguments: [String], _ meant: String) {
        let error = #expect(throws: CommandError.self) { try AppOptionFlags.rewrite(arguments) }
        #expect(error?.message.hasSuffix("; did you mean \(meant)?") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("hunter2") == false)
    }

    @Test(arguments: OptionDefinition.all.map(\.name)) func everyOptionHasAFlag(_ name: String) throws {
        let definition = try #require(OptionDefinition.all.first { $0.name == name })
        let rewritten = try AppOptionFlags.rewrite(["run", "\(definition.flag)=x"])
        let parts = try #require(AppOptionFlags.parts(String(rewritten[1].dropFirst("--app-option=".count))))
        #expect(parts.name == name)
        #expect(parts.flag == definition.flag)
        #expect(parts.value == "x")
        #expect(AppOptionFlags.help(OptionDefinition.all).contains(definition.summary))
    }
}

@Suite struct ReadyReportTests {
    @Test(arguments: [
        ("greet", "greet"), ("orders.*.paid", "orders.test.paid"), ("logs.>", "logs.test"), (">", "test"),
    ]) func makesAnExampleOfAPattern(_ pattern: String, _ example: String) {
        #expect(ReadyReport.example(of: pattern) == example)
    }

    @Test(arguments: [(5.0, "5"), (0.25, "0.25"), (1e9, "1000000000")]) func writesSeconds(
        _ value: Double,
        _ text: String
    ) {
        #expect(ReadyReport.seconds(value) == text)
    }
}
