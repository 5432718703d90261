// INFO and its JSON, -ERR texts, decimal numbers.

import Bytes
import NATSFuzzSupport
import NATSProtocol
import Testing

@Suite(.timeLimit(.minutes(5))) struct NATSServerInfoTests {
    private func info(_ json: String) throws -> NATSServerInfo {
        try Array(json.utf8).withUnsafeBytes { try NATSServerInfo(json: $0) }
    }

    private func json(_ text: String) throws -> JSONValue {
        try Array(text.utf8).withUnsafeBytes { try JSONValue(parsing: $0) }
    }

    @Test("rule 3: every field of INFO that a client needs")
    func readsAServersInfo() throws {
        let info = try info(
            """
            {"server_id":"NABC","server_name":"n1","version":"2.15.1","proto":1,"go":"go1.24","host":"0.0.0.0",\
            "port":4222,"headers":true,"max_payload":1048576,"client_id":5,"client_ip":"127.0.0.1","cluster":"c",\
            "connect_urls":["10.0.0.1:4222","[::1]:4222"],"ldm":true,"jetstream":true,"nonce":"abc",\
            "auth_required":true,"tls_required":true,"tls_available":true,"xkey":"X","domain":"d",\
            "acc_is_sys":true,"api_lvl":2,"connect_info":true}
            """
        )
        #expect(info.serverID == "NABC")
        #expect(info.serverName == "n1")
        #expect(info.version == "2.15.1")
        #expect(info.protocolLevel == 1)
        #expect(info.port == 4222)
        #expect(info.supportsHeaders && info.lameDuckMode && info.jetStream)
        #expect(info.authenticationRequired && info.tlsRequired && info.tlsAvailable)
        #expect(info.maxPayload == 1_048_576)
        #expect(info.clientID == 5)
        #expect(info.clientAddress == "127.0.0.1")
        #expect(info.connectURLs == ["10.0.0.1:4222", "[::1]:4222"])
        #expect(info.nonce == "abc")
        #expect(info.host == "0.0.0.0" && info.cluster == "c" && info.domain == "d")
        #expect(info.isSystemAccount && info.apiLevel == 2 && info.isConnectInfo)
    }

    @Test("rule 3: every field of INFO is optional")
    func everyFieldIsOptional() throws {
        let info = try info("{}")
        #expect(info.maxPayload == nil)
        #expect(!info.supportsHeaders)
        #expect(info.connectURLs.isEmpty)
        #expect(info == NATSServerInfo())
        #expect(try self.info("{\"domain\":null,\"acc_is_sys\":1,\"api_lvl\":\"2\"}") == NATSServerInfo())
        // Wrong types count as absent.
        #expect(
            try self.info("{\"max_payload\":\"big\",\"headers\":1,\"connect_urls\":[1,\"a:1\"]}").connectURLs == ["a:1"]
        )
        #expect(try self.info("{\"max_payload\":-1}").maxPayload == nil)
    }

    @Test(
        "rule 3: what is no JSON object is no INFO",
        arguments: ["", "x", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1}}", "{\"a\":1,}", "\"x"]
    )
    func refusesWhatIsNoObject(_ text: String) {
        #expect(throws: JSONError.self) { try info(text) }
    }

    @Test func readsJSON() throws {
        #expect(
            try json(" [1, -2, 3.5, 1e3, true, false, null, \"a\"] ")
                == .array([
                    .integer(1), .integer(-2), .number(3.5), .number(1000), .bool(true), .bool(false), .null,
                    .string("a"),
                ])
        )
        #expect(try json("{\"a\":{\"b\":[]}}") == .object(["a": .object(["b": .array([])])]))
        #expect(try json(#""\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00""#) == .string("\"\\/\u{8}\u{c}\n\r\tä😀"))
        #expect(try json("99999999999999999999") == .number(1e20))
    }

    @Test(
        arguments: [
            ("[1,", JSONError.Kind.unexpectedEnd), ("tru", .unexpectedEnd), ("trux", .unexpectedByte),
            ("1 2", .trailingBytes),
            ("\"\\x\"", .badEscape), ("\"\\ud800\"", .badEscape), ("\"\\ud800\\u0041\"", .badEscape),
            ("\"\n\"", .unexpectedByte),
            ("1-2", .badNumber), ("1e999", .badNumber), ("@", .unexpectedByte), ("\"\\u12", .unexpectedEnd),
        ])
    func refusesBadJSON(_ text: String, _ kind: JSONError.Kind) {
        let error = #expect(throws: JSONError.self) { try json(text) }
        #expect(error?.kind == kind)
    }

    @Test func limitsTheDepth() throws {
        #expect(try json(String(repeating: "[", count: 31) + "1" + String(repeating: "]", count: 31)) != .null)
        let error = #expect(throws: JSONError.self) { try json(String(repeating: "[", count: 100_000)) }
        #expect(error?.kind == .tooDeep)
    }

    @Test func survivesMutations() {
        var random = SeededGenerator(seed: 7)
        let seed = Array(#"{"a":[1,2.5e3,"x\u00e4\n"],"b":{"c":true,"d":null},"max_payload":1048576}"#.utf8)
        var good = 0
        for _ in 0..<20_000 {
            var text = seed
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                text[Int.random(in: 0..<text.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if (try? text.withUnsafeBytes { try NATSServerInfo(json: $0) }) != nil { good += 1 }
        }
        #expect(good > 100 && good < 19_000)
    }

    @Test(
        "rules 16 and 17: what each text of -ERR means",
        arguments: [
            ("Permissions Violation for Publish to \"a.b\"", NATSServerFault.publishViolation(subject: "a.b")),
            ("permissions violation for publish to \"a.b\", too many tokens", .publishViolation(subject: "a.b")),
            ("Permissions Violation for Publish with Reply of \"r\"", .replyViolation(reply: "r")),
            (
                "Permissions Violation for Subscription to \"a\"",
                .subscriptionViolation(subject: "a", queue: nil, sid: nil)
            ),
            (
                "Permissions Violation for Subscription to \"a\" (sid \"12\")",
                .subscriptionViolation(subject: "a", queue: nil, sid: 12)
            ),
            (
                "Permissions Violation for Subscription to \"a\" using queue \"q\" (sid \"3\")",
                .subscriptionViolation(subject: "a", queue: "q", sid: 3)
            ),
            ("Permissions Violation for Publish to \"a\\\"b\"", .publishViolation(subject: "a\"b")),
            ("Permissions Violation for Something", .other),
            ("Stale Connection", .staleConnection),
            ("Slow Consumer", .slowConsumer),
            ("maximum connections exceeded", .tooManyConnections),
            ("maximum account active connections exceeded", .tooManyConnections),
            ("connection throttling is active", .tooManyConnections),
            ("Authorization Violation", .authorization),
            ("User Authentication Expired", .authorization),
            ("User Authentication Revoked", .authorization),
            ("Account Authentication Expired", .authorization),
            ("Authentication Timeout", .authorization),
            (
                "Permissions Violation for Subscription to \"a\", too many tokens",
                .subscriptionViolation(subject: "a", queue: nil, sid: nil)
            ),
            ("Invalid Subject", .other),
            ("Invalid Publish Subject", .other),
            ("message headers not supported", .other),
            ("maximum subscriptions exceeded", .other),
            ("", .other),
        ]
    )
    func understandsErrors(_ text: String, _ expected: NATSServerFault) {
        #expect(NATSServerFault(text) == expected)
        Array("'\(text)'".utf8).withUnsafeBytes { bytes in
            #expect(NATSServerFault.text(bytes) == text)
            #expect(NATSServerFault(bytes) == expected)
        }
    }

    @Test(arguments: [("0", 0), ("7", 7), ("0012", 12), ("999999999999999999", 999_999_999_999_999_999)])
    func readsDecimals(_ text: String, _ value: Int) {
        #expect(Array(text.utf8).withUnsafeBytes { ASCII.decimal($0) } == value)
    }

    @Test(arguments: ["", "-1", "+1", "1 ", "a", "1.0", "9999999999999999999"])
    func refusesOtherNumbers(_ text: String) {
        #expect(Array(text.utf8).withUnsafeBytes { ASCII.decimal($0) } == nil)
    }
}
