// The store as scripts see it, the module `store`; and what Swift registers beside the script.

import Panini

extension Order: LuaConvertible {}

extension PaniniHostConfiguration {
    /// Registers `orders.count.CUSTOMER` in Swift, as a part of the script's service.
    public mutating func countOrders(of store: OrderStore) {
        service(OrderScripts.folder + "/orders.lua") { service in
            service.listen("orders.count.{customer}") { message async throws -> Int in
                try await store.count(of: message.parameter("customer") ?? "")
            }
        }
    }

    /// Offers the store to scripts.
    public mutating func offer(_ store: OrderStore) {
        module("store") { module in
            module.function("add") { (order: Order) async throws in
                do {
                    try await store.add(order)
                } catch OrderStoreError.duplicate(let id) {
                    throw PaniniScriptError(code: 409, "there is an order \(id) already")
                }
            }
            module.function("find") { (id: Int64) async throws -> Order? in try await store.find(id) }
            module.function("of") { (customer: String, limit: Int?) async throws -> [Order] in
                let limit = limit ?? 100
                guard (1...1000).contains(limit) else { throw PaniniMisuse("limit must be from 1 to 1000, not \(limit)") }
                return try await store.orders(of: customer, limit: limit)
            }
            module.function("move") { (id: Int64, from: String, to: String) async throws -> Bool in
                try await store.move(id, from: from, to: to)
            }
        }
    }
}
