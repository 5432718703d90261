// Metrics and traces, as the backends of the program around the host get them.

import CoreMetrics
import Foundation
import InMemoryTracing
import Instrumentation
import LuaVM
import MetricsTestKit
import NATS
import NATSProtocol
import NIOCore
import Synchronization
import Testing
import Tracing

@testable import Panini

private let script = """
    local app = panini.app{ service_name = "shop", web_server = true, pending_limit = 1 }
    local swift = require "swift"
    app.listen("orders.{id}", { queue = "workers" }, function(msg)
        if msg.params.id == "bad" then return nil, { code = 404, message = "no such order" } end
        if msg.params.id == "crash" then error("bug") end
        return msg.params.id
    end)
    app.listen("chain", function(msg)
        local answer = assert(app.request("orders.7", ""))
        app.publish("audit.log", "seen")
        return { answer, swift.context(), swift.later() }
    end)
    app.listen("spawns", function(msg)
        local handle = app.spawn(function() return swift.context() end)
        return handle.wait()
    end)
    app.listen("slow", { timeout = 0.02 }, function() app.sleep(600) end)
    app.listen("one", { concurrency = 1 }, function() return swift.wait() end)
    app.http.get("/orders/{id}", function(req) return req.params.id .. swift.context() end)
    """

/// The trace and span that Swift code runs in.
private func currentSpan() -> String {
    guard let span = InstrumentationContext.current?.inMemorySpanContext else { return "none" }
    return "\(span.traceID)/\(span.spanID)"
}

/// Looks again and again, until it is so; a minute at most.
private func eventually(sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while !condition() {
        try #require(ContinuousClock.now < deadline, sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(1))
    }
}

private func configure(
    _ instruments: HostTelemetry?,
    wait: @escaping @Sendable () async -> Void = {}
) -> (inout PaniniHostConfiguration) -> Void {
    configuring { configuration in
        configuration.instruments = instruments
        configuration.opensWebPorts = false
        configuration.module("swift") { module in
            module.function("context") { () in currentSpan() }
            module.function("later") { () async in currentSpan() }
            module.function("wait") { () async -> Bool in
                await wait()
                return true
            }
        }
        configuration.service(configuration.scripts[0]) { service in
            service.listen("native") { (_: PaniniMessage) async in currentSpan() }
        }
    }
}

extension Running {
    fileprivate func refusal(_ subject: String) async throws -> String? {
        try await client.request("", to: subject, timeout: .seconds(20)).headers["Nats-Service-Error-Code"]
    }
}

@Suite("metrics of the host")
struct MetricsTests {
    private let metrics = TestMetrics()

    private func total(_ label: String, _ dimensions: [(String, String)]) -> Int64 {
        metrics.counterTotal(label: label, dimensions: dimensions)
    }

    @Test func messagesAreCountedWithTheirEndsAndDurations() async throws {
        let instruments = HostTelemetry(metrics: metrics, traces: nil)
        try await Running.with(script, configure: configure(instruments)) { running in
            for id in ["1", "2", "3"] { try await running.expect("orders.\(id)", gives: id) }
            #expect(try await running.refusal("orders.bad") == "404")
            #expect(try await running.refusal("orders.crash") == "500")
            #expect(try await running.refusal("slow") == "504")
            _ = try await running.ask("chain")
            let response = try await running.host.handle(PaniniRequest(target: "/orders/9"))
            #expect(response.status == 200)
        }
        let orders = [("service", "shop"), ("subject", "orders.*"), ("kind", "request")]
        // Three of the client's and one of the script itself.
        #expect(total("panini_messages", orders + [("result", "ok")]) == 4)
        #expect(total("panini_messages", orders + [("result", "error")]) == 2)
        #expect(try metrics.expectTimer("panini_messages_duration", orders).values.count == 6)
        #expect(try metrics.expectTimer("panini_messages_duration", orders).values.allSatisfy { $0 > 0 })
        let slow = [("service", "shop"), ("subject", "slow"), ("kind", "request")]
        #expect(total("panini_messages", slow + [("result", "abandoned")]) == 1)
        let sends = [("service", "shop"), ("kind", "request")]
        #expect(total("panini_sends", sends + [("result", "ok")]) == 1)
        #expect(total("panini_sends", [("service", "shop"), ("kind", "publish"), ("result", "ok")]) == 1)
        let route = [("service", "shop"), ("method", "GET"), ("route", "/orders/{id}")]
        #expect(total("panini_http_requests", route + [("result", "ok")]) == 1)
        #expect(total("panini_service_starts", [("service", "shop"), ("result", "ok")]) == 1)
        // Read when the host stops, for everything since the last look.
        #expect(total("panini_error_replies", [("service", "shop")]) == 3)
        #expect(try metrics.expectGauge("panini_generation", [("service", "shop")]).lastValue == 1)
        #expect(try metrics.expectGauge("panini_connected", [("service", "shop")]).lastValue == 1)
        #expect(try #require(metrics.expectGauge("panini_memory_bytes", [("service", "shop")]).lastValue) > 0)
    }

    @Test func refusedMessagesAndReloadsAreCounted() async throws {
        let entered = Mutex(0)
        let goOn = Mutex(false)
        let path = Mutex("")
        let instruments = HostTelemetry(metrics: metrics, traces: nil)
        let inner = configure(instruments) {
            entered.withLock { $0 += 1 }
            while !goOn.withLock({ $0 }) { try? await Task.sleep(for: .milliseconds(1)) }
        }
        try await Running.with(
            script,
            configure: configuring { configuration in
                inner(&configuration)
                path.withLock { $0 = configuration.scripts[0] }
            }
        ) { running in
            async let first = running.ask("one")
            while entered.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(1)) }
            async let second = running.ask("one")
            while try await running.host.status()[0].waiting == 0 { try await Task.sleep(for: .milliseconds(1)) }
            #expect(try await running.refusal("one") == "429")
            goOn.withLock { $0 = true }
            _ = try await (first, second)
            for outcome in try await running.host.reload() { _ = try outcome.get() }
            try "broken(".write(toFile: path.withLock { $0 }, atomically: true, encoding: .utf8)
            for outcome in try await running.host.reload() {
                #expect(throws: PaniniError.self) { try outcome.get() }
            }
        }
        #expect(total("panini_refused_messages", [("service", "shop")]) == 1)
        #expect(total("panini_reloads", [("service", "shop"), ("result", "ok")]) == 1)
        #expect(total("panini_reloads", [("service", "shop"), ("result", "error")]) == 1)
        #expect(try metrics.expectTimer("panini_reload_duration", [("service", "shop")]).values.count == 1)
        #expect(try metrics.expectGauge("panini_generation", [("service", "shop")]).lastValue == 2)
    }

    @Test func theWebServersConnectionsAndMessagesAreCounted() async throws {
        let port = try FreePort.find()
        let text = """
            local app = panini.app{ service_name = "web", web_server = true, web_port = \(port), logger_required = false }
            app.http.websocket("/echo", function(ws)
              while true do
                local data = ws.receive()
                if not data then return end
                ws.send(data)
              end
            end)
            """
        let instruments = HostTelemetry(metrics: metrics, traces: nil)
        try await Running.with(text, configure: configuring { $0.instruments = instruments }) { _ in
            let echoed = try RawWebSocket.echo("hello", path: "/echo", port: port)
            #expect(echoed == "hello")
        }
        let service = [("service", "web")]
        #expect(total("panini_http_connections", service) == 1)
        #expect(total("panini_websockets", service) == 1)
        #expect(total("panini_websocket_received", service) == 1)
        #expect(total("panini_websocket_sent", service) == 1)
        #expect(total("panini_websocket_failures", service) == 0)
    }

    @Test func withoutBackendsThereIsNothing() async throws {
        // This process has set up none.
        #expect(HostTelemetry.current == nil)
        try await Running.with(script, configure: configure(nil)) { running in
            try await running.expect("native", gives: "none")
            _ = try await running.ask("chain")
        }
        #expect(metrics.counters.isEmpty)
    }
}

@Suite("traces of the host")
struct TraceTests {
    private let tracer = InMemoryTracer()
    private var instruments: HostTelemetry? {
        HostTelemetry(metrics: nil, traces: .init(instrument: tracer, tracer: tracer))
    }

    /// The spans that have ended, by their names.
    private func spans() -> [String: FinishedInMemorySpan] {
        Dictionary(tracer.finishedSpans.map { ($0.operationName, $0) }, uniquingKeysWith: { $1 })
    }

    @Test func aTraceGoesThroughMessagesInAndOut() async throws {
        var answer = ""
        let audit = Mutex<[String: String]>([:])
        try await Running.with(script, configure: configure(instruments)) { running in
            let log = try await running.client.subscribe("audit.log")
            try await running.client.flush()
            var headers = NATSHeaders()
            headers.add(InMemoryTracer.traceIDKey, "trace-of-the-caller")
            headers.add(InMemoryTracer.spanIDKey, "span-of-the-caller")
            let reply = try await running.client.request("", to: "chain", headers: headers, timeout: .seconds(20))
            answer = String(buffer: reply.payload)
            var iterator = log.makeAsyncIterator()
            let seen = try await iterator.next()
            audit.withLock { $0["trace"] = seen?.headers[InMemoryTracer.traceIDKey] }
            audit.withLock { $0["span"] = seen?.headers[InMemoryTracer.spanIDKey] }
        }
        let spans = spans()
        let chain = try #require(spans["process chain"])
        let request = try #require(spans["request orders.7"])
        let order = try #require(spans["process orders.*"])
        let publish = try #require(spans["publish audit.log"])
        for span in [chain, request, order, publish] { #expect(span.traceID == "trace-of-the-caller") }
        #expect(chain.parentSpanID == "span-of-the-caller")
        #expect(chain.kind == .server)
        #expect(request.parentSpanID == chain.spanID)
        #expect(request.kind == .client)
        #expect(order.parentSpanID == request.spanID)
        #expect(publish.parentSpanID == chain.spanID)
        #expect(publish.kind == .producer)
        #expect(audit.withLock { $0 } == ["trace": "trace-of-the-caller", "span": publish.spanID])
        // Swift functions, at once or later, run in the handler's span.
        #expect(answer == #"[7,"trace-of-the-caller/\#(chain.spanID)","trace-of-the-caller/\#(chain.spanID)"]"#)
        #expect(chain.attributes["service.name"]?.toSpanAttribute() == .string("shop"))
        #expect(order.attributes["messaging.destination.name"]?.toSpanAttribute() == .string("orders.7"))
        #expect(tracer.activeSpans.isEmpty)
    }

    @Test func failuresAreMarked() async throws {
        try await Running.with(script, configure: configure(instruments)) { running in
            let codes = (try await running.refusal("orders.bad"), try await running.refusal("slow"))
            #expect(codes == ("404", "504"))
        }
        let spans = spans()
        let bad = try #require(spans["process orders.*"])
        #expect(bad.status?.code == .error)
        #expect(bad.status?.message == "no such order")
        #expect(bad.attributes["error.type"]?.toSpanAttribute() == .string("404"))
        #expect(spans["process slow"]?.status?.code == .error)
        #expect(tracer.activeSpans.isEmpty)
    }

    @Test func whatAHandlerSpawnsBelongsToIt() async throws {
        var answer = ""
        var native = ""
        try await Running.with(script, configure: configure(instruments)) { running in
            answer = try await running.ask("spawns")
            native = try await running.ask("native")
            // The coroutine is used again: nothing of the last span is left.
            _ = try await running.ask("spawns")
        }
        let all = tracer.finishedSpans
        let spawns = all.filter { $0.operationName == "process spawns" }
        #expect(spawns.count == 2)
        #expect(answer == "\(spawns[0].traceID)/\(spawns[0].spanID)")
        let span = try #require(all.first { $0.operationName == "process native" })
        #expect(native == "\(span.traceID)/\(span.spanID)")
    }

    @Test func ticksAndTasksHaveSpans() async throws {
        let told = Mutex<[String: String]>([:])
        try await Running.with(
            """
            local app = panini.app{ service_name = "shop", logger_required = false }
            local swift = require "swift"
            app.on_start_task(function()
                app.publish("began", "")
                swift.tell("start", swift.context())
                app.spawn(function() swift.tell("spawned", swift.context()) end)
            end)
            app.task(function()
                swift.tell("task", swift.later())
                app.sleep(600)
            end)
            app.on_reload(function() swift.tell("reload", swift.context()) end)
            app.on_stop(function() return nil, { code = "late", message = "too late" } end)
            app.timer_task(3600, { name = "tidy" }, function()
                app.sleep(0.001)
                app.publish("tidied", "")
                assert(app.request("answer", ""))
                swift.tell("tidy", swift.later())
            end)
            app.timer_task(1800, function() error{ code = 409, message = "no time" } end)
            app.listen("answer", function() return {} end)
            """,
            configure: configuring { configuration in
                configuration.instruments = instruments
                configuration.module("swift") { module in
                    module.function("context") { () in currentSpan() }
                    module.function("later") { () async in currentSpan() }
                    module.function("tell") { (name: String, text: String) in told.withLock { $0[name] = text } }
                }
                configuration.service(configuration.scripts[0]) { service in
                    service.timer(every: .milliseconds(3_600_500)) { told.withLock { $0["swift"] = currentSpan() } }
                    service.timer(every: .seconds(3600), options: .init(name: "later")) { () async throws in
                        told.withLock { $0["later"] = currentSpan() }
                        throw PaniniScriptError(code: 418, "a teapot")
                    }
                }
            }
        ) { running in
            let names = ["start", "spawned", "task", "tidy", "swift", "later"]
            try await eventually { told.withLock { told in names.allSatisfy { told[$0] != nil } } }
            for outcome in try await running.host.reload() { _ = try outcome.get() }
        }
        let all = tracer.finishedSpans
        func span(_ name: String) throws -> FinishedInMemorySpan {
            let span = try #require(
                all.first { $0.operationName == name },
                "\(name) is not among \(all.map(\.operationName))"
            )
            #expect(span.kind == .internal)
            #expect(span.parentSpanID == nil)
            #expect(span.attributes["service.name"]?.toSpanAttribute() == .string("shop"))
            return span
        }
        func isIn(_ name: String, _ span: FinishedInMemorySpan) -> Bool {
            told.withLock { $0[name] } == "\(span.traceID)/\(span.spanID)"
        }
        let start = try span("task on_start_task service.lua:3")
        let task = try span("task service.lua:8")
        let tidy = try span("timer tidy")
        let roots = [start, task, tidy]
        #expect(Set(roots.map(\.traceID)).count == 3)
        #expect(all.contains { $0.operationName == "publish began" && $0.parentSpanID == start.spanID })
        #expect(all.contains { $0.operationName == "publish tidied" && $0.parentSpanID == tidy.spanID })
        let request = try #require(all.first { $0.operationName == "request answer" && $0.traceID == tidy.traceID })
        #expect(all.contains { $0.operationName == "process answer" && $0.parentSpanID == request.spanID })
        // Of each version, the second one ended by the stop: neither is an error.
        #expect(all.filter { $0.operationName == task.operationName }.map(\.status?.code) == [nil, nil])
        for (name, span) in [("reload", try span("task on_reload service.lua:12"))] { #expect(isIn(name, span)) }
        // A reload has begun some anew.
        for (name, of) in [
            ("start", start.operationName), ("spawned", start.operationName), ("task", task.operationName),
            ("tidy", tidy.operationName), ("swift", "timer every 3600.5 s"), ("later", "timer later"),
        ] {
            #expect(all.contains { $0.operationName == of && isIn(name, $0) }, "\(name)")
        }
        for (name, type, text) in [
            ("timer every 1800 s", "409", "no time"), ("timer later", "418", "a teapot"),
            ("task on_stop service.lua:13", "late", "too late"),
        ] {
            let failed = try span(name)
            #expect(failed.status == SpanStatus(code: .error, message: text))
            #expect(failed.attributes["error.type"]?.toSpanAttribute() == .string(type))
        }
        #expect(tracer.activeSpans.isEmpty)
        #expect(Set(all.map(\.spanID)).count == all.count)
    }

    @Test func fetchesHaveSpansThatEndOnce() async throws {
        let port = try FreePort.find()
        let text = """
            local app = panini.app{
                service_name = "shop", web_server = true, web_port = \(port), shutdown_timeout = 0.1,
                logger_required = false,
            }
            local base = "127.0.0.1:\(port)"
            app.http.get("/up", function(req) return string.rep("x", 100000) end)
            app.http.get("/moved", function() return panini.response{ status = 302, headers = { location = "/up" } } end)
            for _, path in ipairs{ "/never", "/ever" } do app.http.get(path, function() app.sleep(600) end) end
            app.listen("up", function()
                local res = assert(app.http.fetch("http://ann:secret@" .. base .. "/moved?key=secret"))
                return res.status
            end)
            app.listen("missing", function() return assert(app.http.fetch("http://" .. base .. "/missing")).status end)
            app.listen("refused", function() return app.http.fetch("http://127.0.0.1:1/") end)
            app.listen("late", function() return app.http.fetch("http://" .. base .. "/never", { timeout = 0.02 }) end)
            app.listen("given.up", { timeout = 0.02 }, function() app.http.fetch("http://" .. base .. "/never") end)
            app.listen("some", function()
                local count = 0
                assert(app.http.fetch("http://" .. base .. "/up", { stream = function(piece)
                    count = count + 1
                    return false
                end }))
                return count
            end)
            app.listen("raises", function()
                app.http.fetch("http://" .. base .. "/up", { stream = function() error("bug") end })
            end)
            app.listen("own", function()
                local headers = { ["\(InMemoryTracer.traceIDKey)"] = "own", ["\(InMemoryTracer.spanIDKey)"] = "mine" }
                return assert(app.http.fetch("http://" .. base .. "/up", { headers = headers })).status
            end)
            app.listen("ever", function() app.http.fetch("http://" .. base .. "/ever", { timeout = 3600 }) end)
            """
        var ends: [String: FinishedInMemorySpan] = [:]
        try await Running.with(
            text,
            configure: configuring { $0.instruments = instruments },
            expectsTimeout: true
        ) { running in
            for (subject, reply) in [("up", "200"), ("missing", "404"), ("some", "1"), ("own", "200")] {
                try await running.expect(subject, gives: reply)
            }
            for (subject, code) in [("refused", "500"), ("late", "504"), ("given.up", "504"), ("raises", "500")] {
                #expect(try await running.refusal(subject) == code)
            }
            try running.client.publish("", to: "ever")
            try await eventually { tracer.activeSpans.contains { $0.operationName == "GET /ever" } }
        }
        let all = tracer.finishedSpans
        let parents = Dictionary(all.map { ($0.spanID, $0.operationName) }, uniquingKeysWith: { $1 })
        for span in all where span.kind == .client { ends[parents[span.parentSpanID ?? ""] ?? "none"] = span }
        #expect(ends.count == 9)
        #expect(ends.values.allSatisfy { $0.operationName == "GET" })
        func attribute(_ subject: String, _ name: String) -> SpanAttribute? {
            ends["process \(subject)"]?.attributes[name]?.toSpanAttribute()
        }
        #expect(attribute("up", "service.name") == .string("shop"))
        #expect(attribute("up", "http.request.method") == .string("GET"))
        #expect(attribute("up", "server.address") == .string("127.0.0.1"))
        #expect(attribute("up", "server.port") == .int64(Int64(port)))
        #expect(attribute("up", "url.full") == .string("http://127.0.0.1:\(port)/moved"))
        for (subject, status, error) in [
            ("up", 200, nil), ("some", 200, nil), ("raises", 200, nil), ("missing", 404, "404"),
            ("refused", nil, "connect"), ("late", nil, "timeout"), ("given.up", nil, "abandoned"),
            ("ever", nil, "abandoned"),
        ] as [(String, Int64?, String?)] {
            #expect(attribute(subject, "http.response.status_code") == status.map { .int64($0) }, "\(subject)")
            #expect(attribute(subject, "error.type") == error.map { .string($0) }, "\(subject)")
            #expect(ends["process \(subject)"]?.status?.code == error.map { _ in .error }, "\(subject)")
        }
        // Its context is what went out, over the redirect, too.
        let fetch = try #require(ends["process up"])
        for name in ["GET /moved", "GET /up"] {
            #expect(all.contains { $0.operationName == name && $0.parentSpanID == fetch.spanID })
        }
        #expect(all.contains { $0.operationName == "GET /up" && $0.traceID == "own" && $0.parentSpanID == "mine" })
        #expect(tracer.activeSpans.isEmpty)
        #expect(Set(all.map(\.spanID)).count == all.count)
    }

    @Test func callsFromSwiftBelongToTheirCallers() async throws {
        let text = """
            local app = panini.app{ service_name = "shop", logger_required = false }
            local swift = require "swift"
            function where() return swift.context() end
            function fails(what) error(what) end
            """
        try await Running.with(text, configure: configure(instruments)) { running in
            let outer = tracer.startSpan("outer", context: .topLevel)
            let inside = try await InstrumentationContext.withValue(outer.context) {
                try await running.host.call("where", of: "shop")
            }
            #expect(inside == [.string("\(outer.context.inMemorySpanContext?.traceID ?? "")/\(outer.spanID)")])
            outer.end()
            let outside = try await running.host.call("where", of: "shop")
            let own = try #require(spans()["task service.lua:3"])
            #expect(outside == [.string("\(own.traceID)/\(own.spanID)")])
            await #expect(throws: PaniniScriptError.self) { try await running.host.call("fails", of: "shop", "x") }
        }
        #expect(spans()["task service.lua:4"]?.status?.code == .error)
        #expect(tracer.activeSpans.isEmpty)
    }

    @Test func sendsFromSwiftBelongToTheirCallers() async throws {
        try await Running.with(script, configure: configure(instruments)) { running in
            let outer = tracer.startSpan("outer", context: .topLevel)
            try await InstrumentationContext.withValue(outer.context) {
                try await running.host.app("shop").publish("news.inside", "x")
            }
            outer.end()
            let inside = try #require(spans()["publish news.inside"])
            #expect(inside.traceID == outer.context.inMemorySpanContext?.traceID && inside.parentSpanID == outer.spanID)
            try await running.host.app("shop").publish("news.outside", "x")
            let outside = try #require(spans()["publish news.outside"])
            #expect(outside.parentSpanID == nil && outside.traceID != inside.traceID)
        }
        #expect(tracer.activeSpans.isEmpty)
    }

    @Test func requestsOfHTTPHaveSpans() async throws {
        var text = ""
        try await Running.with(script, configure: configure(instruments)) { running in
            let response = try await running.host.handle(
                PaniniRequest(
                    target: "/orders/7?a=b",
                    headers: [InMemoryTracer.traceIDKey: "t", InMemoryTracer.spanIDKey: "s"]
                )
            )
            text = String(decoding: try await response.body.collect(), as: UTF8.self)
        }
        let span = try #require(spans()["GET /orders/{id}"])
        #expect(span.traceID == "t" && span.parentSpanID == "s")
        #expect(text == "7t/\(span.spanID)")
        #expect(span.attributes["http.route"]?.toSpanAttribute() == .string("/orders/{id}"))
        #expect(span.attributes["url.path"]?.toSpanAttribute() == .string("/orders/7"))
    }
}
