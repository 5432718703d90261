// Middlewares written in Swift, as a program that embeds the host adds them.

import LuaVM
import NATSProtocol
import Synchronization
import Testing

@testable import Panini

/// Writes down what it sees, and does what it is told for a subject.
private final class Recorder: PaniniMiddleware {
    enum Plan: Sendable {
        case stop
        case answer(LuaValue)
        case refuse(Int, String)
        case replace(LuaValue)
        case fail(Int, String)
        case trace(String)
    }

    final class State {
        let text: String
        init(_ text: String) { self.text = text }
    }

    let name: String
    let kinds: Set<PaniniMiddlewareKind>
    let plans: [String: Plan]
    private let lines = Mutex<[String]>([])

    init(_ name: String = "", kinds: Set<PaniniMiddlewareKind>, plans: [String: Plan] = [:]) {
        self.name = name
        self.kinds = kinds
        self.plans = plans
    }

    var seen: [String] { lines.withLock { $0 } }

    private func write(_ line: String) { lines.withLock { $0.append(line) } }

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
        let payload = message.payload.map { String(decoding: $0, as: UTF8.self) } ?? "-"
        let header = message.header("H").map { " H=\($0)" } ?? ""
        write("\(name)> \(message.kind.name) \(message.subject) \(payload)\(header)")
        switch plans[message.subject] {
        case .stop: return .stop
        case .answer(let value): return .answer(value)
        case .refuse(let code, let text): return .refuse(code: code, message: text)
        case .trace(let value): message.setHeader("Trace", value)
        case .replace, .fail, nil: break
        }
        return .observe(state: State(message.subject))
    }

    func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    ) {
        let end =
            outcome.isAbandoned
            ? "abandoned" : outcome.error.map { "\($0.code ?? "none") \($0.message)" } ?? "\(outcome.value)"
        write("<\(name) \((state as? State)?.text ?? "?") \(message.subject) \(end)")
        switch plans[message.subject] {
        case .replace(let value): outcome.answer(value)
        case .fail(let code, let text): outcome.fail(code: code, message: text)
        default: break
        }
    }
}

@Suite struct MiddlewareTests {
    @Test func theProgramsStandAroundTheScripts() async throws {
        let inner = Recorder("inner", kinds: [.listenRequest])
        let outer = Recorder("outer", kinds: [.listenRequest])
        let script = """
            local app = panini.app{ service_name = "s" }
            app.add_middleware{ listen_request = function(msg, callback) return (callback(msg) or "") .. "!" end }
            app.listen("hello", function(msg) return "hello" end)
            """
        try await Running.with(script, middlewares: [inner, outer]) { running in
            try await running.expect("hello", gives: "hello!")
        }
        #expect(inner.seen == ["inner> listen_request hello ", "<inner hello hello string(\"hello!\")"])
        #expect(outer.seen == ["outer> listen_request hello ", "<outer hello hello string(\"hello!\")"])
    }

    /// Nil replaces no failure, whether it was returned or raised; it still replaces an answer.
    @Test func nilLosesNoError() async throws {
        let recorder = Recorder(
            kinds: [.listenRequest, .sendRequest],
            plans: [
                "returned": .replace(.nil), "raised": .replace(.nil), "fault": .replace(.nil), "fine": .replace(.nil),
                "nobody.there": .replace(.nil),
            ]
        )
        let script = """
            local app = panini.app{ service_name = "s" }
            app.listen("returned", function() return nil, { code = 404, message = "none" } end)
            app.listen("raised", function() error{ code = 409, message = "conflict" } end)
            app.listen("fault", function() error("boom") end)
            app.listen("fine", function() return "own" end)
            app.listen("sends", function()
                local data, err = app.request("nobody.there", {})
                return { data == nil, err and err.code }
            end)
            """
        try await Running.with(script, middlewares: [recorder]) { running in
            try await running.expect("returned", gives: #"{"success":false,"code":404,"error":"none"}"#)
            try await running.expect("raised", gives: #"{"success":false,"code":409,"error":"conflict"}"#)
            try await running.expect("fault", gives: #"{"success":false,"code":500,"error":"internal error"}"#)
            try await running.expect("fine", gives: "")
            try await running.expect("sends", gives: #"[true,"no_responders"]"#)
        }
    }

    @Test func decisionsAndReplacements() async throws {
        let recorder = Recorder(
            kinds: [.listenRequest, .sendRequest, .sendPublish],
            plans: [
                "answered": .answer(["n": 1]), "refused": .refuse(403, "not you"), "replaced": .replace("other"),
                "failed": .fail(451, "withheld"), "raised": .replace("saved"), "out.answered": .answer(5),
                "out.refused": .refuse(500, "no sends"), "out.stopped": .stop,
            ]
        )
        let script = """
            local app = panini.app{ service_name = "s" }
            app.listen({ "answered", "refused" }, function() error("never runs") end)
            app.listen({ "replaced", "failed" }, function() return "own" end)
            app.listen("raised", function() error("broken") end)
            app.listen("sends", function()
                local n = app.request("out.answered", "x")
                local _, err = app.publish("out.refused", "x")
                return { n, err.code, err.message, select("#", app.publish("out.stopped", "x")) }
            end)
            """
        try await Running.with(script, middlewares: [recorder]) { running in
            try await running.expect("answered", gives: #"{"n":1}"#)
            try await running.expect("refused", gives: #"{"success":false,"code":403,"error":"not you"}"#)
            try await running.expect("replaced", gives: "other")
            try await running.expect("failed", gives: #"{"success":false,"code":451,"error":"withheld"}"#)
            try await running.expect("raised", gives: "saved")
            try await running.expect("sends", gives: #"[5,500,"no sends",0]"#)
        }
        #expect(
            recorder.seen.contains { $0.hasPrefix("< raised raised none ") && $0.hasSuffix("service.lua:4: broken") }
        )
    }

    @Test func sendsAreSeenAndGivenHeaders() async throws {
        let recorder = Recorder(
            kinds: [.sendPublish, .sendRequest, .listenPublish],
            plans: ["echo": .trace("t1")]
        )
        let script = """
            local app = panini.app{ service_name = "s" }
            local done = 0
            app.listen("echo", function(msg) return { msg.headers.Trace, msg.headers.H or "none" } end)
            app.listen("one", function() done = done + 1 end)
            app.listen("go", function()
                local options = { headers = { H = "h" } }
                local a = assert(app.request("echo", { n = 1 }, options))
                local b = assert(app.request("echo", "text", { data_type = "string" }))
                assert(app.publish_sync("one", { n = 2 }, { headers = { H = "first" } }))
                local _, err = app.request("nobody", "x")
                return { a, b, options.headers.Trace == nil, err.code }
            end)
            """
        try await Running.with(script, middlewares: [recorder]) { running in
            try await running.expect("go", gives: #"[["t1","h"],["t1","none"],true,"no_responders"]"#)
        }
        let seen = recorder.seen
        #expect(seen.contains(#"> send_request echo {"n":1} H=h"#))
        #expect(seen.contains("> send_request echo text"))
        #expect(seen.contains(#"> send_publish one {"n":2} H=first"#))
        #expect(seen.contains(#"> listen_publish one {"n":2} H=first"#))
        #expect(seen.contains("< one one boolean(true)"))
        #expect(seen.contains { $0.hasPrefix("< nobody nobody no_responders ") })
    }

    @Test func everyObservationEndsOnce() async throws {
        let recorder = Recorder(kinds: [.listenRequest, .sendRequest])
        let script = """
            local app = panini.app{ service_name = "s" }
            app.listen("slow", { timeout = 0.05 }, function() app.request("hole", "x") end)
            app.listen("hole", { reply = false }, function() end)
            app.listen("left", function()
                -- A coroutine that is never run to its end.
                coroutine.wrap(function() app.request("fine", "x") coroutine.yield() end)()
                return true
            end)
            app.listen("fine", function() return true end)
            """
        try await Running.with(script, middlewares: [recorder]) { running in
            #expect(try await running.ask("slow").contains("504"))
            try await running.expect("left", gives: "true")
        }
        let begun = recorder.seen.filter { $0.hasPrefix(">") }
        let ended = recorder.seen.filter { $0.hasPrefix("<") }
        #expect(begun.count == ended.count, "\(recorder.seen)")
        #expect(ended.contains("< slow slow abandoned"))
        #expect(ended.contains("< hole hole abandoned"))
    }
}
