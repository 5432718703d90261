// Owns: the content of files that are not regular: a pipe (`<(...)`), a FIFO, standard input. Such a file gives its content
// once, while credentials are read again at every attempt to connect, and by each worker, so the content is kept. Reading
// blocks for a bounded time, so it never happens on a loop. Any thread; readers wait for each other, or each would get a part.

import Glibc
import NATSProtocol
import NIOConcurrencyHelpers

package enum PipedFile {
    /// Why there is no content, for people.
    package struct Problem: Error {
        package let message: String
    }

    /// How long a writer may take. An attempt to connect has less time; the next one finds what came meanwhile.
    package static let maximumTime = Duration.seconds(10)
    /// How long something new is waited for when there is content from before.
    private static let renewalTime = Duration.milliseconds(200)
    /// As many names are remembered; they come from the command line and from options.
    private static let maximumKept = 64

    /// The same name may be another pipe later: `/proc/self/fd/7`.
    private struct Key: Hashable {
        let path: String
        let device: dev_t
        let inode: ino_t
    }

    /// What was read.
    private static let kept = NIOLockedValueBox<[Key: [UInt8]]>([:])

    /// Whether a file of this kind, the `st_mode` of `stat`, is read here.
    package static func isPiped(_ mode: UInt32) -> Bool {
        switch mode & S_IFMT {
        case S_IFIFO, S_IFCHR, S_IFSOCK: true
        default: false
        }
    }

    /// The content up to the writer's end; what was kept when nothing new comes.
    ///
    /// - Parameters:
    ///   - path: the name it was opened by.
    ///   - descriptor: opened without blocking.
    ///   - maximum: the most bytes it may have.
    ///   - time: how long the writer may take.
    package static func read(
        _ path: String,
        _ descriptor: CInt,
        maximum: Int,
        time: Duration = maximumTime
    ) throws(Problem) -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Problem(message: String(cString: strerror(errno))) }
        let key = Key(path: path, device: status.st_dev, inode: status.st_ino)
        let isPipe = status.st_mode & S_IFMT == S_IFIFO
        let result: Result<[UInt8], Problem> = kept.withLockedValue { kept in
            let before = kept[key]
            let limit = before == nil ? time : min(time, renewalTime)
            do throws(Problem) {
                let bytes = try readNew(descriptor, isPipe, maximum, ContinuousClock.now + limit, limit)
                if kept.count < maximumKept || before != nil { kept[key] = bytes }
                return .success(bytes)
            } catch {
                return before.map { .success($0) } ?? .failure(error)
            }
        }
        return try result.get()
    }

    private static func readNew(
        _ descriptor: CInt,
        _ isPipe: Bool,
        _ maximum: Int,
        _ deadline: ContinuousClock.Instant,
        _ limit: Duration
    ) throws(Problem) -> [UInt8] {
        var bytes: [UInt8] = []
        // Of a size of its own from the beginning, so that no copy is left behind while it grows.
        bytes.reserveCapacity(min(maximum + 1, 64 << 10))
        var buffer = [UInt8](repeating: 0, count: 4096)
        defer { Secret.wipe(&buffer) }
        while true {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                bytes.append(contentsOf: buffer[..<count])
                guard bytes.count <= maximum else { throw Problem(message: "larger than \(maximum) bytes") }
                continue
            }
            if count == 0 {
                if !bytes.isEmpty { return bytes }
                // Nothing yet is no end of a FIFO: its writer may still be about to open it.
                guard isPipe, !hasHungUp(descriptor) else { throw Problem(message: "it is empty") }
            }
            guard count == 0 || errno == EAGAIN || errno == EINTR else {
                throw Problem(message: String(cString: strerror(errno)))
            }
            guard ContinuousClock.now < deadline else {
                throw Problem(
                    message: bytes.isEmpty
                        ? "nothing was written to it within \(limit)" : "its writer did not end within \(limit)"
                )
            }
            wait(descriptor, after: count == 0)
        }
    }

    /// Whether there were writers, and none is left.
    private static func hasHungUp(_ descriptor: CInt) -> Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 0) == 1 && request.revents & Int16(POLLHUP) != 0
    }

    /// Waits for a moment, or until there is something to read.
    private static func wait(_ descriptor: CInt, after isAtEnd: Bool) {
        if isAtEnd {
            usleep(10_000)
        } else {
            var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&request, 1, 50)
        }
    }
}
