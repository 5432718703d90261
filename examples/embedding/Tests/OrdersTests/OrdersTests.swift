// The script and the store together: a host with the module on a broker inside of the test, a database in memory.

import LuaVM
import Orders
import Panini
import PaniniTesting
import Testing

@Suite("orders")
struct OrdersTests {
    private func run(_ body: (PaniniTestHost, OrderStore) async throws -> Void) async throws {
        let store = try OrderStore(path: nil)
        let change: (inout PaniniHostConfiguration) -> Void = { configuration in
            configuration.offer(store)
            configuration.countOrders(of: store)
        }
        try await PaniniTestHost.run(scripts: [OrderScripts.folder + "/orders.lua"], configure: change) { test in
            try await body(test, store)
        }
    }

    private let order: LuaValue = [
        "id": 7, "customer": "ada", "items": [["price": 450, "count": 2], ["price": 200, "count": 1]],
    ]

    @Test func anOrderIsStoredWithItsDiscount() async throws {
        try await run { test, store in
            let reply = try await test.request("orders.new", order)
            #expect(reply == ["id": 7, "total": 1000])
            let stored = try await store.find(7)
            #expect(stored == Order(id: 7, customer: "ada", total: 1000, state: "new"))
            let found = try await test.request("orders.get.7")
            #expect(found["customer"] == "ada")
            let none = await #expect(throws: PaniniServiceError.self) { try await test.request("orders.get.8") }
            #expect(none?.code == 404)
        }
    }

    @Test func anOrderIsStoredOnce() async throws {
        try await run { test, _ in
            _ = try await test.request("orders.new", order)
            let error = await #expect(throws: PaniniServiceError.self) { try await test.request("orders.new", order) }
            #expect(error == PaniniServiceError(code: 409, message: "there is an order 7 already"))
        }
    }

    @Test func anOrderIsPaidOnce() async throws {
        try await run { test, store in
            _ = try await test.request("orders.new", order)
            let paid = try await test.request("orders.pay.7")
            #expect(paid == ["paid": true])
            let stored = try await store.find(7)
            #expect(stored?.state == "paid")
            let error = await #expect(throws: PaniniServiceError.self) { try await test.request("orders.pay.7") }
            #expect(error?.code == 409)
        }
    }

    @Test func aCustomersOrdersAreListed() async throws {
        try await run { test, store in
            for id in [3, 1, 2] as [Int64] {
                try await store.add(Order(id: id, customer: id == 2 ? "bob" : "ada", total: 5, state: "new"))
            }
            let orders = try await test.request("orders.of.ada")
            #expect(orders[1]["id"] == 1 && orders[2]["id"] == 3 && orders[3] == .nil)
            // An empty list is one in JSON, too.
            let reply = try await test.client.request("", to: "orders.of.nobody")
            #expect(reply.text == "[]")
        }
    }

    @Test func aCustomersOrdersAreCountedInSwift() async throws {
        try await run { test, store in
            for id in [1, 2] as [Int64] {
                try await store.add(Order(id: id, customer: "ada", total: 5, state: "new"))
            }
            let count = try await test.request("orders.count.ada")
            #expect(count == 2)
        }
    }

    @Test func theScriptsAreResources() throws {
        var configuration = PaniniHostConfiguration(scripts: [])
        try configuration.addScripts(in: OrderScripts.folder)
        #expect(configuration.scripts == [OrderScripts.folder + "/orders.lua"])
    }

    @Test func aWrongOrderNeverReachesTheStore() async throws {
        try await run { test, store in
            let error = await #expect(throws: PaniniServiceError.self) {
                try await test.request("orders.new", ["id": 9, "customer": "", "items": []])
            }
            #expect(error?.code == 422)
            let stored = try await store.find(9)
            #expect(stored == nil)
        }
    }
}
