// Asking running programs over their control sockets, for `ps` and `reload`. Blocking calls; knows nothing of services.

import Glibc
import NATSProtocol
import Panini

enum ControlClient {
    /// Asks every program of the user that runs now.
    ///
    /// - Parameter question: One line of JSON.
    /// - Returns: The answers, by the programs' numbers.
    static func askAll(_ question: String) throws(CommandFailure) -> [JSONValue] {
        let directory = ControlDirectory.usual
        guard access(directory, F_OK) == 0 else { return [] }
        do throws(ControlProblem) {
            try ControlDirectory.check(directory)
        } catch {
            throw CommandFailure(error.message)
        }
        var answers: [JSONValue] = []
        for socket in sockets(in: directory) {
            guard let bytes = ask(socket, question) else { continue }
            do {
                answers.append(try bytes.withUnsafeBytes { try JSONValue(parsing: $0) })
            } catch {
                throw CommandFailure("\(socket): the answer cannot be read")
            }
        }
        return answers
    }

    private static func sockets(in directory: String) -> [String] {
        guard let folder = opendir(directory) else { return [] }
        defer { closedir(folder) }
        var numbers: [Int] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".sock"), let number = Int(name.dropLast(5)) { numbers.append(number) }
        }
        return numbers.sorted().map { "\(directory)/\($0).sock" }
    }

    /// The answer; nil when nobody is there any more.
    private static func ask(_ path: String, _ question: String) -> [UInt8]? {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            // A program that was killed leaves its socket.
            if errno == ECONNREFUSED { unlink(path) }
            return nil
        }
        let line = Array((question + "\n").utf8)
        guard write(descriptor, line, line.count) == line.count else { return nil }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            answer.append(contentsOf: buffer[..<count])
        }
        return answer.isEmpty ? nil : answer
    }
}
