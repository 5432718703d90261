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

    // MARK: - What has expired

    /// A store full of entries that end at 100.
    private func fill(_ count: Int) throws {
        store.setLimit(count * (SharedStore.entrySize + 8))
        for number in 0..<count {
            let key = withUnsafeBytes(of: number) { Array($0) }
            try store.set(key, .boolean(true), expires: 100, now: 0)
        }
        #expect(throws: SharedStore.Refusal.self) { try store.set([1], .boolean(true), expires: 0, now: 99) }
    }

    @Test("who needs a little room removes a few of those that have expired, not all of them")
    func smallSweeps() throws {
        try fill(10_000)
        let all = store.bytesInUse
        try store.set(key, .boolean(true), expires: 0, now: 100)
        let entry = SharedStore.entrySize + 8
        #expect(store.bytesInUse > all - SharedStore.sweptAtOnce * entry && store.bytesInUse <= all)
        // Who has room removes a few in passing: in the end nothing is left of them.
        for number in 0..<5000 { try store.set(key, .integer(Int64(number)), expires: 0, now: 100) }
        #expect(store.bytesInUse == SharedStore.entrySize + key.count)
        #expect(store.keys([], now: 0) == [key])
    }

    @Test("who needs much room removes what has expired step by step, and may stop between them")
    func steps() throws {
        let entry = SharedStore.entrySize + 8
        try fill(10_000)
        let large = SharedValue.string([UInt8](repeating: 1, count: 5000 * entry))
        let all = store.bytesInUse
        var looks = 0
        #expect(throws: SharedStore.Refusal.self) {
            try store.set(key, large, expires: 0, now: 100) {
                looks += 1
                // With the lock held this would never end.
                return store.get([0], now: 100) == nil && looks == 3
            }
        }
        #expect(looks == 3 && store.bytesInUse == all - 3 * SharedStore.sweptAtOnce * entry)
        #expect(
            try store.add(key, large, expires: 0, now: 100) {
                looks += 1
                return false
            }
        )
        #expect(looks > 3 + 4000 / SharedStore.sweptAtOnce)
        #expect(store.get(key, now: 100) == large)
    }

    @Test("what expires later, or never, makes no room")
    func noRoom() throws {
        try fill(100)
        store.setLimit(store.bytesInUse + SharedStore.entrySize + key.count)
        try store.set(key, .boolean(true), expires: 0, now: 0)
        let before = store.bytesInUse
        #expect(throws: SharedStore.Refusal.self) { try store.set([2], .boolean(true), expires: 0, now: 99) }
        // The limit itself is not enough for this one: nobody else's entries go for it.
        let tooLarge = SharedValue.string([UInt8](repeating: 0, count: before))
        #expect(throws: SharedStore.Refusal.self) { try store.set([2], tooLarge, expires: 0, now: 99) }
        #expect(store.bytesInUse == before && store.get(key, now: .max - 1) == .boolean(true))
    }

    @Test(
        "a part has what a dictionary would have, and tells those that have expired in their order",
        arguments: 0..<20
    )
    func model(seed: Int) {
        var random = SplitMix64(state: UInt64(seed))
        var part = SharedStorePart()
        var model: [[UInt8]: (value: Int64, expires: UInt64)] = [:]
        for step in 0..<2000 {
            let key = [UInt8.random(in: 0..<60, using: &random)]
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<6:
                let expires = Bool.random(using: &random) ? 0 : UInt64.random(in: 1...1000, using: &random)
                part.put(SharedStorePart.Entry(key: key, value: .integer(Int64(step)), expires: expires))
                model[key] = (Int64(step), expires)
            case 6..<9:
                let size = part.remove(key)
                #expect(size == (model.removeValue(forKey: key) == nil ? 0 : SharedStore.entrySize + 1))
            default:
                let now = UInt64.random(in: 1...1000, using: &random)
                var last: UInt64 = 0
                while let expired = part.expired(now) {
                    let expires = model.removeValue(forKey: expired)?.expires ?? 0
                    #expect(expires != 0 && expires <= now && expires >= last)
                    last = expires
                    _ = part.remove(expired)
                }
                #expect(!model.values.contains { $0.expires != 0 && $0.expires <= now })
            }
            #expect(part.entries.count == model.count)
            #expect(part[key]?.expires == model[key]?.expires)
            #expect(part[key]?.value == model[key].map { .integer($0.value) })
        }
    }
}
