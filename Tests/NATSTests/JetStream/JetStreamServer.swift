// A real nats-server with JetStream, whose files lie in a folder of its own that goes with it.

import Foundation
import Logging
import NIOCore
import Testing

@testable import NATS

final class JetStreamServer {
    let server: RealServer
    private let folder: URL

    /// - Parameter more: what else stands in its configuration.
    init(_ more: String = "") throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-js-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        server = try RealServer(
            configuration: """
                jetstream { store_dir: "\(folder.path)", max_file_store: 1GB, max_memory_store: 256MB }
                \(more)

                """
        )
    }

    deinit {
        server.kill()
        try? FileManager.default.removeItem(at: folder)
    }

    func connect(_ change: (inout NATSConnectionConfiguration) -> Void = { _ in }) async throws -> NATSClient {
        var configuration = TestClient.configuration(server.port)
        change(&configuration)
        return try await NATSClient.connect(configuration, logger: TestClient.logger)
    }

    func context(
        timeout: TimeAmount = .seconds(20),
        _ change: (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> JetStreamContext {
        // A machine that is busy answers late.
        try await connect(change).jetStream(timeout: timeout)
    }
}

extension JetStreamContext {
    /// A stream for a test.
    @discardableResult
    func makeStream(
        _ name: String,
        _ subjects: [String],
        _ change: (inout JetStreamStream.Configuration) -> Void = { _ in }
    ) async throws -> JetStreamStream {
        var configuration = JetStreamStream.Configuration(name: name, subjects: subjects)
        configuration.storage = .memory
        change(&configuration)
        try await createStream(configuration)
        return try stream(name)
    }
}

/// The code that a call fails with; nil, and a failure of the test, when it does not.
func jetStreamCode<Value>(
    _ location: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Value
) async -> JetStreamError.Code? {
    await #expect(throws: JetStreamError.self, sourceLocation: location) { _ = try await body() }?.code
}
