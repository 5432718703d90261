// What Swift code sends as a service: replies with headers, publishes and requests of its own, and where its tasks begin.

import Foundation
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import Synchronization
import Testing

@testable import Panini

private let script = """
    local app = panini.app{ service_name = "shop" }
    app.listen("prices.get", { data_type = "string" }, function(msg)
        if msg.data == "nothing" then return nil, { code = 404, message = "no such thing" } end
        return { sku = msg.data, price = 7, tag = msg.headers.Tag, all = msg.headers:all("Tag") }
    end)
    app.listen("prices.never", { reply = false }, function() end)
    app.listen("stamp", function(msg) msg.respond("fine", { headers = { Stamp = { "one", "two" } } }) end)
    """

private struct Price: Codable, LuaConvertible, Equatable {
    var sku: String
    var price: Int
}

private func beside(
    _ build: @escaping (inout PaniniRegistrations) -> Void
) -> (inout PaniniHostConfiguration) -> Void {
    { configuration in configuration.service(configuration.scripts[0], build) }
}

/// The code of what was thrown.
private func code(_ body: () async throws -> Void) async -> PaniniScriptError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? PaniniScriptError)?.code
    }
}

/// The kernel's number of the thread that asks.
@inline(never)
private func thread() -> String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")) ?? "unknown"
}

@Suite("sending from Swift")
struct SwiftSendingTests {
    // MARK: - Replies with headers

    @Test func aReplyHasHeaders() async throws {
        try await Running.with(
            script,
            configure: beside { service in
                service.listen("swift.at_once") { message in
                    PaniniReply(["n": 1], headers: ["Version": "7", "Tag": "a", "Tag": "b"])
                }
                service.listen("swift.later") { (message: PaniniMessage) async in
                    await Task.yield()
                    return PaniniReply("text", headers: ["Version": "8"])
                }
                service.listen("swift.empty") { message in PaniniReply(nil as String?, headers: ["Version": "9"]) }
                service.listen("swift.plain") { message in PaniniReply("plain", headers: [:]) }
            }
        ) { running in
            let atOnce = try await running.client.request("", to: "swift.at_once")
            #expect(String(buffer: atOnce.payload) == #"{"n":1}"#)
            #expect(atOnce.headers["Version"] == "7")
            #expect(atOnce.headers.values(of: "Tag") == ["a", "b"])
            let later = try await running.client.request("", to: "swift.later")
            #expect(String(buffer: later.payload) == "text" && later.headers["Version"] == "8")
            let empty = try await running.client.request("", to: "swift.empty")
            #expect(empty.payload.readableBytes == 0 && empty.headers["Version"] == "9")
            try await running.expect("swift.plain", gives: "plain")
            // A message without a reply subject keeps nothing behind.
            try running.client.publish("", to: "swift.at_once")
            try await running.expect("swift.plain", gives: "plain")
        }
    }

    @Test func middlewaresSeeTheValueAndHeadersStay() async throws {
        let script = """
            local app = panini.app{ service_name = "shop" }
            app.add_middleware({ listen_request = function(msg, call)
                local data, err = call(msg)
                if msg.data == "fail" then error("from the middleware") end
                if msg.data == "refuse" then return nil, { code = 409, message = "refused" } end
                return { inner = data }, err
            end })
            """
        try await Running.with(
            script,
            configure: beside { service in
                service.listen("swift.reply") { message in PaniniReply("value", headers: ["Version": "7"]) }
            }
        ) { running in
            let reply = try await running.client.request(#""fine""#, to: "swift.reply")
            #expect(String(buffer: reply.payload) == #"{"inner":"value"}"#)
            #expect(reply.headers["Version"] == "7")
            for (data, expected) in [("fail", "500"), ("refuse", "409")] {
                let refused = try await running.client.request("\"\(data)\"", to: "swift.reply")
                #expect(refused.headers["Nats-Service-Error-Code"] == expected)
                #expect(refused.headers["Version"] == nil)
            }
        }
    }

    @Test func whatCannotBeAHeaderIsAnError() async throws {
        let script = """
            local app = panini.app{ service_name = "shop" }
            local swift = require "swift"
            app.listen("lua.reply", function() return swift.reply() end)
            """
        try await Running.with(
            script,
            options: ["debug": "true"],
            configure: configuring { configuration in
                beside { service in
                    service.listen("swift.bad") { message in PaniniReply("x", headers: ["a b": "value"]) }
                    service.listen("swift.lines") { message in PaniniReply("x", headers: ["name": "a\r\nb"]) }
                }(&configuration)
                configuration.module("swift") { module in
                    module.function("reply") { () in PaniniReply("x", headers: ["a": "b"]) }
                }
            }
        ) { running in
            for (subject, text) in [
                ("swift.bad", "a b"), ("swift.lines", "name"), ("lua.reply", "only a listener can return"),
            ] {
                let reply = try await running.client.request("", to: subject)
                #expect(reply.headers["Nats-Service-Error-Code"] == "500")
                #expect(String(buffer: reply.payload).contains(text))
            }
        }
    }

    // MARK: - Publish and request

    @Test func handlersPublishAndRequest() async throws {
        let heard = Mutex<[String]>([])
        try await Running.with(
            script,
            configure: beside { service in
                service.listen("swift.order") { (message: PaniniMessage, sku: String) async throws -> Int in
                    // A text goes as it is, and this listener's own data is JSON.
                    let price = try await message.app.request("prices.get", sku, as: Price.self)
                    try await message.app.publish("swift.added", ["sku": price.sku], headers: ["Tag": "new"])
                    return price.price
                }
                service.listen("swift.added") { message in
                    heard.withLock { $0.append(message.text + (message.header("Tag") ?? "")) }
                }
                service.listen("swift.ask") { (message: PaniniMessage) async throws -> String in
                    let reply = try await message.app.request(
                        "prices.get",
                        "tea",
                        headers: ["Tag": "a", "Tag": "b"],
                        timeout: .seconds(5)
                    )
                    return reply.text
                }
                service.listen("swift.stamp") { (message: PaniniMessage) async throws -> [String] in
                    try await message.app.request("stamp", nil as String?).headers("Stamp")
                }
                service.listen("swift.forward") { (message: PaniniMessage) async throws in
                    try await message.app.publish("stamp", "x", replyTo: message.text)
                }
            }
        ) { running in
            try await running.expect("swift.order", #""tea""#, gives: "7")
            let answer = try await running.ask("swift.ask")
            for part in [#""sku":"tea""#, #""tag":"a""#, #"["a","b"]"#] { #expect(answer.contains(part)) }
            try await running.expect("swift.stamp", gives: #"["one","two"]"#)
            let answers = try await running.client.subscribe("answers")
            try running.client.publish("answers", to: "swift.forward")
            for try await message in answers {
                #expect(String(buffer: message.payload) == "fine")
                break
            }
            #expect(heard.withLock { $0 } == [#"{"sku":"tea"}new"#])
        }
    }

    @Test func aProgramSendsAsAServiceByItsName() async throws {
        try await Running.with(script) { running in
            let shop = running.host.app("shop")
            #expect(
                try await shop.request("prices.get", "tea", as: Price.self) == Price(sku: "tea", price: 7)
            )
            #expect(await code { _ = try await shop.request("prices.get", "nothing") } == 404)
            #expect(
                await code { _ = try await shop.request("prices.get", "tea", as: [Int].self) } == "decode"
            )
            #expect(await code { _ = try await shop.request("nobody.here", "") } == "no_responders")
            #expect(
                await code { _ = try await shop.request("prices.never", "", timeout: .milliseconds(20)) } == "timeout"
            )
            #expect(await code { try await running.host.app("nobody").publish("a", "b") } == "closed")
            // What is wrong with the call itself is an error with a text.
            await #expect(throws: PaniniScriptError.self) { try await shop.publish("a.*", "b") }
            await #expect(throws: PaniniScriptError.self) { try await shop.publish("a", "b", headers: ["a b": "c"]) }
            await #expect(throws: PaniniScriptError.self) {
                _ = try await shop.request("a", "b", timeout: .zero)
            }
            running.host.stop()
            try await running.finished.value
            #expect(await code { try await shop.publish("a", "b") } == "closed")
        }
    }

    @Test func sendsGoThroughTheMiddlewaresOfTheService() async throws {
        let script = """
            local app = panini.app{ service_name = "shop" }
            app.add_middleware({
                send_publish = function(subject, message, publish, options)
                    return publish("seen." .. subject, message, options)
                end,
                send_request = function(subject, message, request, options)
                    if subject == "early" then return { early = true } end
                    return request("seen." .. subject, message, options)
                end,
            })
            app.listen("seen.echo", function(msg) return msg.data end)
            """
        try await Running.with(script) { running in
            let shop = running.host.app("shop")
            #expect(try await shop.request("echo", ["n": 1], as: [String: Int].self) == ["n": 1])
            #expect(try await shop.request("early", "", as: [String: Bool].self) == ["early": true])
            #expect(await code { _ = try await shop.request("early", "") } == "no_message")
            let heard = try await running.client.subscribe("seen.>")
            try await running.client.flush()
            try await shop.publish("news", "x")
            for try await message in heard {
                #expect(message.subject == "seen.news")
                break
            }
        }
    }

    @Test func permissionsOfTheServiceHold() async throws {
        try await Running.with(
            script,
            configure: configuring { configuration in
                configuration.overrides.permissions.untrusted = [configuration.scripts[0]]
                configuration.overrides.permissions.publish = ["allowed.>"]
                configuration.overrides.permissions.listen = [">"]
            }
        ) { running in
            let shop = running.host.app("shop")
            try await shop.publish("allowed.one", "x")
            #expect(await code { try await shop.publish("other", "x") } == "denied")
            #expect(await code { _ = try await shop.request("other", "x") } == "denied")
        }
    }

    @Test func timersAndRoutesSend() async throws {
        let (ticks, tick) = AsyncStream<Void>.makeStream()
        try await Running.with(
            "panini.app{ service_name = \"shop\", web_server = true, web_port = 0 }",
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                beside { service in
                    service.timer(every: .milliseconds(10)) { app in try await app.publish("ticks", "tick") }
                    service.listen("ticks") { message in
                        tick.yield()
                        return
                    }
                    service.listen("double") { (_: PaniniMessage, number: Int) in number * 2 }
                    service.route(.get, "/double/{n}") { (request: PaniniRequest) async throws -> Int in
                        try await request.app.request("double", Int(request.parameters["n"] ?? "") ?? 0, as: Int.self)
                    }
                }(&configuration)
            }
        ) { running in
            var iterator = ticks.makeAsyncIterator()
            for _ in 0..<3 { _ = await iterator.next() }
            let response = try await running.host.handle(PaniniRequest(target: "/double/21"))
            #expect(String(decoding: try await response.body.collect(upTo: 100), as: UTF8.self) == "42")
            #expect(await code { try await PaniniRequest(target: "/").app.publish("a", "b") } == "closed")
        }
    }

    // MARK: - Where tasks begin

    @Test func tasksBeginOnTheWorkerUnlessTheyShallNot() async throws {
        let script = """
            local app = panini.app{ service_name = "shop" }
            local swift = require "swift"
            app.listen("threads", function()
                return { worker = swift.here(), on = swift.on(), off = swift.off(), waited = swift.waited(),
                    method_off = swift.object().off() }
            end)
            app.listen("fails", function() return swift.fails() end)
            app.listen("raises", function() return swift.raises() end)
            """
        final class Object: PaniniObject {}
        try await Running.with(
            script,
            configure: configuring { configuration in
                configuration.module("swift") { module in
                    module.type(Object.self, "object") { type in
                        type.method("off", start: .offWorker) { (_: Object) async in thread() }
                    }
                    module.function("object") { () in Object() }
                    module.function("here") { () in thread() }
                    module.function("on") { () async in thread() }
                    module.function("off", start: .offWorker) { () async in thread() }
                    module.function("waited") { () async throws -> String in
                        // So long that it surely suspends: one that is over at once goes on where it was.
                        try await Task.sleep(for: .milliseconds(50))
                        return thread()
                    }
                    module.function("fails") { () async throws -> Int in
                        throw PaniniScriptError(code: 418, "a teapot")
                    }
                    module.function("raises") { () async throws -> Int in throw PaniniMisuse("not like this") }
                }
                beside { service in
                    service.listen("handler.on") { (_: PaniniMessage) async in thread() }
                    service.listen("handler.off", options: .init(start: .offWorker)) { (_: PaniniMessage) async in
                        thread()
                    }
                }(&configuration)
            }
        ) { running in
            let shop = running.host.app("shop")
            let threads = try await shop.request("threads", "", as: [String: String].self)
            let worker = try #require(threads["worker"])
            #expect(threads["on"] == worker)
            for name in ["off", "waited", "method_off"] { #expect(threads[name] != worker) }
            try await running.expect("handler.on", gives: worker)
            #expect(try await running.ask("handler.off") != worker)
            #expect(await code { _ = try await shop.request("fails", "") } == 418)
            #expect(await code { _ = try await shop.request("raises", "") } == 500)
        }
    }

    /// The end of a task and the wait for it meet at every moment.
    @Test func tasksThatEndAtAnyMomentAreAnsweredOnce() async throws {
        let script = """
            local app = panini.app{ service_name = "shop" }
            local swift = require "swift"
            app.listen("sum", function()
                local sum, list = 0, {}
                for i = 1, 50 do
                    list[i] = function() for j = 1, 40 do
                            local number = assert(swift.add(j, i))
                            sum = sum + number
                        end
                    end
                end
                app.wait_all(list)
                return sum
            end)
            """
        try await Running.with(
            script,
            configure: configuring { configuration in
                configuration.module("swift") { module in
                    module.function("add", start: .offWorker) { (number: Int, spins: Int) async -> Int in
                        for _ in 0..<(spins * number % 90) { _ = thread() }
                        if number.isMultiple(of: 3) { await Task.yield() }
                        return number
                    }
                }
            }
        ) { running in
            for _ in 0..<5 { try await running.expect("sum", gives: "41000") }
        }
    }
}
