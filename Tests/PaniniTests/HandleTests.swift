// Requests of HTTP that come without a socket, to routes in Lua and in Swift.

import Foundation
import LuaVM
import NATS
import NIOCore
import Synchronization
import Testing

@testable import Panini

private let webScript = """
    local app = panini.app{ service_name = "shop", web_server = true, web_max_body = 100 }
    app.http.get("/orders/{id}", function(req)
        return { id = req.params.id, all = req.query.all, from = req.headers["X-From"], address = req.remote_address }
    end)
    app.http.post("/echo", function(req) return panini.response{ status = 201, body = req.body, headers = { ["x-size"] = #req.body } } end)
    app.http.get("/text", function() return "text" end)
    app.http.get("/nothing", function() return nil end)
    app.http.get("/fail", function() error("secret") end)
    app.http.get("/busy", function() return nil, { code = 409, message = "busy" } end)
    app.http.get("/wait", { timeout = 0.02 }, function() app.sleep(600) end)
    app.http.get("/asks", function() return app.request("shop.slow", "") end)
    app.http.websocket("/socket", function(ws) end)
    app.http.get("/stream", function(req)
        local count = math.tointeger(tonumber(req.query.count))
        return panini.response{ stream = function(write)
            for i = 1, count do
                local ok, err = write(string.rep("x", 10000))
                if not ok then app.publish("stream.closed", err.code) return end
            end
            if req.query.fail then error("in the middle") end
        end }
    end)
    app.http.get("/events", function()
        return panini.response{ events = function(send) send{ event = "e", data = "one" } send("two") end }
    end)
    app.http.get("/file", function(req) return panini.response{ file = req.query.name } end)
    """

private func web(
    _ target: String,
    method: String = "GET",
    _ headers: PaniniHTTPFields = [:],
    body: String = ""
) -> PaniniRequest {
    PaniniRequest(method: method, target: target, headers: headers, body: Array(body.utf8), remoteAddress: "192.0.2.1")
}

private struct Item: Codable, LuaConvertible {
    var sku: String
    var count: Int
}

private struct Surprise: Error {}

extension Running {
    /// Brings a request, and reads the whole answer.
    fileprivate func get(
        _ request: PaniniRequest,
        by service: String? = nil
    ) async throws -> (status: Int, headers: PaniniHTTPFields, text: String) {
        let response = try await host.handle(request, by: service)
        return (response.status, response.headers, String(decoding: try await response.body.collect(), as: UTF8.self))
    }
}

private func withoutPort(_ configuration: inout PaniniHostConfiguration) { configuration.opensWebPorts = false }

@Suite("requests without a socket")
struct HandleTests {
    @Test func routesOfScriptsAnswer() async throws {
        try await Running.with(webScript, configure: withoutPort) { running in
            var answer = try await running.get(web("/orders/a%20b?all=yes", ["X-From": "here"]))
            #expect(answer.status == 200)
            #expect(answer.headers["Content-Type"] == "application/json")
            for part in [#""id":"a b""#, #""all":"yes""#, #""from":"here""#, #""address":"192.0.2.1""#] {
                #expect(answer.text.contains(part))
            }
            answer = try await running.get(web("/echo", method: "POST", body: "body"))
            #expect(answer.status == 201)
            #expect(answer.headers["x-size"] == "4")
            #expect(answer.text == "body")
            answer = try await running.get(web("/text", method: "HEAD"))
            #expect(answer.status == 200)
            #expect(answer.text == "")
            #expect(try await running.get(web("/nothing")).status == 204)
        }
    }

    @Test func answersToHEADTellTheLengthOfTheBody() async throws {
        let folder = Mutex("")
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                folder.withLock { $0 = String(configuration.scripts[0].dropLast("/service.lua".count)) }
            }
        ) { running in
            try "0123456789".write(toFile: folder.withLock { $0 } + "/file.txt", atomically: true, encoding: .utf8)
            for (target, length) in [("/text", "4"), ("/file?name=file.txt", "10"), ("/busy", nil), ("/unknown", nil)] {
                let get = try await running.get(web(target))
                let head = try await running.get(web(target, method: "HEAD"))
                #expect(head.status == get.status)
                #expect(head.text == "")
                #expect(head.headers["content-length"] == length ?? String(get.text.utf8.count))
                #expect(head.headers["content-type"] == get.headers["content-type"])
                #expect(get.headers["content-length"] == nil)
            }
            let part = try await running.get(web("/file?name=file.txt", method: "HEAD", ["range": "bytes=5-7"]))
            // A range is of GET alone: RFC 9110, 14.2.
            #expect(part.status == 200)
            #expect(part.headers["content-length"] == "10")
            // No body to GET either, or one whose length nobody knows.
            for target in ["/nothing", "/stream?count=1"] {
                let head = try await running.get(web(target, method: "HEAD"))
                #expect(head.headers["content-length"] == nil)
                #expect(head.text == "")
            }
        }
    }

    @Test func refusalsAreThoseOfTheWebServer() async throws {
        try await Running.with(webScript, configure: withoutPort) { running in
            var answer = try await running.get(web("/unknown"))
            #expect(answer.status == 404)
            #expect(answer.text == #"{"success":false,"code":404,"error":"there is nothing here"}"#)
            answer = try await running.get(web("/echo"))
            #expect(answer.status == 405)
            #expect(answer.headers["allow"] == "OPTIONS, POST")
            answer = try await running.get(web("/echo", method: "POST", body: String(repeating: "x", count: 101)))
            #expect(answer.status == 413)
            answer = try await running.get(web("/text", ["big": String(repeating: "x", count: 20000)]))
            #expect(answer.status == 431)
            answer = try await running.get(web("/text", ["a": "b\nevil: yes"]))
            #expect(answer.status == 400)
            answer = try await running.get(web("/te xt"))
            #expect(answer.status == 400)
            answer = try await running.get(web("/text", method: "G T"))
            #expect(answer.status == 400)
            answer = try await running.get(web("/echo", method: "POST", ["content-encoding": "br"], body: "x"))
            #expect(answer.status == 415)
            answer = try await running.get(web("/fail"))
            #expect(answer.status == 500)
            #expect(!answer.text.contains("secret"))
            #expect(try await running.get(web("/busy")).status == 409)
            #expect(try await running.get(web("/wait")).status == 504)
            let upgrade: PaniniHTTPFields = [
                "upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            ]
            answer = try await running.get(web("/socket", upgrade))
            #expect(answer.status == 426)
            #expect(answer.headers["upgrade"] == "websocket")
        }
    }

    @Test func routesInSwiftAnswer() async throws {
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                configuration.service(configuration.scripts[0]) { service in
                    service.route(.get, "/swift/{name}") { request in
                        "\(request.method) \(request.parameters["name"] ?? "") \(request.query("q") ?? "-") \(request.path)"
                    }
                    service.route(.post, "/items") { (request: PaniniRequest, item: Item) in
                        PaniniAnswer(
                            status: 201,
                            headers: ["location": "/items/\(item.sku)", "set-cookie": "a=1", "Set-Cookie": "b=2"],
                            json: item
                        )
                    }
                    service.route(.put, "/items") { (_: PaniniRequest, items: [Item]) async throws -> Int in
                        if items.isEmpty { throw PaniniScriptError(code: 404, "no items") }
                        return items.reduce(0) { $0 + $1.count }
                    }
                    service.route("REPORT", "/later") { (request: PaniniRequest) async throws -> PaniniAnswer in
                        PaniniAnswer(html: "<p>\(request.text)</p>")
                    }
                    service.route(.get, "/nil") { _ -> String? in nil }
                    service.route(.get, "/bytes") { _ in
                        PaniniAnswer(headers: ["content-type": "image/png"], body: [0, 255])
                    }
                    service.route(.get, "/empty") { _ in PaniniAnswer(status: 202) }
                    service.route(.get, "/broken") { _ -> Int in throw Surprise() }
                    service.route(.get, "/status") { _ in PaniniAnswer(status: 99) }
                    service.route(.get, "/header") { _ in PaniniAnswer(status: 200, headers: ["content-length": "3"]) }
                    service.route(.get, "/slow", options: .init(timeout: .milliseconds(20))) {
                        (_: PaniniRequest) async throws -> Int in
                        try await Task.sleep(for: .seconds(600))
                        return 1
                    }
                    service.route(.post, "/small", options: .init(maximumBody: 2)) { request in request.text }
                }
            }
        ) { running in
            var answer = try await running.get(web("/swift/a%2Fb?q=1+2"))
            #expect(answer.text == "GET a/b 1 2 /swift/a%2Fb")
            answer = try await running.get(web("/items", method: "POST", body: #"{"sku":"tea","count":2}"#))
            #expect(answer.status == 201)
            #expect(answer.headers["location"] == "/items/tea")
            #expect(answer.headers.values("set-cookie") == ["a=1", "b=2"])
            #expect(answer.text.contains(#""sku":"tea""#))
            answer = try await running.get(web("/items", method: "POST", body: #"{"sku":"tea","count":"2"}"#))
            #expect(answer.status == 422)
            #expect(answer.text.contains(#""path":"count""#))
            #expect(try await running.get(web("/items", method: "POST", body: "{")).status == 400)
            answer = try await running.get(
                web("/items", method: "PUT", body: #"[{"sku":"a","count":2},{"sku":"b","count":3}]"#)
            )
            #expect(answer.text == "5")
            #expect(try await running.get(web("/items", method: "PUT", body: "[]")).status == 404)
            answer = try await running.get(web("/later", method: "REPORT", body: "hi"))
            #expect(answer.headers["content-type"] == "text/html; charset=utf-8")
            #expect(answer.text == "<p>hi</p>")
            #expect(try await running.get(web("/nil")).status == 204)
            let bytes = try await running.host.handle(web("/bytes"))
            #expect(bytes.headers["content-type"] == "image/png")
            #expect(bytes.body.bytes == [0, 255])
            #expect(try await running.get(web("/empty")).status == 202)
            #expect(try await running.get(web("/broken")).status == 500)
            #expect(try await running.get(web("/status")).status == 500)
            #expect(try await running.get(web("/header")).status == 500)
            #expect(try await running.get(web("/slow")).status == 504)
            #expect(try await running.get(web("/small", method: "POST", body: "abc")).status == 413)
            #expect(try await running.get(web("/small", method: "POST", body: "ab")).text == "ab")
            #expect(try await running.get(web("/text")).text == "text")
        }
    }

    @Test func middlewaresWrapThem() async throws {
        struct Stamp: PaniniMiddleware {
            let kinds: Set<PaniniMiddlewareKind> = [.httpRequest]
            let name: String

            func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
                message.setHeader("stamp", name)
                return message.header("Forbidden") == nil ? .proceed : .refuse(code: 403, message: "no")
            }
        }
        try await Running.with(
            """
            local app = panini.app{ service_name = "shop", web_server = true }
            app.add_middleware{
                http_request = function(req, callback)
                    local reply = callback(req)
                    if type(reply) == "table" and reply.status == 201 then
                        reply.status = 202
                        reply.headers["x-lua"] = "yes"
                    end
                    return reply
                end,
            }
            """,
            middlewares: [Stamp(name: "outer")],
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                configuration.service(configuration.scripts[0]) { service in
                    service.route(.get, "/a", options: .init(middlewares: [Stamp(name: "inner")])) { _ in
                        PaniniAnswer(status: 201, headers: ["x-swift": "yes"], text: "a")
                    }
                }
            }
        ) { running in
            var answer = try await running.get(web("/a"))
            #expect(answer.status == 202)
            #expect(answer.headers["x-lua"] == "yes")
            #expect(answer.headers["x-swift"] == "yes")
            #expect(answer.headers.values("stamp") == ["outer", "inner"])
            answer = try await running.get(web("/a", ["forbidden": "1"]))
            #expect(answer.status == 403)
        }
    }

    @Test func streamsComeInPieces() async throws {
        try await Running.with(webScript, configure: withoutPort) { running in
            let response = try await running.host.handle(web("/stream?count=200"))
            #expect(response.body.bytes == nil)
            var bytes = 0
            var pieces = 0
            for try await piece in response.body {
                bytes += piece.count
                pieces += 1
                if pieces % 10 == 0 { await Task.yield() }
            }
            #expect(bytes == 2_000_000)
            #expect(pieces == 200)
            #expect(try await running.get(web("/stream?count=200", method: "HEAD")).text == "")
            let events = try await running.get(web("/events"))
            #expect(events.headers["content-type"] == "text/event-stream")
            #expect(events.text == "event: e\ndata: one\n\ndata: two\n\n")
        }
    }

    @Test func aStreamThatFailsIsIncomplete() async throws {
        try await Running.with(webScript, configure: withoutPort) { running in
            let response = try await running.host.handle(web("/stream?count=3&fail=1"))
            #expect(response.status == 200)
            await #expect(throws: PaniniBodyError.incomplete) { try await response.body.collect() }
            let large = try await running.host.handle(web("/stream?count=3"))
            await #expect(throws: PaniniBodyError.tooLarge(limit: 25000)) {
                try await large.body.collect(upTo: 25000)
            }
        }
    }

    @Test func whoeverDoesNotReadOnStopsTheWriter() async throws {
        try await Running.with(webScript, configure: withoutPort) { running in
            let closed = try await running.client.subscribe("stream.closed")
            try await running.client.flush()
            var seen = closed.makeAsyncIterator()
            do {
                // Longer than what may lie unread: the writer waits.
                let response = try await running.host.handle(web("/stream?count=100"))
                var iterator = response.body.makeAsyncIterator()
                #expect(try await iterator.next()?.count == 10000)
            }
            let last = try await seen.next()
            #expect(last.map { String(buffer: $0.payload) } == "closed")
            // The same for a reader whose task is cancelled.
            let reader = Task {
                let response = try await running.host.handle(web("/stream?count=100000"))
                return try await response.body.collect(upTo: .max)
            }
            try await Task.sleep(for: .milliseconds(1))
            reader.cancel()
            await #expect(throws: CancellationError.self) { try await reader.value }
        }
    }

    @Test func filesAreRead() async throws {
        let folder = Mutex("")
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                folder.withLock { $0 = String(configuration.scripts[0].dropLast("/service.lua".count)) }
            }
        ) { running in
            // Larger than what may lie unread.
            let bytes = [UInt8]((0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            try Data(bytes).write(to: URL(fileURLWithPath: folder.withLock { $0 } + "/big.bin"))
            let response = try await running.host.handle(web("/file?name=big.bin"))
            #expect(response.status == 200)
            #expect(try await response.body.collect() == bytes)
            let part = try await running.host.handle(web("/file?name=big.bin", ["range": "bytes=5-9"]))
            #expect(part.status == 206)
            #expect(try await part.body.collect() == Array(bytes[5...9]))
            #expect(try await running.get(web("/file?name=missing")).status == 404)
        }
    }

    @Test func aCallThatIsCancelledLetsGo() async throws {
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                configuration.service(configuration.scripts[0]) { service in
                    service.route(.get, "/ever", options: .init(timeout: .seconds(3600))) {
                        (_: PaniniRequest) async throws -> Int in
                        try await Task.sleep(for: .seconds(1))
                        return 1
                    }
                }
            }
        ) { running in
            let call = Task { try await running.host.handle(web("/ever")) }
            await Task.yield()
            call.cancel()
            await #expect(throws: CancellationError.self) { try await call.value }
            let answer = try await running.get(web("/text"))
            #expect(answer.text == "text")
        }
    }

    @Test func servicesAreChosenByRouteOrName() async throws {
        let other = """
            local app = panini.app{ service_name = "other", web_server = true }
            app.http.get("/other", function() return "other" end)
            app.http.get("/text", function() return "text of other" end)
            app.http.get("/echo", function() return "GET of other" end)
            """
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                configuration.workers = 2
                configuration.texts["other.lua"] = other
                configuration.texts["plain.lua"] = "panini.app{ service_name = 'plain' }"
                configuration.scripts += ["other.lua", "plain.lua"]
            }
        ) { running in
            while try await running.host.status().contains(where: { $0.state != "running" }) { await Task.yield() }
            for _ in 0..<3 {
                #expect(try await running.get(web("/text")).text == "text")
                #expect(try await running.get(web("/other")).text == "other")
                #expect(try await running.get(web("/text"), by: "other").text == "text of other")
                // The path is the first one's, the route the second one's.
                #expect(try await running.get(web("/echo")).text == "GET of other")
                #expect(try await running.get(web("/nowhere")).status == 404)
            }
            for name in ["plain", "nobody"] {
                let error = await #expect(throws: PaniniError.self) { try await running.get(web("/text"), by: name) }
                #expect(error?.code == .notRunning)
            }
        }
    }

    @Test func aWorkerThatIsStuckIsLeftOut() async throws {
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                configuration.workers = 2
            }
        ) { running in
            let mount = try #require(running.host.mounted("shop").first)
            #expect(Set((0..<4).map { _ in mount.instance?.index }) == [0, 1])
            mount.workerChanged(0, isStuck: true)
            #expect(Set((0..<4).map { _ in mount.instance?.index }) == [1])
            var answer = try await running.get(web("/text"))
            #expect(answer.text == "text")
            mount.workerChanged(1, isStuck: true)
            let error = await #expect(throws: PaniniError.self) { try await running.get(web("/text")) }
            #expect(error?.code == .notRunning)
            mount.workerChanged(0, isStuck: false)
            answer = try await running.get(web("/text"))
            #expect(answer.status == 200)
        }
    }

    @Test func thePortIsOpenedOnlyWhenItMay() async throws {
        // TEST-NET-3: an address that no machine has.
        let script = """
            local app = panini.app{ service_name = "shop", web_server = true, web_host = "203.0.113.1" }
            app.http.get("/text", function() return "text" end)
            """
        let error = await #expect(throws: PaniniError.self) { try await Running.with(script) { _ in } }
        #expect(error?.code == .webServer)
        try await Running.with(script, configure: withoutPort) { running in
            #expect(try await running.get(web("/text")).text == "text")
            for outcome in try await running.host.reload() { _ = try outcome.get() }
            #expect(try await running.get(web("/text")).text == "text")
        }
    }

    @Test func aStopWaitsForTheAnswer() async throws {
        let entered = Mutex(false)
        let goOn = Mutex(false)
        try await Running.with(
            webScript,
            configure: configuring { configuration in
                configuration.opensWebPorts = false
                configuration.service(configuration.scripts[0]) { service in
                    service.route(.get, "/held") { (_: PaniniRequest) async throws -> String in
                        entered.withLock { $0 = true }
                        while !goOn.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
                        return "held"
                    }
                }
            }
        ) { running in
            async let answer = running.get(web("/held"))
            while !entered.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
            running.host.stop()
            while try await running.host.status().first?.state != "stopping" { await Task.yield() }
            goOn.withLock { $0 = true }
            #expect(try await answer.text == "held")
            while !(try await running.host.status().isEmpty) { try await Task.sleep(for: .milliseconds(2)) }
            let error = await #expect(throws: PaniniError.self) { try await running.get(web("/text")) }
            #expect(error?.code == .notRunning)
        }
    }
}
