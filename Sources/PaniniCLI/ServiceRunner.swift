// Running services to their end for `run` and `dev`: signals, the host, the ready lines, and nothing lost from the log.

import Logging
import Panini
import PaniniObservability

enum ServiceRunner {
    /// Runs the scripts until a signal or an error ends them.
    ///
    /// - Parameters:
    ///   - hint: further lines for the log when a service is ready.
    static func run(
        host arguments: HostArguments,
        watches: Bool,
        overrides: PaniniOverrides,
        log: PaniniLogs,
        hint: @escaping @Sendable (PaniniServiceReport) -> [String] = { _ in [] }
    ) async throws(CommandError) {
        let logger = Logger(label: "panini")
        let host = try makeHost(
            arguments,
            watches: watches,
            overrides: overrides,
            log: log,
            logger: logger,
            hint: hint
        )
        do {
            try await host.run()
        } catch {
            throw failure(error, log: log, logger: logger, overrides: overrides)
        }
        logger.info("stopped")
        log.shutdown()
    }

    /// The same, on the calling thread.
    static func runBlocking(
        host arguments: HostArguments,
        watches: Bool,
        overrides: PaniniOverrides,
        log: PaniniLogs
    ) throws(CommandError) {
        let logger = Logger(label: "panini")
        let host = try makeHost(arguments, watches: watches, overrides: overrides, log: log, logger: logger) { _ in [] }
        do {
            try host.runBlocking()
        } catch {
            throw failure(error, log: log, logger: logger, overrides: overrides)
        }
        logger.info("stopped")
        log.shutdown()
    }

    private static func makeHost(
        _ arguments: HostArguments,
        watches: Bool,
        overrides: PaniniOverrides,
        log: PaniniLogs,
        logger: Logger,
        hint: @escaping @Sendable (PaniniServiceReport) -> [String]
    ) throws(CommandError) -> PaniniHost {
        var configuration = try arguments.configuration(overrides: overrides, watches: watches)
        configuration.logs = log
        arguments.wedge.apply(log: log, logger: logger)
        let host = PaniniHost(configuration: configuration, logger: logger) { report in
            var logger = logger
            logger[metadataKey: "service"] = .string(report.serviceName)
            // At every level: who starts a service waits for this line.
            logger.logLevel = min(logger.logLevel, .info)
            let lines = ["\(report.serviceName) \(report.version) is ready"] + hint(report)
            logger.info("\(lines.joined(separator: "\n"))")
        }
        StopSignals.onStop {
            logger.info("stopping; once more to end at once")
            host.stop()
            return host.shutdownTimeout
        }
        StopSignals.onReload { host.requestReload() }
        return host
    }

    /// Logs first: the last line on the screen is why it ended. The files have it, too.
    private static func failure(
        _ error: any Error,
        log: PaniniLogs,
        logger: Logger,
        overrides: PaniniOverrides
    ) -> CommandError {
        log.noteInFiles(.critical, (error as? PaniniError)?.message ?? "\(error)")
        log.shutdown()
        guard let error = error as? PaniniError else { return CommandError("\(error)") }
        return CommandError(error, showsTraceback: logger.logLevel <= .debug || overrides.contains("debug"))
    }
}
