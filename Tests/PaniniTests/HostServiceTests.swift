// A host as one service of a program's group.

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
            try await run { try await $0.run() } end: { _, running, broker in
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
        } end: { _, running, _ in try await running.value }
    }

    @Test func aCancelledTaskStopsIt() async throws {
        try await run { try await $0.run() } end: { _, running, _ in
            running.cancel()
            try await running.value
        }
    }
}
