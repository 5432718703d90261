// A host as one service of a program's group.

import LuaVM
import NATS
import NIOCore
import Panini
import PaniniTesting
import ServiceLifecycle
import ServiceLifecycleTestKit
import Testing

@Suite("a host in a ServiceGroup")
struct HostServiceTests {
    /// Starts a host in `body`'s way, waits until it is ready, lets `end` end it, and returns when it has.
    private func run(
        _ start: @escaping @Sendable (PaniniHost) async throws -> Void,
        end: (PaniniHost, Task<Void, any Error>, PaniniTestBroker) async throws -> Void
    ) async throws {
        let broker = try await PaniniTestBroker.start(logger: quiet)
        var configuration = PaniniHostConfiguration(scripts: ["group.lua"])
        configuration.overrides.set("servers", texts: [broker.url], origin: "test")
        configuration.texts["group.lua"] = """
            local app = panini.app{ service_name = "group" }
            app.listen("group.slow", function() app.sleep(0.2) return "done" end)
            """
        let (ready, signal) = AsyncStream<Void>.makeStream()
        let host = PaniniHost(configuration: configuration, logger: quiet) { _ in signal.finish() }
        let running = Task { try await start(host) }
        for await _ in ready {}
        try await end(host, running, broker)
        await broker.stop()
    }

    @Test func aGracefulShutdownLetsHandlersFinish() async throws {
        try await testGracefulShutdown { trigger in
            try await run {
                try await $0.run()
            } end: { _, running, broker in
                let client = try await NATSClient.connect(to: broker.url, logger: quiet)
                let reply = Task { try await client.request("", to: "group.slow", timeout: .seconds(20)).text }
                // The question is there before the stop: both go over the broker in order.
                try await Task.sleep(for: .milliseconds(50))
                trigger.triggerGracefulShutdown()
                try await running.value
                #expect(try await reply.value == "done")
                await client.close()
            }
        }
    }

    @Test func aGroupRunsAndStopsIt() async throws {
        try await run { host in
            let group = ServiceGroup(services: [host], logger: quiet)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                tasks.addTask {
                    try await Task.sleep(for: .milliseconds(100))
                    await group.triggerGracefulShutdown()
                }
                try await tasks.waitForAll()
            }
        } end: { _, running, _ in
            try await running.value
        }
    }

    @Test func aCancelledTaskStopsIt() async throws {
        try await run {
            try await $0.run()
        } end: { _, running, _ in
            running.cancel()
            try await running.value
        }
    }
}

@Suite("what a host tells, and calls into it")
struct HostEventTests {
    private static let script = """
        local app = panini.app{ service_name = "told" }
        local geo = require "geo"
        app.listen("told.version", function() return VERSION end)
        VERSION = 1
        function area(w, h) return geo.times(w, h), "m2" end
        function wait() app.sleep(0.01) return "waited" end
        function fail() return nil, { code = 409, message = "not now" } end
        """

    private func configure(_ configuration: inout PaniniHostConfiguration) {
        configuration.module("geo") { module in module.function("times") { (a: Int, b: Int) in a * b } }
    }

    @Test func eventsComeInOrderAndModulesSurviveAReload() async throws {
        let file = try ScriptFile(Self.script)
        defer { file.remove() }
        var seen: [String] = []
        var events: AsyncStream<PaniniHostEvent>?
        try await PaniniTestHost.run(scripts: [file.path], configure: configure) { test in
            events = test.host.events
            let value1 = try await test.request("told.version")
            #expect(value1 == 1)
            try file.write(Self.script.replacing("VERSION = 1", with: "VERSION = 2"))
            let reloaded = try await test.host.reload("told")
            #expect(reloaded.count == 1)
            let value2 = try await test.request("told.version")
            #expect(value2 == 2)
            // The new version's state has the module, too.
            let area = try await test.host.call("area", of: "told", 3, 4)
            #expect(area == [12, "m2"])
            try file.write("local = nonsense")
            let failed = try await test.host.reload("told")
            #expect(throws: PaniniError.self) { try failed.first?.get() }
            let value3 = try await test.request("told.version")
            #expect(value3 == 2)
        }
        for await event in try #require(events) {
            switch event {
            case .started(let report): seen.append("started \(report.serviceName)")
            case .reloaded(let report): seen.append("reloaded \(report.from) to \(report.to)")
            case .reloadFailed(let service, let error): seen.append("reload failed \(service) \(error.code)")
            case .failed(let service, _): seen.append("failed \(service)")
            case .stopped(let service): seen.append("stopped \(service)")
            }
        }
        #expect(seen == ["reloaded 1 to 2", "reload failed told script_syntax", "stopped told"])
    }

    @Test func callsByName() async throws {
        try await PaniniTestHost.run(
            scripts: ["told.lua"],
            configure: { configuration in
                configure(&configuration)
                configuration.texts["told.lua"] = Self.script
            },
            { test in
                let value4 = try await test.host.call("wait", of: "told")
                #expect(value4 == ["waited"])
                let failed = await #expect(throws: PaniniScriptError.self) {
                    try await test.host.call("fail", of: "told")
                }
                #expect(failed == PaniniScriptError(code: 409, "not now"))
                let none = await #expect(throws: PaniniScriptError.self) {
                    try await test.host.call("nope", of: "told")
                }
                #expect(none?.code == "not_found")
                let nobody = await #expect(throws: PaniniScriptError.self) { try await test.host.call("wait", of: "x") }
                #expect(nobody?.code == "not_found")
            }
        )
    }
}
