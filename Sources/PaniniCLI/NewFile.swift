// Writing files and folders for commands, without Foundation: whole or not at all. Blocking; for commands only.

import Glibc

enum NewFile {
    /// Makes a folder; false when something of that name is there already.
    static func makeFolder(_ path: String) throws(CommandError) -> Bool {
        if mkdir(path, 0o755) == 0 { return true }
        guard errno == EEXIST else { throw failure(path) }
        return false
    }

    /// Whether something is there, a broken link included.
    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// Writes a file beside its place and moves it there.
    static func write(
        _ bytes: [UInt8],
        to path: String,
        mode: mode_t,
        replacing: Bool = false
    ) throws(CommandError) {
        // A device such as /dev/stdout is written to as it is.
        var status = stat()
        let isOrdinary = stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG
        let target = isOrdinary ? "\(path).\(getpid()).new" : path
        let flags = isOrdinary ? O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC : O_WRONLY | O_CLOEXEC
        let descriptor = open(target, flags, mode)
        guard descriptor >= 0 else { throw failure(path) }
        var start = 0
        while start < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.unsafelyUnwrapped + start, bytes.count - start)
            }
            if count < 0 {
                if errno == EINTR { continue }
                let problem = failure(path)
                close(descriptor)
                if isOrdinary { unlink(target) }
                throw problem
            }
            start += count
        }
        // A file system may say only now that there is no room.
        guard close(descriptor) == 0 || errno == EINTR else {
            let problem = failure(path)
            if isOrdinary { unlink(target) }
            throw problem
        }
        guard isOrdinary else { return }
        // Without replacing, a file that came meanwhile stays: link refuses, rename would not.
        if replacing {
            if rename(target, path) == 0 { return }
        } else if link(target, path) == 0 {
            unlink(target)
            return
        }
        let problem = failure(path)
        unlink(target)
        throw problem
    }

    private static func failure(_ path: String) -> CommandError {
        CommandError("cannot write \(path): \(String(cString: strerror(errno)))")
    }
}
