// Asking running programs over their control sockets, for `ps` and `reload`. Blocking calls; knows nothing of services.

import Bytes
import Glibc
import NATSProtocol
import Panini

enum ControlClient {
    /// Asks every program of the user that runs now.
    ///
    /// - Parameters:
    ///   - question: The members of one line of JSON.
    ///   - seconds: How long one program may take; nil: as long as it does.
    /// - Returns: The answers, by the programs' numbers.
    static func askAll(_ question: [(String, JSONText)], seconds: Int? = nil) throws(CommandError) -> [JSONValue] {
        let line = JSONText.object(question).bytes() + [0x0A]
        var answers: [JSONValue] = []
        for directory in ControlDirectory.all where access(directory, F_OK) == 0 {
            do throws(ControlError) {
                try ControlDirectory.check(directory)
            } catch {
                throw CommandError(error.message)
            }
            for socket in sockets(in: directory) {
                guard let bytes = ask(socket.path, socket.number, line, seconds) else { continue }
                do {
                    answers.append(try bytes.withUnsafeBytes { try JSONValue(parsing: $0) })
                } catch {
                    throw CommandError("\(socket.path): the answer cannot be read")
                }
            }
        }
        return answers
    }

    private static func sockets(in directory: String) -> [(path: String, number: Int)] {
        guard let folder = opendir(directory) else { return [] }
        defer { closedir(folder) }
        var numbers: [Int] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".sock"), let number = Int(name.dropLast(5)) { numbers.append(number) }
        }
        return numbers.sorted().map { ("\(directory)/\($0).sock", $0) }
    }

    /// The answer; nil when nobody is there any more.
    private static func ask(_ path: String, _ number: Int, _ line: [UInt8], _ seconds: Int?) -> [UInt8]? {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        // One that does not even take the question is stopped or held.
        limit(descriptor, SO_SNDTIMEO, seconds ?? 5)
        if let seconds { limit(descriptor, SO_RCVTIMEO, seconds) }
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
            if errno == EAGAIN { tellSilent(number) }
            return nil
        }
        guard write(descriptor, line, line.count) == line.count else { return nil }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                tellSilent(number)
                return nil
            }
            guard count > 0 else { break }
            answer.append(contentsOf: buffer[..<count])
        }
        return answer.isEmpty ? nil : answer
    }

    private static func tellSilent(_ number: Int) {
        StandardError.say("panini: the program \(number) does not answer")
    }

    private static func limit(_ descriptor: CInt, _ option: CInt, _ seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
    }
}
