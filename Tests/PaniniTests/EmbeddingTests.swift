// Swift functions, objects and modules in scripts, as a program that embeds the host offers them.

import LuaVM
import NATS
import NATSProtocol
import NIOCore
import Synchronization
import Testing

@testable import Panini

private struct Point: Codable, LuaConvertible, Equatable {
    var x: Double
    var y: Double
}

private struct Order: Codable, LuaConvertible {
    struct Item: Codable {
        var sku: String
        var count: Int
        var note: String?
    }

    var id: Int
    var items: [Item]
    var tags: [String: String]
    var paid: Bool
}

/// A module whose functions show every way of crossing.
private func addShapes(_ configuration: inout PaniniHostConfiguration) {
    configuration.module("shapes") { module in
        module.constant("version", "1.2")
        module.constant("primes", [2, 3, 5])
        module.function("distance") { (a: Point, b: Point) in
            ((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y)).squareRoot()
        }
        module.function("add") { (a: Int, b: Int) in a + b }
        module.function("half") { (a: Double) in a / 2 }
        module.function("small") { (a: UInt8) in a }
        module.function("not_") { (flag: Bool) in !flag }
        module.function("shout") { (text: String) in text + "!" }
        module.function("reversed") { (bytes: [UInt8]) -> [UInt8] in bytes.reversed() }
        module.function("sorted") { (list: [String]) in list.sorted() }
        module.function("keys") { (table: [String: Int]) in table.keys.sorted() }
        module.function("maybe") { (number: Int?) -> String? in number.map { "got \($0)" } }
        module.function("holes") { () -> [Int?] in [1, nil, 3] }
        module.function("empty") { () -> [Int] in [] }
        module.function("any") { (value: LuaValue) in value }
        module.function("order") { (order: Order) -> Order in
            var order = order
            order.paid = true
            order.items.append(.init(sku: "gift", count: 1, note: nil))
            return order
        }
        module.function("nothing") { () in }
        module.function("refuse") { (code: Int) throws -> Int in
            throw PaniniScriptError(code: .number(Int64(code)), "refused with \(code)")
        }
        module.function("full") { () throws -> Int in throw PaniniScriptError(code: "full", "no room") }
        module.function("misuse") { () throws -> Int in throw PaniniMisuse("the range is empty") }
        module.function("crash") { () throws -> Int in throw CancellationError() }
        module.function("endless") { () -> [UInt64] in [UInt64.max] }
    }
}

@Suite("Swift functions in scripts")
struct EmbeddedFunctionTests {
    /// Runs statements in a handler; what they return is the answer as JSON.
    private func lua(
        _ body: String,
        gives expected: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "test", debug = true }
            local shapes = require "shapes"
            app.listen("run", function(msg)
            \(body)
            end)
            """,
            configure: addShapes
        ) { running in
            try await running.expect("run", gives: expected, sourceLocation: sourceLocation)
        }
    }

    @Test func valuesCrossBothWays() async throws {
        try await lua(
            """
            return panini.array{
                shapes.distance({ x = 0, y = 0 }, { x = 3, y = 4 }), shapes.add(2, 3), shapes.add(2.0, 3), shapes.half(5),
                shapes.small(255), shapes.not_(true), shapes.shout("hé"), shapes.reversed("\\0\\1\\xff") == "\\xff\\1\\0",
                shapes.sorted{ "b", "a" }, shapes.keys{ z = 1, a = 2 }, shapes.maybe(7), shapes.maybe() == nil,
                shapes.maybe(panini.null) == nil, shapes.holes(), shapes.empty(), shapes.nothing(), shapes.version, shapes.primes,
            }
            """,
            gives: """
                [5.0,5,5,2.5,255,false,"hé!",true,["a","b"],["a","z"],"got 7",true,true,[1,null,3],[],true,"1.2",[2,3,5]]
                """
        )
    }

    @Test func codableValuesCross() async throws {
        try await lua(
            """
            local order = shapes.order{
                id = 7, paid = false, tags = { from = "web" }, items = { { sku = "tea", count = 2, note = panini.null } },
            }
            return { order.id, order.paid, order.tags.from, #order.items, order.items[1].sku, order.items[1].count,
                     order.items[2].sku, order.items[2].note == nil }
            """,
            gives: #"[7,true,"web",2,"tea",2,"gift",true]"#
        )
    }

    @Test(
        "a wrong argument raises at the script's line and says where it is",
        arguments: [
            ("shapes.add(1)", "shapes.add: argument 2 must be an integer, not nothing"),
            ("shapes.add(1, '2')", "shapes.add: argument 2 must be an integer, not string"),
            ("shapes.add(1, 1.5)", "shapes.add: argument 2 must be an integer, not 1.5"),
            ("shapes.add(1, 2, 3)", "shapes.add: takes 2 arguments, not 3"),
            ("shapes.small(256)", "shapes.small: argument 1 must be an integer from 0 to 255, not 256"),
            ("shapes.not_(nil)", "shapes.not_: argument 1 must be a boolean, not nil"),
            ("shapes.shout(1)", "shapes.shout: argument 1 must be a string, not number"),
            ("shapes.shout('\\xff')", "shapes.shout: argument 1 must be UTF-8 text, not other bytes"),
            ("shapes.sorted('a')", "shapes.sorted: argument 1 must be a list, not string"),
            ("shapes.sorted{ 'a', 2 }", "shapes.sorted: argument 1: [2] must be a string, not number"),
            ("shapes.sorted{ a = 'b' }", "shapes.sorted: argument 1 must be a list, not a table with names"),
            ("shapes.keys{ a = 'b' }", "shapes.keys: argument 1: a must be an integer, not string"),
            ("shapes.keys{ 1 }", "shapes.keys: argument 1 must have texts as keys, not a number"),
            ("shapes.distance({ x = 0, y = 0 }, { x = 1 })", "shapes.distance: argument 2: y is missing"),
            (
                "shapes.distance({ x = 0, y = 0 }, { x = 1, y = 'a' })",
                "shapes.distance: argument 2: y must be a number, not string"
            ),
            (
                "shapes.distance({ x = 0, y = 0 }, panini.null)",
                "shapes.distance: argument 2 must be a table, not panini.null"
            ),
            (
                "shapes.order{ id = 1, paid = true, tags = {}, items = { { sku = 'a', count = 1 }, { sku = 'b', count = 'x' } } }",
                "shapes.order: argument 1: items[2].count must be an integer, not string"
            ),
            (
                "shapes.any(print)",
                "shapes.any: argument 1 cannot be copied: a function cannot be copied from Lua to Swift"
            ),
            ("shapes.misuse()", "shapes.misuse: the range is empty"),
            ("shapes.crash()", "shapes.crash: CancellationError()"),
            ("shapes.endless()", "shapes.endless: the result [1] \(UInt64.max) is beyond Lua's integers"),
        ]
    )
    func misuseRaises(_ call: String, _ message: String) async throws {
        try await lua(
            "local ok, err = pcall(function()\nreturn \(call)\nend)\nreturn ok and 'no error' or (err:match(':5: (.*)') or err)",
            gives: message
        )
    }

    @Test func failuresReturnNilAndAnError() async throws {
        try await lua(
            """
            local value, err = shapes.refuse(404)
            local none, full = shapes.full()
            return { value == nil, err.code, err.message, tostring(err), none == nil, full.code }
            """,
            gives: #"[true,404,"refused with 404","refused with 404",true,"full"]"#
        )
    }

    @Test func aFailureReturnedByAHandlerIsTheReply() async throws {
        try await Running.with(
            """
            local app = panini.app{ service_name = "test" }
            app.listen("run", function() return require "shapes".refuse(404) end)
            """,
            configure: addShapes
        ) { running in
            let reply = try await running.client.request("", to: "run", timeout: .seconds(20))
            #expect(reply.headers["Nats-Service-Error-Code"] == "404")
        }
    }

    @Test func aColonCallsAsADotDoes() async throws {
        try await lua("return shapes:add(2, 3)", gives: "5")
    }

    @Test func aModuleIsThereWhileTheFileRuns() throws {
        var configuration = PaniniHostConfiguration(scripts: [])
        addShapes(&configuration)
        let file = try ScriptFile(
            """
            local shapes = require "shapes"
            local app = panini.app{ service_name = "n" .. shapes.add(1, 2) }
            """
        )
        defer { file.remove() }
        let report = try PaniniCheck.check(path: file.path, logger: quiet, modules: configuration.modules)
        #expect(report.serviceName == "n3")
        // Without the module the same script does not load.
        let error = #expect(throws: PaniniError.self) { try PaniniCheck.check(path: file.path, logger: quiet) }
        #expect(error?.code == .scriptFailed)
    }
}

@Suite("async Swift functions in scripts")
struct WaitingFunctionTests {
    /// Opens on demand; counts who waits and who was cancelled.
    private final class Gate: Sendable {
        private struct State {
            var waiting: [CheckedContinuation<Void, any Error>] = []
            var cancelled = 0
        }

        private let state = Mutex(State())

        func pass() async throws {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { continuation in
                    state.withLock { $0.waiting.append(continuation) }
                }
            } onCancel: {
                let all = state.withLock { state in
                    state.cancelled += 1
                    defer { state.waiting = [] }
                    return state.waiting
                }
                for continuation in all { continuation.resume(throwing: CancellationError()) }
            }
        }

        func open() {
            let all = state.withLock { state in
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in all { continuation.resume() }
        }

        var waiting: Int { state.withLock { $0.waiting.count } }
        var cancelled: Int { state.withLock { $0.cancelled } }
    }

    private func until(_ condition: () async throws -> Bool) async throws {
        for _ in 0..<2000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("the condition did not become true")
    }

    private static let script = """
        local app = panini.app{ service_name = "test", debug = true, handler_timeout = 20 }
        local slow = require "slow"
        app.listen("double", function(msg) return slow.double(msg.data) end)
        app.listen("wait", function() return slow.wait() end)
        app.listen("short", { timeout = 0.1 }, function() return slow.wait() end)
        app.listen("quick", function() return 1 end)
        app.listen("fail", function()
            local value, err = slow.fail()
            local ok, raised = pcall(slow.crash)
            return { value == nil, err.code, ok, raised:match(":9: (.*)") }
        end)
        app.listen("inside", function()
            local ok, err = pcall(table.sort, { 2, 1 }, function(a, b) return slow.double(1) > 1 end)
            return { ok, err:match("slow.double: .*") }
        end)
        app.listen("coroutine", function()
            local co = coroutine.wrap(function() coroutine.yield(slow.double(4)) return slow.double(5) end)
            return { co(), co() }
        end)
        """

    private func configure(_ gate: Gate) -> (inout PaniniHostConfiguration) -> Void {
        { configuration in
            configuration.module("slow") { module in
                module.function("double") { (number: Int) async -> Int in
                    await Task.yield()
                    return number * 2
                }
                module.function("wait") { () async throws in try await gate.pass() }
                module.function("fail") { () async throws -> Int in throw PaniniScriptError(code: "full", "no room") }
                module.function("crash") { () async throws -> Int in throw PaniniMisuse("not like this") }
            }
        }
    }

    @Test func resultsAndErrorsCome() async throws {
        try await Running.with(Self.script, configure: configure(Gate())) { running in
            try await running.expect("double", "21", gives: "42")
            try await running.expect("fail", gives: #"[true,"full",false,"slow.crash: not like this"]"#)
            try await running.expect("coroutine", gives: "[8,10]")
            try await running.expect(
                "inside",
                gives:
                    #"[false,"slow.double: cannot wait here: inside a callback of table.sort, string.gsub and the like Lua cannot yield"]"#
            )
        }
    }

    @Test func onlyTheCallingCoroutineWaits() async throws {
        let gate = Gate()
        try await Running.with(Self.script, configure: configure(gate)) { running in
            async let first = running.ask("wait")
            async let second = running.ask("wait")
            try await until { gate.waiting == 2 }
            try await running.expect("quick", gives: "1")
            gate.open()
            let replies = try await [first, second]
            #expect(replies == ["true", "true"])
        }
    }

    @Test func aHandlerThatIsGivenUpCancelsItsTask() async throws {
        let gate = Gate()
        try await Running.with(Self.script, configure: configure(gate)) { running in
            let reply = try await running.client.request("", to: "short", timeout: .seconds(20))
            #expect(reply.headers["Nats-Service-Error-Code"] == "504")
            try await until { gate.cancelled == 1 }
            // What comes late finds nobody, and the next call is not disturbed.
            try await running.expect("double", "1", gives: "2")
        }
    }

    @Test func manyAtOnceAllComeBack() async throws {
        try await Running.with(Self.script, configure: configure(Gate())) { running in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<500 {
                    group.addTask { try await running.ask("double", "\(number)") == "\(number * 2)" }
                }
                for try await isRight in group { #expect(isRight) }
            }
        }
    }

    @Test func waitingWhileTheFileRunsIsMisuse() async throws {
        let file = try ScriptFile("panini.app{ service_name = 'x' }\nrequire 'slow'.double(1)")
        defer { file.remove() }
        var configuration = PaniniHostConfiguration(scripts: [])
        configure(Gate())(&configuration)
        let error = #expect(throws: PaniniError.self) {
            try PaniniCheck.check(path: file.path, logger: quiet, modules: configuration.modules)
        }
        #expect(
            error?.message.contains("service.lua:2: slow.double: waits, which cannot be while the file runs") == true
        )
    }
}

/// An account that tells when it goes; the house's does not count.
private final class Account: PaniniObject {
    static let alive = Mutex(0)
    private let balance = Mutex(0)
    let owner: String

    init(owner: String) {
        self.owner = owner
        if owner != "house" { Self.alive.withLock { $0 += 1 } }
    }

    deinit {
        if owner != "house" { Self.alive.withLock { $0 -= 1 } }
    }

    func deposit(_ amount: Int) -> Int {
        balance.withLock { balance in
            balance += amount
            return balance
        }
    }
}

private final class Other: PaniniObject {}

@Suite("Swift objects in scripts", .serialized)
struct EmbeddedObjectTests {
    private func configure(_ configuration: inout PaniniHostConfiguration) {
        let house = Account(owner: "house")
        configuration.module("bank") { module in
            module.type(Account.self, "account") { type in
                type.method("deposit") { (account: Account, amount: Int) in account.deposit(amount) }
                type.method("owner") { (account: Account) in account.owner }
                type.method("later") { (account: Account, amount: Int) async -> Int in
                    await Task.yield()
                    return account.deposit(amount)
                }
            }
            module.type(Other.self, "other") { _ in }
            module.function("open") { (owner: String) in Account(owner: owner) }
            module.function("other") { () in Other() }
            module.function("same") { (one: Account, other: Account) in one === other }
            module.function("try_find") { (owner: String) -> Account? in owner == "ada" ? Account(owner: owner) : nil }
            module.constant("house", house)
        }
    }

    private static let script = """
        local app = panini.app{ service_name = "test", debug = true }
        local bank = require "bank"
        app.listen("use", function()
            local account = bank.open("ada")
            account.deposit(1)
            account:deposit(2)
            local ok, err = pcall(function() account.deposit("x") end)
            local ok2, err2 = pcall(function() account.deposit(1, 2) end)
            local ok3, err3 = pcall(bank.same, account, bank.other())
            local ok4, err4 = pcall(bank.same, account, "ada")
            return {
                account.deposit(0), account.owner(), account.later(5), bank.same(account, account), account.missing == nil,
                tostring(account):match("^account: ") ~= nil, getmetatable(account), err:match("account.deposit: .*"),
                err2:match("account.deposit: .*"), err3:match("bank.same: .*"), err4:match("bank.same: .*"),
                bank.try_find("bob") == nil, bank.try_find("ada").owner(), bank.house.owner(),
            }
        end)
        app.listen("waste", function()
            for i = 1, 5000 do bank.open("nobody") end
            return true
        end)
        """

    @Test func methodsWorkWithDotAndColon() async throws {
        try await Running.with(Self.script, configure: configure) { running in
            try await running.expect(
                "use",
                gives: """
                    [3,"ada",8,true,true,true,"account","account.deposit: argument 1 must be an integer, not string",\
                    "account.deposit: takes 1 argument, not 2","bank.same: argument 2 must be a account, not userdata",\
                    "bank.same: argument 2 must be a account, not string",true,"ada","house"]
                    """
            )
        }
    }

    @Test func luaLetsGoOfObjects() async throws {
        try await Running.with(Self.script, configure: configure) { running in
            for _ in 0..<100 { try await running.expect("waste", gives: "true") }
            // Half a million were made; the collector has freed many of them while the service ran.
            #expect(Account.alive.withLock { $0 } < 375_000)
        }
        // The state is closed.
        #expect(Account.alive.withLock { $0 } == 0)
    }
}

/// Lua functions that a script has handed out.
private final class Handlers: Sendable {
    private let handlers = Mutex<[PaniniFunction]>([])
    func add(_ handler: PaniniFunction) { handlers.withLock { $0.append(handler) } }
    var all: [PaniniFunction] { handlers.withLock { $0 } }
}

@Suite("Lua functions that Swift calls")
struct PaniniFunctionTests {
    private static let script = """
        local app = panini.app{ service_name = "test", debug = true }
        local events = require "events"
        app.on_start_task(function()
            events.on(function(a, b) return a + b, { sum = a + b } end)
            events.on(function(a) app.sleep(0.01) return "slept", a end)
            events.on(function() error("at once") end)
            events.on(function() return nil, { code = 404, message = "not here" } end)
            events.on(function() return print end)
            events.on(function() app.sleep(600) end)
            events.on(function() end)
        end)
        app.listen("same", function() return events.first() == events.first() end)
        app.listen("wrong", function()
            local ok, err = pcall(events.on, 1)
            return err:match("events.on: .*")
        end)
        """

    @Test func callsComeBack() async throws {
        let handlers = Handlers()
        func configure(_ configuration: inout PaniniHostConfiguration) {
            configuration.module("events") { module in
                module.function("on") { (handler: PaniniFunction) in handlers.add(handler) }
                module.function("first") { () throws -> PaniniFunction in
                    guard let first = handlers.all.first else { throw PaniniMisuse("there is none") }
                    return first
                }
            }
        }
        try await Running.with(
            Self.script,
            options: ["shutdown_timeout": "0.2"],
            configure: configure,
            expectsTimeout: true
        ) { running in
            let all = handlers.all
            try #require(all.count == 7)
            let sum = try await all[0](1, 2)
            #expect(sum == [3, ["sum": 3]])
            let slept = try await all[1]("x")
            #expect(slept == ["slept", "x"])
            let raised = await #expect(throws: PaniniScriptError.self) { try await all[2]() }
            #expect(raised?.code == "error" && raised?.message.hasSuffix("at once") == true)
            let returned = await #expect(throws: PaniniScriptError.self) { try await all[3]() }
            #expect(returned == PaniniScriptError(code: 404, "not here"))
            let function = await #expect(throws: PaniniScriptError.self) { try await all[4]() }
            #expect(function?.code == "conversion")
            let nothing = try await all[6]()
            #expect(nothing == [])
            let tooLarge = await #expect(throws: PaniniScriptError.self) { try await all[0](UInt64.max, 1) }
            #expect(tooLarge?.message.hasPrefix("argument 1 ") == true)
            try await running.expect("same", gives: "true")
            try await running.expect("wrong", gives: "events.on: argument 1 must be a function, not number")
            // One that still waits when the service stops hears of it, and the stop does not hang.
            let given = Task { try await all[5]() }
            try await Task.sleep(for: .milliseconds(50))
            running.host.stop()
            let end = await #expect(throws: PaniniScriptError.self) { try await given.value }
            #expect(end?.code == "closed")
        }
        let late = await #expect(throws: PaniniScriptError.self) { try await handlers.all[0](1, 2) }
        #expect(late?.code == "closed")
    }
}

@Suite("scripts that are no files")
struct TextScriptTests {
    @Test func aTextIsAService() async throws {
        func configure(_ configuration: inout PaniniHostConfiguration) {
            configuration.scripts = ["memory/hello.lua"]
            configuration.texts["memory/hello.lua"] = """
                local words = require "lib.words"
                local app = panini.app{ service_name = "hello", debug = true }
                app.listen("hello", function() return words.greeting end)
                app.listen("fail", function() error("here") end)
                """
            configuration.texts["./memory/lib/words.lua"] = "return { greeting = 'hi' }"
        }
        try await Running.with("panini.app{ service_name = 'unused' }", configure: configure) { running in
            try await running.expect("hello", gives: "hi")
            let text = try await running.ask("fail")
            #expect(text.contains("memory/hello.lua:4: here"))
        }
    }
}
