// Owns: the reading of a small file with a secret in it. It blocks, so it never happens on a loop. It does not know what the
// file should hold; errors name the path and the fault.

import Glibc
import NATSProtocol

enum SecretFile {
    /// Far more than any credentials file has.
    static let maximumBytes = 1 << 20

    /// Why a file cannot be read, for people.
    struct Problem: Error {
        let reason: String
    }

    /// Calls `body` with the content of the file at `path` and wipes it afterwards. What comes through a pipe is kept for
    /// the next time.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/invalidCredentials``; `what` says what the file is for.
    static func read<Value>(
        _ path: String,
        _ what: String,
        _ body: (UnsafeRawBufferPointer) throws(NATSError) -> Value
    ) throws(NATSError) -> Value {
        var bytes: [UInt8]
        do throws(Problem) {
            bytes = try read(path)
        } catch {
            throw NATSError(.invalidCredentials, "cannot read the \(what) \(path): \(error.reason)")
        }
        defer { Secret.wipe(&bytes) }
        return try bytes.withUnsafeBytes { bytes in
            Result { () throws(NATSError) in try body(bytes) }
        }.get()
    }

    /// The content of the file at `path`, to be wiped by the caller.
    static func read(_ path: String) throws(Problem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure() }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure() }
        if PipedFile.isPiped(status.st_mode) {
            do throws(PipedFile.Problem) {
                return try PipedFile.read(path, descriptor, maximum: maximumBytes)
            } catch {
                throw Problem(reason: error.message)
            }
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Problem(reason: "not a file") }
        guard status.st_size <= maximumBytes else { throw Problem(reason: "larger than \(maximumBytes) bytes") }
        // One byte more than there should be, to see the end in one read; never grown, so no copy is left behind.
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
        var used = 0
        while used < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.unsafelyUnwrapped + used, buffer.count - used)
            }
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                let problem = failure()
                Secret.wipe(&bytes)
                throw problem
            }
            used += count
        }
        // The file grew meanwhile; the next attempt reads the whole.
        guard used < bytes.count else {
            Secret.wipe(&bytes)
            throw Problem(reason: "it changed while it was read")
        }
        bytes.removeLast(bytes.count - used)
        return bytes
    }

    private static func failure() -> Problem { Problem(reason: String(cString: strerror(errno))) }
}
