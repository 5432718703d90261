// A real nats-server as a process: started with a configuration on a free port, killed, started again on the same port,
// reloaded, sent away. Everything it leaves lies in a folder of its own, which goes with it. The binary comes from
// PANINI_NATS_SERVER; `scripts/test --faults` sets it. Without it the tests fail instead of passing for nothing.

import Foundation
import Glibc

final class NATSServerProcess {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let port: Int
    /// Where it tells about its connections, over HTTP.
    let monitorPort: Int
    private let binary: String
    private let folder: URL
    private var process: Process?

    private var configurationFile: URL { folder.appendingPathComponent("server.conf") }
    private var logFile: URL { folder.appendingPathComponent("server.log") }

    /// Starts it.
    ///
    /// - Parameters:
    ///   - configuration: the text of its configuration, without ports.
    ///   - ports: for clients and for monitoring; free ones when not given.
    init(_ configuration: String = "", ports: [Int]? = nil) throws {
        guard let binary = ProcessInfo.processInfo.environment["PANINI_NATS_SERVER"],
            FileManager.default.isExecutableFile(atPath: binary)
        else {
            throw Failure(
                description: "PANINI_NATS_SERVER does not name a nats-server; use scripts/test --faults, which sets it"
            )
        }
        self.binary = binary
        let ports = try ports ?? Sockets.freePorts(2)
        (port, monitorPort) = (ports[0], ports[1])
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-faults-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try configuration.write(to: configurationFile, atomically: true, encoding: .utf8)
        try start()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Starts it again, on the same ports; returns when it takes connections.
    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = [
            "--addr", "127.0.0.1", "--port", "\(port)", "--http_port", "\(monitorPort)",
            "--config", configurationFile.path, "--log", logFile.path,
            // For scripts/test, which ends what a crashed test process leaves.
            "--pid", folder.appendingPathComponent("server.pid").path,
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
        for _ in 0..<1000 {
            if Sockets.greeting(port: port)?.hasPrefix("INFO ") == true { return }
            guard process.isRunning else { break }
            usleep(10_000)
        }
        throw Failure(description: "nats-server does not start:\n\(log)")
    }

    /// What it has logged.
    var log: String { (try? String(contentsOf: logFile, encoding: .utf8)) ?? "" }

    /// As `kill -9`.
    func kill() {
        guard let process else { return }
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        self.process = nil
    }

    /// Replaces the configuration and has the running server read it; returns when it has done so.
    func reload(_ configuration: String) throws {
        let before = reloads
        try configuration.write(to: configurationFile, atomically: true, encoding: .utf8)
        try signal(SIGHUP)
        for _ in 0..<1000 {
            if reloads > before { return }
            usleep(10_000)
        }
        throw Failure(description: "nats-server does not reload:\n\(log)")
    }

    private var reloads: Int { log.components(separatedBy: "Reloaded server configuration").count }

    /// Has it send its clients away, one after the other, and end: lame duck mode.
    func beLameDuck() throws {
        try signal(SIGUSR2)
    }

    private func signal(_ number: Int32) throws {
        guard let process, process.isRunning else { throw Failure(description: "nats-server does not run:\n\(log)") }
        Glibc.kill(process.processIdentifier, number)
    }

    // MARK: - What it says about its clients

    /// A client's connection, as the server sees it.
    struct Connection: Decodable {
        let name: String?
        let subscriptions: Int
    }

    private struct Connections: Decodable {
        let connections: [Connection]
    }

    /// The connections of clients with that name.
    func connections(named name: String) throws -> [Connection] {
        let document = try Sockets.get("/connz?limit=4096", port: monitorPort)
        return try JSONDecoder().decode(Connections.self, from: Data(document)).connections.filter { $0.name == name }
    }
}

/// Three servers that know of each other.
final class NATSCluster {
    let servers: [NATSServerProcess]
    private let configurations: [String]

    init() throws {
        let ports = try Sockets.freePorts(9)
        let routes = ports[6...].map { "nats://127.0.0.1:\($0)" }.joined(separator: ", ")
        // Clients are told at once, and sent away within the shortest time the server allows.
        configurations = ports[6...].map { port in
            """
            lame_duck_duration: "30s"
            lame_duck_grace_period: "2s"
            cluster { name: faults, listen: "127.0.0.1:\(port)", routes: [\(routes)] }
            """
        }
        servers = try configurations.enumerated().map { index, configuration in
            try NATSServerProcess(configuration, ports: [ports[index], ports[index + 3]])
        }
        for server in servers {
            guard isWhole(server) else {
                throw NATSServerProcess.Failure(description: "the cluster does not form:\n\(server.log)")
            }
        }
    }

    /// Waits until a server names all of them to its clients.
    private func isWhole(_ server: NATSServerProcess) -> Bool {
        for _ in 0..<2000 {
            if let greeting = Sockets.greeting(port: server.port),
                servers.allSatisfy({ greeting.contains("127.0.0.1:\($0.port)\"") })
            {
                return true
            }
            usleep(10_000)
        }
        return false
    }

    /// The server at that port.
    func server(at port: Int) -> NATSServerProcess? { servers.first { $0.port == port } }
}
