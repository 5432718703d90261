// Variables of the environment that look like the program's.

import Panini
import Testing

@testable import PaniniCLI

@Suite("The environment")
struct EnvironmentTests {
    @Test("Each option has a variable, and no variable is there twice")
    func known() {
        #expect(Set(Environment.known).count == Environment.known.count)
        for option in OptionDefinition.all { #expect(Environment.known.contains(option.environmentName)) }
        #expect(Environment.warnings(of: Environment.known).isEmpty)
        #expect(Environment.known.allSatisfy { $0.hasPrefix(Environment.prefix) })
    }

    @Test(
        "What was meant is named",
        arguments: [
            ("PANINI_WEB_PROT", "PANINI_WEB_PORT"), ("PANINI_WEBPORT", "PANINI_WEB_PORT"),
            ("PANINI_web_port", "PANINI_WEB_PORT"),
            ("PANINI_LOGLEVEL", "PANINI_LOG_LEVEL"), ("PANINI_WORKER", "PANINI_WORKERS"),
            ("PANINI_PASSWORD", "PANINI_AUTH_PASSWORD"),
            ("PANINI_HANDLER_TIMOUT", "PANINI_HANDLER_TIMEOUT"), ("PANINI_LIMITS_MEMROY", "PANINI_LIMITS_MEMORY"),
        ]
    )
    func near(name: String, meant: String) {
        let lines = Environment.warnings(of: [name])
        #expect(lines.count == 1)
        #expect(lines.first?.contains("\(name) ") == true && lines.first?.hasSuffix("\(meant)?") == true)
    }

    @Test(
        "What is a flag only is told so",
        arguments: [
            ("PANINI_WATCH", "--watch"), ("PANINI_UNTRUSTED", "--untrusted"), ("PANINI_ALLOW_NET", "--allow-net"),
            ("PANINI_CONFIG", "--config"),
        ]
    )
    func flags(name: String, flag: String) {
        #expect(Environment.warnings(of: [name]).first?.hasSuffix("give \(flag) on the command line") == true)
    }

    @Test("Others are named alone, and what is not ours not at all")
    func others() {
        #expect(Environment.warnings(of: ["PATH", "PANINI", "XPANINI_WEB_PORT", "NATS_URL", ""]).isEmpty)
        let lines = Environment.warnings(of: ["PANINI_", "PANINI_SHOP_REGION", "PANINI_A\u{1b}[31m\nB"])
        #expect(lines.count == 3)
        #expect(lines.allSatisfy { !$0.contains("did you mean") && !$0.contains("\n") && !$0.contains("\u{1b}") })
        #expect(Environment.warnings(of: (0..<1000).map { "PANINI_Q\($0)" }).count == 20)
    }

    @Test(
        "Levels of the log",
        arguments: [
            ("debug", .debug), ("INFO", .info), ("Warning", .warning), ("error", .error), ("warn", .warning),
            ("trace", .debug),
            ("critical", .error), ("notice", .info), ("", nil), ("loud", nil), ("info ", nil), ("5", nil),
        ] as [(String, LogArguments.LogLevel?)]
    )
    func levels(text: String, level: LogArguments.LogLevel?) { #expect(LogArguments.LogLevel(argument: text) == level) }
}
