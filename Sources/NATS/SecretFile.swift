// Reads a small file with a secret in it. Blocks, so never on a loop. Knows nothing of what the file should hold; errors
// name the path and the fault.

import Glibc
import NATSProtocol

enum SecretFile {
    /// Far more than any credentials file has.
    static let maximumBytes = 1 << 20

    /// Calls `body` with the content of the file at `path` and wipes it afterwards.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/invalidCredentials``; `what` says what the file is for.
    static func read<Value>(
        _ path: String,
        _ what: String,
        _ body: (UnsafeRawBufferPointer) throws(NATSError) -> Value
    ) throws(NATSError) -> Value {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(path, what) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure(path, what) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw NATSError(.invalidCredentials, "cannot read the \(what) \(path): not a file")
        }
        guard status.st_size <= maximumBytes else {
            throw NATSError(.invalidCredentials, "cannot read the \(what) \(path): larger than \(maximumBytes) bytes")
        }
        // One byte more than there should be, to see the end in one read; never grown, so no copy is left behind.
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
        defer { Secret.wipe(&bytes) }
        var used = 0
        while used < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.unsafelyUnwrapped + used, buffer.count - used)
            }
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure(path, what)
            }
            used += count
        }
        // The file grew meanwhile; the next attempt reads the whole.
        guard used < bytes.count else {
            throw NATSError(.invalidCredentials, "cannot read the \(what) \(path): it changed while it was read")
        }
        return try bytes.withUnsafeBytes { bytes in
            Result { () throws(NATSError) in try body(UnsafeRawBufferPointer(rebasing: bytes[..<used])) }
        }.get()
    }

    private static func failure(_ path: String, _ what: String) -> NATSError {
        NATSError(.invalidCredentials, "cannot read the \(what) \(path): \(String(cString: strerror(errno)))")
    }
}
