// A cluster of three: leaders that step down and leaders that are killed, under publishers and consumers.

import Foundation
import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

/// Three servers that share streams.
final class JetStreamCluster {
    let servers: [RealServer]
    private let folder: URL

    init() async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-jsc-\(UUID())")
        let ports = try (0..<3).map { _ in try RealServer.freePort() }
        let routes = ports.map { "\"nats://127.0.0.1:\($0)\"" }.joined(separator: ", ")
        var servers: [RealServer] = []
        for (index, port) in ports.enumerated() {
            let store = folder.appendingPathComponent("n\(index)")
            try FileManager.default.createDirectory(at: store, withIntermediateDirectories: true)
            servers.append(
                try RealServer(
                    configuration: """
                        server_name: n\(index)
                        jetstream { store_dir: "\(store.path)", max_file_store: 1GB, max_memory_store: 256MB }
                        cluster { name: C, listen: "127.0.0.1:\(port)", routes: [\(routes)] }

                        """
                )
            )
        }
        self.servers = servers
    }

    deinit {
        for server in servers { server.kill() }
        try? FileManager.default.removeItem(at: folder)
    }

    /// A client of all servers, once they have a leader.
    func context() async throws -> JetStreamContext {
        var configuration = NATSConnectionConfiguration(
            servers: servers.map { NATSServerAddress(host: "127.0.0.1", port: $0.port) }
        )
        configuration.connectTimeout = .seconds(60)
        configuration.reconnectWait = .milliseconds(20)
        configuration.reconnectWaitMaximum = .milliseconds(100)
        let client = try await NATSClient.connect(configuration, logger: TestClient.logger)
        let js = try client.jetStream(timeout: .seconds(60))
        #expect(try await eventually { (try? await js.with(timeout: .seconds(2)).streamNames()) != nil })
        return js
    }

    /// The server of a name.
    func server(_ name: String) -> RealServer? { Int(name.dropFirst()).map { servers[$0] } }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct JetStreamClusterTests {
    @Test(
        "D27: the stream's leader is killed: every publish with an id ends with an acknowledgement, stored exactly once"
    )
    func publishes() async throws {
        let cluster = try await JetStreamCluster()
        let js = try await cluster.context()
        let stream = try await js.makeStream("S", ["a"]) {
            $0.storage = .file
            $0.replicas = 3
        }
        let count = 600
        let leader = try await stream.info().cluster?.leader ?? ""
        let sequences = try await withThrowingTaskGroup(of: UInt64.self) { group in
            for number in 0..<count {
                group.addTask {
                    var options = JetStreamPublishOptions(id: "\(number)")
                    options.timeout = .seconds(60)
                    return try await js.publish("\(number)", to: "a", options: options).sequence
                }
                if number % 100 == 99 { try await Task.sleep(for: .milliseconds(50)) }
                if number == count / 2 { cluster.server(leader)?.kill() }
            }
            return try await group.reduce(into: Set<UInt64>()) { $0.insert($1) }
        }
        #expect(sequences.count == count)
        #expect(try await stream.info().state.messages == UInt64(count))
        #expect(try await stream.info().cluster?.leader != leader)
    }

    @Test("D26: the consumer's leader steps down, and then is killed: consuming goes on, and nothing is lost")
    func consumes() async throws {
        let cluster = try await JetStreamCluster()
        let js = try await cluster.context()
        let stream = try await js.makeStream("S", ["a"]) {
            $0.storage = .file
            $0.replicas = 3
        }
        var configuration = JetStreamConsumer.Configuration.durable("d")
        configuration.acks.wait = .seconds(5)
        try await stream.createConsumer(configuration)
        let consumer = try stream.consumer("d")
        var options = JetStreamConsumeOptions()
        options.heartbeat = .seconds(1)
        let messages = try await consumer.messages(options)
        let seen = NIOLockedValueBox<Set<String>>([])
        let reading = Task {
            for try await message in messages {
                try message.ack()
                seen.withLockedValue { _ = $0.insert(message.text) }
            }
        }
        func publish(_ numbers: Range<Int>) async throws {
            for number in numbers {
                var options = JetStreamPublishOptions(id: "\(number)")
                options.timeout = .seconds(60)
                try await js.publish("\(number)", to: "a", options: options)
            }
        }
        try await publish(0..<100)
        #expect(try await eventually { seen.withLockedValue { $0.count } == 100 })
        try await consumer.stepDown()
        let start = ContinuousClock.now
        try await publish(100..<200)
        #expect(try await eventually { seen.withLockedValue { $0.count } == 200 })
        // Long before the end of a pull would have brought it on.
        #expect(ContinuousClock.now - start < .seconds(15))
        let leader = try await consumer.info().cluster?.leader ?? ""
        cluster.server(leader)?.kill()
        try await publish(200..<300)
        #expect(try await eventually { seen.withLockedValue { $0.count } == 300 })
        #expect(try await eventually { try await consumer.info().acknowledged.streamSequence == 300 })
        messages.stop()
        try await reading.value
    }

    @Test(
        "D29: two of three are dead: publishing ends unavailable at its deadline, direct reads go on, and all recovers"
    )
    func quorum() async throws {
        let cluster = try await JetStreamCluster()
        let js = try await cluster.context()
        var configuration = JetStreamKeyValue.Configuration(bucket: "b")
        configuration.replicas = 3
        let bucket = try await js.createKeyValue(configuration)
        try await bucket.put("1", for: "a")
        // The client's own server stays.
        let own = await js.client.serverInfo()?.serverName ?? ""
        for name in ["n0", "n1", "n2"] where name != own { cluster.server(name)?.kill() }
        let short = js.with(timeout: .seconds(4))
        let writer = try short.keyValue("b")
        let error = await #expect(throws: JetStreamError.self) { try await writer.put("2", for: "a") }
        #expect([.unavailable, .timeout].contains(error?.code), "\(String(describing: error))")
        #expect(try await short.keyValue("b").get("a")?.text == "1")
        for name in ["n0", "n1", "n2"] where name != own { try cluster.server(name)?.start() }
        try await bucket.put("3", for: "a")
        #expect(try await bucket.get("a", from: .leader)?.text == "3")
    }
}
