// A host in this process with a script on an embedded broker of its own, and a client beside it: for tests that look at a
// running service from Swift.

import Foundation
import Logging
import NATS
import NATSBroker
import NATSProtocol
import NIOCore
import NIOPosix
import Testing

@testable import Panini

/// A running host with one script on a broker of its own.
struct Running {
    let client: NATSClient
    let host: PaniniHost
    let finished: Task<Void, any Error>

    /// Starts the script and calls `body`; afterwards everything is stopped, and the host must end without an error.
    static func with(
        _ script: String,
        options: [String: String] = [:],
        middlewares: [any PaniniMiddleware] = [],
        configure: (inout PaniniHostConfiguration) -> Void = { _ in },
        expectsTimeout: Bool = false,
        _ body: (Running) async throws -> Void
    ) async throws {
        var free = EmbeddedBroker.Configuration()
        free.port = 0
        let broker = try await EmbeddedBroker.start(
            configuration: free,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: quiet
        )
        let file = try ScriptFile(script)
        defer { file.remove() }
        var overrides = PaniniOverrides()
        overrides.set("servers", texts: [broker.url], origin: "test")
        for (name, text) in options { overrides.set(name, text: text, origin: "test") }
        let (ready, signal) = AsyncStream<Void>.makeStream()
        var configuration = PaniniHostConfiguration(scripts: [file.path], overrides: overrides)
        configuration.middlewares = middlewares
        configure(&configuration)
        let host = PaniniHost(configuration: configuration, logger: quiet) { _ in
            signal.yield()
        }
        let finished = Task {
            defer { signal.finish() }
            try await host.run()
        }
        var iterator = ready.makeAsyncIterator()
        guard await iterator.next() != nil else {
            try await finished.value
            throw CancellationError()
        }
        let client = try await NATSClient.connect(to: broker.url, logger: quiet)
        do {
            try await body(Running(client: client, host: host, finished: finished))
        } catch {
            host.stop()
            _ = try? await finished.value
            throw error
        }
        host.stop()
        do {
            try await finished.value
        } catch let error as PaniniError where expectsTimeout && error.code == .shutdownTimeout {
        }
        await client.close()
        await broker.stop()
    }

    func expect(
        _ subject: String,
        _ payload: String = "",
        gives text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let reply = try await ask(subject, payload)
        #expect(reply == text, sourceLocation: sourceLocation)
    }

    func ask(_ subject: String, _ text: String = "") async throws -> String {
        String(buffer: try await client.request(text, to: subject, timeout: .seconds(20)).payload)
    }
}

/// A change of the configuration, for calls that end with another closure.
func configuring(
    _ change: @escaping (inout PaniniHostConfiguration) -> Void
) -> (inout PaniniHostConfiguration) -> Void { change }

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A script in a folder of its own, until it is removed.
struct ScriptFile {
    private let folder: URL
    let path: String

    init(_ script: String, name: String = "service.lua") throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-\(UUID().uuidString)")
        path = folder.appendingPathComponent(name).path
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try script.write(toFile: path, atomically: true, encoding: .utf8)
    }

    /// Exchanges the text, as an editor does.
    func write(_ script: String) throws { try script.write(toFile: path, atomically: true, encoding: .utf8) }

    func remove() { try? FileManager.default.removeItem(at: folder) }
}
