// Owns: the subscriptions by their numbers (sids). Sids count up from 1 and are never used twice; the table stays as small as
// the number of live subscriptions asks for, however many came and went. A value, used on the connection's loop only.

import Bytes
import NATSProtocol

/// An open-addressing table keyed by sid. Sids are consecutive numbers, so their slots are spread: neighbours in one run
/// would make each removal of the oldest, and each search of a sid that falls into the run, walk to the run's end.
struct SubscriptionTable {
    private var slots: [NATSSubscription?]
    private var mask: Int
    /// 64 less the number of bits of a slot's index.
    private var shift: UInt64
    private(set) var count = 0
    private(set) var lastSID = 0
    /// The newest of each subject and group: an error of the server names no sid.
    private var newest: [Place: NATSSubscription] = [:]

    private struct Place: Hashable {
        let subject: ExactText
        let queue: ExactText?

        init(subject: String, queue: String?) {
            self.subject = ExactText(subject)
            self.queue = queue.map(ExactText.init)
        }
    }

    init() {
        slots = Array(repeating: nil, count: 16)
        mask = 15
        shift = 60
    }

    /// The slot where the search for a sid begins: the golden ratio spreads consecutive numbers evenly.
    @inline(__always)
    private func home(_ sid: Int) -> Int {
        Int(truncatingIfNeeded: (UInt64(truncatingIfNeeded: sid) &* 0x9E37_79B9_7F4A_7C15) &>> shift)
    }

    /// How many slots the longest search looks at; for tests of the bound.
    var longestSearch: Int {
        slots.indices.reduce(0) { longest, index in
            guard let subscription = slots[index] else { return longest }
            return max(longest, ((index - home(subscription.sid)) & mask) + 1)
        }
    }

    /// How many slots stand in the longest row without a gap, which is what a removal walks at most; for tests.
    var longestRun: Int {
        var longest = 0
        var length = 0
        for slot in slots + slots {
            length = slot == nil ? 0 : length + 1
            longest = max(longest, length)
        }
        return min(longest, slots.count)
    }

    /// How many slots there are; for tests of the bound.
    var capacity: Int { slots.count }

    /// The next sid, never given out before.
    mutating func makeSID() -> Int {
        lastSID += 1
        return lastSID
    }

    @inline(__always)
    func find(_ sid: Int) -> NATSSubscription? {
        var index = home(sid)
        while let subscription = slots[index] {
            if subscription.sid == sid { return subscription }
            index = (index &+ 1) & mask
        }
        return nil
    }

    /// The newest of a subject and group; nil when there is none.
    func newest(_ subject: String, _ queue: String?) -> NATSSubscription? {
        newest[Place(subject: subject, queue: queue)]
    }

    mutating func insert(_ subscription: NATSSubscription) {
        let key = Place(subject: subscription.subject, queue: subscription.queue)
        if let older = newest.updateValue(subscription, forKey: key) {
            subscription.older = older
            older.newer = subscription
        }
        if 2 * (count + 1) > slots.count {
            resize(to: slots.count * 2)
        }
        place(subscription)
        count += 1
    }

    @discardableResult
    mutating func remove(_ sid: Int) -> NATSSubscription? {
        var index = home(sid)
        while let subscription = slots[index], subscription.sid != sid {
            index = (index + 1) & mask
        }
        guard let removed = slots[index] else { return nil }
        slots[index] = nil
        count -= 1
        closeGap(at: index)
        unlink(removed)
        if slots.count > 16, count * 8 < slots.count {
            resize(to: slots.count / 2)
        }
        return removed
    }

    private mutating func unlink(_ subscription: NATSSubscription) {
        if let newer = subscription.newer {
            newer.older = subscription.older
        } else {
            newest[Place(subject: subscription.subject, queue: subscription.queue)] = subscription.older
        }
        subscription.older?.newer = subscription.newer
        subscription.older = nil
        subscription.newer = nil
    }

    /// All subscriptions in the order of their sids.
    func sorted() -> [NATSSubscription] {
        slots.compactMap { $0 }.sorted { $0.sid < $1.sid }
    }

    private mutating func place(_ subscription: NATSSubscription) {
        var index = home(subscription.sid)
        while slots[index] != nil {
            index = (index + 1) & mask
        }
        slots[index] = subscription
    }

    /// Moves entries that were displaced past `gap` back towards their own slot, so that searches never need tombstones.
    private mutating func closeGap(at gap: Int) {
        var gap = gap
        var index = (gap + 1) & mask
        while let subscription = slots[index] {
            if (index - home(subscription.sid)) & mask >= (index - gap) & mask {
                slots[gap] = subscription
                slots[index] = nil
                gap = index
            }
            index = (index + 1) & mask
        }
    }

    private mutating func resize(to size: Int) {
        let old = slots
        slots = Array(repeating: nil, count: size)
        mask = size - 1
        shift = UInt64(64 - size.trailingZeroBitCount)
        for case let subscription? in old {
            place(subscription)
        }
    }
}
