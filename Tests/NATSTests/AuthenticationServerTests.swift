// Credentials against a real nats-server: each kind lets in, wrong ones are told at once, renewed ones are used by the
// next reconnect.

import Foundation
import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct AuthenticationServerTests {
    /// Connects and asks the server who it takes this client for.
    private func user(
        _ server: RealServer,
        _ authentication: NATSAuthentication,
        userInfo: String = ""
    ) async throws -> String {
        let harness = try await start(server, authentication, userInfo: userInfo)
        try await harness.start { connection, _ in connection.connect() }.get()
        return try await whoAmI(harness)
    }

    private func start(
        _ server: RealServer,
        _ authentication: NATSAuthentication,
        userInfo: String = ""
    ) async throws -> ConnectionHarness {
        let address = try NATSServerAddress(parsing: "nats://\(userInfo)127.0.0.1:\(server.port)")
        return try await ConnectionHarness([address]) { $0.authentication = authentication }
    }

    /// Counts the answers so far and waits for one more.
    private func whoAmI(_ harness: ConnectionHarness) async throws -> String {
        let before = try await harness.on { $1.outcomes.count }
        try await harness.request("", to: "$SYS.REQ.USER.INFO", context: 1)
        try await harness.eventually("the answer") { $1.outcomes.count > before }
        let reply = try #require(try await harness.on { $1.outcomes.last?.reply })
        let json = try Array(reply.utf8).withUnsafeBytes { try JSONValue(parsing: $0) }
        return json["data"]?["user"]?.string ?? reply
    }

    private func failure(
        _ server: RealServer,
        _ authentication: NATSAuthentication,
        userInfo: String = ""
    ) async throws -> NATSError {
        let harness = try await start(server, authentication, userInfo: userInfo)
        let connected = try await harness.start { connection, _ in connection.connect() }
        let error = try await #require(throws: NATSError.self) { try await connected.get() }
        #expect(try await harness.on { connection, _ in connection.state } == .closed)
        return error
    }

    @Test("rule 23: a token")
    func token() async throws {
        let server = try RealServer(configuration: "authorization { token: \"s3cr3t\" }\n")
        _ = try await user(server, .token("s3cr3t"))
        _ = try await user(server, .none, userInfo: "s3cr3t@")
        _ = try await user(server, .token("wrong"), userInfo: "s3cr3t@")
        for authentication in [NATSAuthentication.token("wrong1"), .user("s3cr3t", password: "wrong1"), .none] {
            let error = try await failure(server, authentication)
            #expect(error.code == .authorization)
            #expect(!error.message.contains("wrong1") && !error.message.contains("\n"))
        }
        #expect(try await failure(server, .none).message.contains("none are configured"))
    }

    @Test func rule23UserAndPasswordAlsoInTheAddress() async throws {
        let server = try RealServer(
            configuration: "authorization { users: [ { user: joe, password: \"p@ss/w:rd\" } ] }\n"
        )
        #expect(try await user(server, .user("joe", password: "p@ss/w:rd")) == "joe")
        #expect(try await user(server, .none, userInfo: "joe:p%40ss%2Fw%3Ard@") == "joe")
        #expect(try await user(server, .user("joe", password: "x"), userInfo: "joe:p%40ss%2Fw:rd@") == "joe")
        #expect(try await user(server, .provider { _ in .user("joe", password: "p@ss/w:rd") }) == "joe")
        #expect(try await failure(server, .user("joe", password: "x")).code == .authorization)
        let error = try await failure(server, .user("joe", password: "p@ss/w:rd"), userInfo: "joe:x@")
        #expect(error.message.hasPrefix("the server refused the user and password in the server's address:"))
    }

    @Test func rule23NKey() async throws {
        let identity = try TestIdentity(.user)
        let stranger = try TestIdentity(.user)
        let file = try TestFile(identity.seed)
        let server = try RealServer(configuration: "authorization { users: [ { nkey: \(identity.publicKey) } ] }\n")
        #expect(try await user(server, .nkey(seed: identity.seed)) == identity.publicKey)
        #expect(try await user(server, .nkey(seedFile: file.path)) == identity.publicKey)
        #expect(try await failure(server, .nkey(seed: stranger.seed)).code == .authorization)
        #expect(try await failure(server, .none).code == .authorization)
    }

    @Test func rule23JWTOfAnOperator() async throws {
        let authority = try TestOperator()
        let identity = try TestIdentity(.user)
        let text = try authority.credentials(of: identity)
        let file = try TestFile(text)
        let server = try RealServer(configuration: authority.configuration)
        #expect(try await user(server, .credentials(text)) == identity.publicKey)
        #expect(try await user(server, .credentials(file: file.path)) == identity.publicKey)
        #expect(try await user(server, .provider { _ in .credentials(text) }) == identity.publicKey)
        let stranger = try TestOperator().credentials(of: identity)
        #expect(try await failure(server, .credentials(stranger)).code == .authorization)
        let past = Int(Date().timeIntervalSince1970) - 60
        let expired = try authority.credentials(of: identity, expires: past)
        #expect(try await failure(server, .credentials(expired)).code == .authorization)
        #expect(try await failure(server, .none).code == .authorization)
    }

    /// An open server takes whatever it is shown.
    @Test func rule23AnOpenServerTakesEveryCredential() async throws {
        let server = try RealServer()
        let identity = try TestIdentity(.user)
        let text = try TestOperator().credentials(of: identity)
        for authentication in [
            NATSAuthentication.token("t"), .user("a", password: "b"), .nkey(seed: identity.seed), .credentials(text),
        ] {
            _ = try await user(server, authentication)
        }
    }

    @Test func rule23AChangedPasswordIsAskedOfTheProvider() async throws {
        func configuration(_ password: String) -> String {
            "authorization { users: [ { user: joe, password: \"\(password)\" } ] }\n"
        }
        let password = NIOLockedValueBox("first")
        let server = try RealServer(configuration: configuration("first"))
        let harness = try await start(
            server,
            .provider { _ in .user("joe", password: password.withLockedValue { $0 }) }
        )
        try await harness.start { connection, _ in connection.connect() }.get()
        // First the new password, then the server that wants it: the client comes back within milliseconds.
        password.withLockedValue { $0 = "second" }
        try server.reload(configuration("second"))
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
        #expect(try await whoAmI(harness) == "joe")
        #expect(try await failure(server, .user("joe", password: "first")).code == .authorization)
    }

    @Test func rule23AnExpiringJWTIsReplacedByTheRenewedFile() async throws {
        let authority = try TestOperator()
        let old = try TestIdentity(.user)
        let renewed = try TestIdentity(.user)
        let server = try RealServer(configuration: authority.configuration)
        let file = try TestFile("")
        // On a busy machine the shortest life may be over before the connection is up.
        for life in [2, 5, 30] {
            let expiry = Int(Date().timeIntervalSince1970) + life
            try file.write(try authority.credentials(of: old, expires: expiry))
            let harness = try await start(server, .credentials(file: file.path))
            let connected = try await harness.start { connection, _ in connection.connect() }
            guard await failureCode(of: connected) == nil else { continue }
            try file.write(try authority.credentials(of: renewed))
            try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
            #expect(try await whoAmI(harness) == renewed.publicKey)
            let losses = try await harness.events().compactMap { event -> NATSError.Code? in
                if case .disconnected(let error) = event { error?.code } else { nil }
            }
            #expect(losses == [.authorization])
            return
        }
        Issue.record("no life was long enough")
    }
}
