// Owns: the event loops that run scripts, each a group of its own, so that one can end without the others. Any thread, behind
// a lock.

import NIOCore
import NIOPosix
import Synchronization

/// The threads of a host's workers.
final class WorkerThreads: Sendable {
    private struct State {
        var groups: [ObjectIdentifier: MultiThreadedEventLoopGroup] = [:]
        /// Scripts hold them: they stay as they are until the process ends.
        var left: [MultiThreadedEventLoopGroup] = []
    }

    private let state = Mutex(State())

    /// Starts a thread.
    func makeLoop() -> any EventLoop {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        state.withLock { $0.groups[ObjectIdentifier(loop)] = group }
        return loop
    }

    /// Ends a loop's thread; it must be able to.
    func end(_ loop: any EventLoop) {
        guard let group = state.withLock({ $0.groups.removeValue(forKey: ObjectIdentifier(loop)) }) else { return }
        group.shutdownGracefully { _ in }
    }

    /// A script holds the loop's thread: it is not waited for.
    func leave(_ loop: any EventLoop) {
        state.withLock { state in
            if let group = state.groups.removeValue(forKey: ObjectIdentifier(loop)) { state.left.append(group) }
        }
    }

    /// The same for all loops but those.
    func leaveOthers(than loops: [any EventLoop]) {
        let known = Set(loops.map { ObjectIdentifier($0) })
        state.withLock { state in
            for (loop, group) in state.groups where !known.contains(loop) {
                state.groups[loop] = nil
                state.left.append(group)
            }
        }
    }

    /// Whether a thread was left.
    var hasLeft: Bool { state.withLock { !$0.left.isEmpty } }

    /// Ends all threads that were not left, and waits for them.
    func shutdown() async throws {
        for group in takeAll() { try await group.shutdownGracefully() }
    }

    /// The same, on the calling thread.
    func shutdownBlocking() throws {
        for group in takeAll() { try group.syncShutdownGracefully() }
    }

    private func takeAll() -> [MultiThreadedEventLoopGroup] {
        state.withLock { state in
            defer { state.groups = [:] }
            return Array(state.groups.values)
        }
    }
}
