// Owns: reading a small file whole, without Foundation. Blocks; never on a loop that serves.

import Glibc
import NATS
import ScriptRuntime

/// Reads a file of at most `maximum` bytes.
///
/// - Parameter takesPipes: Whether it may be a pipe, such as `<(...)` or standard input, whose content is kept.
package func readBytes(_ path: String, maximum: Int, takesPipes: Bool = false) throws(PaniniError) -> [UInt8] {
    do throws(FileError) {
        return try readFile(path, maximum: maximum, takesPipes: takesPipes)
    } catch {
        throw PaniniError(code: .scriptNotFound, message: error.message)
    }
}

func readFile(_ path: String, maximum: Int, takesPipes: Bool = false) throws(FileError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        throw FileError(message: "\(path): \(errno == ENOENT ? "no such file" : String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
        throw FileError(message: "\(path): \(String(cString: strerror(errno)))")
    }
    if takesPipes, PipedFile.isPiped(status.st_mode) {
        do throws(PipedFile.Problem) {
            return try PipedFile.read(path, descriptor, maximum: maximum)
        } catch {
            throw FileError(message: "\(path): \(error.message)")
        }
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw FileError(
            message:
                "\(path): is \(status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "no file"); a script's file is needed"
        )
    }
    guard Int(status.st_size) <= maximum else {
        throw FileError(message: "\(path): has \(status.st_size) bytes; at most \(maximum) are read")
    }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        if count == 0 { return bytes }
        if count < 0 {
            if errno == EINTR { continue }
            throw FileError(message: "\(path): \(String(cString: strerror(errno)))")
        }
        bytes.append(contentsOf: buffer[..<count])
        guard bytes.count <= maximum else { throw FileError(message: "\(path): grows beyond \(maximum) bytes") }
    }
}
