// Every hook of features, by a feature that the host has never heard of.

import CoreMetrics
import Foundation
import Logging
import LuaVM
import MetricsTestKit
import NATS
import NATSProtocol
import ScriptRuntime
import Synchronization
import Testing

@testable import Panini

@Suite("The hooks of features", .timeLimit(.minutes(5)))
struct ProbeTests {
    private static let features = FeatureList.all + [.probe]

    private static func script(_ name: String, _ options: String = "") -> String {
        """
        local app = panini.app{ service_name = "\(name)"\(options) }
        app.listen("\(name)", function(msg) return "yes" end)
        """
    }

    private func run(
        _ script: String,
        middlewares: [any PaniniMiddleware] = [],
        configure: @escaping (inout PaniniHostConfiguration) -> Void = { _ in },
        _ body: (Running) async throws -> Void
    ) async throws {
        try await Running.with(
            script,
            middlewares: middlewares,
            configure: { configuration in
                configuration.features = Self.features
                configure(&configuration)
            },
            body
        )
    }

    @Test("a service is ready when its preparations are, and a stop waits for what still comes in")
    func order() async throws {
        try await run(Self.script("probe-order")) { running in
            try await running.expect("probe-order", gives: "yes")
        }
        let lines = ProbeLog.lines(of: "probe-order")
        let expected = [
            "connected", "prepare 1 ready", "prepared", "subscribe 1", "host: started", "host: will stop", "drain",
            "drained", "will disconnect, connected true", "given back", "disconnected", "shut", "close",
            "host: stopped",
        ]
        #expect(lines == expected)
    }

    @Test(
        "a preparation that fails, or takes longer than it may, ends the start and says what was not there",
        arguments: [("fails", "probe: NoProbe()"), ("silent", "probe was not there within 0.2 s")]
    )
    func failedStart(mode: String, reason: String) async throws {
        let name = "probe-\(mode)"
        let error = await #expect(throws: PaniniError.self) {
            try await run(Self.script(name, ", probe = \"\(mode)\"")) { _ in }
        }
        #expect(error?.code == .notReady)
        #expect(error?.message == "\(name): \(reason)")
        #expect(!ProbeLog.lines(of: name).contains("subscribe 1"))
        #expect(ProbeLog.lines(of: name).contains("close"))
    }

    @Test("a preparation that fails at a reload leaves the version before in its place")
    func failedReload() async throws {
        let name = "probe-reload"
        let file = try ScriptFile(Self.script(name))
        defer { file.remove() }
        let configure: (inout PaniniHostConfiguration) -> Void = { $0.scripts = [file.path] }
        try await run(Self.script(name), configure: configure) { running in
            try file.write(Self.script(name, ", probe = \"fails\""))
            let outcomes = try await running.host.reload()
            let error = #expect(throws: PaniniError.self) { try outcomes.first?.get() }
            #expect(error?.code == .notReady)
            try await running.expect(name, gives: "yes")
            try file.write(Self.script(name) + "\n-- again")
            _ = try await running.host.reload().first?.get()
            try await running.expect(name, gives: "yes")
        }
        let lines = ProbeLog.lines(of: name)
        #expect(lines.contains("withdraw 2") && lines.contains("host: not reloaded, not_ready"))
        #expect(lines.contains("host: reloaded"))
    }

    @Test("a feature may refuse a file, and lists what the file registered")
    func file() throws {
        func check(_ script: String) throws -> PaniniServiceReport {
            let file = try ScriptFile(script)
            defer { file.remove() }
            let place = ScriptPlace(features: Self.features)
            let script = try ServiceLoader.loadScript(
                file.path,
                overrides: PaniniOverrides(),
                logger: quiet,
                place: place
            )
            defer { script.close() }
            return PaniniServiceReport(script, options: try #require(script.options), clientName: nil)
        }
        let listed = try check(Self.script("probe-file")).registrations
        #expect(listed.map(\.kind) == ["probe"] && listed.map(\.name) == ["one"])
        #expect(listed.first?.details.map { "\($0.name) \($0.value)" } == ["mode ready", "of a test"])
        let error = #expect(throws: PaniniError.self) { try check(Self.script("probe-file", ", probe_refused = true")) }
        #expect(error?.code == .scriptFailed && error?.message.contains("the probe refuses the file") == true)
    }

    @Test("a host feature that cannot start ends the host before any service starts")
    func failedHost() async throws {
        let file = try ScriptFile(Self.script("probe-host"), name: "host-fails.lua")
        defer { file.remove() }
        let configure: (inout PaniniHostConfiguration) -> Void = { $0.scripts = [file.path] }
        let error = await #expect(throws: PaniniError.self) {
            try await run(Self.script("probe-host"), configure: configure) { _ in }
        }
        #expect(error?.code == .notReady && error?.message == "panini: host probe: NoHost()")
        #expect(ProbeLog.lines(of: "probe-host") == [])
    }

    @Test("figures are added up or the largest counts, over workers; metrics have them and the counters")
    func figures() async throws {
        let metrics = TestMetrics()
        let configure: (inout PaniniHostConfiguration) -> Void = {
            $0.workers = 3
            $0.instruments = HostTelemetry(metrics: metrics, traces: nil)
        }
        try await run(Self.script("probe-figures"), configure: configure) { running in
            let status = try #require(try await running.host.status().first)
            #expect(status.figures == ["probe_sum": 6, "probe_largest": 2])
        }
        // What was counted until the stop.
        let dimensions = [("service", "probe-figures")]
        #expect(try metrics.expectCounter("panini_probes", dimensions).totalValue == 9)
        #expect(try metrics.expectGauge("panini_probe_sum", dimensions).lastValue == 6)
    }

    @Test("the workers of a service share a value over reloads, and the host gives one to all")
    func sharedValues() async throws {
        let script = """
            local app = panini.app{ service_name = "probe-shared" }
            app.listen("shared", function() return { app.probe_shared() } end)
            """
        let file = try ScriptFile(script)
        defer { file.remove() }
        let configure: (inout PaniniHostConfiguration) -> Void = {
            $0.scripts = [file.path]
            $0.workers = 2
            $0.overrides.set("probe_word", text: "given", origin: "--probe-word")
        }
        try await run(script, configure: configure) { running in
            // Whichever worker answers.
            for count in 1...20 { try await running.expect("shared", gives: "[\(count),\"given\"]") }
            try file.write(script + "\n-- again")
            _ = try await running.host.reload().first?.get()
            try await running.expect("shared", gives: #"[21,"given"]"#)
        }
    }

    @Test("an option of the whole host is none of a script's")
    func hostOption() async throws {
        let file = try ScriptFile(Self.script("probe-option", ", probe_word = \"mine\""))
        defer { file.remove() }
        let error = #expect(throws: PaniniError.self) {
            try ServiceLoader.loadScript(
                file.path,
                overrides: PaniniOverrides(),
                logger: quiet,
                place: ScriptPlace(features: Self.features)
            )
        }
        #expect(error?.message.contains("is the whole program's: --probe-word, PANINI_PROBE_WORD") == true)
        #expect(!PaniniTypes.definitions(with: Self.features).contains("probe_word"))
    }

    @Test("a feature may be the backend of metrics, answer the control socket and show rows")
    func ears() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("p-\(UUID().uuidString.prefix(8))")
            .path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try ScriptFile(Self.script("probe-ears"), name: "own-backend.lua")
        defer { file.remove() }
        let configure: (inout PaniniHostConfiguration) -> Void = {
            $0.scripts = [file.path]
            $0.controlDirectory = folder
        }
        try await run(Self.script("probe-ears"), configure: configure) { running in
            let socket = "\(folder)/\(getpid()).sock"
            let answer = try ask(socket, #"{"command":"probe","word":"hello"}"#)
            #expect(answer == #"{"said":"hello","services":["probe-ears 3"]}"#)
            #expect(try ask(socket, #"{"command":"else"}"#).contains("unknown command"))
            let rows = #""rows":[{"kind":"probe","name":"clock","details":{"next":"soon"}}]"#
            #expect(try ask(socket, #"{"command":"ps"}"#).contains(rows))
        }
        let counter = try ProbeBackend.metrics.expectCounter("panini_probes", [("service", "probe-ears")])
        #expect(counter.totalValue == 3)
    }

    @Test("a script that may make no app is told to features as left out")
    func leftOut() async throws {
        let module = try ScriptFile("return {}", name: "left-out.lua")
        defer { module.remove() }
        let file = try ScriptFile(Self.script("probe-beside"))
        defer { file.remove() }
        let configure: (inout PaniniHostConfiguration) -> Void = {
            $0.scripts = [module.path, file.path]
            $0.optionalScripts = [module.path]
        }
        try await run(Self.script("probe-beside"), configure: configure) { running in
            try await running.expect("probe-beside", gives: "yes")
        }
        #expect(ProbeLog.lines(of: "probe-left-out") == ["host: starting", "host: left out"])
    }

    /// One question to the control socket, and its answer.
    private func ask(_ path: String, _ question: String) throws -> String {
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(100)) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let connected = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, size) }
        }
        try #require(connected == 0)
        let line = Array((question + "\n").utf8)
        try #require(write(socket, line, line.count) == line.count)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !answer.contains(UInt8(ascii: "\n")) {
            let count = read(socket, &buffer, buffer.count)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    @Test("middlewares stand around the functions of a feature, in Lua and in Swift")
    func middlewares() async throws {
        let script = """
            local app = panini.app{ service_name = "probe-middlewares" }
            app.add_middleware{
                send_probe = function(subject, message, probe) return probe(subject, message .. "!") end,
                listen_any = function(text, callback) return callback(text) end,
            }
            app.listen("send", function() return app.probe("a.b", "hello") end)
            app.listen("receive", function() return app.probed("what") end)
            app.listen("twice", function()
                local handle = app.add_middleware{ send_any = function(s, m, go) go(s, m) return go(s, m) end }
                local ok, text = pcall(app.probe, "a.b", "x")
                handle.remove()
                return { ok, tostring(text):match("probe was called twice") }
            end)
            """
        let seen = Seen()
        try await run(script, middlewares: [seen]) { running in
            try await running.expect("send", gives: "hello!")
            try await running.expect("receive", gives: "what")
            try await running.expect("twice", gives: #"[false,"probe was called twice"]"#)
        }
        #expect(
            seen.lines.prefix(2) == ["send_probe a.b hello -", "listen_probe probed what what"]
        )
    }

    @Test("its kinds of middlewares are unknown without it")
    func unknownKind() throws {
        let script = """
            local app = panini.app{ service_name = "s" }
            app.add_middleware{ send_probe = function() end }
            """
        let file = try ScriptFile(script)
        defer { file.remove() }
        let error = #expect(throws: PaniniError.self) { try PaniniCheck.check(path: file.path, logger: quiet) }
        #expect(error?.message.contains("unknown function \"send_probe\"") == true)
    }

    @Test("an untrusted script may do what its permission says")
    func permission() async throws {
        let script = """
            local app = panini.app{ service_name = "probe-untrusted" }
            app.listen("own", function() return app.probe("mine", "hello") end)
            app.listen("other", function()
                local value, err = app.probe("yours", "hello")
                return { value == nil, err and err.code }
            end)
            """
        let configure: (inout PaniniHostConfiguration) -> Void = {
            $0.overrides.permissions.untrusted = ["*"]
            $0.overrides.permissions.listen = [">"]
            ScriptProbe.permission.set(["mine"], in: &$0.overrides.permissions)
        }
        try await run(script, configure: configure) { running in
            try await running.expect("own", gives: "hello")
            try await running.expect("other", gives: #"[true,"denied"]"#)
        }
    }
}

/// Writes down what it sees of the probe's kinds.
private final class Seen: PaniniMiddleware {
    let kinds: Set<PaniniMiddlewareKind> = [.sendProbe, .listenProbe]
    private let written = Mutex<[String]>([])

    var lines: [String] { written.withLock { $0 } }

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
        let payload = message.payload.map { String(decoding: $0, as: UTF8.self) } ?? "none"
        let line = "\(message.kind.name) \(message.subject) \(payload) \(message.header("Probe") ?? "-")"
        written.withLock { $0.append(line) }
        return .proceed
    }
}
