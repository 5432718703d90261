// Owns: finding a file below a folder, without ever leaving it. Opens files, which blocks for as long as the disk takes;
// any thread.

import Glibc

/// An open file and what its headers say of it. Whoever has it closes it.
package struct HTTPFile {
    package let descriptor: CInt
    package let size: Int
    /// Seconds since 1970.
    package let modified: Int
    /// A strong validator: size and time of the last change, in nanoseconds.
    package let entityTag: String
    /// By the file's ending.
    package let mediaType: String

    package func close() { _ = Glibc.close(descriptor) }
}

/// What a path leads to.
package enum HTTPFileLookup {
    case found(HTTPFile)
    /// A folder without a slash at its end.
    case folder
    case notFound
}

/// A folder whose files are served.
package struct HTTPFolder: Sendable {
    /// The real path, without links.
    private let root: String

    /// Takes a folder.
    ///
    /// - Parameter path: Its path.
    /// - Returns: Nil when it is no folder.
    package init?(_ path: String) {
        guard let real = Self.realPath(path) else { return nil }
        var status = stat()
        guard stat(real, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
        root = real
    }

    /// Opens a file.
    ///
    /// The name of what was opened is compared afterwards, so that a link which leads out of the folder is refused however it
    /// came there.
    ///
    /// - Parameter path: Relative to the folder, its escapes undone, with slashes between the names; an empty one, and one
    ///   that ends with a slash, mean the folder's `index.html`.
    package func open(_ path: [UInt8]) -> HTTPFileLookup {
        var names = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isFolder = names.last?.isEmpty != false
        if isFolder { names = names.dropLast() }
        guard names.allSatisfy(Self.isServed) else { return .notFound }
        var relative = names.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
        guard Array(relative.utf8) == Array(names.joined(separator: [UInt8(ascii: "/")])) else { return .notFound }
        if isFolder { relative += relative.isEmpty ? "index.html" : "/index.html" }
        // Not waiting: a pipe would.
        let descriptor = Glibc.open("\(root)/\(relative)", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { return .notFound }
        var status = stat()
        guard fstat(descriptor, &status) == 0, let real = Self.name(of: descriptor), isInside(real) else {
            _ = Glibc.close(descriptor)
            return .notFound
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR:
            _ = Glibc.close(descriptor)
            return isFolder ? .notFound : .folder
        default:
            _ = Glibc.close(descriptor)
            return .notFound
        }
        let nanoseconds = Int(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int(status.st_mtim.tv_nsec)
        return .found(
            HTTPFile(
                descriptor: descriptor,
                size: Int(status.st_size),
                modified: Int(status.st_mtim.tv_sec),
                entityTag:
                    "\"\(String(UInt64(bitPattern: Int64(nanoseconds)), radix: 36))-\(String(Int(status.st_size), radix: 36))\"",
                mediaType: HTTPMediaTypes.of(relative)
            )
        )
    }

    /// No way up, nothing hidden but what has to be (RFC 8615).
    private static func isServed(_ name: ArraySlice<UInt8>) -> Bool {
        guard !name.isEmpty, !name.contains(0) else { return false }
        return name.first != UInt8(ascii: ".") || name.elementsEqual(".well-known".utf8)
    }

    private func isInside(_ path: String) -> Bool { root == "/" || path.hasPrefix(root + "/") }

    private static func realPath(_ path: String) -> String? {
        guard let text = realpath(path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    private static func name(of descriptor: CInt) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/fd/\(descriptor)", &buffer, buffer.count - 1)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
