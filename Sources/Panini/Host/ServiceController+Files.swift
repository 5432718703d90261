// Owns: whether the files of a service have changed since it was loaded: first by what the system says of them, then by
// what they hold. Lives on the host's loop; files are read on another thread.

import Glibc
import Logging
import NIOCore
import NIOPosix

/// What the system says of a file without reading it.
struct FileSignature: Equatable {
    private let device: UInt64
    private let inode: UInt64
    private let size: Int64
    private let seconds: Int
    private let nanoseconds: Int

    /// Nil when there is no such file.
    init?(_ path: String) {
        var status = stat()
        guard lookAt(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }
}

/// The function `stat`, which has the name of its result.
private func lookAt(_ path: String, _ status: inout stat) -> CInt { stat(path, &status) }

extension ServiceController {
    /// A file that is gone is often about to come back: only the second look believes it.
    private static let patience = TimeAmount.milliseconds(250)

    /// Reloads when a file differs from what was loaded last. A file that was touched only does not.
    func checkFiles() {
        guard state == .running || callbacks.mended != nil else { return }
        let known = sources.digests
        let suspects = files.suspects(among: known.keys, attempt: attempt) { FileSignature($0) }
        guard !suspects.isEmpty else { return }
        let box = NIOLoopBound(self, eventLoop: loop)
        let attempt = attempt
        NIOThreadPool.singleton.runIfActive(eventLoop: loop) {
            suspects.map { path in (path, (try? readFile(path, maximum: 16 << 20)).map { FileDigest(of: $0) }) }
        }.whenSuccess { now in
            let this = box.value
            guard this.attempt == attempt else { return }
            let changed = now.filter { path, digest in known[path] != .some(digest) }
            guard !changed.isEmpty else { return }
            this.filesChanged(changed)
        }
    }

    private func filesChanged(_ changed: [(path: String, digest: FileDigest?)]) {
        let gone = changed.filter { $0.digest == nil }.map(\.path)
        switch files.found(changed: changed.map(\.path), gone: gone, script: path) {
        case .nothing: break
        case .scriptMissing:
            logger.warning("\(path) is gone or cannot be read: version \(served.generation) of \(name) serves on")
        case .lookAgain(let paths):
            let box = NIOLoopBound(self, eventLoop: loop)
            loop.scheduleTask(in: Self.patience) {
                box.value.files.forget(paths)
                box.value.checkFiles()
            }
        case .changed(let paths):
            logger.debug("changed: \(paths.joined(separator: ", "))")
            if state == .running {
                // The outcome is logged.
                _ = requestReload()
            } else {
                callbacks.mended?()
            }
        }
    }

    /// The folders whose events may mean a change: those of the files, and those of the links that lead to them.
    func updateWatchedFolders() {
        var folders: Set<String> = []
        for path in sources.digests.keys {
            var folder = Self.folder(of: path)
            folders.insert(folder)
            // A link anywhere on the way may be exchanged: releases/current is the usual one.
            while folder != ".", folder != "/", !folder.isEmpty {
                var status = stat()
                if lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFLNK {
                    folders.insert(Self.folder(of: folder))
                }
                folder = Self.folder(of: folder)
            }
            // The file itself may be a link into another folder.
            if let real = realpath(path, nil) {
                folders.insert(Self.folder(of: String(cString: real)))
                free(real)
            }
        }
        files.folders = folders
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
