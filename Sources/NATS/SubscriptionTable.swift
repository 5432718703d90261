// sid → subscription. Sids count up from 1 and are never used twice; the table stays as small as the number of live
// subscriptions asks for, however many came and went. A value, used on the connection's loop only.

/// An open-addressing table keyed by sid. As sids are consecutive numbers, a slot is found by masking the sid, and
/// collisions only arise between long-lived and young subscriptions.
struct SubscriptionTable {
    private var slots: [NATSSubscription?]
    private var mask: Int
    private(set) var count = 0
    private(set) var lastSID = 0
    /// The newest of each subject and group: an error of the server names no sid.
    private var newest: [Place: NATSSubscription] = [:]

    private struct Place: Hashable {
        let subject: String
        let queue: String?
    }

    init() {
        slots = Array(repeating: nil, count: 16)
        mask = 15
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
        var index = sid & mask
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
        var index = sid & mask
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
        var index = subscription.sid & mask
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
            let home = subscription.sid & mask
            if (index - home) & mask >= (index - gap) & mask {
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
        for case let subscription? in old {
            place(subscription)
        }
    }
}
