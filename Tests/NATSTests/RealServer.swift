// A real nats-server for tests: started on a free port, killed and started again on the same port. The binary comes from
// PANINI_NATS_SERVER; `scripts/test` sets it. Without it the tests fail instead of passing for nothing.

import Foundation
import NIOCore
import NIOPosix

final class RealServer {
    struct Missing: Error, CustomStringConvertible {
        var description: String {
            "PANINI_NATS_SERVER does not name a nats-server binary; run the tests with scripts/test, which sets it"
        }
    }

    let port: Int
    private let binary: String
    private let arguments: [String]
    private var process: Process?
    private let file: URL?

    var url: String { "nats://127.0.0.1:\(port)" }

    /// - Parameter configuration: the text of a configuration file, nil for none.
    init(configuration: String? = nil) throws {
        guard let binary = ProcessInfo.processInfo.environment["PANINI_NATS_SERVER"],
            FileManager.default.isExecutableFile(atPath: binary)
        else { throw Missing() }
        self.binary = binary
        port = try Self.freePort()
        var arguments = ["--addr", "127.0.0.1", "--port", "\(port)"]
        if let configuration {
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("nats-\(UUID()).conf")
            try configuration.write(to: file, atomically: true, encoding: .utf8)
            arguments += ["--config", file.path]
            self.file = file
        } else {
            file = nil
        }
        self.arguments = arguments
        try start()
    }

    deinit {
        kill()
        if let file { try? FileManager.default.removeItem(at: file) }
    }

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
        // Ready when it takes connections.
        for _ in 0..<500 {
            if Self.accepts(port) { return }
            usleep(10_000)
        }
        throw Missing()
    }

    /// Replaces the configuration the server was started with, and has the running server read it.
    func reload(_ configuration: String) throws {
        guard let file, let process else { throw Missing() }
        try configuration.write(to: file, atomically: true, encoding: .utf8)
        Foundation.kill(process.processIdentifier, SIGHUP)
    }

    /// As `kill -9`.
    func kill() {
        guard let process else { return }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        self.process = nil
    }

    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Foundation.close(descriptor) }
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard bound else { throw Missing() }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private static func accepts(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Foundation.close(descriptor) }
        var address = loopback(UInt16(port))
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }
}
