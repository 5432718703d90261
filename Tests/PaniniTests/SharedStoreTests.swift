// app.shared: values, time to live, the limit, and that every operation is one step.

import Dispatch
import Testing

@testable import Panini

@Suite("SharedStore")
struct SharedStoreTests {
    private let store = SharedStore()
    private let key = Array("key".utf8)

    @Test("a value ends at its time, and not before")
    func timeToLive() throws {
        try store.set(key, .integer(1), expires: 100, now: 0)
        #expect(store.get(key, now: 99) == .integer(1))
        #expect(try store.add(key, .integer(2), expires: 0, now: 99) == false)
        #expect(store.get(key, now: 100) == nil)
        #expect(try store.add(key, .integer(2), expires: 0, now: 100))
        #expect(store.keys([], now: .max - 1) == [key])
    }

    @Test("adding keeps whole numbers whole until they no longer fit, and keeps the time to live")
    func increments() throws {
        #expect(try store.increment(key, by: .integer(1), initial: .integer(0), now: 0) == .integer(1))
        #expect(try store.increment(key, by: .number(0.5), initial: .integer(0), now: 0) == .number(1.5))
        try store.set(key, .integer(.max), expires: 10, now: 0)
        #expect(
            try store.increment(key, by: .integer(1), initial: .integer(0), now: 0) == .number(9.223372036854775808e18)
        )
        #expect(store.get(key, now: 10) == nil)
        try store.set(key, .string([1]), expires: 0, now: 0)
        #expect(throws: SharedStore.Refusal.notANumber) {
            try store.increment(key, by: .integer(1), initial: .integer(0), now: 0)
        }
    }

    @Test("the limit counts keys, values and entries; what was refused changes nothing; what has expired makes room")
    func limit() throws {
        let entry = SharedStore.entrySize + key.count + 100
        store.setLimit(entry)
        let value = SharedValue.string([UInt8](repeating: 1, count: 100))
        try store.set(key, value, expires: 50, now: 0)
        #expect(store.bytesInUse == entry)
        #expect(throws: SharedStore.Refusal.full(entry)) { try store.set([1], .boolean(true), expires: 0, now: 0) }
        #expect(throws: SharedStore.Refusal.full(entry)) {
            try store.set(key, .string([UInt8](repeating: 1, count: 101)), expires: 0, now: 0)
        }
        #expect(store.refused == 2)
        #expect(store.get(key, now: 0) == value)
        try store.set([1], .boolean(true), expires: 0, now: 50)
        #expect(store.get([1], now: 50) == .boolean(true))
        #expect(store.bytesInUse == SharedStore.entrySize + 1)
        #expect(store.delete([1], now: 50))
        #expect(!store.delete([1], now: 50))
        #expect(store.bytesInUse == 0)
    }

    @Test("a hundred thousand additions from several threads lose none")
    func concurrentIncrements() {
        let store = store
        let key = key
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            for _ in 0..<25_000 { _ = try? store.increment(key, by: .integer(1), initial: .integer(0), now: 0) }
        }
        #expect(store.get(key, now: 0) == .integer(100_000))
    }

    @Test("keys come in order, by prefix")
    func keys() throws {
        for name in ["b", "ab", "a", "abc"] { try store.set(Array(name.utf8), .boolean(true), expires: 0, now: 0) }
        #expect(store.keys(Array("a".utf8), now: 0)?.map { String(decoding: $0, as: UTF8.self) } == ["a", "ab", "abc"])
    }

    @Test("whoever lists all keys holds nobody up, and stops when nobody wants them any more")
    func longLists() throws {
        let names = (0..<20_000).map { "key \($0 &* 7919 % 20_000)" }
        for name in names { try store.set(Array(name.utf8), .boolean(true), expires: 0, now: 0) }
        var asked = 0
        let all = store.keys(Array("key ".utf8), now: 0) {
            asked += 1
            // With the lock held this would never end.
            _ = store.delete(Array("another \(asked)".utf8), now: 0)
            return false
        }
        #expect(all?.map { String(decoding: $0, as: UTF8.self) } == names.sorted())
        #expect(asked > SharedStore.partCount)
        for last in [1, 30, SharedStore.partCount + 2] {
            asked = 0
            let none = store.keys([], now: 0) {
                asked += 1
                return asked == last
            }
            #expect(none == nil && asked == last)
        }
    }
}
