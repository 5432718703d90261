// The options of panini.app: names, types, bounds, precedence, and the texts of mistakes.

import Bytes
import ScriptRuntime
import Testing

@testable import Panini

@Suite("App options")
struct OptionTests {
    private func options(
        _ members: [(String, PlainValue)],
        overrides: PaniniOverrides = PaniniOverrides()
    ) throws -> AppOptions {
        try AppOptions(script: [("service_name", .string("orders"))] + members, overrides: overrides)
    }

    private func scriptFailure(_ members: [(String, PlainValue)]) -> String? {
        do {
            _ = try AppOptions(script: members, overrides: PaniniOverrides())
            return nil
        } catch {
            guard case .script(let text) = error else { return nil }
            return text
        }
    }

    @Test("defaults are those of the contract")
    func defaults() throws {
        let options = try options([])
        #expect(options.host == "127.0.0.1" && options.port == 4222 && options.servers.isEmpty)
        #expect(options.reconnect && options.maxReconnectAttempts == -1 && options.reconnectWait == 2)
        #expect(options.connectTimeout == 5 && options.retryOnStart && options.pingInterval == 120)
        #expect(options.pendingLimit == 65536 && options.pendingBytesLimit == 64 << 20)
        #expect(options.handlerTimeout == 30 && options.shutdownTimeout == 30)
        #expect(!options.debug && options.ignoreTaskExceptions && !options.isSync && options.queueGroup == nil)
    }

    @Test("a service needs a name of letters, digits, _ and -", arguments: ["", "a b", "a.b", "ä", "a/b"])
    func serviceName(name: String) {
        #expect(scriptFailure([("service_name", .string(name))])?.contains("service_name") == true)
    }

    @Test("unknown options name the nearest known one")
    func unknown() {
        let text = scriptFailure([("service_name", .string("a")), ("debgu", .boolean(true))])
        #expect(text == "unknown option \"debgu\"; did you mean \"debug\"?")
        let nested = scriptFailure([("service_name", .string("a")), ("auth", .object([("usr", .string("x"))]))])
        #expect(nested?.contains("auth.usr") == true && nested?.contains("\"user\"") == true)
    }

    @Test(
        "wrong types and values outside the bounds are refused",
        arguments: [
            ("port", PlainValue.string("4222")), ("port", .integer(0)), ("port", .integer(70000)),
            ("port", .number(1.5)),
            ("debug", .string("yes")), ("handler_timeout", .integer(0)), ("handler_timeout", .boolean(true)),
            ("servers", .array([.integer(1)])), ("servers", .string("http://127.0.0.1")), ("servers", .boolean(true)),
            ("metadata", .object([("a", .integer(1))])),
            ("app_strategy", .string("threads")), ("pending_bytes_limit", .string("lots")), ("version", .string("1.0")),
            ("client_name", .string("a b")), ("client_name", .string("a.b")),
            ("allocation_queue_group", .string("a b")),
            ("host", .other("function")),
        ]
    )
    func refused(name: String, value: PlainValue) {
        let text = scriptFailure([("service_name", .string("a")), (name, value)])
        #expect(text?.contains(name) == true, "\(text ?? "accepted")")
    }

    @Test(
        "sizes are powers of 1024",
        arguments: [
            ("512", Int64(512)), ("1KB", 1024), ("64MB", 64 << 20), ("2 gb", 2 << 30), ("", nil), ("MB", nil),
            ("1.5MB", nil),
            ("-1", nil), ("9999999999GB", nil), ("1TB", nil),
        ]
    )
    func sizes(text: String, bytes: Int64?) {
        #expect(parseSize(text) == bytes)
    }

    @Test(
        "semantic versions",
        arguments: [
            ("0.0.0", true), ("1.2.3-rc.1+build.5", true), ("1.2.3-0a", true), ("1.2", false), ("01.2.3", false),
            ("1.2.3-01", false), ("1.2.3-", false), ("1.2.3+", false), ("v1.2.3", false), ("1.2.3+a_b", false),
        ]
    )
    func versions(text: String, isValid: Bool) {
        #expect(isSemanticVersion(text) == isValid)
    }

    @Test("the first source of a name wins, and every source wins over the script")
    func precedence() throws {
        var overrides = PaniniOverrides()
        overrides.set("port", text: "5000", origin: "--port")
        overrides.set("port", text: "6000", origin: "PANINI_PORT")
        overrides.set("handler_timeout", text: "0.5", origin: "PANINI_HANDLER_TIMEOUT")
        try overrides.add(json: Array(#"{"handler_timeout": 9, "debug": true}"#.utf8), path: "config.json")
        let options = try options([("port", .integer(1)), ("debug", .boolean(false))], overrides: overrides)
        #expect(options.port == 5000 && options.handlerTimeout == 0.5 && options.debug)
    }

    @Test("servers given outside replace the script's")
    func servers() throws {
        var overrides = PaniniOverrides()
        overrides.set("servers", texts: ["nats://a:1", "nats://b:2"], origin: "--server")
        let options = try options([("servers", .array([.string("nats://c:3")]))], overrides: overrides)
        #expect(options.servers == ["nats://a:1", "nats://b:2"])
    }

    @Test("a port given outside is not lost behind the script's servers")
    func portOverServers() throws {
        var overrides = PaniniOverrides()
        overrides.set("port", text: "5000", origin: "--port")
        let options = try options([("servers", .array([.string("nats://c:3")]))], overrides: overrides)
        #expect(options.servers.isEmpty && options.port == 5000)
    }

    @Test(
        "mistakes from outside name their origin",
        arguments: [("port", "x"), ("debug", "perhaps"), ("nonsense", "1")]
    )
    func origin(name: String, text: String) {
        var overrides = PaniniOverrides()
        overrides.set(name, text: text, origin: "PANINI_X")
        do {
            _ = try options([], overrides: overrides)
            Issue.record("accepted")
        } catch {
            guard case AppOptions.Failure.outside(let message) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(message.hasPrefix("PANINI_X: "))
        }
    }

    @Test("configuration files: bad JSON, no object, unknown names", arguments: ["{", "[1]", "1", #"{"prot": 1}"#])
    func configurationFile(json: String) {
        var overrides = PaniniOverrides()
        do {
            try overrides.add(json: Array(json.utf8), path: "c.json")
            Issue.record("accepted")
        } catch {
            #expect(error.code == .invalidOption)
            #expect(error.message.hasPrefix("c.json: "))
        }
    }

    @Test("every option has one flag and one variable")
    func names() {
        #expect(Set(OptionDefinition.all.map(\.flag)).count == OptionDefinition.all.count)
        #expect(Set(OptionDefinition.all.map(\.environmentName)).count == OptionDefinition.all.count)
        #expect(OptionDefinition.byName["auth.user"]?.flag == "--auth-user")
        #expect(OptionDefinition.byName["web_tls.key_file"]?.environmentName == "PANINI_WEB_TLS_KEY_FILE")
    }

    @Test(
        "suggestions",
        arguments: [
            ("tmeout", "timeout"), ("timeuot", "timeout"), ("concurency", "concurrency"), ("zzz", nil), ("", nil),
        ]
    )
    func suggestions(written: String, near: String?) {
        #expect(nearestName(to: written, in: ["timeout", "concurrency", "queue"]) == near)
    }
}
