// Credentials, TLS and server addresses among the options: what is made of them, which source wins, what contradicts
// itself, and that no text shows a secret.

import NATS
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Connection options")
struct ConnectionOptionTests {
    private static let secret = "hunter2"

    private func options(
        _ members: [(String, PlainValue)] = [],
        directory: String = ".",
        _ fill: (inout PaniniOverrides) throws -> Void = { _ in }
    ) throws -> AppOptions {
        var overrides = PaniniOverrides()
        try fill(&overrides)
        return try AppOptions(
            script: [("service_name", .string("orders"))] + members,
            directory: directory,
            overrides: overrides
        )
    }

    private func auth(_ members: [(String, String)]) -> (String, PlainValue) {
        ("auth", .object(members.map { ($0.0, .string($0.1)) }))
    }

    private func tls(_ members: [(String, PlainValue)]) -> (String, PlainValue) { ("tls", .object(members)) }

    private func failure(_ body: () throws -> AppOptions) -> (text: String, isOutside: Bool)? {
        do {
            _ = try body()
            return nil
        } catch AppOptions.Failure.script(let text) {
            return (text, false)
        } catch AppOptions.Failure.outside(let text) {
            return (text, true)
        } catch {
            return ("\(error)", false)
        }
    }

    @Test(
        "each kind of credentials",
        arguments: [
            ([("user", "ada"), ("password", secret)], "user and password"), ([("user", "ada")], "user and password"),
            ([("token", secret)], "token"), ([("nkey_seed", secret)], "nkey seed"),
            ([("nkey_seed_file", "/k/user.nk")], "nkey seed file /k/user.nk"),
            ([("credentials_file", "/k/user.creds")], "credentials file /k/user.creds"),
            ([("credentials", secret)], "credentials"), ([], "none"),
        ]
    )
    func kinds(members: [(String, String)], description: String) throws {
        #expect(try options([auth(members)]).authentication.description == description)
    }

    @Test(
        "what contradicts itself in the script names both options and no value",
        arguments: [
            ([("token", secret), ("user", secret)], ["auth.token", "auth.user"]),
            ([("nkey_seed", secret), ("nkey_seed_file", "f")], ["auth.nkey_seed", "auth.nkey_seed_file"]),
            ([("credentials", secret), ("password", secret)], ["auth.credentials", "auth.password"]),
            ([("password", secret)], ["auth.password", "auth.user"]), ([("token", "")], ["auth.token"]),
            ([("credentials_file", "")], ["auth.credentials_file"]),
        ]
    )
    func contradictions(members: [(String, String)], names: [String]) {
        let problem = failure { try options([auth(members)]) }
        #expect(problem?.isOutside == false)
        for name in names { #expect(problem?.text.contains("\"\(name)\"") == true, "\(problem?.text ?? "accepted")") }
        #expect(problem?.text.contains(Self.secret) == false)
    }

    @Test("contradictions from outside name their origins")
    func outsideContradictions() throws {
        let flags = failure {
            try options {
                $0.set("auth.token", text: Self.secret, origin: "--auth-token", source: .commandLine)
                $0.set("auth.user", text: Self.secret, origin: "--auth-user", source: .commandLine)
            }
        }
        #expect(flags?.isOutside == true)
        #expect(flags?.text.hasPrefix("--auth-user and --auth-token contradict each other") == true)
        let file = failure {
            try options {
                try $0.add(json: Array(#"{"auth": {"token": "hunter2", "nkey_seed": "hunter2"}}"#.utf8), path: "c.json")
            }
        }
        #expect(file?.text.hasPrefix("c.json: options \"auth.token\" and \"auth.nkey_seed\"") == true)
        #expect(flags?.text.contains(Self.secret) == false && file?.text.contains(Self.secret) == false)
        let alone = failure {
            try options { $0.set("auth.password", text: Self.secret, origin: "PANINI_AUTH_PASSWORD") }
        }
        #expect(alone?.text == "PANINI_AUTH_PASSWORD: option \"auth.password\" needs the option \"auth.user\"")
    }

    @Test("a stronger source replaces the kind of credentials as a whole")
    func replaces() throws {
        let script = auth([("user", "ada"), ("password", Self.secret)])
        let flag = try options([script]) {
            $0.set("auth.token", text: "t", origin: "--auth-token", source: .commandLine)
            $0.set("auth.nkey_seed", text: "n", origin: "PANINI_AUTH_NKEY_SEED", source: .environment)
        }
        #expect(flag.authentication.description == "token")
        let environment = try options([script]) {
            $0.set(
                "auth.credentials_file",
                text: "a.creds",
                origin: "PANINI_AUTH_CREDENTIALS_FILE",
                source: .environment
            )
            try $0.add(json: Array(#"{"auth": {"token": "x"}}"#.utf8), path: "c.json")
        }
        #expect(environment.authentication.description == "credentials file a.creds")
    }

    @Test("sources complete each other within one kind")
    func completes() throws {
        let options = try options([auth([("user", "ada")])]) {
            $0.set("auth.password", text: Self.secret, origin: "PANINI_AUTH_PASSWORD", source: .environment)
        }
        #expect(options.authentication.description == "user and password")
    }

    @Test("any TLS option asks for TLS")
    func requiresTLS() throws {
        #expect(try !options().tls.isRequired)
        #expect(try !options([tls([])]).tls.isRequired)
        let off = try options([tls([("verify", .boolean(false))])]).tls
        #expect(off.isRequired && !off.verifiesServer && !off.isFirst)
        let first = try options([tls([("first", .boolean(true)), ("ca_file", .string("/ca.pem"))])]).tls
        #expect(first.isRequired && first.verifiesServer && first.isFirst && first.caFile == "/ca.pem")
    }

    @Test("certificate and key belong together", arguments: ["cert_file", "key_file"])
    func pairs(name: String) throws {
        let problem = failure { try options([tls([(name, .string("x.pem"))])]) }
        #expect(problem?.text.contains("tls.cert_file") == true && problem?.text.contains("tls.key_file") == true)
        let both = try options([tls([("cert_file", .string("/c.pem"))])]) {
            $0.set("tls.key_file", text: "k.pem", origin: "PANINI_TLS_KEY_FILE", source: .environment)
        }
        #expect(both.tls.certificateFile == "/c.pem" && both.tls.keyFile == "k.pem")
    }

    @Test("paths are relative to where they are written")
    func paths() throws {
        let script = tls([("ca_file", .string("ca.pem"))])
        #expect(try options([script]).tls.caFile == "ca.pem")
        #expect(try options([script], directory: "a/b").tls.caFile == "a/b/ca.pem")
        let outside = try options([script], directory: "a/b") {
            $0.set("tls.ca_file", text: "ca.pem", origin: "--tls-ca-file", source: .commandLine)
        }
        #expect(outside.tls.caFile == "ca.pem")
        let file = try options(directory: "a/b") {
            try $0.add(json: Array(#"{"tls": {"ca_file": "ca.pem"}}"#.utf8), path: "etc/orders.json")
        }
        #expect(file.tls.caFile == "etc/ca.pem")
    }

    @Test("groups can be left out, whoever gave them")
    func ignored() throws {
        let options = try options([auth([("token", "x")]), tls([("first", .boolean(true))])]) {
            $0.ignore(group: "auth")
            $0.ignore(group: "tls")
        }
        #expect(options.authentication.description == "none" && !options.tls.isRequired)
        #expect(options.unusedGroups == ["auth", "tls"])
    }

    @Test(
        "addresses are shown without credentials",
        arguments: [
            ("nats://ada:hunter2@host:1", "nats://host:1"), ("nats://hunter2@host", "nats://host"),
            ("ada:hunter2@host", "host"), ("wss://a:hunter2@b@host/x", "wss://host/x"),
            ("nats://host:1", "nats://host:1"),
            ("nats://ada:hun/ter2@host", "nats://host"),
        ]
    )
    func shown(server: String, text: String) {
        #expect(withoutCredentials(server) == text)
        let message = hidingCredentials(of: server, in: "cannot use \"\(server)\": no \(server) there")
        #expect(!message.contains("hunter2") && !message.contains("ter2"))
    }

    @Test("an address that cannot be used hides its credentials", arguments: ["nats://a:hunter2@", "x://a:hunter2@b"])
    func wrongAddress(server: String) {
        let problem = failure { try options([("servers", .array([.string(server)]))]) }
        #expect(problem?.text.contains("servers") == true)
        #expect(problem?.text.contains(Self.secret) == false, "\(problem?.text ?? "")")
    }
}
