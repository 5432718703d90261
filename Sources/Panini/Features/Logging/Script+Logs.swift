// Owns: opening a service's logs when its options are known, and the way of a script's records into them. Worker's
// thread; the files themselves are the log writer's.

import Glibc
import Logging
import PaniniObservability
import ScriptRuntime

extension Script {
    /// Opens the logs as the options and the configuration file say. A wrong file is found in `panini check`, too, which
    /// opens nothing.
    func openLogs(_ options: AppOptions) throws(PaniniError) {
        guard options.loggerRequired else { return }
        let names = LogConfiguration.Names(
            service: options.serviceName,
            client: messaging.clientName,
            time: Self.startTime()
        )
        let folder = options.loggerFilesPath ?? (directory == "." ? "logs" : "\(directory)/logs")
        let plan =
            if let restrictions, !restrictions.mayRead("\(directory)/\(LogConfiguration.fileName)") {
                // It may name files anywhere.
                LogPlan(folder: folder, service: names.service)
            } else {
                try LogConfiguration.plan(
                    directory: directory,
                    folder: folder,
                    names: names,
                    sources: place.sources
                )
            }
        guard let logs = place[PaniniLogs.self] else { return }
        let opened = logs.open(service: options.serviceName, plan: plan)
        logging.serviceLogs = opened
        logger = opened.makeLogger()
    }

    /// Local time as file names have it: 2026-11-24_10-30-00.
    private static func startTime() -> String {
        var clock = time(nil)
        var parts = tm()
        localtime_r(&clock, &parts)
        var buffer = [CChar](repeating: 0, count: 32)
        let count = strftime(&buffer, buffer.count, "%Y-%m-%d_%H-%M-%S", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether a record of the script goes anywhere.
    func logs(_ level: Logger.Level, _ name: String) -> Bool {
        guard options?.loggerRequired != false else { return false }
        if let serviceLogs = logging.serviceLogs { return serviceLogs.isEnabled(level, for: name) }
        return level >= logger.logLevel
    }

    /// Writes a record of the script.
    func log(_ level: Logger.Level, _ name: String, _ text: String, _ metadata: Logger.Metadata = [:]) {
        guard let serviceLogs = logging.serviceLogs else {
            var metadata = metadata
            if !name.isEmpty, name != options?.serviceName { metadata["logger"] = .string(name) }
            return logger.log(level: level, "\(text)", metadata: metadata)
        }
        serviceLogs.submit(
            LogRecord(level: level, name: name, threadName: logging.threadName, message: text, metadata: metadata)
        )
    }
}
