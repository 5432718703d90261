// Owns: how much the web servers of a host hold for their clients, over all workers and services, and which of them lets go
// when it is too much. Any thread: atomics that change in coarse steps, and a lock where the limit is reached.

import NIOCore
import Synchronization

/// The memory that all web servers of a host may hold for their clients: what a client has sent and nobody has taken yet, and
/// what a client was sent and has not taken.
package final class WebMemory: Sendable {
    /// How far a server's part may be from what it has told: nothing is shared between threads for less.
    static let step = 64 << 10
    /// How long a server that was asked to let go may take before others do it, in nanoseconds: a script may hold its loop.
    private static let patience: UInt64 = 100_000_000

    private let total = Atomic<Int>(0)
    private let smallestLimit = Atomic<Int>(.max)
    private let members = Mutex<[Member]>([])

    package init() {}

    /// What one server is to the others.
    final class Member: Sendable {
        /// What its configuration allows all servers together.
        let limit: Atomic<Int>
        /// The bytes of the connection that holds most.
        let largest = Atomic<Int>(0)
        /// When it was asked to let go; 0: it was not, or has done so.
        let askedAt = Atomic<UInt64>(0)
        private let letGo: @Sendable () -> Void

        /// - Parameter letGo: Has the server let go of its worst connections, on its own loop.
        init(limit: Int, letGo: @escaping @Sendable () -> Void) {
            self.limit = Atomic(limit)
            self.letGo = letGo
        }

        fileprivate func ask(_ now: UInt64) {
            askedAt.store(now, ordering: .relaxed)
            letGo()
        }

        /// Whether it does not come back to what it was asked for.
        fileprivate func isLate(_ now: UInt64) -> Bool {
            let asked = askedAt.load(ordering: .relaxed)
            return asked != 0 && now &- asked > WebMemory.patience
        }
    }

    /// Bytes that are held, as far as the servers have told.
    package var bytes: Int { total.load(ordering: .relaxed) }

    /// How many there may be: the smallest limit of the servers that are there.
    package var limit: Int { smallestLimit.load(ordering: .relaxed) }

    var isOver: Bool { bytes > limit }

    /// Where letting go ends: a little below the limit, so that not each further byte costs a connection.
    var target: Int { limit - limit / 8 }

    func join(_ member: Member) {
        members.withLock { members in
            members.append(member)
            settleLimit(members)
        }
    }

    func leave(_ member: Member) {
        members.withLock { members in
            members.removeAll { $0 === member }
            settleLimit(members)
        }
    }

    func changeLimit(of member: Member, to limit: Int) {
        members.withLock { members in
            member.limit.store(limit, ordering: .relaxed)
            settleLimit(members)
        }
    }

    private func settleLimit(_ members: [Member]) {
        let smallest = members.map { $0.limit.load(ordering: .relaxed) }.min() ?? .max
        smallestLimit.store(smallest, ordering: .relaxed)
    }

    func add(_ bytes: Int) { total.add(bytes, ordering: .relaxed) }

    /// Asks the server with the largest connection to let go, unless that is `member`, or was asked already.
    ///
    /// - Returns: Whether another server has a connection larger than `bytes`.
    func asksOther(than member: Member, above bytes: Int, now: UInt64) -> Bool {
        members.withLock { members in
            var worst: Member?
            var most = bytes
            for other in members where other !== member && !other.isLate(now) {
                let largest = other.largest.load(ordering: .relaxed)
                guard largest > most else { continue }
                most = largest
                worst = other
            }
            guard let worst else { return false }
            if worst.askedAt.load(ordering: .relaxed) == 0 { worst.ask(now) }
            return true
        }
    }
}

/// One server's part of the memory. Loop-bound.
final class WebMemoryShare {
    /// What this server's connections hold.
    @exclusivity(unchecked) private(set) var bytes = 0
    /// The most that one of them holds, or has held since the last look at all.
    @exclusivity(unchecked) private var largest = 0
    /// What of the bytes the others know.
    @exclusivity(unchecked) private var told = 0
    /// The most that was held since memory was last given back to the system.
    @exclusivity(unchecked) private var peak = 0
    /// Too much is held: the server is to look what it can let go.
    @exclusivity(unchecked) private(set) var isOver = false
    let memory: WebMemory
    let member: WebMemory.Member

    init(_ memory: WebMemory, limit: Int, letGo: @escaping @Sendable () -> Void) {
        self.memory = memory
        member = WebMemory.Member(limit: limit, letGo: letGo)
        memory.join(member)
    }

    deinit {
        memory.add(-told)
        memory.leave(member)
    }

    /// A connection holds another number of bytes than before.
    @inline(__always)
    func change(from old: Int, to new: Int) {
        bytes &+= new &- old
        if new > largest { largest = new }
        let untold = bytes &- told
        if untold >= WebMemory.step || untold <= -WebMemory.step { tell() }
    }

    /// Tells the others what is held.
    func tell() {
        if bytes != told { memory.add(bytes - told) }
        told = bytes
        if bytes > peak { peak = bytes }
        member.largest.store(largest, ordering: .relaxed)
        isOver = memory.isOver
    }

    /// Below this there is nothing worth giving back.
    private static let smallPeak = 8 << 20

    /// Whether so much has gone that the system shall have it back: the allocator keeps freed pages unless told.
    var hasCalmedDown: Bool { peak > Self.smallPeak && bytes < peak / 4 }

    /// It has it back.
    func gaveBack() { peak = bytes }

    /// All connections have been looked at.
    func looked(largest: Int) {
        self.largest = largest
        member.askedAt.store(0, ordering: .relaxed)
        tell()
    }
}

@available(*, unavailable)
extension WebMemoryShare: Sendable {}
