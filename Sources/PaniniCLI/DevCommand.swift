// `panini dev`: the first minute. Brings its own broker, and says what was registered and how to try it.

import ArgumentParser
import Logging
import NATSBroker
import NIOPosix
import Panini
import PaniniObservability

struct DevCommand: AsyncParsableCommand, LongRunningCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev",
        abstract: "Run service scripts with a broker of their own.",
        discussion: """
            Like run, for your own machine: unless a server is named (--server, NATS_URL or --host), a small broker is \
            started inside the program, and when a service is ready you are told what it listens to and how to try it. \
            The broker listens on port 4222, or on a free one when that is taken; --port wants another. A service is \
            reloaded when one of its files is saved; --no-watch leaves that.

              panini dev hello.lua
              panini dev hello.lua --port 4333
              panini dev hello.lua --server nats://127.0.0.1:4222

            The embedded broker knows neither credentials nor TLS: with it the options auth and tls are not used.
            The options are those of run; see panini run --help.
            Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage, 70 scripts hold too many workers, 128 + n ended by a \
            second signal n.
            """
    )

    @OptionGroup var host: HostArguments

    @OptionGroup var service: ServiceArguments

    @OptionGroup var log: LogArguments

    @Flag(inversion: .prefixedNo, help: "Reload a service when one of its files changes.")
    var watch = true

    func run() async throws {
        var overrides = try service.overrides()
        let log = try log.bootstrap(descriptor: 1)
        let broker = try await startBroker(unlessNamedIn: &overrides, log)
        let server = broker?.url
        try await ServiceRunner.run(host: host, watches: watch, overrides: overrides, log: log) { report in
            ReadyReport.lines(report, server: server)
        }
        await broker?.stop()
    }

    private func startBroker(
        unlessNamedIn overrides: inout PaniniOverrides,
        _ log: PaniniLogs
    ) async throws(CommandError) -> EmbeddedBroker? {
        if overrides.contains("servers") || overrides.contains("host") { return nil }
        // A port in a configuration file belongs to the broker the file is about; a wrong one is the host's to report.
        let port = service.port
        if port == nil, overrides.contains("port") { return nil }
        let logger = Logger(label: "broker")
        // Its own thread: a handler that computes for long must not hold up the other clients.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let broker: EmbeddedBroker
        do {
            broker = try await EmbeddedBroker.start(on: port, group: group, logger: logger)
        } catch {
            log.shutdown()
            let hint = port.map { "; to use the broker that is there: --server nats://127.0.0.1:\($0)" } ?? ""
            throw CommandError("the embedded broker \(error)\(hint)")
        }
        let usual = EmbeddedBroker.Configuration().port
        if broker.address.port == port ?? usual {
            logger.info("embedded broker at \(broker.url)")
        } else {
            logger.info("embedded broker at \(broker.url), as port \(usual) is taken")
        }
        overrides.set("servers", texts: [broker.url], origin: "panini dev")
        // It knows neither; what is meant for the real broker must not get in the way.
        overrides.ignore(group: "auth")
        overrides.ignore(group: "tls")
        return broker
    }
}

extension EmbeddedBroker {
    /// Starts on the port asked for. Without one, on the usual port, or on a free one when that is taken.
    fileprivate static func start(
        on port: Int?,
        group: MultiThreadedEventLoopGroup,
        logger: Logger
    ) async throws -> EmbeddedBroker {
        var configuration = Configuration()
        configuration.port = port ?? configuration.port
        configuration.giveBackMemory = { PaniniRuntime.giveBackMemory() }
        do {
            return try await start(configuration: configuration, group: group, logger: logger)
        } catch let error as StartError where error.kind == .addressInUse && port == nil {
            configuration.port = 0
            return try await start(configuration: configuration, group: group, logger: logger)
        }
    }
}
