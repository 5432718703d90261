// The host from a Swift program's side: scripts on an embedded broker, with a NATS client as the outside world.

import Foundation
import Logging
import NATS
import NATSBroker
import NATSProtocol
import NIOCore
import NIOPosix
import Testing

@testable import Panini

@Suite("Host", .serialized)
struct HostTests {
    @Test("answers requests with decoded data, parameters and headers")
    func answers() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t" }
            app.listen("sum.{name}", function(msg)
              local total = 0
              for _, n in ipairs(msg.data.numbers) do total = total + n end
              return { name = msg.params.name, total = total, who = msg.headers["X-Who"], tokens = msg.tokens }
            end)
            """
        ) { running in
            let reply = try await running.client.request(
                #"{"numbers":[1,2,39]}"#,
                to: "sum.ada",
                headers: ["X-Who": "me"],
                timeout: .seconds(20)
            )
            let text = String(buffer: reply.payload)
            let json = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
            #expect(json?["total"] as? Int == 42)
            #expect(json?["name"] as? String == "ada")
            #expect(json?["who"] as? String == "me")
            #expect(json?["tokens"] as? [String] == ["sum", "ada"])
        }
    }

    @Test("a message that is kept stays readable after its handler has ended")
    func keptMessage() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t" }
            local kept
            app.listen("keep", function(msg) kept = msg; return {} end)
            app.listen("show", function(msg)
              for i = 1, 200 do local t = { i } end
              collectgarbage("count")
              return { kept.data.x, kept.raw, kept.subject }
            end)
            """
        ) { running in
            _ = try await running.ask("keep", #"{"x":7}"#)
            for _ in 0..<50 { _ = try await running.ask("show") }
            try await running.expect("show", gives: #"[7,"{\"x\":7}","keep"]"#)
        }
    }

    @Test("ten thousand handlers wait at once, all are answered, and the memory comes back")
    func manySuspended() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t", limits = { cpu = 30 } }
            local open = 0
            app.listen("gate", { concurrency = 20000, timeout = 60 }, function(msg)
              open = open + 1
              local data, err = app.request("slow", { n = msg.data.n }, { timeout = 60 })
              open = open - 1
              return data or { error = err.message }
            end)
            local waiting = {}
            app.listen("slow", { concurrency = 20000, timeout = 60 }, function(msg)
              waiting[#waiting + 1] = msg
            end)
            app.listen("count", function() return { open = open, waiting = #waiting } end)
            app.listen("release", function()
              for _, m in ipairs(waiting) do m.respond({ n = m.data.n }) end
              waiting = {}
              return {}
            end)
            app.listen("memory", function() collectgarbage("count") return collectgarbage("count") end)
            """
        ) { running in
            _ = try await running.ask("memory")
            let before = Double(try await running.ask("memory")) ?? 0
            let count = 10_000
            let client = running.client
            let replies = try await client.subscribe("replies")
            for n in 0..<count { try client.publish(#"{"n":\#(n)}"#, to: "gate", reply: "replies") }
            let full = [#"{"open":\#(count),"waiting":\#(count)}"#, #"{"waiting":\#(count),"open":\#(count)}"#]
            while !full.contains(try await running.ask("count")) { try await Task.sleep(for: .milliseconds(20)) }
            _ = try await running.ask("release")
            var seen = Set<String>()
            var answered = 0
            for try await message in replies {
                seen.insert(String(buffer: message.payload))
                answered += 1
                if answered == count { break }
            }
            #expect(seen.count == count)
            #expect(seen.contains(#"{"n":0}"#) && seen.contains(#"{"n":9999}"#))
            // The host gives memory back after a busy time by itself; the pool keeps a thousand coroutines.
            var after = Double.infinity
            for _ in 0..<200 {
                after = Double(try await running.ask("memory")) ?? 0
                if after < before + 3000 { break }
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(after < before + 3000, "KiB before \(before), after \(after)")
        }
    }

    @Test("a handler over its time is answered 504, and its late completion harms nobody")
    func handlerTimeout() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t" }
            app.listen("slow", { timeout = 0.1 }, function(msg) app.sleep(0.3); return "late" end)
            app.listen("fast", function(msg) return "fast" end)
            """
        ) { running in
            for _ in 0..<3 {
                let reply = try await running.client.request("", to: "slow", timeout: .seconds(20))
                #expect(reply.headers["Nats-Service-Error-Code"] == "504")
                let fast = try await running.ask("fast")
                #expect(fast == "fast")
            }
            try await Task.sleep(for: .milliseconds(400))
            try await running.expect("fast", gives: "fast")
        }
    }

    @Test("beyond concurrency and pending_limit a request is answered 429")
    func overload() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t", pending_limit = 2 }
            app.listen("one", { concurrency = 1 }, function(msg) app.sleep(0.3); return "done" end)
            """
        ) { running in
            let client = running.client
            let results = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        let reply = try await client.request("", to: "one", timeout: .seconds(20))
                        return reply.headers["Nats-Service-Error-Code"] ?? String(buffer: reply.payload)
                    }
                }
                return try await group.reduce(into: [String: Int]()) { $0[$1, default: 0] += 1 }
            }
            #expect(results == ["done": 3, "429": 3])
        }
    }

    @Test("a chain of spawned functions, each waiting for the next, does not nest")
    func spawnChain() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t" }
            local function chain(n)
              if n == 0 then return 0 end
              return 1 + app.spawn(function() return chain(n - 1) end).wait()
            end
            app.listen("chain", function(msg) return chain(3000) end)
            app.listen("all", function(msg)
              local results, errors = app.wait_all{
                function() app.sleep(0.01); return "a" end,
                function() error("no") end,
                function() return nil, "refused" end,
              }
              return { results[1], tostring(results[2]), errors[2].message:match("no") and "no", errors[3] }
            end)
            """
        ) { running in
            try await running.expect("chain", gives: "3000")
            try await running.expect("all", gives: #"["a","nil","no","refused"]"#)
        }
    }

    @Test("ended listeners give everything back: a thousand rounds of listen and unsubscribe")
    func churn() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t" }
            app.listen("churn", function(msg)
              for i = 1, 100 do
                local handle = assert(app.listen("dynamic.{x}", function(m) return { x = m.params.x } end))
                assert(handle.unsubscribe() == true)
                assert(handle:unsubscribe() == false)
              end
              return collectgarbage("count")
            end)
            """
        ) { running in
            _ = try await running.ask("churn")
            let before = Double(try await running.ask("churn")) ?? 0
            for _ in 0..<10 { _ = try await running.ask("churn") }
            let after = Double(try await running.ask("churn")) ?? 0
            #expect(after < before + 200, "KiB before \(before), after \(after)")
            await #expect(throws: NATSError.self) { try await running.client.request("", to: "dynamic.1") }
        }
    }

    @Test("handlers that run out of time while they wait for spawned functions leave nothing behind")
    func abandonedWaiters() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "t" }
            app.listen("all", { timeout = 0.02 }, function(msg)
              local big = ("x"):rep(20000)
              app.wait_all{ function() app.sleep(0.05); return big .. "1" end, function() return big .. "2" end }
            end)
            app.listen("one", { timeout = 0.02 }, function(msg)
              local big = ("x"):rep(20000)
              app.spawn(function() app.sleep(0.05); return big .. "3" end).wait()
            end)
            app.listen("memory", function() return collectgarbage("count") end)
            """
        ) { running in
            let client = running.client
            for _ in 0..<5 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for n in 0..<100 {
                        group.addTask {
                            let reply = try await client.request(
                                "",
                                to: n % 2 == 0 ? "all" : "one",
                                timeout: .seconds(20)
                            )
                            let code = reply.headers["Nats-Service-Error-Code"]
                            #expect(code == "504")
                        }
                    }
                    try await group.waitForAll()
                }
            }
            // 500 handlers kept 20 to 40 KB each: what is left must be far below that.
            var after = Double.infinity
            for _ in 0..<100 {
                after = Double(try await running.ask("memory")) ?? 0
                if after < 4000 { break }
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(after < 4000, "KiB \(after)")
        }
    }

    @Test(
        "load errors have their codes",
        arguments: [
            ("local x = = 1", PaniniError.Code.scriptSyntax), ("error('boom')", .scriptFailed),
            ("error{ code = 1, message = 'boom' }", .scriptFailed), ("error()", .scriptFailed),
            ("local x = 1", .noApp),
            ("panini.app{}", .scriptFailed),
            ("panini.app{ service_name = 'a' } panini.app{ service_name = 'b' }", .scriptFailed),
            ("local app = panini.app{ service_name = 'a' } app.publish('a', 'b')", .scriptFailed),
            ("local app = panini.app{ service_name = 'a' } app.listen('a b', print)", .scriptFailed),
            ("local app = panini.app{ service_name = 'a' } app.listen('a', { queu = 'b' }, print)", .scriptFailed),
            ("local app = panini.app{ service_name = 'a' } app.timer_task(0, print)", .scriptFailed),
        ]
    )
    func loadErrors(script: String, code: PaniniError.Code) throws {
        let file = try ScriptFile(script)
        defer { file.remove() }
        do {
            _ = try PaniniCheck.check(path: file.path, logger: quiet)
            Issue.record("accepted")
        } catch {
            #expect(error.code == code, "\(error)")
            if code != .noApp { #expect(error.message.contains("service.lua:1:"), "\(error)") }
            #expect(!error.message.contains("\n"))
        }
    }

    @Test("a missing script, and a folder, are one clear line")
    func missingScript() {
        for path in ["/nowhere/at/all.lua", FileManager.default.temporaryDirectory.path] {
            do {
                _ = try PaniniCheck.check(path: path, logger: quiet)
                Issue.record("accepted")
            } catch {
                #expect(error.code == .scriptNotFound)
            }
        }
    }

    @Test("the check tells what a script serves")
    func report() throws {
        let file = try ScriptFile(
            """
            local app = panini.app{ service_name = "orders", version = "1.2.3", allocation_queue_group = "g" }
            app.listen({ "a.{x}", "b" }, { name = "two" }, function() end)
            app.listen("c", { queue = false }, function() end)
            app.listen("skipped.d", function() end)
            app.timer_task(0.5, { name = "tick" }, function() end)
            app.task(function() end)
            app.add_filters{ exclude = { "skipped" } }
            app.start()
            """
        )
        defer { file.remove() }
        let report = try PaniniCheck.check(path: file.path, logger: quiet)
        #expect(report.serviceName == "orders" && report.version == "1.2.3" && report.tasks == 1)
        #expect(report.listeners.map(\.subject) == ["a.*", "b", "c"])
        #expect(report.listeners.map(\.queue) == ["g", "g", nil])
        #expect(report.listeners.map(\.name) == ["two", "two", nil])
        #expect(report.timers == [.init(name: "tick", interval: 0.5)])
    }

    @Test("no broker: a clear end when retrying is off")
    func noBroker() async throws {
        let file = try ScriptFile("panini.app{ service_name = 'a', port = 1, retry_on_start = false }")
        defer { file.remove() }
        let host = PaniniHost(configuration: .init(scripts: [file.path]), logger: quiet)
        do {
            try await host.run()
            Issue.record("started")
        } catch let error as PaniniError {
            #expect(error.code == .brokerUnreachable, "\(error)")
        }
    }

    @Test("a stop while it still looks for a broker ends at once")
    func stopWhileConnecting() async throws {
        let file = try ScriptFile("panini.app{ service_name = 'a', port = 1 }")
        defer { file.remove() }
        let host = PaniniHost(configuration: .init(scripts: [file.path]), logger: quiet)
        let run = Task { try await host.run() }
        try await Task.sleep(for: .milliseconds(100))
        host.stop()
        try await run.value
    }

    @Test(
        "a failing start task, and a failing task under ignore_task_exceptions = false, end the host",
        arguments: [
            ("app.on_start_task(function() error('no') end)", PaniniError.Code.startTaskFailed),
            ("app.on_start_task(function() app.sleep(0.01); return nil, 'no' end)", .startTaskFailed),
            ("app.task(function() app.sleep(0.01); error('no') end)", .taskFailed),
            ("app.timer_task(0.01, function() error('no') end)", .taskFailed),
        ]
    )
    func fatalTasks(statement: String, code: PaniniError.Code) async throws {
        let script = "local app = panini.app{ service_name = 'a', ignore_task_exceptions = false } \(statement)"
        do {
            try await Running.with(script) { running in try await running.finished.value }
            Issue.record("went on")
        } catch let error as PaniniError {
            #expect(error.code == code)
        }
    }

    @Test("a stop answers what runs, and 503 what cannot end in time")
    func stopAnswers() async throws {
        let script = """
            local app = panini.app{ service_name = "t" }
            app.listen("quick", function(msg) app.sleep(0.2); return "done" end)
            app.listen("never", function(msg) app.sleep(60) end)
            app.task(function() while true do app.sleep(0.05) end end)
            """
        try await Running.with(script) { running in
            async let answer = running.ask("quick")
            try await Task.sleep(for: .milliseconds(80))
            running.host.stop()
            let done = try await answer
            #expect(done == "done")
            try await running.finished.value
        }
        do {
            try await Running.with(script, options: ["shutdown_timeout": "0.2"]) { running in
                async let answer = running.client.request("", to: "never", timeout: .seconds(20))
                try await Task.sleep(for: .milliseconds(80))
                running.host.stop()
                let code = try await answer.headers["Nats-Service-Error-Code"]
                #expect(code == "503")
                try await running.finished.value
            }
            Issue.record("ended without an error")
        } catch let error as PaniniError {
            #expect(error.code == .shutdownTimeout)
        }
    }
}
