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
        files: [String],
        overrides: PaniniOverrides,
        isStrict: Bool,
        log: ConsoleLog,
        hint: @escaping @Sendable (PaniniServiceReport) -> [String] = { _ in [] }
    ) async throws(CommandFailure) {
        let logger = Logger(label: "panini")
        var configuration = PaniniHostConfiguration(scripts: files, overrides: overrides)
        configuration.isStrict = isStrict
        let host = PaniniHost(configuration: configuration, logger: logger) { report in
            var logger = logger
            logger[metadataKey: "service"] = .string(report.serviceName)
            let lines = ["\(report.serviceName) \(report.version) is ready"] + hint(report)
            logger.info("\(lines.joined(separator: "\n"))")
        }
        StopSignals.onStop {
            logger.info("stopping; once more to end at once")
            host.stop()
        }
        do {
            try await host.run()
        } catch {
            // Logs first: the last line on the screen is why it ended.
            log.writer.shutdown()
            guard let error = error as? PaniniError else { throw CommandFailure("\(error)") }
            throw CommandFailure(error, showsTraceback: logger.logLevel <= .debug || overrides.contains("debug"))
        }
        logger.info("stopped")
        log.writer.shutdown()
    }
}
