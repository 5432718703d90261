// Owns: the entries of one part of `app.shared`, by key and by when they expire. A value; behind the store's lock.

/// Entries by their keys; those that expire are in the order in which they do, as a heap.
///
/// Every operation takes a number of steps of the order of the logarithm of their number.
struct SharedStorePart {
    struct Entry {
        let key: [UInt8]
        var value: SharedValue
        /// Nanoseconds of the monotonic clock; 0: never.
        var expires: UInt64
        /// Its place in the queue of those that expire; -1: none.
        fileprivate var turn = -1

        init(key: [UInt8], value: SharedValue, expires: UInt64) {
            self.key = key
            self.value = value
            self.expires = expires
        }

        func isAlive(_ now: UInt64) -> Bool { expires == 0 || now < expires }

        /// What it counts towards the limit.
        var size: Int { SharedStore.entrySize + key.count + value.size }
    }

    private(set) var entries: [Entry] = []
    /// Where in ``entries`` a key is.
    private var places: [[UInt8]: Int] = [:]
    /// Places of entries that expire: a heap, the next one first.
    private var queue: [Int] = []

    subscript(key: [UInt8]) -> Entry? { places[key].map { entries[$0] } }

    /// The key of an entry that has expired.
    func expired(_ now: UInt64) -> [UInt8]? {
        guard let first = queue.first, !entries[first].isAlive(now) else { return nil }
        return entries[first].key
    }

    /// Stores an entry in place of one of the same key.
    mutating func put(_ entry: Entry) {
        let place: Int
        if let known = places[entry.key] {
            place = known
            leaveQueue(place)
            entries[place].value = entry.value
            entries[place].expires = entry.expires
        } else {
            place = entries.count
            places[entry.key] = place
            entries.append(entry)
        }
        guard entry.expires != 0 else { return }
        queue.append(place)
        entries[place].turn = queue.count - 1
        rise(queue.count - 1)
    }

    /// Removes an entry.
    ///
    /// - Returns: What it counted towards the limit; 0 when there was none.
    mutating func remove(_ key: [UInt8]) -> Int {
        guard let place = places.removeValue(forKey: key) else { return 0 }
        leaveQueue(place)
        let size = entries[place].size
        let last = entries.removeLast()
        guard place < entries.count else { return size }
        // The last one takes its place.
        entries[place] = last
        places[last.key] = place
        if last.turn >= 0 { queue[last.turn] = place }
        return size
    }

    // MARK: - The queue

    private mutating func leaveQueue(_ place: Int) {
        let turn = entries[place].turn
        guard turn >= 0 else { return }
        entries[place].turn = -1
        let last = queue.removeLast()
        guard turn < queue.count else { return }
        queue[turn] = last
        entries[last].turn = turn
        rise(turn)
        sink(entries[last].turn)
    }

    private func isBefore(_ one: Int, _ other: Int) -> Bool {
        entries[queue[one]].expires < entries[queue[other]].expires
    }

    private mutating func swap(_ one: Int, _ other: Int) {
        queue.swapAt(one, other)
        entries[queue[one]].turn = one
        entries[queue[other]].turn = other
    }

    private mutating func rise(_ turn: Int) {
        var turn = turn
        while turn > 0, isBefore(turn, (turn - 1) / 2) {
            swap(turn, (turn - 1) / 2)
            turn = (turn - 1) / 2
        }
    }

    private mutating func sink(_ turn: Int) {
        var turn = turn
        while true {
            var first = turn
            for child in [2 * turn + 1, 2 * turn + 2] where child < queue.count && isBefore(child, first) {
                first = child
            }
            guard first != turn else { return }
            swap(turn, first)
            turn = first
        }
    }
}
