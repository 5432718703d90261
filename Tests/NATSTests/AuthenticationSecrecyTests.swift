// No secret in any description, dump, event, error or log record, whatever goes right or wrong.

import Logging
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct AuthenticationSecrecyTests {
    /// Keeps every record, at every level, as text.
    private struct KeepingLogHandler: LogHandler {
        let records: NIOLockedValueBox<[String]>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            records.withLockedValue { $0.append("\(event.message) \(event.metadata ?? [:])") }
        }
    }

    private static let seed = AuthenticationTests.seed
    private static let file = TestOperator.file("eyJzZWNyZXQ.eyJzZWNyZXQ.c2VjcmV0", seed)
    /// What may be seen nowhere.
    private static let secrets = ["geheim", "SUAAA", "eyJ", AuthenticationTests.signature]

    private static let kinds: [NATSAuthentication] = [
        .token("geheim"), .user("joe", password: "geheim"), .nkey(seed: seed), .credentials(file),
        .nkey(seed: "SUAAAgeheim"), .credentials("geheim eyJh.eyJi"), .provider { _ in .token("geheim") },
    ]

    private func expectNoSecret(_ texts: [String], _ what: String) {
        for text in texts {
            for secret in Self.secrets where text.contains(secret) {
                Issue.record("\(what) shows a secret: \(text)")
            }
        }
    }

    private func texts(_ value: Any) -> [String] {
        var dumped = ""
        dump(value, to: &dumped)
        return ["\(value)", String(reflecting: value), dumped]
    }

    @Test func descriptionsTellTheKindOnly() throws {
        for kind in Self.kinds {
            expectNoSecret(texts(kind), "authentication")
            var configuration = NATSConnectionConfiguration()
            configuration.authentication = kind
            expectNoSecret(texts(configuration), "configuration")
            if let prepared = try? NATSPreparedCredentials.read(kind) {
                expectNoSecret(texts(prepared), "prepared credentials")
            }
        }
        let address = try NATSServerAddress(parsing: "nats://joe:geheim@h")
        expectNoSecret(texts(address), "address")
        expectNoSecret(texts(NATSConnectionConfiguration(servers: [address])), "configuration")
        #expect(NATSAuthentication.credentials(file: "/etc/a").description == "credentials file /etc/a")
    }

    @Test(arguments: 0..<kinds.count, [false, true])
    func logsEventsAndErrorsTellNone(_ index: Int, _ inAddress: Bool) async throws {
        let records = NIOLockedValueBox<[String]>([])
        let server = try await MockServer.start()
        var address = server.address
        if inAddress {
            address.user = "joe"
            address.password = "geheim"
        }
        let logger = Logger(label: "test") { _ in KeepingLogHandler(records: records) }
        let harness = try await ConnectionHarness([address], logger: logger) {
            $0.authentication = Self.kinds[index]
            $0.authenticationRetryTime = .milliseconds(300)
        }
        let connected = try await harness.start { connection, _ in connection.connect() }
        let isUsable = inAddress || !(4...5).contains(index)
        if isUsable {
            // Once let in, once dropped, then refused twice; then the time for that is over.
            let info = "INFO {\"nonce\":\"nonce\",\"auth_required\":true}\r\n"
            let refusal = info + "-ERR 'Authorization Violation'\r\n"
            let peer = try await server.accept()
            try await peer.send(info)
            _ = try await peer.read(through: "PING\r\n")
            try await peer.send("PONG\r\n")
            try await connected.get()
            try await peer.send("-ERR 'User Authentication Expired'\r\n")
            try await server.accept().send(refusal)
            let refusing = try await server.accept()
            try await Task.sleep(for: .milliseconds(310))
            try await refusing.send(refusal)
        } else {
            let error = await #expect(throws: NATSError.self) { try await connected.get() }
            #expect(error?.code == .invalidCredentials)
        }
        try await harness.eventually("the end") { connection, _ in connection.state == .closed }
        let events = try await harness.events()
        expectNoSecret(events.flatMap(texts), "event")
        expectNoSecret(records.withLockedValue { $0 }, "log")
        #expect(!isUsable || !records.withLockedValue { $0 }.isEmpty)
    }
}
