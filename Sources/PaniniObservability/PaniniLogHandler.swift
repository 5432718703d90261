// The bridge from swift-log to the writer. A value as swift-log wants it; usable on any thread.

package import Logging

/// A log handler whose records are written on a background thread.
package struct PaniniLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let destination: Destination

    private enum Destination {
        case program(PaniniLogs)
        case service(ServiceLogs)
    }

    package init(label: String, level: Logger.Level, logs: PaniniLogs) {
        self.label = label
        self.logLevel = level
        destination = .program(logs)
    }

    /// A handler for what the host says about a service.
    package init(label: String, level: Logger.Level, service: ServiceLogs) {
        self.label = label
        self.logLevel = level
        destination = .service(service)
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get(), !provided.isEmpty {
            fields.merge(provided) { _, new in new }
        }
        if let given = event.metadata, !given.isEmpty {
            fields.merge(given) { _, new in new }
        }
        if let error = event.error {
            fields["error"] = .string("\(error)")
        }
        let message = event.message.description
        switch destination {
        case .service(let service):
            service.submit(
                LogRecord(level: event.level, name: label, message: message, metadata: fields, isHost: true)
            )
        case .program(let logs):
            let own = Self.take("logger", from: &fields)
            let service = Self.take("service", from: &fields)
            let record = LogRecord(
                level: event.level,
                name: own ?? service ?? label,
                message: message,
                metadata: fields
            )
            if let service { logs.submit(record, service: service) } else { logs.submit(record) }
        }
    }

    /// A program with one logger for all services says in fields whose record it is: `logger` when it is for a logger of
    /// its own, else `service`. The record's name is what people filter by, so it moves there.
    private static func take(_ key: String, from fields: inout Logger.Metadata) -> String? {
        guard case .string(let name)? = fields[key], !name.isEmpty else { return nil }
        fields[key] = nil
        return name
    }
}
