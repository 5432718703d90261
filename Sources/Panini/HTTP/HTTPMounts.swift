// Owns: which services answer requests that come without a socket, and on which worker the next one goes. Any thread, behind a
// lock; the host's loop writes.

import Synchronization

/// A running service, for those who bring requests.
final class HTTPMount: Sendable {
    let name: String
    /// Its place in the host's configuration.
    let place: Int
    private let instances: [WorkerInstance]
    private let next = Atomic<UInt>(0)
    /// Workers that a script holds.
    private let stuck = Mutex<Set<Int>>([])

    init(name: String, place: Int, _ instances: [WorkerInstance]) {
        self.name = name
        self.place = place
        self.instances = instances
    }

    /// The worker whose turn it is; nil when none can take anything.
    var instance: WorkerInstance? {
        let stuck = stuck.withLock { $0 }
        let free = stuck.isEmpty ? instances : instances.filter { !stuck.contains($0.index) }
        guard !free.isEmpty else { return nil }
        return free[Int(next.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(free.count))]
    }

    func workerChanged(_ index: Int, isStuck: Bool) {
        stuck.withLock { stuck in
            if isStuck { stuck.insert(index) } else { stuck.remove(index) }
        }
    }
}

/// All services of a host that run.
final class HTTPMounts: Sendable {
    private let mounts = Mutex<[HTTPMount]>([])

    func add(_ name: String, place: Int, _ instances: [WorkerInstance]) {
        let mount = HTTPMount(name: name, place: place, instances)
        mounts.withLock { mounts in
            mounts.removeAll { $0.name == name }
            mounts.append(mount)
            mounts.sort { $0.place < $1.place }
        }
    }

    func workerChanged(_ index: Int, isStuck: Bool) {
        for mount in all(named: nil) { mount.workerChanged(index, isStuck: isStuck) }
    }

    func removeAll() { mounts.withLock { $0 = [] } }

    func all(named name: String?) -> [HTTPMount] {
        mounts.withLock { mounts in name == nil ? mounts : mounts.filter { $0.name == name } }
    }
}
