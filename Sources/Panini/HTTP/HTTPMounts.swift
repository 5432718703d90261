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

    init(name: String, place: Int, _ instances: [WorkerInstance]) {
        self.name = name
        self.place = place
        self.instances = instances
    }

    /// The worker whose turn it is.
    var instance: WorkerInstance? {
        guard !instances.isEmpty else { return nil }
        return instances[Int(next.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(instances.count))]
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

    func removeAll() { mounts.withLock { $0 = [] } }

    func all(named name: String?) -> [HTTPMount] {
        mounts.withLock { mounts in name == nil ? mounts : mounts.filter { $0.name == name } }
    }
}
