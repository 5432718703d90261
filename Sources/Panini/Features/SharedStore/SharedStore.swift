// Owns: what `app.shared` holds: one store for all workers and all versions of a service. Any thread; behind a lock that is
// held for one operation.

import Glibc
import LuaVM
import Synchronization

/// A value that Lua states can share.
enum SharedValue: Sendable, Equatable {
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string([UInt8])
    /// A table as it was when it was stored.
    case table(LuaSnapshot)

    /// What the value counts towards the limit, beside its entry.
    var size: Int {
        switch self {
        case .string(let bytes): bytes.count
        case .table(let snapshot): snapshot.bytes.count
        case .boolean, .integer, .number: 0
        }
    }

    /// What it takes in a Lua state at most: a text is its bytes, a table has nodes around its values.
    var sizeInLua: Int {
        if case .table(let snapshot) = self { snapshot.sizeInLua } else { size }
    }
}

/// The key-value store behind `app.shared`.
final class SharedStore: Sendable {
    /// What every entry counts towards the limit, beside the bytes of its key and value.
    static let entrySize = 64

    /// Why a value was not stored.
    enum Refusal: Error, Equatable {
        /// The limit, in bytes.
        case full(Int)
        /// `incr` of a value that is no number.
        case notANumber
    }

    fileprivate struct Entry {
        var value: SharedValue
        /// Nanoseconds of the monotonic clock; 0: never.
        var expires: UInt64
    }

    fileprivate struct State {
        /// In parts, by a hash of the key: who looks through all holds the lock for one part at a time.
        var parts = [[[UInt8]: Entry]](repeating: [:], count: SharedStore.partCount)
        var bytes = 0
        var limit = 64 << 20
        var refused: UInt64 = 0
        /// No entry expires before this time.
        var nextExpiry = UInt64.max
    }

    /// How many parts the entries are kept in.
    static let partCount = 64

    private let state = Mutex(State())

    /// The most it may hold, in bytes; what is there already stays.
    func setLimit(_ bytes: Int) { state.withLock { $0.limit = bytes } }

    /// How many bytes the entries count.
    var bytesInUse: Int { state.withLock { $0.bytes } }

    /// How often something was refused for want of room.
    var refused: UInt64 { state.withLock { $0.refused } }

    func get(_ key: [UInt8], now: UInt64) -> SharedValue? {
        state.withLock { state -> SharedValue? in
            guard let entry = state[key] else { return nil }
            guard entry.isAlive(now) else {
                state.remove(key)
                return nil
            }
            return entry.value
        }
    }

    /// - Parameter expires: The time it ends; 0: never.
    func set(_ key: [UInt8], _ value: SharedValue, expires: UInt64, now: UInt64) throws(Refusal) {
        try state.withLock { state throws(Refusal) in try state.put(key, value, expires, now) }
    }

    /// Stores only where nothing is.
    ///
    /// - Returns: False when there was something.
    func add(_ key: [UInt8], _ value: SharedValue, expires: UInt64, now: UInt64) throws(Refusal) -> Bool {
        try state.withLock { state throws(Refusal) in
            if state[key]?.isAlive(now) == true { return false }
            try state.put(key, value, expires, now)
            return true
        }
    }

    /// Adds to a number, in one step; whole numbers stay whole as long as they fit. What expires keeps its time.
    ///
    /// - Parameter initial: What a key that is not there begins with.
    func increment(
        _ key: [UInt8],
        by amount: SharedValue,
        initial: SharedValue,
        now: UInt64
    ) throws(Refusal) -> SharedValue {
        try state.withLock { state throws(Refusal) in
            let entry = state[key].flatMap { $0.isAlive(now) ? $0 : nil }
            let sum = try Self.sum(entry?.value ?? initial, amount)
            try state.put(key, sum, entry?.expires ?? 0, now)
            return sum
        }
    }

    private static func sum(_ a: SharedValue, _ b: SharedValue) throws(Refusal) -> SharedValue {
        if case .integer(let a) = a, case .integer(let b) = b {
            let (sum, overflow) = a.addingReportingOverflow(b)
            return overflow ? .number(Double(a) + Double(b)) : .integer(sum)
        }
        return .number(try double(a) + double(b))
    }

    private static func double(_ value: SharedValue) throws(Refusal) -> Double {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: throw .notANumber
        }
    }

    /// - Returns: Whether there was something.
    func delete(_ key: [UInt8], now: UInt64) -> Bool {
        state.withLock { state in
            let wasAlive = state[key]?.isAlive(now) == true
            state.remove(key)
            return wasAlive
        }
    }

    /// The keys that begin with `prefix`, in order. Keys that come or go meanwhile may be in it or not.
    ///
    /// - Parameter isOver: Looked at now and then, without the lock: nobody waits for the keys any more.
    /// - Returns: Nil when it was over.
    func keys(_ prefix: [UInt8], now: UInt64, unless isOver: () -> Bool = { false }) -> [[UInt8]]? {
        var lists = KeyLists()
        for part in 0..<Self.partCount {
            if isOver() { return nil }
            let found = state.withLock { state in
                state.parts[part].compactMap { key, entry in
                    entry.isAlive(now) && key.starts(with: prefix) ? key : nil
                }
            }
            lists.add(found)
        }
        return lists.merged(isOver: isOver)
    }
}

/// Sorted lists that become one.
private struct KeyLists {
    private var lists: [[[UInt8]]] = []
    private var count = 0

    mutating func add(_ keys: [[UInt8]]) {
        guard !keys.isEmpty else { return }
        count += keys.count
        lists.append(keys.sorted(by: Self.precedes))
    }

    private static func precedes(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        let count = min(one.count, other.count)
        let order = one.withUnsafeBytes { one in
            other.withUnsafeBytes { other in
                guard let one = one.baseAddress, let other = other.baseAddress else { return CInt(0) }
                return memcmp(one, other, count)
            }
        }
        return order == 0 ? one.count < other.count : order < 0
    }

    func merged(isOver: () -> Bool) -> [[UInt8]]? {
        var result: [[UInt8]] = []
        result.reserveCapacity(count)
        // A heap of lists by their next key.
        var places = [Int](repeating: 0, count: lists.count)
        var heap = Array(lists.indices)
        heap.sort { Self.precedes(lists[$0][0], lists[$1][0]) }
        while let first = heap.first {
            if result.count & 4095 == 4095, isOver() { return nil }
            result.append(lists[first][places[first]])
            places[first] += 1
            if places[first] == lists[first].count {
                heap[0] = heap[heap.count - 1]
                heap.removeLast()
            }
            sink(&heap, places)
        }
        return result
    }

    /// Brings the first of the heap to its place.
    private func sink(_ heap: inout [Int], _ places: [Int]) {
        func key(_ position: Int) -> [UInt8] { lists[heap[position]][places[heap[position]]] }
        var position = 0
        while true {
            var least = position
            for child in [2 * position + 1, 2 * position + 2]
            where child < heap.count && Self.precedes(key(child), key(least)) {
                least = child
            }
            guard least != position else { return }
            heap.swapAt(least, position)
            position = least
        }
    }
}

extension SharedStore.Entry {
    fileprivate func isAlive(_ now: UInt64) -> Bool { expires == 0 || now < expires }
}

extension SharedStore.State {
    fileprivate subscript(key: [UInt8]) -> SharedStore.Entry? {
        get { parts[Self.part(of: key)][key] }
        set { parts[Self.part(of: key)][key] = newValue }
    }

    private static func part(of key: [UInt8]) -> Int {
        // Of a seed that no client knows.
        var hasher = Hasher()
        key.withUnsafeBytes { hasher.combine(bytes: $0) }
        return Int(truncatingIfNeeded: UInt(bitPattern: hasher.finalize()) >> 32) % SharedStore.partCount
    }

    fileprivate mutating func put(
        _ key: [UInt8],
        _ value: SharedValue,
        _ expires: UInt64,
        _ now: UInt64
    ) throws(SharedStore.Refusal) {
        let size = SharedStore.entrySize + key.count + value.size
        let before = self[key].map { SharedStore.entrySize + key.count + $0.value.size } ?? 0
        if bytes - before + size > limit { sweep(now, except: key) }
        guard bytes - before + size <= limit else {
            refused &+= 1
            throw .full(limit)
        }
        self[key] = SharedStore.Entry(value: value, expires: expires)
        bytes += size - before
        if expires != 0, expires < nextExpiry { nextExpiry = expires }
    }

    fileprivate mutating func remove(_ key: [UInt8]) {
        guard let entry = self[key] else { return }
        self[key] = nil
        bytes -= SharedStore.entrySize + key.count + entry.value.size
    }

    /// Makes room by what has expired; looks through all only when there is such.
    private mutating func sweep(_ now: UInt64, except kept: [UInt8]) {
        guard now >= nextExpiry else { return }
        nextExpiry = .max
        for part in parts {
            for (key, entry) in part where entry.expires != 0 {
                if entry.isAlive(now) {
                    nextExpiry = min(nextExpiry, entry.expires)
                } else if key != kept {
                    remove(key)
                }
            }
        }
    }
}
