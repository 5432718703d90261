// One log file: appending, rotation by size, and going on when the disk is full or somebody moves the file away. Lives on
// the file writer's thread. Several processes may write to one file: lines are appended whole, and a lock lets only one of
// them rename it.

import Glibc

/// A file that grows up to a size and is then renamed to `.1`, the former `.1` to `.2` and so on.
final class LogFile {
    let path: String
    let form: LogForm
    private let maximumBytes: Int
    private let backups: Int
    private let health: LogHealth

    private var descriptor: CInt = -1
    private var device: dev_t = 0
    private var inode: ino_t = 0
    private var size = 0
    private var isRegular = false
    /// A size at which renaming failed: the file grows on from there before the next attempt.
    private var keptUntil = 0
    /// Part of a line was written and could not be taken back.
    private var isTorn = false
    /// When it could not be opened; 0 when it could.
    private var failedAt: Int64 = 0

    private var buffer: [UInt8] = []
    /// Where each record in the buffer ends.
    private var ends: [Int] = []
    /// The record that was last given to this file, by a number: none is written twice.
    var lastRecord = 0

    private static let writeSize = 64 << 10
    /// After a failed attempt to open the file the next one comes so many microseconds later.
    private static let retryInterval: Int64 = 1_000_000

    init(_ file: LogPlan.File, health: LogHealth) {
        path = file.path
        form = file.form
        maximumBytes = file.backups > 0 ? file.maximumBytes : 0
        backups = file.backups
        self.health = health
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Takes one record's lines; they are written at the next ``flush()`` at the latest.
    func append(_ lines: [UInt8]) {
        if maximumBytes > 0, !buffer.isEmpty, buffer.count + lines.count > maximumBytes - min(size, maximumBytes) {
            flush()
        }
        buffer.append(contentsOf: lines)
        ends.append(buffer.count)
        if buffer.count >= Self.writeSize { flush() }
    }

    /// Makes the file exist.
    func open() {
        _ = prepare()
    }

    /// Writes what was taken; what cannot be written is counted and forgotten.
    func flush() {
        guard !buffer.isEmpty else {
            // An empty file has its place, too.
            if failedAt != 0 { _ = prepare() }
            return
        }
        if prepare() {
            if mustRotate { rotate() }
            if descriptor >= 0 { writeBuffer() }
        } else {
            health.lose(ends.count)
        }
        buffer.removeAll(keepingCapacity: buffer.capacity <= 4 * Self.writeSize)
        ends.removeAll(keepingCapacity: true)
    }

    // MARK: Opening

    /// Opens the file, again when it is no longer the one at its path. Returns false when that is impossible.
    private func prepare() -> Bool {
        if descriptor >= 0 {
            var status = stat()
            if stat(path, &status) == 0, status.st_dev == device, status.st_ino == inode {
                size = Int(status.st_size)
                return true
            }
            close(descriptor)
            descriptor = -1
        }
        let now = LogRecord.now()
        // The clock may be set back.
        guard failedAt == 0 || now - failedAt >= Self.retryInterval || now < failedAt else { return false }
        return openFile()
    }

    private func openFile() -> Bool {
        makeFolders()
        // Not blocking: a named pipe that nobody reads must not hold up the other files.
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
        let opened = Glibc.open(path, flags, 0o640)
        var status = stat()
        guard opened >= 0, fstat(opened, &status) == 0 else {
            health.fail(self, errno)
            failedAt = LogRecord.now()
            if opened >= 0 { close(opened) }
            return false
        }
        if failedAt != 0 {
            failedAt = 0
            health.work(self)
        }
        descriptor = opened
        device = status.st_dev
        inode = status.st_ino
        size = Int(status.st_size)
        isRegular = status.st_mode & S_IFMT == S_IFREG
        isTorn = false
        keptUntil = 0
        return true
    }

    private func makeFolders() {
        var end = path.startIndex
        while let slash = path[end...].dropFirst().firstIndex(of: "/") {
            mkdir(String(path[..<slash]), 0o750)
            end = slash
        }
    }

    // MARK: Writing

    private func writeBuffer() {
        if isTorn { repair() }
        var problem: CInt = 0
        let before = size
        let written = buffer.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count, let base = bytes.baseAddress {
                let count = Glibc.write(descriptor, base + start, bytes.count - start)
                if count > 0 {
                    start += count
                } else if count < 0, errno != EINTR {
                    problem = errno
                    break
                }
            }
            return start
        }
        size = before + written
        guard problem != 0 else { return health.work(self) }
        let whole = ends.prefix { $0 <= written }
        health.fail(self, problem)
        health.lose(ends.count - whole.count)
        let kept = whole.last ?? 0
        guard written > kept else { return }
        // A piece of a line is no use to anybody. It goes if nothing stands behind it.
        var status = stat()
        if isRegular, fstat(descriptor, &status) == 0, Int(status.st_size) == size,
            ftruncate(descriptor, off_t(before + kept)) == 0
        {
            size = before + kept
        } else {
            isTorn = true
        }
    }

    private func repair() {
        var newline: UInt8 = 0x0A
        if Glibc.write(descriptor, &newline, 1) == 1 {
            isTorn = false
            size += 1
        }
    }

    // MARK: Rotation

    private var mustRotate: Bool {
        maximumBytes > 0 && isRegular && size > 0 && size + buffer.count > max(maximumBytes, keptUntil)
    }

    private func rotate() {
        // Another process may be about to do the same: whoever comes second finds a new file at the path.
        flock(descriptor, LOCK_EX)
        var status = stat()
        let isOurs = stat(path, &status) == 0 && status.st_dev == device && status.st_ino == inode
        if isOurs {
            for number in stride(from: backups - 1, through: 1, by: -1) {
                rename("\(path).\(number)", "\(path).\(number + 1)")
            }
            guard rename(path, "\(path).1") == 0 else {
                health.cannotRotate(self, errno)
                keptUntil = size + maximumBytes
                flock(descriptor, LOCK_UN)
                return
            }
        }
        flock(descriptor, LOCK_UN)
        close(descriptor)
        descriptor = -1
        if !openFile() { health.lose(ends.count) }
    }
}

@available(*, unavailable)
extension LogFile: Sendable {}
