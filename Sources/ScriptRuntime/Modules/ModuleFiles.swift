// Owns: what the search for modules needs of files, and paths as the system has them. Any thread.

import Glibc

/// Why a file could not be read: one line.
package struct FileError: Error {
    package let message: String

    package init(message: String) { self.message = message }
}

/// Files that a script is made of.
package protocol ModuleFiles: Sendable {
    /// Whether there is such a file. True also for a file that cannot be looked at, so that reading it gives the reason.
    func exists(_ path: String) -> Bool

    /// The file's bytes.
    func read(_ path: String, maximum: Int) throws(FileError) -> [UInt8]
}

/// The bytes of a path without links and dots; nil when there is nothing there.
package func realPath(_ path: String) -> [UInt8]? {
    // The system ignores everything after a zero byte.
    guard !path.utf8.contains(0), let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return Array(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)))
}
