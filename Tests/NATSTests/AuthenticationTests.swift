// What a client shows a server, against a scripted one: the credentials in CONNECT, where they come from, when they are
// read again, and what an error says.

import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct AuthenticationTests {
    static let seed = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
    static let publicKey = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"
    static let signature = "-HTq4d6DDHVNb8MsTRAZtSIa0vXA_yuZblwTA7JT5wYzmKBxJ2wpYfjHh7hcptZlidbVw_6ZLyubjm_yDk-OCQ"
    static let credentials = TestOperator.file("eyJh.eyJi.c2ln", seed)

    private static func info(_ members: String) -> String { "INFO {\"headers\":true,\"proto\":1\(members)}\r\n" }

    private static let nonce = info(",\"auth_required\":true,\"nonce\":\"nonce\"")
    private static let mandatory = info(",\"auth_required\":true")
    private static let open = info("")

    /// The JSON of the CONNECT a client with these settings sends after `info`.
    private func connect(
        _ authentication: NATSAuthentication,
        info: String = open,
        _ adjust: @escaping @Sendable (inout NATSServerAddress) -> Void = { _ in }
    ) async throws -> JSONValue {
        let server = try await MockServer.start()
        var address = server.address
        adjust(&address)
        let harness = try await ConnectionHarness([address]) { $0.authentication = authentication }
        let connected = try await harness.start { connection, _ in connection.connect() }
        let peer = try await server.accept()
        try await peer.send(info)
        let words = try await peer.read(through: "PING\r\n")
        try await peer.send("PONG\r\n")
        try await connected.get()
        return try options(words)
    }

    private func options(_ words: String) throws -> JSONValue {
        let json = words.dropFirst("CONNECT ".count).prefix { $0 != "\r\n" }
        return try Array(json.utf8).withUnsafeBytes { try JSONValue(parsing: $0) }
    }

    /// The credentials among a CONNECT's members.
    private func shown(_ options: JSONValue) -> [String: String] {
        var shown: [String: String] = [:]
        for name in ["jwt", "nkey", "sig", "user", "pass", "auth_token"] {
            shown[name] = options[name]?.string
        }
        return shown
    }

    private static let simple: [(NATSAuthentication, [String: String])] = [
        (.none, [:]),
        (.token("t"), ["auth_token": "t"]),
        (.user("joe", password: "p\"\u{e4}"), ["user": "joe", "pass": "p\"\u{e4}"]),
        (.user("joe", password: ""), ["user": "joe", "pass": ""]),
        (.nkey(seed: seed), ["nkey": publicKey, "sig": signature]),
        (.nkey(seed: " \(seed)\n"), ["nkey": publicKey, "sig": signature]),
        (.credentials(credentials), ["jwt": "eyJh.eyJi.c2ln", "sig": signature]),
    ]

    @Test(arguments: 0..<simple.count)
    func rule2And23SendsOnlyWhatIsSet(_ index: Int) async throws {
        let (authentication, expected) = Self.simple[index]
        #expect(shown(try await connect(authentication, info: Self.nonce)) == expected)
    }

    @Test(arguments: 0..<simple.count)
    func aProviderMayGiveEachOfThem(_ index: Int) async throws {
        let (authentication, expected) = Self.simple[index]
        #expect(shown(try await connect(.provider { _ in authentication }, info: Self.nonce)) == expected)
    }

    @Test func rule23ReadsFiles() async throws {
        let seedFile = try TestFile(Self.seed + "\n")
        let file = try TestFile(Self.credentials)
        #expect(
            shown(try await connect(.nkey(seedFile: seedFile.path), info: Self.nonce))
                == ["nkey": Self.publicKey, "sig": Self.signature]
        )
        let jwt = ["jwt": "eyJh.eyJi.c2ln", "sig": Self.signature]
        #expect(shown(try await connect(.credentials(file: file.path), info: Self.nonce)) == jwt)
        #expect(shown(try await connect(.provider { _ in .credentials(file: file.path) }, info: Self.nonce)) == jwt)
    }

    /// A JWT without a signature is what other clients show a server without a challenge.
    @Test func rule23WithoutANonceNothingIsSigned() async throws {
        #expect(shown(try await connect(.credentials(Self.credentials))) == ["jwt": "eyJh.eyJi.c2ln"])
        #expect(
            shown(try await connect(.credentials(Self.credentials), info: Self.mandatory)) == ["jwt": "eyJh.eyJi.c2ln"]
        )
        #expect(shown(try await connect(.nkey(seed: Self.seed))) == ["nkey": Self.publicKey])
    }

    @Test func rule23ABareNKeyWithoutANonceFails() async throws {
        let error = try await failure(.nkey(seed: Self.seed), words: Self.mandatory)
        #expect(error.code == .authorization)
        #expect(error.message.contains("nkey seed"))
    }

    @Test func rule23TheAddressBeatsTheOptions() async throws {
        let both = try await connect(.token("option"), info: Self.mandatory) {
            $0.user = "joe"
            $0.password = "secret"
        }
        #expect(shown(both) == ["user": "joe", "pass": "secret"])
        let token = try await connect(.credentials("nonsense"), info: Self.mandatory) { $0.user = "lone" }
        #expect(shown(token) == ["auth_token": "lone"])
        let asked = NIOLockedValueBox(false)
        let silent = try await connect(
            .provider { _ in
                asked.withLockedValue { $0 = true }
                return .none
            }
        ) { $0.user = "lone" }
        #expect(shown(silent) == ["auth_token": "lone"])
        #expect(!asked.withLockedValue { $0 })
    }

    @Test func rule2TLSRequiredTellsWhetherTLSIsSpoken() async throws {
        #expect(try await connect(.none)["tls_required"] == .bool(false))
        let harness = try await ConnectionHarness([NATSServerAddress(host: "h")])
        let isTold = try await harness.on { connection, _ in
            let handler = NATSChannelHandler(
                connection: connection,
                address: NATSServerAddress(host: "h"),
                limits: NATSOperationParser.Limits()
            )
            handler.isEncrypted = true
            return try connection.connectOptions(for: handler).tlsRequired
        }
        #expect(isTold)
    }

    @Test func theProviderLearnsWhichServerAsks() async throws {
        let seen = NIOLockedValueBox("")
        let port = NIOLockedValueBox(0)
        _ = try await connect(
            .provider { challenge in
                seen.withLockedValue { $0 = challenge.server }
                return .token("t")
            }
        ) { address in port.withLockedValue { $0 = address.port } }
        #expect(seen.withLockedValue { $0 } == "127.0.0.1:\(port.withLockedValue { $0 })")
    }

    @Test(
        arguments: [
            ("nats://joe:p%40s%2Fs%3A@h:1", "joe", "p@s/s:"), ("joe:@h", "joe", ""),
            ("nats://tok%20en@h", "tok en", nil),
            ("nats://a:b:c@[::1]:4223", "a", "b:c"), ("nats://a@b:c@h", "a@b", "c"), ("nats://h:1", nil, nil),
        ] as [(String, String?, String?)]
    )
    func rule23ReadsTheAddressesCredentials(_ text: String, _ user: String?, _ password: String?) throws {
        let address = try NATSServerAddress(parsing: text)
        #expect(address.user == user && address.password == password)
        #expect(address.host == "h" || address.host == "::1")
        #expect(!address.description.contains("@"))
    }

    @Test(
        arguments: [
            "nats://@h", "nats://:geheim@h", "nats://geheim:geheim%@h", "nats://geheim%4:x@h", "nats://geheim%zz@h",
            "nats://geheim%ff@h", "nats://x:gehe/im@h", "nats://x:geheim@", "nats://x:geheim@h:0", "nats://geheim@[::1",
            "http://x:geheim@h", "x:geheim@h:1:2",
        ]
    )
    func rule23RefusesBadAddressesWithoutTellingTheirCredentials(_ text: String) {
        let error = #expect(throws: NATSError.self) { try NATSServerAddress(parsing: text) }
        #expect(error?.code == .invalidAddress)
        #expect(error?.message.contains("gehe") == false && error?.message.contains("im@") == false)
    }

    // MARK: - What goes wrong

    /// How the first connection fails.
    private func failure(
        _ authentication: NATSAuthentication,
        words: String? = nil,
        timeout: TimeAmount = .seconds(60)
    ) async throws -> NATSError {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authentication = authentication
            $0.connectTimeout = timeout
            // Even so: what is wrong here does not get right by waiting.
            $0.retryOnFailedConnect = true
        }
        let connected = try await harness.start { connection, _ in connection.connect() }
        if let words { try await server.accept().send(words) }
        return try await #require(throws: NATSError.self) { try await connected.get() }
    }

    @Test func whatCannotBeReadFailsTheFirstConnectionAtOnce() async throws {
        let file = try TestFile("-----BEGIN NATS USER JWT-----\nhidden\n")
        let big = try TestFile(String(repeating: "x", count: 1 << 20 | 1))
        let broken: [(NATSAuthentication, String)] = [
            (.credentials(file: "/nonexistent/a.creds"), "/nonexistent/a.creds: No such file"),
            (.credentials(file: "/"), "/: not a file"),
            (.credentials(file: big.path), "larger than"),
            (.credentials(file: file.path), "\(file.path): the NATS USER JWT block has no end"),
            (.nkey(seedFile: "/nonexistent/a.nk"), "/nonexistent/a.nk: No such file"),
            (.nkey(seedFile: file.path), "\(file.path): it is no seed"),
            (.nkey(seed: "hidden"), "nkey seed: it is no seed"),
            (.nkey(seed: "SUhidden"), "nkey seed: the seed is not base32"),
            (.credentials("hidden"), "credentials: no NATS USER JWT block"),
            (.provider { _ in .nkey(seed: "SUhidden") }, "the seed is not base32"),
            (.provider { _ in .credentials(file: "/nonexistent/b") }, "/nonexistent/b"),
            (.provider { _ in .provider { _ in .none } }, "another provider"),
            (.provider { _ in throw NATSError(.timeout, "the vault is shut") }, "the vault is shut"),
            (.provider { _ in throw Leaky(text: "hidden") }, "threw Leaky"),
        ]
        for (authentication, text) in broken {
            let error = try await failure(authentication)
            #expect(error.code == .invalidCredentials)
            #expect(error.message.contains(text), "\(error.message)")
            #expect(!error.message.contains("hidden") && !error.message.contains("\n"), "\(error.message)")
        }
    }

    private struct Leaky: Error {
        let text: String
    }

    @Test func aProviderThatHangsRunsIntoTheDeadlineAndIsCancelled() async throws {
        let cancelled = NIOLockedValueBox(false)
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.connectTimeout = .milliseconds(50)
            $0.authentication = .provider { _ in
                try? await Task.sleep(for: .seconds(3600))
                cancelled.withLockedValue { $0 = true }
                return .none
            }
        }
        let connected = try await harness.start { connection, _ in connection.connect() }
        let error = await #expect(throws: NATSError.self) { try await connected.get() }
        #expect(error?.code == .connectTimeout)
        #expect(error?.message.hasPrefix("getting the credentials") == true)
        try await harness.eventually("the cancellation") { _, _ in cancelled.withLockedValue { $0 } }
    }

    @Test func aProviderThatAnswersAfterTheEndChangesNothing() async throws {
        let gate = AsyncStream.makeStream(of: Void.self)
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authentication = .provider { _ in
                for await _ in gate.stream { break }
                return .token("late")
            }
        }
        let connected = try await harness.start { connection, _ in connection.connect() }
        try await harness.on { connection, _ in connection.close() }
        #expect(await failureCode(of: connected) == .closed)
        gate.continuation.yield()
        try await harness.eventually("the end") { connection, _ in connection.handshaking == nil }
        #expect(try await harness.events().count == 1)
    }

    @Test(
        arguments: [
            (NATSAuthentication.none, "the server asks for credentials, none are configured"),
            (.token("geheim"), "the server refused the token"),
            (.user("joe", password: "geheim"), "the server refused the user and password"),
            (.nkey(seed: seed), "the server refused the nkey seed"),
            (.credentials(credentials), "the server refused the credentials"),
            (.provider { _ in .token("geheim") }, "the server refused the token from the provider"),
        ]
    )
    func aRefusalSaysWhichCredentials(_ authentication: NATSAuthentication, _ text: String) async throws {
        let error = try await failure(authentication, words: Self.nonce + "-ERR 'Authorization Violation'\r\n")
        #expect(error.code == .authorization)
        #expect(error.message == "\(text): Authorization Violation")
    }

    // MARK: - Again at each attempt

    @Test func rule23ReadsTheFileAgainAtEachAttempt() async throws {
        let file = try TestFile(Self.credentials)
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authentication = .credentials(file: file.path)
        }
        let first = try await harness.connect(to: server)
        try file.write(TestOperator.file("eyJh.eyJuZXc.c2ln", Self.seed))
        try await first.close()
        let second = try await server.accept()
        try await second.send(Self.nonce)
        let words = try await second.read(through: "PING\r\n")
        #expect(shown(try options(words)) == ["jwt": "eyJh.eyJuZXc.c2ln", "sig": Self.signature])
        try await second.send("PONG\r\n")
        try await harness.eventually("the connection") { connection, _ in connection.state == .connected }
    }

    /// Whoever replaces a file may leave none for a moment.
    @Test func rule23AMissingFileIsWaitedForOnceConnected() async throws {
        let file = try TestFile(Self.credentials)
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authentication = .credentials(file: file.path)
        }
        let first = try await harness.connect(to: server)
        file.remove()
        try await first.close()
        try await harness.eventually("failed attempts") { _, recorder in
            recorder.events.filter {
                if case .retryingConnect(_, let error) = $0 { error.code == .invalidCredentials } else { false }
            }.count >= 3
        }
        try file.write(Self.credentials)
        _ = try await server.acceptHandshake()
        try await harness.eventually("the connection") { connection, _ in connection.state == .connected }
    }

    @Test func rule23AsksTheProviderAtEachAttempt() async throws {
        let count = NIOLockedValueBox(0)
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.authentication = .provider { _ in
                let number = count.withLockedValue { count in
                    count += 1
                    return count
                }
                return .token("\(number)")
            }
        }
        try await harness.connect(to: server).close()
        let second = try await server.accept()
        try await second.send(Self.open)
        let words = try await second.read(through: "PING\r\n")
        #expect(shown(try options(words)) == ["auth_token": "2"])
    }
}
