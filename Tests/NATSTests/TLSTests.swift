// Rule 24: TLS against a real nats-server.

import Foundation
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(5))) struct TLSTests {
    private let certificates: Certificates

    init() throws {
        certificates = try Certificates.shared.get()
    }

    private func configuration(
        _ url: String,
        _ change: (inout NATSTLSOptions) -> Void = { _ in }
    ) throws -> NATSConnectionConfiguration {
        var configuration = try NATSConnectionConfiguration(servers: [url])
        configuration.tls.caFile = certificates.path("ca.pem")
        change(&configuration.tls)
        return configuration
    }

    private func echo(_ configuration: NATSConnectionConfiguration, bytes: Int = 16) async throws {
        let client = try await NATSClient.connect(configuration)
        let messages = try await client.subscribe("tls.>")
        try await client.flush()
        let payload = (0..<bytes).map { UInt8(truncatingIfNeeded: $0) }
        try client.publish(payload, to: "tls.test")
        var iterator = messages.makeAsyncIterator()
        let message = try await iterator.next()
        #expect(message?.payload == ByteBuffer(bytes: payload))
        await client.close()
    }

    private func failure(_ configuration: NATSConnectionConfiguration) async -> NATSError? {
        do {
            let client = try await NATSClient.connect(configuration)
            await client.close()
            return nil
        } catch {
            return error
        }
    }

    @Test("rule 24: TLS after INFO when the server requires it", arguments: [16, 900_000])
    func requiredByServer(_ bytes: Int) async throws {
        let server = try RealServer(configuration: certificates.serverBlock())
        try await echo(try configuration(server.url), bytes: bytes)
        try await echo(try configuration("tls://localhost:\(server.port)"), bytes: bytes)
    }

    @Test("rule 24: TLS first, before INFO")
    func first() async throws {
        let server = try RealServer(configuration: certificates.serverBlock(more: "handshake_first: true"))
        try await echo(try configuration(server.url) { $0.isFirst = true })
    }

    @Test("rule 24: the server's name is verified, and may be given")
    func name() async throws {
        let server = try RealServer(configuration: certificates.serverBlock("elsewhere"))
        let refused = await failure(try configuration("tls://localhost:\(server.port)"))
        #expect(refused?.code == .tlsFailed)
        #expect(refused?.message.contains("localhost") == true)
        #expect(await failure(try configuration(server.url))?.code == .tlsFailed)
        try await echo(try configuration(server.url) { $0.serverName = "nats.example" })
        try await echo(try configuration(server.url) { $0.verifiesServer = false })
    }

    @Test("rule 24: an unknown authority is refused at once, however persistent the client is")
    func unknownAuthority() async throws {
        let server = try RealServer(configuration: certificates.serverBlock())
        var stranger = try configuration(server.url) { $0.caFile = certificates.path("stranger.pem") }
        stranger.retryOnFailedConnect = true
        #expect(await failure(stranger)?.code == .tlsFailed)
        stranger.tls.caFile = nil
        #expect(await failure(stranger)?.code == .tlsFailed)
    }

    @Test("rule 24: mutual TLS, and a refusal that speaks of TLS")
    func mutual() async throws {
        let server = try RealServer(configuration: certificates.serverBlock(verify: true))
        try await echo(
            try configuration(server.url) {
                $0.certificateFile = certificates.path("client.pem")
                $0.keyFile = certificates.path("client.key")
            }
        )
        let error = await failure(try configuration(server.url))
        #expect(error?.message.contains("TLS") == true, "\(String(describing: error))")
        #expect(error?.message.contains("certificate") == true)
    }

    @Test("rule 24: settings that cannot be used name the file")
    func files() async throws {
        let server = try RealServer(configuration: certificates.serverBlock())
        let missing = await failure(try configuration(server.url) { $0.caFile = "/nowhere/ca.pem" })
        #expect(missing?.code == .tlsFailed)
        #expect(missing?.message.contains("/nowhere/ca.pem") == true)
        let wrong = await failure(try configuration(server.url) { $0.caFile = certificates.path("server.ext") })
        #expect(wrong?.code == .tlsFailed)
        let half = await failure(try configuration(server.url) { $0.certificateFile = certificates.path("client.pem") })
        #expect(half?.code == .tlsFailed)
        let unfit = await failure(
            try configuration(server.url) {
                $0.certificateFile = certificates.path("client.pem")
                $0.keyFile = certificates.path("server.key")
            }
        )
        #expect(unfit?.code == .tlsFailed)
    }

    @Test("rule 24: a wish for TLS is never answered with a plain connection, whichever setting makes it")
    func neverPlain() async throws {
        let server = try RealServer()
        let wishes: [(inout NATSTLSOptions) -> Void] = [
            { $0.isRequired = true },
            { $0.caFile = certificates.path("ca.pem") },
            {
                $0.certificateFile = certificates.path("client.pem")
                $0.keyFile = certificates.path("client.key")
            },
            { $0.verifiesServer = false },
            { $0.serverName = "nats.example" },
        ]
        for wish in wishes {
            let error = await failure(
                try configuration(server.url) {
                    $0 = NATSTLSOptions()
                    wish(&$0)
                }
            )
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("without any TLS setting") == true, "\(String(describing: error))")
        }
        let plain = NATSTLSOptions()
        #expect(await failure(try configuration("tls://127.0.0.1:\(server.port)") { $0 = plain })?.code == .tlsFailed)
        let webSocket = await failure(try configuration("ws://127.0.0.1:\(server.port)"))
        #expect(webSocket?.code == .tlsFailed)
        #expect(webSocket?.message.contains("wss://") == true)
        try await echo(try configuration(server.url) { $0 = plain })
    }

    @Test("rule 24: where a name is asked for, a certificate for the IP address of the peer does not do")
    func addressInsteadOfName() async throws {
        let server = try RealServer(configuration: certificates.serverBlock("address"))
        try await echo(try configuration(server.url))
        let localhost = await failure(try configuration("tls://localhost:\(server.port)"))
        #expect(localhost?.code == .tlsFailed)
        #expect(localhost?.message.contains("not for localhost") == true, "\(String(describing: localhost))")
        #expect(await failure(try configuration(server.url) { $0.serverName = "nats.example" })?.code == .tlsFailed)
        try await echo(
            try configuration(server.url) {
                $0.serverName = "nats.example"
                $0.verifiesServer = false
            }
        )
        // A certificate for both goes with either.
        let both = try RealServer(configuration: certificates.serverBlock())
        try await echo(try configuration(both.url) { $0.serverName = "LOCALHOST" })
        try await echo(try configuration(both.url))
        #expect(await failure(try configuration(both.url) { $0.serverName = "other.example" })?.code == .tlsFailed)
    }

    @Test(
        "rule 24: names of certificates are compared label by label",
        arguments: [
            ("a.example", "a.example", true), ("A.Example", "a.eXample.", true), ("*.example", "a.example", true),
            ("*.example", "a.b.example", false), ("*.example", "example", false), ("*", "a", false),
            ("a*.example", "ab.example", false), ("*.example", ".example", false), ("", "", true),
            ("a.example", "b.example", false),
        ]
    )
    func certificateNames(_ pattern: String, _ name: String, _ matches: Bool) {
        #expect(CertificateNames.matches(Array(pattern.utf8), Array(name.utf8)) == matches)
    }

    @Test("rule 24: TLS first with a server that says INFO in the clear fails at once, and says so")
    func firstMismatch() async throws {
        for server in [try RealServer(), try RealServer(configuration: certificates.serverBlock())] {
            let error = await failure(try configuration(server.url) { $0.isFirst = true })
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("TLS first") == true, "\(String(describing: error))")
        }
    }

    @Test("rule 24: a refused name is told, whoever gave it")
    func names() async throws {
        let server = try RealServer(configuration: certificates.serverBlock("elsewhere"))
        let other = await failure(try configuration(server.url) { $0.serverName = "other.example" })
        #expect(other?.code == .tlsFailed)
        #expect(other?.message.contains("other.example") == true, "\(String(describing: other))")
        #expect(await failure(try configuration(server.url) { $0.serverName = "" })?.code == .tlsFailed)
        let first = try RealServer(configuration: certificates.serverBlock(more: "handshake_first: true"))
        let empty = await failure(
            try configuration(first.url) {
                $0.serverName = ""
                $0.isFirst = true
            }
        )
        #expect(empty?.code == .tlsFailed, "\(String(describing: empty))")
    }

    @Test("rule 12: a server discovered by its IP address is verified by the name of the one that told of it")
    func discovered() async throws {
        let ports = [try RealServer.freePort(), try RealServer.freePort()]
        let servers = try ports.indices.map { index in
            try RealServer(
                configuration: """
                    server_name: "s\(index)"
                    cluster {
                      name: "tls", listen: "127.0.0.1:\(ports[index])"
                      routes: ["nats://127.0.0.1:\(ports[1 - index])"]
                    }
                    \(certificates.serverBlock("named"))
                    """
            )
        }
        #expect(await failure(try configuration(servers[1].url))?.code == .tlsFailed)
        let harness = try await ConnectionHarness(
            [try NATSServerAddress(parsing: "tls://localhost:\(servers[0].port)")]
        ) { [certificates] in $0.tls.caFile = certificates.path("ca.pem") }
        try await harness.start { connection, _ in connection.connect() }.get()
        let other = "127.0.0.1:\(servers[1].port)"
        try await harness.eventually("the other server") { _, recorder in
            recorder.events.contains {
                if case .discoveredServers(let names) = $0 { names.contains(other) } else { false }
            }
        }
        servers[0].kill()
        try await harness.eventually("the other server's INFO") { connection, _ in
            connection.state == .connected && connection.serverInfo?.serverName == "s1"
        }
    }

    @Test("rule 12: a server discovered by its IP address does not pass with a certificate for that address")
    func discoveredWithAnAddress() async throws {
        let ports = [try RealServer.freePort(), try RealServer.freePort()]
        let servers = try ports.indices.map { index in
            try RealServer(
                configuration: """
                    cluster {
                      name: "tls", listen: "127.0.0.1:\(ports[index])"
                      routes: ["nats://127.0.0.1:\(ports[1 - index])"]
                    }
                    \(certificates.serverBlock(index == 0 ? "named" : "address"))
                    """
            )
        }
        let harness = try await ConnectionHarness(
            [try NATSServerAddress(parsing: "tls://localhost:\(servers[0].port)")]
        ) { [certificates] in $0.tls.caFile = certificates.path("ca.pem") }
        try await harness.start { connection, _ in connection.connect() }.get()
        try await harness.eventually("the other server") { _, recorder in
            recorder.events.contains { if case .discoveredServers = $0 { true } else { false } }
        }
        servers[0].kill()
        try await harness.eventually("the refusal") { _, recorder in
            recorder.events.contains {
                if case .retryingConnect(_, let error) = $0 { error.code == .tlsFailed } else { false }
            }
        }
        #expect(try await harness.on { connection, _ in connection.state } == .reconnecting)
    }

    @Test("rule 24: certificates are read again for a reconnect")
    func reconnect() async throws {
        let server = try RealServer(configuration: certificates.serverBlock(verify: true))
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("client-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let key = folder.appendingPathComponent("key.pem").path
        let certificate = folder.appendingPathComponent("certificate.pem").path
        try FileManager.default.copyItem(atPath: certificates.path("client.key"), toPath: key)
        try FileManager.default.copyItem(atPath: certificates.path("client.pem"), toPath: certificate)
        var settings = try configuration(server.url) {
            $0.certificateFile = certificate
            $0.keyFile = key
        }
        settings.reconnectWait = .milliseconds(50)
        settings.reconnectWaitMaximum = .milliseconds(50)
        let client = try await NATSClient.connect(settings)
        server.kill()
        for (name, target) in [("server.key", key), ("server.pem", certificate)] {
            try FileManager.default.removeItem(atPath: target)
            try FileManager.default.copyItem(atPath: certificates.path(name), toPath: target)
        }
        try server.start()
        var isBack = false
        for _ in 0..<200 where !isBack {
            isBack = (try? await client.flush(timeout: .milliseconds(500))) != nil
            if !isBack { try await Task.sleep(for: .milliseconds(20)) }
        }
        #expect(isBack)
        #expect(await client.statistics().reconnects == 1)
        await client.close()
    }
}
