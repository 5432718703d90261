// Owns: the listeners of a script, to be found by number and by subject at the same cost however many there are. A value; one
// loop or loading thread.

import Bytes
import NATSProtocol

/// Listeners in the order of their registration.
struct ListenerTable {
    /// What is taken out leaves a gap, until half of all are gaps.
    private var entries: [Listener?] = []
    private var places: [Int64: Int] = [:]
    /// The numbers of those that listen to a subject.
    private var bySubject: [ExactText: Set<Int64>] = [:]

    var count: Int { places.count }
    var isEmpty: Bool { places.isEmpty }

    /// How many places there are, gaps included; for tests of the bound.
    var capacity: Int { entries.count }

    /// All of them, in their order.
    var values: [Listener] { entries.compactMap { $0 } }

    subscript(number: Int64) -> Listener? { places[number].flatMap { entries[$0] } }

    /// Those that listen to a subject as it is subscribed, in their order.
    func listeners(to subject: String) -> [Listener] {
        (bySubject[ExactText(subject)] ?? []).sorted().compactMap { self[$0] }
    }

    /// Adds one; does nothing for one that is in it.
    mutating func insert(_ listener: Listener) {
        guard places[listener.id] == nil else { return }
        places[listener.id] = entries.count
        entries.append(listener)
        for subject in listener.subjects { bySubject[subject.pattern.key, default: []].insert(listener.id) }
    }

    @discardableResult
    mutating func remove(_ number: Int64) -> Listener? {
        guard let place = places.removeValue(forKey: number), let listener = entries[place] else { return nil }
        entries[place] = nil
        for subject in listener.subjects {
            bySubject[subject.pattern.key]?.remove(number)
            if bySubject[subject.pattern.key]?.isEmpty == true { bySubject[subject.pattern.key] = nil }
        }
        if entries.count > 32, entries.count > 2 * places.count { closeGaps() }
        return listener
    }

    private mutating func closeGaps() {
        entries = entries.filter { $0 != nil }
        for (place, listener) in entries.enumerated() {
            if let listener { places[listener.id] = place }
        }
    }
}

extension ListenerTable: Sequence {
    struct Iterator: IteratorProtocol {
        fileprivate var rest: IndexingIterator<[Listener?]>

        mutating func next() -> Listener? {
            while let entry = rest.next() {
                if let entry { return entry }
            }
            return nil
        }
    }

    func makeIterator() -> Iterator { Iterator(rest: entries.makeIterator()) }
}
