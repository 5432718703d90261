// Owns: what the workers of one service have in common: its identity towards the broker, and what each of them serves.
// Any thread; behind a lock, never per message.

import Synchronization

/// Common to all workers of a service.
final class ServiceShared: Sendable {
    /// One subject that a worker serves, as the services protocol tells of it.
    struct Row: Sendable {
        let name: String
        let subject: String
        let queue: String
        let metadata: [String: String]
        let endpoint: Endpoint
    }

    /// Tells this run of the service from all others: part of the names of its own queue groups.
    let instance: String
    let workers: Int
    private let rows: Mutex<[[Row]]>

    init(workers: Int) {
        self.workers = workers
        instance = String(UInt64.random(in: 0...(.max)), radix: 36)
        rows = Mutex(Array(repeating: [], count: workers))
    }

    func setRows(_ new: [Row], of worker: Int) {
        rows.withLock { $0[worker] = new }
    }

    /// What all workers serve, in the order of the first that serves it.
    func allRows() -> [[Row]] {
        rows.withLock { rows in
            var places: [String: Int] = [:]
            var merged: [[Row]] = []
            for row in rows.joined() {
                if let place = places[row.name] {
                    merged[place].append(row)
                } else {
                    places[row.name] = merged.count
                    merged.append([row])
                }
            }
            return merged
        }
    }

    /// The queue group in which the workers share what one plain listener gets: to the outside they are one subscriber.
    ///
    /// Each listener has a group of its own: a broker gives a message to one member of a group, also when two of its
    /// members subscribe to different subjects that both match.
    func ownGroup(subject: String, ordinal: Int) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in "\(ordinal) \(subject)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return "_panini.\(instance).\(String(hash, radix: 36))"
    }

    /// The one worker that serves a listener which allows one handler at a time: more of them would run more.
    func home(of subject: String) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in subject.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int(hash % UInt64(workers))
    }
}
