// What an untrusted script may ask for.
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

struct HostBoundsTests {
    private func options(
        _ members: [(String, PlainValue)],
        overrides: PaniniOverrides = PaniniOverrides()
    ) throws -> AppOptions {
        try AppOptions(
            script: [("service_name", .string("orders"))] + members,
            overrides: overrides,
            bounds: .untrusted
        )
    }

    @Test("what is beyond a bound becomes the bound, and is told")
    func lowered() throws {
        let options = try options([
            ("limits", .object([("cpu", .integer(86400)), ("memory", .string("1GB")), ("load", .number(4))])),
            ("shutdown_timeout", .integer(3600)), ("handler_timeout", .integer(3600)),
        ])
        #expect(options.limits.cpu == 1 && options.limits.memory == 256 << 20 && options.limits.load == 4)
        #expect(options.shutdownTimeout == 30 && options.handlerTimeout == 3600)
        #expect(options.lowered.map(\.name) == ["limits.cpu", "limits.memory", "shutdown_timeout"])
        #expect(options.lowered.first?.asked == .number(86400) && options.lowered.first?.bound == .number(1))
    }

    @Test("what all services share is not for one of them to lessen")
    func shared() throws {
        let less = try options([("web_memory", .string("1MB"))])
        #expect(less.webMemory == MachineMemory.webDefault && less.lowered.map(\.name) == ["web_memory"])
        #expect(less.lowered.first?.text.contains("--web-memory") == true)
        let none = try options([])
        #expect(none.webMemory == nil && none.lowered.isEmpty)
    }

    @Test("values from outside are nobody's to lower, and the script's own beside them are not used")
    func outside() throws {
        var overrides = PaniniOverrides()
        overrides.set("limits.cpu", text: "60", origin: "--limits-cpu", source: .commandLine)
        let options = try options([("limits", .object([("cpu", .integer(86400))]))], overrides: overrides)
        #expect(options.limits.cpu == 60 && options.lowered.isEmpty)
    }

    @Test("an ordinary script has what it asks for")
    func ordinary() throws {
        let options = try AppOptions(
            script: [("service_name", .string("orders")), ("shared_limit", .string("1GB"))],
            overrides: PaniniOverrides()
        )
        #expect(options.sharedLimit == 1 << 30 && options.lowered.isEmpty)
    }

    @Test("each option with a number either protects the host or is the script's own matter")
    func allAreDecided() {
        for option in OptionDefinition.all {
            switch option.kind {
            case .integer, .number, .size:
                let isOwn = if case .own? = option.untrustedUse { true } else { false }
                #expect(option.untrustedUse != nil && isOwn == (HostBounds.untrusted.largest[option.name] == nil))
            default: #expect(option.untrustedUse == nil && HostBounds.untrusted.largest[option.name] == nil)
            }
        }
        let own = OptionDefinition.all.filter { if case .own? = $0.untrustedUse { true } else { false } }.map(\.name)
        #expect(
            own == [
                "port", "max_reconnect_attempts", "reconnecting_time_sleep", "auth_retry", "max_control_line",
                "connect_timeout", "ping_interval", "web_port", "web_header_timeout", "web_body_timeout",
                "web_idle_timeout", "handler_timeout",
            ]
        )
        #expect(HostBounds.untrusted.largest.count == 20)
    }

    @Test("bounds are the defaults, and the option's own bounds allow more")
    func boundsAreDefaults() throws {
        let options = try options([])
        #expect(options.lowered.isEmpty)
        for (name, most) in HostBounds.untrusted.largest {
            switch (OptionDefinition.byName[name]?.kind, most) {
            case (.integer(let range)?, .integer(let number)), (.size(let range)?, .integer(let number)):
                #expect(range.contains(number) && range.upperBound > number, "\(name)")
            case (.number(let range)?, .number(let number)):
                #expect(range.contains(number) && range.upperBound > number, "\(name)")
            default: Issue.record("\(name) has another type")
            }
        }
    }
}
