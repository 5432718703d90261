// Owns: what the workers of one service have in common: its identity towards the broker, and what each of them serves.
// Any thread; behind a lock, never per message.

import NATS
import PaniniHTTP
import Synchronization

/// Common to all workers of a service.
final class SharedServiceState: Sendable {
    /// One subject that a worker serves, as the services protocol tells of it.
    struct Row: Sendable {
        let name: String
        let subject: String
        let queue: String
        let metadata: [String: String]
        let endpoint: Endpoint
    }

    private struct Table {
        /// By worker, and by numbers that count up.
        var rows: [[UInt64: Row]]
        /// What a worker served whose place another has taken, for the counters.
        var left: [[Row]]
        /// Which of those that have had a worker's place has it now.
        var incarnations: [Int]
        var next: UInt64 = 1
    }

    /// Tells this run of the service from all others: part of the names of its own queue groups.
    let instance: String
    let workers: Int
    /// The service's identity in the services protocol, whichever worker answers.
    let serviceID = NATSServiceResponder.makeID()
    /// What the web servers of the host may hold; shared with all other services.
    let webMemory: WebMemory
    private let table: Mutex<Table>

    init(workers: Int, webMemory: WebMemory = WebMemory()) {
        self.workers = workers
        self.webMemory = webMemory
        instance = String(UInt64.random(in: 0...(.max)), radix: 36)
        table = Mutex(
            Table(
                rows: Array(repeating: [:], count: workers),
                left: Array(repeating: [], count: workers),
                incarnations: Array(repeating: 0, count: workers)
            )
        )
    }

    /// A worker's place is another's: what it served is gone, and what it says from then on is not heard.
    func replaced(_ worker: Int, by incarnation: Int) {
        table.withLock { table in
            guard table.rows.indices.contains(worker), table.incarnations[worker] < incarnation else { return }
            table.incarnations[worker] = incarnation
            if !table.rows[worker].isEmpty { table.left[worker] = Array(table.rows[worker].values) }
            table.rows[worker] = [:]
        }
    }

    /// What the one before had counted of a subject goes on to be counted.
    func endpoint(leftBy worker: Int, name: String, subject: String) -> Endpoint? {
        table.withLock { table in
            guard let place = table.left[worker].firstIndex(where: { $0.name == name && $0.subject == subject }) else {
                return nil
            }
            return Endpoint(continuing: table.left[worker].remove(at: place).endpoint)
        }
    }

    /// Replaces what a worker serves.
    ///
    /// - Returns: the number of the first row; the others follow it. No number is ever given out twice.
    func setRows(_ new: [Row], of worker: Int, incarnation: Int = 0) -> UInt64 {
        table.withLock { table in
            guard table.incarnations[worker] <= incarnation else { return table.next }
            table.left[worker] = []
            let first = table.next
            table.next += UInt64(new.count)
            table.rows[worker] = Dictionary(
                uniqueKeysWithValues: new.enumerated().map { (first + UInt64($0.offset), $0.element) }
            )
            return first
        }
    }

    /// Adds a row; returns its number.
    func add(_ row: Row, of worker: Int, incarnation: Int = 0) -> UInt64 {
        table.withLock { table in
            defer { table.next += 1 }
            guard table.incarnations[worker] <= incarnation else { return table.next }
            table.rows[worker][table.next] = row
            return table.next
        }
    }

    func remove(_ key: UInt64, of worker: Int) {
        table.withLock { $0.rows[worker][key] = nil }
    }

    /// What all workers serve, in the order of the first that serves it.
    func allRows() -> [[Row]] {
        table.withLock { table in
            var places: [String: Int] = [:]
            var merged: [[Row]] = []
            let inOrder = table.rows.map { rows in rows.sorted { $0.key < $1.key }.map(\.value) }
            for row in inOrder.joined() {
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
