// Owns: the way to end a connection's link from a thread that is not its own. Any thread, behind a lock. Knows a socket's
// number and identity, nothing of the protocol.

internal import NIOCore
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#else
internal import Darwin
#endif

/// Ends the link of a connection whose event loop does not come back: the broker then gives its messages to the others of
/// its queue groups. When the loop comes back after all, it finds the link lost and connects again, as ever.
package final class NATSLinkCut: Sendable {
    /// The descriptor alone could be somebody else's by the time of the cut: the loop may come back and close it in that
    /// moment. The inode tells one socket from the next.
    private struct Socket {
        let descriptor: CInt
        let inode: UInt64
    }

    private let socket = Mutex<Socket?>(nil)

    init() {}

    /// The link is up. On the connection's loop.
    func connected(_ channel: any Channel) {
        let descriptor = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { $0 }
        let found = descriptor.flatMap { descriptor in
            Self.inode(descriptor).map { Socket(descriptor: descriptor, inode: $0) }
        }
        socket.withLock { $0 = found }
    }

    /// The link is gone. On the connection's loop.
    func disconnected() { socket.withLock { $0 = nil } }

    /// Ends the link now.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    package func cut() -> Bool {
        let target = socket.withLock { socket in
            defer { socket = nil }
            return socket
        }
        guard let target else { return false }
        // The copy keeps what it stands for from being replaced between the look and the deed.
        let copy = dup(target.descriptor)
        guard copy >= 0 else { return false }
        defer { _ = close(copy) }
        guard Self.inode(copy) == target.inode else { return false }
        return shutdown(copy, CInt(SHUT_RDWR)) == 0
    }

    private static func inode(_ descriptor: CInt) -> UInt64? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : nil
    }
}
