// What is said of wrong options of calls, to the letter: scripts' authors read it, and tests from outside look for parts of it.

import Foundation
import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Options of calls", .timeLimit(.minutes(5)))
struct LuaOptionsTests {
    /// What a call says that is refused while the file runs; nil when it is not refused.
    private func refusal(_ call: String) throws -> String? {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let script = try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
        defer { withExtendedLifetime(script) {} }
        let values = try script.vm.run(
            """
            local app = panini.app{ service_name = "test", web_server = true }
            local f = function() end
            local ok, text = pcall(function() \(call) end)
            return ok, text
            """
        )
        guard values.first == .boolean(false), values.count > 1, case .string(let text) = values[1] else { return nil }
        // Without the place.
        return text.range(of: ": ").map { String(text[$0.upperBound...]) }
    }

    private func expect(_ call: String, _ expected: [(options: String, text: String?)]) throws {
        for (options, text) in expected {
            let said = try refusal(call.replacingOccurrences(of: "OPTIONS", with: "{ \(options) }"))
            #expect(said == text, "\(call) \(options)")
        }
    }

    @Test("app.listen")
    func listeners() throws {
        try expect(
            "app.listen('a', OPTIONS, f)",
            [
                ("", nil), ("queue = false, timeout = 5, name = 'n', metadata = { a = 'b' }, reply = true", nil),
                ("metadata = {}, concurrency = 1000000, timeout = 0.001, data_type = 'bytes'", nil),
                ("concurrency = 0", "app.listen: concurrency must be from 1 to 1000000, not 0"),
                ("concurrency = 1.5", "app.listen: concurrency must be a whole number, not a number"),
                ("concurrency = 'x'", "app.listen: concurrency must be a whole number, not a string"),
                ("data_type = 1", "app.listen: data_type must be a string, not a number"),
                ("each_worker = 1", "app.listen: each_worker must be true or false, not a number"),
                ("metadata = 1", "app.listen: metadata must be a table of strings, not a number"),
                ("metadata = { 'x' }", "app.listen: metadata must be a table of strings, not a table"),
                ("metadata = { a = 1 }", "app.listen: metadata must hold strings only; \"a\" is a number"),
                ("name = f", "app.listen: name must be a string, not a function"),
                ("name = 'a b'", "app.listen: name may have letters, digits, _ and - only, not \"a b\""),
                ("queue = true", "app.listen: queue must be a string, or false, not a boolean"),
                ("reply = panini.null", "app.listen: reply must be true or false, not nil"),
                ("timeout = 'x'", "app.listen: timeout must be a number of seconds, not a string"),
                ("timeout = 0", "app.listen: timeout must be a number of seconds from 0.001 to 86400, not 0.0"),
                ("timeout = 86401", "app.listen: timeout must be a number of seconds from 0.001 to 86400, not 86401.0"),
                ("quue = 'x'", "app.listen: unknown option \"quue\"; did you mean \"queue\"?"),
                // Of two mistakes the one whose name comes first.
                ("timeout = 'x', concurrency = 0", "app.listen: concurrency must be from 1 to 1000000, not 0"),
            ]
        )
    }

    @Test("timers and filters")
    func timers() throws {
        try expect(
            "app.timer_task(1, OPTIONS, f)",
            [
                ("mode = 'delay', jitter = 1, immediate = false, name = 'x', each_worker = true", nil),
                ("mode = 'x'", "app.timer_task: mode must be \"rate\" or \"delay\", not \"x\""),
                ("mode = 1", "app.timer_task: mode must be a string, not a number"),
                ("jitter = {}", "app.timer_task: jitter must be a number of seconds, not a table"),
                ("jitter = -1", "app.timer_task: jitter must be a number of seconds from 0 to a year, not -1.0"),
                ("immediate = 'no'", "app.timer_task: immediate must be true or false, not a string"),
                ("name = 1", "app.timer_task: name must be a string, not a number"),
            ]
        )
        try expect(
            "app.add_filters(OPTIONS)",
            [
                ("include = 'a', exclude = { 'b' }", nil), ("include = {}", nil),
                ("include = 1", "app.add_filters: \"include\" must be a list of strings, not a number"),
                ("exclude = { 1 }", "app.add_filters: \"exclude\" must be a list of strings"),
            ]
        )
    }

    @Test("routes and folders")
    func routes() throws {
        try expect(
            "app.http.get('/a', OPTIONS, f)",
            [
                ("bytes = true, max_body = '1MB', timeout = 2", nil),
                ("bytes = 1", "app.http.get: option \"bytes\" cannot be a number"),
                (
                    "max_body = 'lots'",
                    "app.http.get: option \"max_body\" must be a number of bytes or a text such as \"64MB\", not \"lots\""
                ),
                ("max_body = -1", "app.http.get: option \"max_body\" must be from 0 to 1099511627776, not -1"),
                ("max_body = {}", "app.http.get: option \"max_body\" must be a number of bytes, not a table"),
                ("timeout = {}", "app.http.get: option \"timeout\" cannot be a table"),
                ("timeout = 0", "app.http.get: timeout must be a number of seconds from 0.001 to 86400, not 0.0"),
            ]
        )
        try expect(
            "app.http.static('/s', '/tmp', OPTIONS)",
            [
                ("max_age = 5", nil),
                ("max_age = -1", "app.http.static: max_age must be a number of seconds from 0 to a year"),
                ("max_age = 'x'", "app.http.static: max_age must be a number of seconds from 0 to a year"),
            ]
        )
    }

    @Test("WebSockets")
    func webSockets() throws {
        let name = "app.http.websocket"
        try expect(
            "app.http.websocket('/a', OPTIONS, f)",
            [
                ("ping_interval = false, origins = { 'self', 'https://a.b' }, protocols = { 'x' }, max_queue = 1", nil),
                ("idle_timeout = 0", "\(name): idle_timeout must be a number of seconds from 0.001 to 86400"),
                ("max_message = 0", "\(name): option \"max_message\" must be from 1 to 1073741824, not 0"),
                ("max_queue = 0", "\(name): max_queue must be a whole number from 1 to 100000"),
                ("max_queue = 'x'", "\(name): max_queue must be a whole number from 1 to 100000"),
                ("origins = 'x'", "\(name): option \"origins\" cannot be a string"),
                (
                    "origins = { 'x' }",
                    "\(name): \"x\" is no origin; it looks like https://shop.example, or is \"self\" or \"*\""
                ),
                ("origins = {}", "\(name): origins is empty: nobody could connect"),
                ("ping_interval = true", "\(name): ping_interval must be a number of seconds from 0 to 86400"),
                ("protocols = 5", "\(name): option \"protocols\" cannot be a number"),
                ("protocols = { 1 }", "\(name): protocols must be a list of texts"),
                ("protocols = { '' }", "\(name): protocols must be a list of texts"),
                (
                    "protocols = { 'a b' }",
                    "\(name): \"a b\" is no name of a subprotocol: no spaces, commas and the like"
                ),
                ("timeout = 0", "\(name): timeout must be a number of seconds from 0.001 to 86400"),
            ]
        )
        try expect(
            "app.http.nats_bridge('/a', OPTIONS)",
            [
                ("allow = { 'a.>' }, max_subscriptions = 5", nil),
                ("allow = 5", "app.http.nats_bridge: allow must be a list of subjects"),
                ("allow = { 5 }", "app.http.nats_bridge: allow must be a list of texts"),
                (
                    "allow = { 'a' }, max_subscriptions = 0",
                    "app.http.nats_bridge: max_subscriptions must be a whole number from 1 to 100000"
                ),
                (
                    "allow = { 'a' }, idle_timeout = {}",
                    "app.http.nats_bridge: idle_timeout must be a number of seconds from 0.001 to 86400"
                ),
            ]
        )
    }

    @Test("middlewares of the host")
    func middlewares() throws {
        let timeout = "panini.middleware.timeout"
        try expect(
            "\(timeout)(OPTIONS)",
            [
                ("seconds = 5, codes = { 504, 'timeout' }", nil),
                ("seconds = 'x'", "\(timeout): option \"seconds\" cannot be a string"),
                ("seconds = -1", "\(timeout): seconds must be a number of seconds from 0 to a year, not -1.0"),
                ("codes = {}", "\(timeout): codes is empty"),
                ("codes = 5", "\(timeout): option \"codes\" cannot be a number"),
                ("codes = { {} }", "\(timeout): codes must be numbers and words, not a table"),
                ("sends = 1", "\(timeout): option \"sends\" cannot be a number"),
                ("subject = 1", "\(timeout): option \"subject\" cannot be a number"),
            ]
        )
        let debug = "panini.middleware.debug"
        try expect(
            "\(debug)(OPTIONS)",
            [
                ("level = 'info', max_bytes = 1", nil),
                ("max_bytes = 0", "\(debug): max_bytes must be from 1 to 1048576"),
                ("max_bytes = 'x'", "\(debug): max_bytes must be from 1 to 1048576"),
                ("level = 1", "\(debug): option \"level\" cannot be a number"),
                ("level = 'inf'", "\(debug): unknown level \"inf\"; did you mean \"info\"?"),
                ("logger = {}", "\(debug): option \"logger\" cannot be a table"),
            ]
        )
        let cors = "panini.middleware.cors"
        try expect(
            "\(cors)(OPTIONS)",
            [
                ("origins = '*'", nil), ("origins = { '*' }", nil),
                ("origins = { 'https://a.b' }, methods = { 'get' }", nil),
                ("origins = 'x'", "\(cors): option \"origins\" cannot be a string"),
                ("origins = { 1 }", "\(cors): origins must be a list of strings"),
                ("origins = { '*', 'https://a.b' }", "\(cors): \"*\" stands alone"),
                ("origins = '*', methods = { 'a\\n' }", "\(cors): methods must be a list of strings"),
                ("origins = '*', headers = 5", "\(cors): option \"headers\" cannot be a number"),
                ("origins = '*', max_age = -1", "\(cors): max_age must be a number of seconds from 0 to 86400"),
                ("origins = '*', credentials = 1", "\(cors): option \"credentials\" cannot be a number"),
            ]
        )
    }

    @Test("validators")
    func validators() throws {
        let name = "panini.validator"
        try expect(
            "\(name)({}, OPTIONS)",
            [
                ("unknown = 'refuse', max_violations = 5, pattern_steps = 100", nil),
                ("unknown = 'x'", "\(name): unknown must be \"refuse\" or \"pass\""),
                ("unknown = 1", "\(name): unknown must be \"refuse\" or \"pass\""),
                ("max_violations = 0", "\(name): max_violations must be from 1 to 10000"),
                ("pattern_steps = 'x'", "\(name): pattern_steps must be from 1 to 1000000000"),
            ]
        )
        #expect(try refusal("\(name)({}, 5)") == "\(name): options must be a table, not number")
    }
}
