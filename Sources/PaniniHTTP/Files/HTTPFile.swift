// Owns: finding a file below a folder, without ever leaving it. Opens files, which blocks for as long as the disk takes;
// any thread.

import Glibc
import LoopTools

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
    /// The process has no descriptor left for it.
    case full
}

/// A folder whose files are served.
package struct HTTPFolder: Sendable {
    /// The bytes of the real path, without links and without a slash at the end.
    private let root: [UInt8]

    /// Takes a folder.
    ///
    /// - Parameter path: Its path.
    /// - Returns: Nil when it is no folder.
    package init?(_ path: String) {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        var status = stat()
        guard stat(resolved, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
        let real = UnsafeRawBufferPointer(start: resolved, count: strlen(resolved))
        root = real.elementsEqual("/".utf8) ? [] : Array(real)
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
        let whole = (root + [UInt8(ascii: "/")] + relative.utf8 + [0]).map { CChar(bitPattern: $0) }
        let descriptor = Glibc.open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { return errno == EMFILE || errno == ENFILE ? .full : .notFound }
        // A client that does not read keeps it open, and may ask for any number of files.
        guard DescriptorLimit.current.admits(descriptor) else {
            _ = Glibc.close(descriptor)
            return .full
        }
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

    private func isInside(_ path: ArraySlice<UInt8>) -> Bool {
        path.starts(with: root) && path.dropFirst(root.count).first == UInt8(ascii: "/")
    }

    private static func name(of descriptor: CInt) -> ArraySlice<UInt8>? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/fd/\(descriptor)", &buffer, buffer.count - 1)
        return count > 0 ? buffer[..<count].map { UInt8(bitPattern: $0) }[...] : nil
    }
}
