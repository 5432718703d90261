// `panini broker`: the embedded broker alone.

import ArgumentParser
import Logging
import NATSBroker
import NIOPosix
import Panini
import PaniniObservability

struct BrokerCommand: AsyncParsableCommand, LongRunningCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker",
        abstract: "Run the small NATS broker that panini dev brings, alone.",
        discussion: """
            Speaks NATS' core protocol to any NATS client: subjects with wildcards, queue groups, requests, headers. \
            It keeps nothing, knows no passwords and is meant for development and tests; in production run \
            nats-server.

              panini broker
              panini broker --port 0        a free port, which is printed

            Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage.
            """
    )

    @Option(help: ArgumentHelp("The port to listen on; 0 takes a free one.", valueName: "n"))
    var port = 4222

    @Option(
        help: ArgumentHelp(
            "The address to listen on. There are no passwords: think before you open it.",
            valueName: "address"
        )
    )
    var host = "127.0.0.1"

    @OptionGroup var log: LogArguments

    func validate() throws {
        guard (0...65_535).contains(port) else {
            throw ValidationError("--port must be a number from 0 to 65535, not \(port)")
        }
    }

    func run() async throws {
        let log = try log.bootstrap(descriptor: 1)
        let logger = Logger(label: "broker")
        var configuration = EmbeddedBroker.Configuration()
        configuration.host = host
        configuration.port = port
        configuration.giveBackMemory = { PaniniRuntime.giveBackMemory() }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let broker: EmbeddedBroker
        do {
            broker = try await EmbeddedBroker.start(configuration: configuration, group: group, logger: logger)
        } catch {
            log.shutdown()
            throw CommandError("\(error)")
        }
        logger.info("listening on \(broker.url)")
        await withCheckedContinuation { continuation in
            StopSignals.onStop {
                continuation.resume()
                return 0
            }
        }
        await broker.stop()
        logger.info("stopped")
        log.shutdown()
    }
}
