// Listeners and timers written in Swift beside what a script registers: the same pipeline, the same answers, the same life.

import Foundation
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import Synchronization
import Testing

@testable import Panini

private let plainScript = """
    local app = panini.app{ service_name = "orders" }
    app.listen("lua.hello", function() return "hello from Lua" end)
    """

private struct Order: Codable, LuaConvertible {
    struct Item: Codable {
        var sku: String
        var count: Int
    }

    var id: Int
    var items: [Item]
}

private struct Surprise: Error {}

/// Adds to what the script of the configuration registers.
private func beside(
    _ build: @escaping (inout PaniniRegistrations) -> Void
) -> (inout PaniniHostConfiguration) -> Void {
    { configuration in configuration.service(configuration.scripts[0], build) }
}

/// Opens once; whoever waits goes on.
private final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var arrived = 0
    }

    private let state = Mutex(State())

    var arrived: Int { state.withLock { $0.arrived } }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                state.arrived += 1
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Looks again and again, until it is so; a minute at most.
private func eventually(
    _ what: Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record(what, sourceLocation: sourceLocation)
}

extension Running {
    fileprivate func expect(
        _ subject: String,
        _ payload: String,
        contains parts: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let reply = try await ask(subject, payload)
        for part in parts { #expect(reply.contains(part), sourceLocation: sourceLocation) }
    }

    /// The code and the text of an error reply, with its body.
    fileprivate func refusal(_ subject: String, _ text: String = "") async throws -> (code: String?, body: String) {
        let reply = try await client.request(text, to: subject, timeout: .seconds(20))
        return (reply.headers["Nats-Service-Error-Code"], String(buffer: reply.payload))
    }
}

@Suite("listeners and timers in Swift")
struct SwiftRegistrationTests {
    @Test func handlersOfAllShapesAnswer() async throws {
        let seen = Mutex<[String]>([])
        try await Running.with(
            plainScript,
            configure: beside { service in
                service.listen("swift.{name}.hello") { message in
                    "hello \(message.parameter("name") ?? "?") on \(message.subject): \(message.text)"
                }
                service.listen("swift.count") { (message: PaniniMessage, numbers: [Int]) in numbers.reduce(0, +) }
                service.listen("swift.later") { (message: PaniniMessage) async -> String in
                    await Task.yield()
                    return "later \(message.text)"
                }
                service.listen("swift.order") { (_: PaniniMessage, order: Order) async throws -> Order in
                    var order = order
                    order.items.append(.init(sku: "gift", count: 1))
                    return order
                }
                service.listen("swift.bytes", options: .init(dataType: .bytes)) { (_: PaniniMessage, bytes: [UInt8]) in
                    Array(bytes.reversed())
                }
                service.listen("swift.headers") { message in message.headers("Tag") }
                service.listen("swift.nothing") { _ -> String? in nil }
                service.listen("swift.silent") { message in seen.withLock { $0.append(message.text) } }
                service.listen("swift.silent.data") { (_: PaniniMessage, text: String) async in
                    seen.withLock { $0.append(text) }
                }
            }
        ) { running in
            try await running.expect("lua.hello", gives: "hello from Lua")
            try await running.expect("swift.ada.hello", "x", gives: "hello ada on swift.ada.hello: x")
            try await running.expect("swift.count", "[1,2,3]", gives: "6")
            try await running.expect("swift.later", "on", gives: "later on")
            try await running.expect(
                "swift.order",
                #"{"id":1,"items":[{"sku":"tea","count":2}]}"#,
                // The order of names is Lua's.
                contains: [#""id":1"#, #""sku":"tea""#, #""sku":"gift""#, #""count":2"#]
            )
            try await running.expect("swift.bytes", "abc", gives: "cba")
            try await running.expect("swift.nothing", gives: "")
            var headers = NATSHeaders()
            headers.add("Tag", "a")
            headers.add("Tag", "b")
            let tagged = try await running.client.request(
                "",
                to: "swift.headers",
                headers: headers,
                timeout: .seconds(20)
            )
            #expect(String(buffer: tagged.payload) == #"["a","b"]"#)
            try running.client.publish("one", to: "swift.silent")
            try running.client.publish(#""two""#, to: "swift.silent.data")
            try await eventually("both arrive") { seen.withLock { $0.sorted() } == ["one", "two"] }
        }
    }

    @Test func errorsBecomeTheSameRepliesAsThoseOfScripts() async throws {
        try await Running.with(
            plainScript,
            configure: beside { service in
                service.listen("swift.missing") { message -> Int in
                    throw PaniniScriptError(code: 404, "no order \(message.text)")
                }
                service.listen("swift.missing.later") { message async throws -> Int in
                    throw PaniniScriptError(code: "timeout", "the store is slow")
                }
                service.listen("swift.broken") { _ -> Int in throw Surprise() }
                service.listen("swift.broken.silent") { _ in throw Surprise() }
                service.listen("swift.order") { (_: PaniniMessage, order: Order) in order.id }
                service.listen("swift.nan") { _ in Double.nan }
            }
        ) { running in
            var refusal = try await running.refusal("swift.missing", "7")
            #expect(refusal.code == "404")
            #expect(refusal.body == #"{"success":false,"code":404,"error":"no order 7"}"#)
            refusal = try await running.refusal("swift.missing.later")
            #expect(refusal.code == "504")
            refusal = try await running.refusal("swift.broken")
            #expect(refusal.code == "500")
            #expect(refusal.body.contains("internal error"))
            refusal = try await running.refusal("swift.broken.silent")
            #expect(refusal.code == "500")
            refusal = try await running.refusal("swift.order", "{")
            #expect(refusal.code == "400")
            refusal = try await running.refusal("swift.order", #"{"id":1,"items":[{"sku":5,"count":1}]}"#)
            #expect(refusal.code == "422")
            #expect(refusal.body.contains(#""errors":[{"#))
            #expect(refusal.body.contains(#""path":"items[1].sku""#))
            refusal = try await running.refusal("swift.order")
            #expect(refusal.code == "422")
            refusal = try await running.refusal("swift.nan")
            #expect(refusal.code == "500")
        }
    }

    @Test func middlewaresOfBothLanguagesWrapThem() async throws {
        struct Exclaim: PaniniMiddleware {
            let kinds: Set<PaniniMiddlewareKind> = [.listenRequest]
            let mark: String

            func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision { .observe(state: nil) }

            func after(
                _ message: borrowing PaniniMiddlewareMessage,
                _ outcome: inout PaniniMiddlewareOutcome,
                state: AnyObject?
            ) {
                guard case .string(let text) = outcome.value else { return }
                outcome.answer(.string(text + mark))
            }
        }
        try await Running.with(
            """
            local app = panini.app{ service_name = "orders" }
            app.add_middleware{
                listen_request = function(msg, callback)
                    if msg.raw == "stop" then return "stopped in Lua" end
                    if msg.data and msg.data.id then msg.data.id = msg.data.id + 1 end
                    local reply, err = callback(msg)
                    if err then return "caught " .. err.code end
                    return reply .. " lua"
                end,
            }
            """,
            middlewares: [Exclaim(mark: " outer")],
            configure: beside { service in
                service.listen("swift.text", options: .init(dataType: .string, middlewares: [Exclaim(mark: " inner")]))
                {
                    message in message.text
                }
                service.listen("swift.later", options: .init(dataType: .string)) {
                    (message: PaniniMessage) async throws -> String in
                    if message.text == "fail" { throw PaniniScriptError(code: 409, "busy") }
                    return "later"
                }
                // What a middleware has changed is what the handler takes.
                service.listen("swift.id") { (_: PaniniMessage, data: [String: Int]) in "\(data["id"] ?? 0)" }
            }
        ) { running in
            try await running.expect("swift.text", "a", gives: "a inner lua outer")
            try await running.expect("swift.text", "stop", gives: "stopped in Lua outer")
            try await running.expect("swift.later", "go", gives: "later lua outer")
            try await running.expect("swift.later", "fail", gives: "caught 409 outer")
            try await running.expect("swift.id", #"{"id":41}"#, gives: "42 lua outer")
        }
    }

    @Test func limitsHold() async throws {
        let gate = Gate()
        let cancelled = Mutex(0)
        try await Running.with(
            plainScript,
            options: ["pending_limit": "1"],
            configure: beside { service in
                service.listen("swift.one", options: .init(concurrency: 1)) {
                    (message: PaniniMessage) async -> String in
                    await gate.wait()
                    return message.text
                }
                service.listen("swift.slow", options: .init(timeout: .milliseconds(20))) {
                    (_: PaniniMessage) async throws -> Int in
                    do {
                        try await Task.sleep(for: .seconds(600))
                    } catch {
                        cancelled.withLock { $0 += 1 }
                        throw error
                    }
                    return 1
                }
            }
        ) { running in
            async let first = running.ask("swift.one", "first")
            try await eventually("the first one runs") { gate.arrived == 1 }
            async let second = running.ask("swift.one", "second")
            try await eventually("the second one waits") { try await running.host.status()[0].waiting == 1 }
            let third = try await running.refusal("swift.one", "third")
            #expect(third.code == "429")
            gate.open()
            #expect(try await first == "first")
            #expect(try await second == "second")
            let late = try await running.refusal("swift.slow")
            #expect(late.code == "504")
            try await eventually("the task is cancelled") { cancelled.withLock { $0 } == 1 }
        }
    }

    @Test func aReloadKeepsThem() async throws {
        let gate = Gate()
        let ticks = Mutex(0)
        let file = Mutex<String?>(nil)
        try await Running.with(
            plainScript,
            configure: configuring { configuration in
                file.withLock { $0 = configuration.scripts[0] }
                configuration.service(configuration.scripts[0]) { service in
                    service.listen("swift.hello") { _ in "hello from Swift" }
                    service.listen("swift.wait") { (_: PaniniMessage) async -> String in
                        await gate.wait()
                        return "over"
                    }
                    service.timer(every: .milliseconds(5), options: .init(name: "beat")) { ticks.withLock { $0 += 1 } }
                }
            }
        ) { running in
            async let waiting = running.ask("swift.wait")
            try await eventually("it runs") { gate.arrived == 1 }
            for version in 1...3 {
                let script = """
                    local app = panini.app{ service_name = "orders" }
                    app.listen("lua.version", function() return \(version) end)
                    """
                try script.write(toFile: file.withLock { $0 } ?? "", atomically: true, encoding: .utf8)
                let outcome = try await running.host.reload()
                let report = try #require(outcome.first).get()
                #expect(report.to == version + 1)
                try await running.expect("lua.version", gives: "\(version)")
                try await running.expect("swift.hello", gives: "hello from Swift")
            }
            gate.open()
            #expect(try await waiting == "over")
            let before = ticks.withLock { $0 }
            try await eventually("the timer goes on") { ticks.withLock { $0 } > before }
        }
    }

    @Test func scriptsCannotEndThem() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "orders" }
            app.listen("end", function(msg) return app.unsubscribe(msg.raw) end)
            app.listen("lua.hello", function() return "hello from Lua" end)
            """,
            configure: beside { service in service.listen("swift.hello") { _ in "hello from Swift" } }
        ) { running in
            try await running.expect("end", "swift.hello", gives: "0")
            try await running.expect("swift.hello", gives: "hello from Swift")
            try await running.expect("end", "lua.hello", gives: "1")
        }
    }

    @Test func theServicesProtocolCountsThem() async throws {
        try await Running.with(
            plainScript,
            configure: beside { service in
                service.listen(
                    "swift.stats",
                    options: .init(queue: "workers", name: "numbers", metadata: ["owner": "swift"])
                ) { message -> Int in
                    if message.text == "fail" { throw PaniniScriptError(code: 418, "teapot") }
                    return 1
                }
            }
        ) { running in
            try await running.expect("swift.stats", gives: "1")
            _ = try await running.refusal("swift.stats", "fail")
            let info = try await running.ask("$SRV.INFO.orders")
            #expect(info.contains(#""name":"numbers""#))
            #expect(info.contains(#""queue_group":"workers""#))
            #expect(info.contains(#""owner":"swift""#))
            let stats = try await running.ask("$SRV.STATS.orders")
            #expect(stats.contains(#""num_requests":2"#))
            #expect(stats.contains(#""num_errors":1"#))
            #expect(stats.contains("418:teapot"))
        }
    }

    @Test func workersShareThem() async throws {
        let handled = Mutex<[String: Int]>([:])
        let ticks = Mutex((once: 0, each: 0))
        try await Running.with(
            plainScript,
            configure: configuring { configuration in
                configuration.workers = 2
                configuration.service(configuration.scripts[0]) { service in
                    service.listen("swift.shared") { message -> Int in
                        handled.withLock { $0[message.text, default: 0] += 1 }
                        return 1
                    }
                    // The first tick alone: the next ones are a day away.
                    service.timer(every: .seconds(86400)) { ticks.withLock { $0.once += 1 } }
                    service.timer(every: .seconds(86400), options: .init(eachWorker: true)) { () async in
                        ticks.withLock { $0.each += 1 }
                    }
                }
            }
        ) { running in
            for number in 0..<40 { try await running.expect("swift.shared", "\(number)", gives: "1") }
            #expect(handled.withLock { $0.count } == 40)
            #expect(handled.withLock { $0.values.allSatisfy { $0 == 1 } })
            try await eventually("timers tick") { ticks.withLock { $0.once == 1 && $0.each == 2 } }
        }
    }

    @Test func timersGoOnAfterErrors() async throws {
        let ticks = Mutex((sync: 0, later: 0, delayed: 0))
        try await Running.with(
            plainScript,
            configure: beside { service in
                service.timer(every: .milliseconds(2)) {
                    ticks.withLock { $0.sync += 1 }
                    throw PaniniScriptError(code: 500, "no luck")
                }
                service.timer(every: .milliseconds(2), options: .init(name: "later", jitter: .milliseconds(1))) {
                    () async throws in
                    ticks.withLock { $0.later += 1 }
                    throw Surprise()
                }
                service.timer(every: .milliseconds(2), options: .init(immediate: false, mode: .delay)) { () async in
                    ticks.withLock { $0.delayed += 1 }
                }
            }
        ) { _ in
            try await eventually("all go on") { ticks.withLock { $0.sync > 2 && $0.later > 2 && $0.delayed > 2 } }
        }
    }

    @Test func aStopWaitsForThem() async throws {
        let gate = Gate()
        try await Running.with(
            plainScript,
            configure: beside { service in
                service.listen("swift.wait") { (_: PaniniMessage) async -> String in
                    await gate.wait()
                    return "answered"
                }
            }
        ) { running in
            async let waiting = running.ask("swift.wait")
            try await eventually("it runs") { gate.arrived == 1 }
            running.host.stop()
            try await eventually("it stops") { try await running.host.status().first?.state == "stopping" }
            gate.open()
            #expect(try await waiting == "answered")
        }
    }

    @Test func oneAtATimeMeansThemToo() async throws {
        let running = Mutex((now: 0, most: 0))
        try await Running.with(
            """
            local app = panini.app{ service_name = "orders", app_strategy = "sync" }
            """,
            configure: beside { service in
                service.listen("swift.one") { (_: PaniniMessage) async -> Int in
                    running.withLock { state in
                        state.now += 1
                        state.most = max(state.most, state.now)
                    }
                    await Task.yield()
                    running.withLock { $0.now -= 1 }
                    return 1
                }
            }
        ) { host in
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<20 { group.addTask { try await host.ask("swift.one") } }
                for try await reply in group { #expect(reply == "1") }
            }
            #expect(running.withLock { $0.most } == 1)
        }
    }

    @Test func aServiceNeedsNoScript() async throws {
        try await Running.with(
            plainScript,
            configure: configuring { configuration in
                configuration.scripts = []
                configuration.service(
                    named: "clock",
                    options: ["version": "1.2.3", "metadata": ["a \"quoted\" name\n": "ü\\"], "handler_timeout": 2.5]
                ) { service in
                    service.listen("clock.now") { _ in 12 }
                }
            }
        ) { running in
            try await running.expect("clock.now", gives: "12")
            let info = try await running.ask("$SRV.INFO.clock")
            #expect(info.contains(#""version":"1.2.3""#))
            #expect(info.contains(#""a \"quoted\" name\u000a":"ü\\""#))
        }
    }

    @Test(
        "a wrong registration is one error that names it",
        arguments: [
            ("subject", "listener a..b, registered in Swift: subject \"a..b\" has an empty token"),
            ("queue", "listener a, registered in Swift: queue group \"x y\""),
            ("concurrency", "listener a, registered in Swift: concurrency must be from 1 to 1000000, not 0"),
            ("timeout", "listener a, registered in Swift: timeout must be from 0.001 to 86400 seconds, not 0"),
            ("name", "listener a, registered in Swift: name may have letters"),
            ("interval", "timer tick, registered in Swift: the interval must be from 0.001 to 31536000 seconds"),
            ("web", "GET /a, registered in Swift: this app serves no HTTP"),
            ("middleware", "is for none of listen_publish, listen_request"),
        ]
    )
    func wrongRegistrations(_ kind: String, _ text: String) throws {
        struct Sender: PaniniMiddleware {
            let kinds: Set<PaniniMiddlewareKind> = [.sendPublish]
            func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision { .proceed }
        }
        let file = try ScriptFile(plainScript)
        defer { file.remove() }
        var registrations = PaniniRegistrations()
        switch kind {
        case "subject": registrations.listen("a..b") { _ in 1 }
        case "queue": registrations.listen("a", options: .init(queue: "x y")) { _ in 1 }
        case "concurrency": registrations.listen("a", options: .init(concurrency: 0)) { _ in 1 }
        case "timeout": registrations.listen("a", options: .init(timeout: .zero)) { _ in 1 }
        case "name": registrations.listen("a", options: .init(name: "a b")) { _ in 1 }
        case "interval": registrations.timer(every: .zero, options: .init(name: "tick")) {}
        case "web": registrations.route(.get, "/a") { _ in 1 }
        default: registrations.listen("a", options: .init(middlewares: [Sender()])) { _ in 1 }
        }
        let error = #expect(throws: PaniniError.self) {
            try PaniniCheck.check(path: file.path, logger: quiet, registrations: registrations)
        }
        #expect(error?.code == .invalidOption)
        #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
    }
}
