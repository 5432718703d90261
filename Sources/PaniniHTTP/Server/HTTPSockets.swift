// Owns: which sockets the web servers of one service on one worker have, so that another thread can end their connections and
// take their ports over when the worker's loop does not come back. Any thread, behind a lock. Knows numbers and identities of
// sockets, nothing of HTTP.

import Glibc
import NIOCore
import Synchronization

/// The sockets of the servers of one event loop.
package final class HTTPSockets: Sendable {
    /// The descriptor alone could be somebody else's by the time it is used: the loop may come back and close it in that
    /// moment. The inode tells one socket from the next.
    private struct Socket {
        let descriptor: CInt
        let inode: UInt64
    }

    private struct State {
        /// By the port that they listen on.
        var listening: [Int: Socket] = [:]
        /// By their descriptors. One that was closed stays until its number is used again, or is asked for.
        var connections: [CInt: UInt64] = [:]
        var isCut = false
    }

    private let state = Mutex(State())

    package init() {}

    // MARK: - The loop

    /// A server listens.
    func listens(_ channel: any Channel, port: Int) {
        guard let socket = Self.socket(of: channel) else { return }
        state.withLock { $0.listening[port] = socket }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                if state.listening[port]?.inode == socket.inode { state.listening[port] = nil }
            }
        }
    }

    /// A connection was accepted.
    ///
    /// - Returns: False when the worker was given up meanwhile: the connection is not to be served.
    func accepted(_ channel: any Channel) -> Bool {
        guard let socket = Self.socket(of: channel) else { return true }
        let isWanted = state.withLock { state in
            if !state.isCut { state.connections[socket.descriptor] = socket.inode }
            return !state.isCut
        }
        guard isWanted else { return false }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                if state.connections[socket.descriptor] == socket.inode { state.connections[socket.descriptor] = nil }
            }
        }
        return true
    }

    /// Nil for a channel that is no socket.
    static func descriptor(of channel: any Channel) -> CInt? {
        try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
    }

    private static func socket(of channel: any Channel) -> Socket? {
        descriptor(of: channel).flatMap { descriptor in
            inode(descriptor).map { Socket(descriptor: descriptor, inode: $0) }
        }
    }

    // MARK: - Any thread

    /// How many connections are known.
    package var connectionCount: Int { state.withLock { $0.connections.count } }

    /// Takes what listens on a port away from the loop: connections that the system has accepted and the loop has not seen
    /// belong to whoever serves it from now on.
    ///
    /// - Returns: Nil when no server listens there.
    package func takePort(_ port: Int) -> HTTPListeningSocket? {
        guard let socket = state.withLock({ $0.listening.removeValue(forKey: port) }) else { return nil }
        guard let copy = Self.copy(socket) else { return nil }
        return HTTPListeningSocket(owning: copy, port: port)
    }

    /// Ends all connections, and listens on no port any more. For good: what is accepted later is closed.
    package func cut() {
        let sockets = state.withLock { state in
            let all = Array(state.listening.values) + state.connections.map { Socket(descriptor: $0, inode: $1) }
            state = State(isCut: true)
            return all
        }
        for socket in sockets {
            guard let copy = Self.copy(socket) else { continue }
            shutdown(copy, CInt(SHUT_RDWR))
            close(copy)
        }
    }

    /// A descriptor of one's own for a socket; nil when the number stands for another one by now.
    private static func copy(_ socket: Socket) -> CInt? {
        let copy = fcntl(socket.descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { return nil }
        if inode(copy) == socket.inode { return copy }
        close(copy)
        return nil
    }

    private static func inode(_ descriptor: CInt) -> UInt64? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : nil
    }
}

/// A socket that listens, and that no loop serves at the moment. Closed with its last owner.
package final class HTTPListeningSocket: Sendable {
    private let descriptor: CInt
    package let port: Int

    init(owning descriptor: CInt, port: Int) {
        self.descriptor = descriptor
        self.port = port
    }

    deinit { close(descriptor) }

    /// A descriptor for a server, which closes it; nil when there are too many in the process.
    func copy() -> CInt? {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        return copy >= 0 ? copy : nil
    }
}
