// Made by scripts/snippets from the documentation: do not edit. Compiled, never run.
// swift-format-ignore-file

import Configuration
import LuaVM
import Logging
import NATS
import NATSProtocol
import NIOCore
import Panini
import PaniniConfiguration
import PaniniObservability
import PaniniTesting
import ServiceLifecycle
import Synchronization

private func given<Value>() -> Value { fatalError() }

// README.md, line 79
private func readme_79() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {

        var configuration = PaniniHostConfiguration(scripts: ["orders.lua"])
        configuration.module("geo") { module in
            module.function("distance") { (a: Double, b: Double) in abs(a - b) }
        }
        try await PaniniHost(configuration: configuration, logger: Logger(label: "orders")).run()
    }
}

// docs/embedding.md, line 5
private func docs_embedding_5() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {

        var configuration = PaniniHostConfiguration(scripts: ["orders.lua"])
        configuration.module("geo") { module in
            module.function("distance") { (a: Double, b: Double) in abs(a - b) }
        }
        let host = PaniniHost(configuration: configuration, logger: Logger(label: "orders"))
        try await host.run()
    }
}

// docs/embedding.md, line 30
private func docs_embedding_30() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        var configuration = PaniniHostConfiguration(scripts: ["hello.lua"])
        configuration.texts["hello.lua"] = """
            local app = panini.app{ service_name = "hello" }
            app.listen("hello", function() return require "words".greeting end)
            """
        configuration.texts["words.lua"] = "return { greeting = 'Hello!' }"
    }
}

// docs/embedding.md, line 41
private func docs_embedding_41() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        try configuration.addScripts(in: "/etc/shop/scripts")
    }
}

// docs/embedding.md, line 56
private func docs_embedding_56() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        var overrides = PaniniOverrides()
        overrides.set("servers", texts: ["nats://broker:4222"], origin: "settings")
        overrides.set("handler_timeout", text: "5", origin: "settings")
        var configuration = PaniniHostConfiguration(scripts: ["orders.lua"], overrides: overrides)
        configuration.isStrict = true
    }
}

// docs/embedding.md, line 69
private func docs_embedding_69() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {

        let reader = ConfigReader(provider: EnvironmentVariablesProvider())
        var configuration = try PaniniHostConfiguration(reader.scoped(to: "panini"))
    }
}

// docs/embedding.md, line 99
private func docs_embedding_99() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        struct Order: Codable, LuaConvertible {
            var id: Int
            var items: [String]
        }

        actor Store {
            private var orders: [Int: Order] = [:]

            func add(_ order: Order) { orders[order.id] = order }
            func find(_ id: Int) -> Order? { orders[id] }
        }

        let store = Store()
        configuration.module("store") { module in
            module.constant("version", "1.0")
            module.function("add") { (order: Order) async in await store.add(order) }
            module.function("find") { (id: Int) async throws -> Order in
                guard let order = await store.find(id) else { throw PaniniScriptError(code: 404, "no order \(id)") }
                return order
            }
        }
    }
}

// docs/embedding.md, line 164
private func docs_embedding_164() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        final class Account: PaniniObject {
            private let balance = Mutex(0)

            func deposit(_ amount: Int) -> Int {
                balance.withLock { balance in
                    balance += amount
                    return balance
                }
            }
        }

        configuration.module("bank") { module in
            module.type(Account.self, "account") { type in
                type.method("deposit") { (account: Account, amount: Int) in account.deposit(amount) }
            }
            module.function("open") { () in Account() }
        }
    }
}

// docs/embedding.md, line 192
private func docs_embedding_192() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        actor Alarms {
            private var handlers: [PaniniFunction] = []

            func add(_ handler: PaniniFunction) { handlers.append(handler) }

            func raise(_ what: String) async throws {
                for handler in handlers {
                    let results = try await handler(what, 3)
                    print(results)
                }
            }
        }

        let alarms = Alarms()
        configuration.module("alarms") { module in
            module.function("on") { (handler: PaniniFunction) async in await alarms.add(handler) }
        }
    }
}

// docs/embedding.md, line 218
private func docs_embedding_218() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        let results = try await host.call("area", of: "shop", 3, 4)
    }
}

// docs/embedding.md, line 226
private func docs_embedding_226() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        struct Order: Codable, LuaConvertible {
            var id: Int
            var items: [String]
        }

        actor Store {
            func find(_ id: Int) -> Order? { nil }
            func add(_ order: Order) {}
            func tidy() {}
        }

        let store = Store()
        configuration.service("orders.lua") { service in
            service.listen("orders.{id}.get", options: .init(queue: "workers", timeout: .seconds(2))) { message async throws -> Order in
                guard let id = Int(message.parameter("id") ?? ""), let order = await store.find(id) else {
                    throw PaniniScriptError(code: 404, "there is no such order")
                }
                return order
            }
            service.listen("orders.add") { (message: PaniniMessage, order: Order) async in await store.add(order) }
            service.timer(every: .seconds(60), options: .init(name: "tidy")) { () async in await store.tidy() }
            service.route(.get, "/health") { request in "fine" }
            service.route(.post, "/orders") { (request: PaniniRequest, order: Order) in
                PaniniAnswer(status: 201, headers: ["location": "/orders/\(order.id)"], json: order)
            }
        }
    }
}

// docs/embedding.md, line 275
private func docs_embedding_275() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        struct Price: Codable, LuaConvertible {
            var sku: String
            var cents: Int
        }

        configuration.service("orders.lua") { service in
            service.listen("orders.price") { (message: PaniniMessage, sku: String) async throws -> PaniniReply in
                let price = try await message.app.request("prices.get", ["sku": sku], timeout: .seconds(2), as: Price.self)
                try await message.app.publish("prices.asked", ["sku": sku], headers: ["Source": "orders"])
                return PaniniReply(price.cents, headers: ["Currency": "EUR"])
            }
            service.timer(every: .seconds(60)) { app in try await app.publish("orders.alive", true) }
        }
    }
}

// docs/embedding.md, line 297
private func docs_embedding_297() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        configuration.service(named: "clock", options: ["version": "1.0.0"]) { service in
            service.listen("clock.now") { message in "\(ContinuousClock.now)" }
        }
    }
}

// docs/embedding.md, line 308
private func docs_embedding_308() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        configuration.opensWebPorts = false
        let request = PaniniRequest(
            method: "POST",
            target: "/orders?notify=true",
            headers: ["content-type": "application/json"],
            body: Array(#"{"id": 7, "items": ["tea"]}"#.utf8),
            remoteAddress: "192.0.2.1"
        )
        let response = try await host.handle(request)
        print(response.status, response.headers["location"] ?? "-")
        for try await piece in response.body { print(piece.count, "bytes") }
    }
}

// docs/embedding.md, line 336
private func docs_embedding_336() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        let group = ServiceGroup(services: [host], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }
}

// docs/embedding.md, line 343
private func docs_embedding_343() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        for await event in host.events {
            if case .reloadFailed(let service, let error) = event {
                logger.warning("\(service) keeps its old code: \(error)")
            }
        }
    }
}

// docs/embedding.md, line 408
private func docs_embedding_408() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        try await PaniniTestHost.run(scripts: ["orders.lua"], options: ["handler_timeout": "5"]) { test in
            let reply = try await test.request("orders.total", ["sku": "tea", "count": 2])
            precondition(reply["total"] == 9)
        }
    }
}

// docs/logs.md, line 191
private func docs_logs_191() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {

        let logs = PaniniLogs()
        LoggingSystem.bootstrap(logs.makeHandler)
        var configuration = PaniniHostConfiguration(scripts: ["shop.lua"])
        configuration.logs = logs
        try await PaniniHost(configuration: configuration, logger: Logger(label: "shop")).run()
        logs.shutdown()
    }
}

// docs/nats-client.md, line 9
private func docs_nats_client_9() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let client = try await NATSClient.connect(to: "nats://127.0.0.1:4222")
    }
}

// docs/nats-client.md, line 15
private func docs_nats_client_15() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let messages = try await client.subscribe("greet.*")
        try client.publish("hello", to: "greet.joe", headers: ["Trace": "1"])
        for try await message in messages {
            print(message.subject, message.text)
        }
    }
}

// docs/nats-client.md, line 26
private func docs_nats_client_26() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        try await client.subscribe("echo") { message in
            print(message.text)
        }
    }
}

// docs/nats-client.md, line 34
private func docs_nats_client_34() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let reply = try await client.request("", to: "greet.joe", timeout: .seconds(2))
        if let error = reply.serviceError { throw error }
    }
}

// docs/nats-client.md, line 41
private func docs_nats_client_41() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let replies = try await client.requestMany("", to: "who.is.there", maxWait: .seconds(1), stall: .milliseconds(100))
        for try await reply in replies { print(reply.text) }
    }
}

// docs/nats-client.md, line 54
private func docs_nats_client_54() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let client = NATSClient(configuration: configuration, logger: logger)
        let group = ServiceGroup(services: [client, greeter], gracefulShutdownSignals: [.sigterm], logger: logger)
        try await group.run()
    }
}

// docs/nats-client.md, line 62
private func docs_nats_client_62() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        for await event in client.events {
            logger.info("\(event)")
        }
    }
}

// Sources/LuaVM/LuaVM.docc/GettingStarted.md, line 7
private func sources_luavm_luavm_docc_gettingstarted_7() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        let vm = try LuaVM()
        try vm.run("function add(a, b) return a + b end", name: "sums.lua")
        let sum = try vm.callGlobal("add", [1, 2])
        print(sum)
    }
}

// Sources/LuaVM/LuaVM.docc/GettingStarted.md, line 18
private func sources_luavm_luavm_docc_gettingstarted_18() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        vm.register("shout") { arguments in
            guard case .string(let text) = arguments.first else { return [.nil] }
            return [.string(text.uppercased())]
        }
        try vm.run("assert(shout('hi') == 'HI')")
    }
}

// Sources/LuaVM/LuaVM.docc/GettingStarted.md, line 30
private func sources_luavm_luavm_docc_gettingstarted_30() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        do {
            try vm.run("error{ code = 404, message = 'not here' }")
        } catch {
            print(error.message, error.code == .integer(404), error.traceback ?? "")
        }
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 7
private func sources_nats_nats_docc_gettingstarted_7() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let client = try await NATSClient.connect(to: "nats://127.0.0.1:4222")
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 13
private func sources_nats_nats_docc_gettingstarted_13() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let messages = try await client.subscribe("greet.*")
        try client.publish("hello", to: "greet.joe", headers: ["Trace": "1"])
        for try await message in messages {
            print(message.subject, message.text)
        }
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 23
private func sources_nats_nats_docc_gettingstarted_23() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        try await client.subscribe("echo") { message in
            print(message.text)
        }
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 31
private func sources_nats_nats_docc_gettingstarted_31() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let reply = try await client.request("", to: "greet.joe", timeout: .seconds(2))
        if let error = reply.serviceError { throw error }
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 38
private func sources_nats_nats_docc_gettingstarted_38() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let replies = try await client.requestMany("", to: "who.is.there", maxWait: .seconds(1), stall: .milliseconds(100))
        for try await reply in replies { print(reply.text) }
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 51
private func sources_nats_nats_docc_gettingstarted_51() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let client = NATSClient(configuration: configuration, logger: logger)
        let group = ServiceGroup(services: [client, greeter], gracefulShutdownSignals: [.sigterm], logger: logger)
        try await group.run()
    }
}

// Sources/NATS/NATS.docc/GettingStarted.md, line 59
private func sources_nats_nats_docc_gettingstarted_59() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        for await event in client.events {
            logger.info("\(event)")
        }
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 10
private func sources_nats_nats_docc_jetstream_10() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        print(try await js.account().streams)
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 17
private func sources_nats_nats_docc_jetstream_17() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        var configuration = JetStreamStream.Configuration(name: "ORDERS", subjects: ["orders.>"])
        configuration.limits.age = .hours(24 * 7)
        configuration.replicas = 1
        try await js.createOrUpdateStream(configuration)
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 29
private func sources_nats_nats_docc_jetstream_29() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        let ack = try await js.publish("paid", to: "orders.17", options: JetStreamPublishOptions(id: "17-paid"))
        print(ack.stream, ack.sequence, ack.isDuplicate)

        var options = JetStreamPublishOptions()
        options.expecting.lastSubjectSequence = ack.sequence
        try await js.publish("sent", to: "orders.17", options: options)
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 41
private func sources_nats_nats_docc_jetstream_41() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        var receipts: [JetStreamPublishReceipt] = []
        for number in 0..<10_000 { receipts.append(try await js.publishLater("\(number)", to: "orders.\(number)")) }
        for receipt in receipts { _ = try await receipt.ack() }

        try await js.publishAtomically([
            JetStreamBatchMessage("-10", to: "accounts.a"),
            JetStreamBatchMessage("+10", to: "accounts.b"),
        ])
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 58
private func sources_nats_nats_docc_jetstream_58() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        let stream = try js.stream("ORDERS")
        var billing = JetStreamConsumer.Configuration.durable("billing")
        billing.filters = ["orders.>"]
        try await stream.createOrUpdateConsumer(billing)

        for try await message in try await stream.consumer("billing").messages() {
            if message.text.isEmpty {
                try message.term(reason: "empty")
            } else if message.metadata.deliveries < 5 {
                try message.nak(delay: .seconds(10))
            } else {
                try await message.ackConfirmed()
            }
        }
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 83
private func sources_nats_nats_docc_jetstream_83() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        var options = JetStreamReadOptions()
        options.filters = ["orders.17"]
        options.end = .last
        for try await message in try await js.stream("ORDERS").read(options) {
            print(message.sequence, message.text)
        }
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 95
private func sources_nats_nats_docc_jetstream_95() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        var configuration = JetStreamKeyValue.Configuration(bucket: "settings")
        configuration.history = 5
        let settings = try await js.createOrUpdateKeyValue(configuration)
        try await settings.put("dark", for: "theme")
        if let entry = try await settings.get("theme") {
            try await settings.update("theme", "light", revision: entry.revision)
        }
        try await settings.change("visits") { Array("\((Int($0?.text ?? "") ?? 0) + 1)".utf8) }

        for try await event in try await settings.watch() {
            switch event {
            case .ready: print("that was all there is")
            case .entry(let entry): print(entry.key, entry.operation, entry.text)
            }
        }
    }
}

// Sources/NATS/NATS.docc/JetStream.md, line 121
private func sources_nats_nats_docc_jetstream_121() async throws {
    let logger = Logger(label: "snippet")
    let client: NATSClient = given()
    let configuration = NATSConnectionConfiguration()
    let greeter: any ServiceLifecycle.Service = given()
    _ = (logger, client, configuration, greeter)
    do {
        let js = try client.jetStream()
        let files = try await js.createObjectStore(JetStreamObjectStore.Configuration(bucket: "files"))
        try await files.put("report.pdf", [UInt8](repeating: 0, count: 1 << 20))
        for try await piece in try await files.get("report.pdf", range: 0..<1000) {
            print(piece.readableBytes)
        }
    }
}

// Sources/Panini/Panini.docc/Embedding.md, line 10
private func sources_panini_panini_docc_embedding_10() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        struct Point: Codable, LuaConvertible {
            var x: Double
            var y: Double
        }

        configuration.module("geo") { module in
            module.function("distance") { (a: Point, b: Point) in
                ((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y)).squareRoot()
            }
            module.function("lookup") { (name: String) async throws -> Point in
                guard name == "home" else { throw PaniniScriptError(code: 404, "no place \(name)") }
                return Point(x: 0, y: 0)
            }
        }
    }
}

// Sources/Panini/Panini.docc/Embedding.md, line 43
private func sources_panini_panini_docc_embedding_43() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        let results = try await host.call("area", of: "shop", 3, 4)
        print(results)
    }
}

// Sources/Panini/Panini.docc/Embedding.md, line 52
private func sources_panini_panini_docc_embedding_52() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        configuration.service("orders.lua") { service in
            service.listen("orders.count") { message in 3 }
            service.timer(every: .seconds(60), options: .init(name: "tidy")) { print("tidy") }
            service.route(.get, "/health") { request in "fine" }
        }
    }
}

// Sources/Panini/Panini.docc/Embedding.md, line 68
private func sources_panini_panini_docc_embedding_68() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        let response = try await host.handle(PaniniRequest(target: "/orders/7"))
        let body = try await response.body.collect()
        print(response.status, body.count)
    }
}

// Sources/Panini/Panini.docc/Embedding.md, line 89
private func sources_panini_panini_docc_embedding_89() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        for await event in host.events {
            switch event {
            case .started(let service): print("\(service.serviceName) is ready")
            case .reloaded(let report): print(report.line)
            case .reloadFailed(let service, let error), .failed(let service, let error): print("\(service): \(error)")
            case .stopped(let service): print("\(service) has stopped")
            }
        }
    }
}

// Sources/Panini/Panini.docc/GettingStarted.md, line 31
private func sources_panini_panini_docc_gettingstarted_31() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {

        let configuration = PaniniHostConfiguration(scripts: ["shop.lua"])
        let host = PaniniHost(configuration: configuration, logger: Logger(label: "shop")) { service in
            print("\(service.serviceName) is ready")
        }
        try await host.run()
    }
}

// Sources/Panini/Panini.docc/GettingStarted.md, line 54
private func sources_panini_panini_docc_gettingstarted_54() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        let group = ServiceGroup(services: [host], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }
}

// Sources/Panini/Panini.docc/HotReload.md, line 11
private func sources_panini_panini_docc_hotreload_11() async throws {
    let logger = Logger(label: "snippet")
    var configuration = PaniniHostConfiguration(scripts: [])
    let host: PaniniHost = given()
    let vm: LuaVM = given()
    _ = (logger, configuration, host, vm)
    do {
        for outcome in try await host.reload("orders") {
            switch outcome {
            case .success(let report): print(report.line)
            case .failure(let error): print("the version before serves on: \(error)")
            }
        }
    }
}
