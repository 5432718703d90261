// Owns: which services answer requests that come without a socket, and on which worker the next one goes. Any thread, behind a
// lock; the host's loop writes.

import Synchronization

/// A running service, for those who bring requests.
final class HTTPMount: Sendable {
    let name: String
    /// Its place in the host's configuration.
    let place: Int
    private struct State {
        var instances: [WorkerInstance]
        /// Workers that a script holds.
        var stuck: Set<Int> = []
    }

    private let next = Atomic<UInt>(0)
    private let state: Mutex<State>

    init(name: String, place: Int, _ instances: [WorkerInstance]) {
        self.name = name
        self.place = place
        state = Mutex(State(instances: instances))
    }

    /// The worker whose turn it is; nil when none can take anything.
    var instance: WorkerInstance? {
        let free = state.withLock { state in
            state.stuck.isEmpty ? state.instances : state.instances.filter { !state.stuck.contains($0.index) }
        }
        guard !free.isEmpty else { return nil }
        return free[Int(next.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(free.count))]
    }

    func workerChanged(_ index: Int, isStuck: Bool) {
        state.withLock { state in
            if isStuck { state.stuck.insert(index) } else { state.stuck.remove(index) }
        }
    }

    /// A worker's place is another's.
    func replace(_ instance: WorkerInstance) {
        state.withLock { state in
            state.instances.removeAll { $0.index == instance.index }
            state.instances.append(instance)
            state.stuck.remove(instance.index)
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

    func replace(_ name: String, _ instance: WorkerInstance) { all(named: name).first?.replace(instance) }

    func removeAll() { mounts.withLock { $0 = [] } }

    func all(named name: String?) -> [HTTPMount] {
        mounts.withLock { mounts in name == nil ? mounts : mounts.filter { $0.name == name } }
    }
}
