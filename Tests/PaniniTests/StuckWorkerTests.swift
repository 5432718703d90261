// A worker that a Swift function holds: what a program that embeds a host sees of it, and that what it has registered is on the
// one that takes its place.

import Foundation
import LuaVM
import NATS
import NIOCore
import Synchronization
import Testing

@testable import Panini

/// Holds the threads that wait for it until it is opened.
private final class Hold: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private let count = Atomic<Int>(0)

    var arrived: Int { count.load(ordering: .relaxed) }

    func wait() {
        count.add(1, ordering: .relaxed)
        semaphore.wait()
    }

    func open(_ times: Int = 1) { for _ in 0..<times { semaphore.signal() } }
}

private let script = """
    local app = panini.app{ service_name = "held", web_server = true, limits = { cpu = 0.1 } }
    local hold = require "hold"
    app.listen("held.ask", function() return { panini.worker, app.shared.get("starts") } end)
    app.listen("held.hold", function() hold.wait() app.publish("held.late", "late") return "late" end)
    app.on_start_task(function() app.shared.incr("starts") end)
    app.http.get("/hold", function() hold.wait() return "late" end)
    app.http.get("/ask", function() return "fine" end)
    app.http.get("/stream", function()
        return panini.response{ stream = function(write) write("first") app.sleep(0.05) hold.wait() write("second") end }
    end)
    """

extension Running {
    fileprivate static func withHold(
        _ policy: PaniniStuckWorkerPolicy = .replace,
        expects code: PaniniError.Code? = nil,
        _ body: (Running, Hold) async throws -> Void
    ) async throws {
        WedgedWorkers.watch(grace: 0.3, logger: quiet)
        let hold = Hold()
        var module = PaniniModule("hold")
        module.function("wait") { () in hold.wait() }
        let configure: (inout PaniniHostConfiguration) -> Void = { [module] configuration in
            configuration.modules = [module]
            configuration.stuckWorkers = policy
            configuration.opensWebPorts = false
            configuration.service(configuration.scripts[0]) { service in
                service.listen("held.swift") { (message: PaniniMessage) in "from Swift" }
            }
        }
        do {
            try await Running.with(script, configure: configure) { try await body($0, hold) }
        } catch let error as PaniniError where error.code == code {
        }
        hold.open(16)
    }

    fileprivate func replaced(_ count: Int = 1) async throws -> PaniniServiceStatus {
        for _ in 0..<2000 {
            if let status = try await host.status().first, status.replacedWorkers == count, status.stuckWorkers == 0 {
                return status
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("not replaced")
        throw CancellationError()
    }

    fileprivate func noneGivenUp() async throws {
        for _ in 0..<2000 {
            if try await host.status().first?.givenUpThreads == 0 { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("the thread has not ended")
    }
}

@Suite("A host with a stuck worker", .serialized)
struct StuckWorkerTests {
    @Test("the new worker has everything that the old one had, and the old one ends")
    func replaced() async throws {
        try await Running.withHold { running, hold in
            try await running.expect("held.ask", gives: "[0,1]")
            let late = try await running.client.subscribe("held.late")
            try running.client.publish("", to: "held.hold")
            let status = try await running.replaced()
            #expect(status.givenUpThreads == 1)
            #expect(WedgedWorkers.now.count == 1)
            try await running.expect("held.ask", gives: "[0,2]")
            try await running.expect("held.swift", gives: "from Swift")
            #expect(try await running.host.reload().count == 1)
            hold.open()
            try await running.noneGivenUp()
            try await running.expect("held.swift", gives: "from Swift")
            late.unsubscribe()
            for try await _ in late { Issue.record("the old worker has sent something") }
        }
    }

    @Test("requests without a socket fail, and the next ones are answered")
    func handle() async throws {
        try await Running.withHold { running, hold in
            let error = await #expect(throws: PaniniError.self) {
                _ = try await running.host.handle(PaniniRequest(target: "/hold"))
            }
            #expect(error?.code == .workerStuck)
            _ = try await running.replaced()
            let response = try await running.host.handle(PaniniRequest(target: "/ask"))
            #expect(response.status == 200)
            hold.open()
            try await running.noneGivenUp()
        }
    }

    @Test("the body of an answer that a stuck worker was writing breaks off")
    func stream() async throws {
        try await Running.withHold { running, hold in
            let response = try await running.host.handle(PaniniRequest(target: "/stream"))
            #expect(response.status == 200)
            await #expect(throws: PaniniBodyError.incomplete) { _ = try await response.body.collect() }
            _ = try await running.replaced()
            hold.open()
            try await running.noneGivenUp()
        }
    }

    @Test("beyond the bound the host ends")
    func bound() async throws {
        try await Running.withHold(.replace(atMost: 1), expects: .tooManyStuckWorkers) { running, hold in
            try running.client.publish("", to: "held.hold")
            _ = try await running.replaced()
            try running.client.publish("", to: "held.hold")
            try await running.finished.value
            Issue.record("the host has ended without an error")
        }
    }
}
