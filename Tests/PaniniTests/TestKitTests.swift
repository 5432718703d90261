// The test kit as a program that embeds the host uses it.

import LuaVM
import NATS
import Panini
import PaniniTesting
import Synchronization
import Testing

@Suite("the test kit")
struct TestKitTests {
    private static let script = """
        local app = panini.app{ service_name = "kit", version = "1.2.3" }
        local prices = require "prices"
        app.listen("kit.price", function(msg)
            if not msg.data then return nil end
            return { price = prices.of(msg.data.sku), list = {} }
        end)
        app.listen("kit.fail", function() return nil, { code = 404, message = "not here" } end)
        app.listen("kit.note", function(msg) prices.note(msg.data.text) end)
        """

    private func configure(_ notes: NoteBook) -> (inout PaniniHostConfiguration) -> Void {
        { configuration in
            configuration.texts["kit.lua"] = Self.script
            configuration.module("prices") { module in
                module.function("of") { (sku: String) in sku.utf8.count }
                module.function("note") { (text: String) in notes.add(text) }
            }
        }
    }

    private final class NoteBook: Sendable {
        private let notes = Mutex<[String]>([])
        func add(_ text: String) { notes.withLock { $0.append(text) } }
        var all: [String] { notes.withLock { $0 } }
    }

    @Test func aServiceIsAskedAndToldThings() async throws {
        let notes = NoteBook()
        let version = try await PaniniTestHost.run(scripts: ["kit.lua"], configure: configure(notes)) { test in
            let reply = try await test.request("kit.price", ["sku": "tea"])
            #expect(reply["price"] == 3)
            let empty = try await test.request("kit.price")
            #expect(empty == .nil)
            let error = await #expect(throws: PaniniServiceError.self) { try await test.request("kit.fail") }
            #expect(error == PaniniServiceError(code: 404, message: "not here"))
            let nobody = await #expect(throws: NATSError.self) { try await test.request("kit.nobody") }
            #expect(nobody?.code == .noResponders)
            try await test.publish("kit.note", ["text": "seen"])
            // An answered request comes after the message before it.
            _ = try await test.request("kit.price")
            #expect(notes.all == ["seen"])
            return test.services.first?.version
        }
        #expect(version == "1.2.3")
    }

    @Test func aServiceThatDoesNotLoadIsTold() async throws {
        let error = await #expect(throws: PaniniError.self) {
            try await PaniniTestHost.run(
                scripts: ["bad.lua"],
                configure: { $0.texts["bad.lua"] = "local = 1" },
                { _ in }
            )
        }
        #expect(error?.code == .scriptSyntax)
    }

    @Test func whatTheTestThrowsComesOut() async throws {
        struct Oops: Error {}
        await #expect(throws: Oops.self) {
            try await PaniniTestHost.run(scripts: ["kit.lua"], configure: configure(NoteBook())) { _ in throw Oops() }
        }
    }

    @Test func optionsReachTheService() async throws {
        let name = try await PaniniTestHost.run(
            scripts: ["kit.lua"],
            options: ["service_name": "other"],
            configure: configure(NoteBook())
        ) { test in test.services.first?.serviceName }
        #expect(name == "other")
    }
}
