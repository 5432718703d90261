// A feature that the host has never heard of: made of its folder, and one line.

import NATS
import NATSProtocol
import NIOCore
import ScriptRuntime
import Testing

@testable import Panini

@Suite("A feature from outside")
struct CounterTests {
    /// The one line.
    private static let features = FeatureList.all + [.counters]

    private static let script = """
        local app = panini.app{ service_name = "shop", counter_start = 40 }
        app.counter("orders")
        app.listen("count", function(msg) return app.counter("orders", msg.data) end)
        app.listen("other", function() return app.counter("nothing") end)
        app.listen("fail", function() return pcall(app.counter, "nothing") end)
        """

    @Test("its option, its function, its registration, its state over reloads, its row")
    func serves() async throws {
        let file = try ScriptFile(Self.script)
        defer { file.remove() }
        let configure: (inout PaniniHostConfiguration) -> Void = { configuration in
            configuration.features = Self.features
            configuration.scripts = [file.path]
        }
        try await Running.with(Self.script, configure: configure) { running in
            try await running.expect("count", "2", gives: "42")
            try await running.expect("count", "1", gives: "43")
            let refused = try await running.client.request("", to: "other", timeout: .seconds(20))
            #expect(refused.headers["Nats-Service-Error-Code"] == "500")
            // The next version has one more, and the value goes on.
            try file.write(Self.script + "\napp.counter(\"refunds\")")
            let outcomes = try await running.host.reload()
            let report = try #require(try outcomes.first?.get())
            #expect(report.added == ["counter refunds"])
            try await running.expect("count", "1", gives: "44")
            let status = try #require(try await running.host.status().first)
            #expect(status.figures == ["counter_orders": 44, "counter_refunds": 40])
            // One that the script does not declare any more is gone, and begins anew.
            try file.write(Self.script.replacing("app.counter(\"orders\")\n", with: "app.counter(\"refunds\")\n"))
            _ = try await running.host.reload()
            let rest = try #require(try await running.host.status().first)
            #expect(rest.figures == ["counter_refunds": 40])
        }
    }

    @Test("its table stands in app, with its functions and values, and refuses assignments")
    func table() async throws {
        let script =
            Self.script + """

                app.counter("refunds")
                app.listen("reset", function(msg) return app.counters.reset(msg.data) end)
                app.listen("list", function()
                    local texts = {}
                    for i, counter in ipairs(app.counters.list()) do texts[i] = counter.name .. "=" .. counter.value end
                    return table.concat(texts, " ")
                end)
                app.listen("most", function() return app.counters.most end)
                app.listen("wrong", function() return select(2, pcall(app.counters.reset, "nothing")) end)
                app.listen("assign", function() return select(2, pcall(function() app.counters.reset = 1 end)) end)
                """
        try await Running.with(script, configure: configuring { $0.features = Self.features }) { running in
            try await running.expect("count", "5", gives: "45")
            try await running.expect("list", gives: "orders=45 refunds=40")
            try await running.expect("reset", #""orders""#, gives: "45")
            try await running.expect("list", gives: "orders=40 refunds=40")
            try await running.expect("most", gives: "100")
            let wrong = try await running.ask("wrong")
            #expect(wrong.contains(#"app.counters.reset: "nothing" was not declared"#))
            let assigned = try await running.ask("assign")
            #expect(assigned.contains("app.counters.reset cannot be assigned: a counter is made by app.counter(name)"))
        }
    }

    @Test("its option is checked, and is unknown without it")
    func option() throws {
        let row = ScriptCounters.start
        func value(_ given: PlainValue, _ rows: [OptionDefinition]) throws -> OptionValue? {
            let members: [(String, PlainValue)] = [("service_name", .string("shop")), ("counter_start", given)]
            return try AppOptions(script: members, overrides: PaniniOverrides(), rows: rows).value(of: row)
        }
        #expect(try value(.integer(7), [row]) == .integer(7))
        #expect(throws: AppOptions.Failure.self) { try value(.integer(-1), [row]) }
        #expect(throws: AppOptions.Failure.self) { try value(.integer(7), []) }
        #expect(AppOptions().value(of: row) == .integer(0))
    }

    @Test("editors know its option, its functions, its table and its types")
    func types() {
        let text = PaniniTypes.definitions(with: Self.features)
        #expect(text.contains("function App.counter(name, by) end"))
        #expect(text.contains("@field counter_start? integer what counters begin with (0)"))
        let table = """
            ---The counters of a service.
            ---@class panini.Counters
            ---@field most integer how many a script may have
            local Counters = {}

            ---Lets a counter begin anew.
            ---@param name string
            ---@return integer value what it was before
            function Counters.reset(name) end
            """
        #expect(text.contains(table))
        #expect(text.contains("function Counters.list() end"))
        #expect(text.contains("---@class panini.Counter\n---@field name string\n"))
        let app = text.split(separator: "\n\n").first { $0.contains("@class panini.App\n") }
        #expect(app?.contains("\n---@field counters panini.Counters all of them at once\n") == true)
        #expect(!PaniniTypes.definitions.contains("counter"))
    }
}
