// A host's configuration from readers of swift-configuration: typed values, texts, and what is wrong with them.

import Configuration
import PaniniConfiguration
import Synchronization
import Testing

@testable import Panini

@Suite("a configuration from swift-configuration")
struct ConfigReaderTests {
    private func read(_ values: [AbsoluteConfigKey: ConfigValue]) throws -> PaniniHostConfiguration {
        try PaniniHostConfiguration(ConfigReader(provider: InMemoryProvider(values: values)))
    }

    private func list(_ texts: String...) -> ConfigValue { ConfigValue(.stringArray(texts), isSecret: false) }

    /// What was set, by name, as text.
    private func options(_ configuration: PaniniHostConfiguration) -> [String: String] {
        var options: [String: String] = [:]
        for entry in configuration.overrides.entries {
            switch entry.value {
            case .text(let text): options[entry.name] = text
            case .texts(let texts): options[entry.name] = texts.joined(separator: "|")
            case .plain: options[entry.name] = "plain"
            }
        }
        return options
    }

    @Test func nothingChangesNothing() throws {
        let configuration = try read([:])
        #expect(configuration.scripts == [])
        #expect(configuration.workers == 1)
        #expect(!configuration.watchesFiles && !configuration.isStrict && configuration.opensWebPorts)
        #expect(configuration.controlDirectory == nil)
        #expect(options(configuration) == [:])
    }

    @Test func typedValuesAreRead() throws {
        let configuration = try read([
            "scripts": list("a.lua", "b.lua"), "workers": 3, "watch": true, "strict": true, "open_web_ports": false,
            "control_dir": "/run/shop", "trust": list("a.lua"), "untrusted": list("b.lua"),
            "allow_net": list("broker:4222"),
            "servers": list("nats://one:4222", "nats://two:4222"), "web_server": true, "web_port": 9000,
            "handler_timeout": 2.5, "web_max_body": "2MB", "auth.user": "ada", "limits.memory": "64MB",
            "metadata": "owner=shop,tier=1",
        ])
        #expect(configuration.scripts == ["a.lua", "b.lua"])
        #expect(configuration.workers == 3)
        #expect(configuration.watchesFiles && configuration.isStrict && !configuration.opensWebPorts)
        #expect(configuration.controlDirectory == "/run/shop")
        #expect(configuration.overrides.permissions.trusted == ["a.lua"])
        #expect(configuration.overrides.permissions.untrusted == ["b.lua"])
        #expect(configuration.overrides.permissions.network == ["broker:4222"])
        #expect(
            options(configuration) == [
                "servers": "nats://one:4222|nats://two:4222", "web_server": "true", "web_port": "9000",
                "handler_timeout": "2.5", "web_max_body": "2MB", "auth.user": "ada", "limits.memory": "64MB",
                "metadata": "owner=shop,tier=1",
            ]
        )
    }

    @Test func theEnvironmentHasTheNamesOfTheCommandLineProgram() throws {
        let provider = EnvironmentVariablesProvider(environmentVariables: [
            "PANINI_SCRIPTS": "a.lua,b.lua", "PANINI_WORKERS": "auto", "PANINI_WATCH": "yes", "PANINI_WEB_PORT": "9000",
            "PANINI_SERVERS": "nats://one:4222,nats://two:4222", "PANINI_AUTH_PASSWORD": "secret",
            "PANINI_HANDLER_TIMEOUT": "1",
        ])
        let configuration = try PaniniHostConfiguration(ConfigReader(provider: provider).scoped(to: "panini"))
        #expect(configuration.scripts == ["a.lua", "b.lua"])
        #expect(configuration.workers == PaniniRuntime.processors)
        #expect(configuration.watchesFiles)
        #expect(
            options(configuration) == [
                "servers": "nats://one:4222|nats://two:4222", "web_port": "9000", "auth.password": "secret",
                "handler_timeout": "1",
            ]
        )
        // Every option has there the name that the program reads.
        for definition in OptionDefinition.all {
            let one = EnvironmentVariablesProvider(environmentVariables: [definition.environmentName: "x"])
            let found = ConfigReader(provider: one).scoped(to: "panini")
                .string(forKey: ConfigKey(definition.name.split(separator: ".").map(String.init)))
            #expect(found == "x", "\(definition.environmentName)")
        }
    }

    @Test func theStrongerProviderWins() throws {
        let environment = EnvironmentVariablesProvider(environmentVariables: ["WEB_PORT": "9000"])
        let file = InMemoryProvider(values: ["web_port": 8000, "web_host": "0.0.0.0"])
        let configuration = try PaniniHostConfiguration(ConfigReader(providers: [environment, file]))
        #expect(options(configuration) == ["web_port": "9000", "web_host": "0.0.0.0"])
    }

    @Test func everyWrongValueIsOneLine() throws {
        let error = #expect(throws: PaniniError.self) {
            try read([
                "workers": "many", "watch": "perhaps", "web_port": 70000, "handler_timeout": "soon",
                "app_strategy": "x",
                "servers": list("ftp://user:hunter2@host"),
                "web_max_body": ConfigValue(.intArray([1]), isSecret: false),
                "trust": list("*"), "untrusted": list("*"),
            ])
        }
        #expect(error?.code == .invalidOption)
        let lines = error?.message.split(separator: "\n").map(String.init) ?? []
        let expected = [
            "configuration key workers: must be auto or a number from 1 to 1024, not \"many\"",
            "configuration key watch: must be true or false, not \"perhaps\"",
            "configuration keys trust, untrusted and allow_...: every script cannot be trusted and untrusted at once",
            "configuration key app_strategy: option \"app_strategy\" must be \"asyncio\" or \"sync\", not \"x\"",
            "configuration key web_port: option \"web_port\" must be from 0 to 65535, not 70000",
            "configuration key handler_timeout: option \"handler_timeout\" must be a number, not \"soon\"",
            "configuration key web_max_body: a value of this type cannot be used",
        ]
        for line in expected { #expect(lines.contains(line), "\(line) in \(lines)") }
        #expect(lines.contains { $0.hasPrefix("configuration key servers: option \"servers\"") })
        #expect(lines.count == expected.count + 1)
        #expect(error?.message.contains("hunter2") == false)
    }

    @Test func credentialsAreReadAsSecrets() throws {
        final class Reporter: AccessReporter {
            let lock = SecretKeys()
            func report(_ event: AccessEvent) {
                if case .success(let value?) = event.result, value.isSecret {
                    lock.add(event.metadata.key.description)
                }
            }
        }
        let reporter = Reporter()
        let values: [AbsoluteConfigKey: ConfigValue] = [
            "auth.user": "ada", "auth.password": "a", "auth.token": "b", "auth.nkey_seed": "c", "auth.credentials": "d",
            "servers": list("nats://one:4222"), "web_host": "0.0.0.0",
        ]
        _ = try? PaniniHostConfiguration(
            ConfigReader(provider: InMemoryProvider(values: values), accessReporter: reporter)
        )
        #expect(
            reporter.lock.all == [
                "auth.credentials", "auth.nkey_seed", "auth.password", "auth.token", "auth.user", "servers",
            ]
        )
    }
}

/// Names that other threads add.
final class SecretKeys: Sendable {
    private let names = Mutex<Set<String>>([])
    var all: [String] { names.withLock { $0.sorted() } }
    func add(_ name: String) { _ = names.withLock { $0.insert(name) } }
}
