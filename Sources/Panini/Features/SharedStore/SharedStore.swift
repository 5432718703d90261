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

    fileprivate struct State {
        /// In parts, by a hash of the key: who looks through all holds the lock for one part at a time.
        var parts = [SharedStorePart](repeating: SharedStorePart(), count: SharedStore.partCount)
        var bytes = 0
        var limit = 64 << 20
        var refused: UInt64 = 0
        /// The part that is looked at next for entries that have expired.
        var nextPart = 0
    }

    /// How many entries that have expired are removed at most while the lock is held, and how many of them by a call that has
    /// room without them.
    static let sweptAtOnce = 256
    static let sweptInPassing = 4

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

    /// - Parameters:
    ///   - expires: The time it ends; 0: never.
    ///   - isOver: Looked at while room is being made: nobody waits for it any more. Then it is full.
    func set(
        _ key: [UInt8],
        _ value: SharedValue,
        expires: UInt64,
        now: UInt64,
        unless isOver: () -> Bool = { false }
    ) throws(Refusal) {
        try inSteps(unless: isOver) { state throws(Refusal) in
            try state.put(key, value, expires, now) ? () : nil
        }
    }

    /// Does something that may need room, which others make by expiring: the lock is held for some of them at a time.
    ///
    /// - Parameter body: Returns nil when it has made some room, needs more, and there is more to make.
    private func inSteps<Result>(
        unless isOver: () -> Bool,
        _ body: (inout State) throws(Refusal) -> Result?
    ) throws(Refusal) -> Result {
        while true {
            var result: Result?
            var limit = 0
            try state.withLock { state throws(Refusal) in
                limit = state.limit
                result = try body(&state)
            }
            if let result { return result }
            if isOver() { throw .full(limit) }
        }
    }

    /// Stores only where nothing is.
    ///
    /// - Returns: False when there was something.
    func add(
        _ key: [UInt8],
        _ value: SharedValue,
        expires: UInt64,
        now: UInt64,
        unless isOver: () -> Bool = { false }
    ) throws(Refusal) -> Bool {
        try inSteps(unless: isOver) { state throws(Refusal) in
            if state[key]?.isAlive(now) == true { return false }
            return try state.put(key, value, expires, now) ? true : nil
        }
    }

    /// Adds to a number, in one step; whole numbers stay whole as long as they fit. What expires keeps its time.
    ///
    /// - Parameter initial: What a key that is not there begins with.
    func increment(
        _ key: [UInt8],
        by amount: SharedValue,
        initial: SharedValue,
        now: UInt64,
        unless isOver: () -> Bool = { false }
    ) throws(Refusal) -> SharedValue {
        try inSteps(unless: isOver) { state throws(Refusal) in
            let entry = state[key].flatMap { $0.isAlive(now) ? $0 : nil }
            let sum = try Self.sum(entry?.value ?? initial, amount)
            return try state.put(key, sum, entry?.expires ?? 0, now) ? sum : nil
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
                state.parts[part].entries.compactMap { entry in
                    entry.isAlive(now) && entry.key.starts(with: prefix) ? entry.key : nil
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

extension SharedStore.State {
    fileprivate subscript(key: [UInt8]) -> SharedStorePart.Entry? { parts[Self.part(of: key)][key] }

    private static func part(of key: [UInt8]) -> Int {
        // Of a seed that no client knows.
        var hasher = Hasher()
        key.withUnsafeBytes { hasher.combine(bytes: $0) }
        return Int(truncatingIfNeeded: UInt(bitPattern: hasher.finalize()) >> 32) % SharedStore.partCount
    }

    /// Stores a value.
    ///
    /// - Returns: False when there is no room yet: some has been made, and more can be.
    fileprivate mutating func put(
        _ key: [UInt8],
        _ value: SharedValue,
        _ expires: UInt64,
        _ now: UInt64
    ) throws(SharedStore.Refusal) -> Bool {
        let part = Self.part(of: key)
        let size = SharedStore.entrySize + key.count + value.size
        // What has expired is no longer there: what follows need not spare it.
        if parts[part][key]?.isAlive(now) == false { remove(key) }
        let before = parts[part][key]?.size ?? 0
        // What never fits makes nobody else's room.
        if bytes - before + size <= limit {
            sweep(now, most: SharedStore.sweptInPassing, parts: 1)
        } else if size <= limit {
            let swept = sweep(now, most: SharedStore.sweptAtOnce, parts: SharedStore.partCount) {
                $0 - before + size <= $1
            }
            if bytes - before + size > limit, swept == SharedStore.sweptAtOnce { return false }
        }
        guard bytes - before + size <= limit else {
            refused &+= 1
            throw .full(limit)
        }
        parts[part].put(SharedStorePart.Entry(key: key, value: value, expires: expires))
        bytes += size - before
        return true
    }

    fileprivate mutating func remove(_ key: [UInt8]) { bytes -= parts[Self.part(of: key)].remove(key) }

    /// Removes what has expired, beginning where the last sweep ended.
    ///
    /// - Parameters:
    ///   - most: The most entries to remove.
    ///   - count: How many parts to look at; a look at one in which nothing has expired is one comparison.
    ///   - isEnough: Whether that is enough, by the bytes in use and the limit.
    /// - Returns: How many it has removed.
    @discardableResult
    private mutating func sweep(
        _ now: UInt64,
        most: Int,
        parts count: Int,
        until isEnough: (_ bytes: Int, _ limit: Int) -> Bool = { _, _ in false }
    ) -> Int {
        var swept = 0
        var looked = 0
        while looked < count {
            while swept < most, let key = parts[nextPart].expired(now) {
                bytes -= parts[nextPart].remove(key)
                swept += 1
                if isEnough(bytes, limit) { return swept }
            }
            if swept == most { return swept }
            nextPart = (nextPart + 1) % parts.count
            looked += 1
        }
        return swept
    }
}
