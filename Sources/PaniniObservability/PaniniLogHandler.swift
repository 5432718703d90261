// The bridge from swift-log to the writer. A value as swift-log wants it; usable on any thread.

package import Logging

/// A log handler whose records are written on a background thread.
package struct PaniniLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let writer: LogWriter

    package init(label: String, level: Logger.Level, writer: LogWriter) {
        self.label = label
        self.logLevel = level
        self.writer = writer
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
        let name = Self.takeName(from: &fields) ?? label
        writer.submit(
            LogRecord(level: event.level, name: name, message: event.message.description, metadata: fields)
        )
    }

    /// The host has one logger for all services and says in fields whose record it is: `logger` when the script asked
    /// for a logger of its own, else `service`. The record's name is what people filter by, so it moves there.
    private static func takeName(from fields: inout Logger.Metadata) -> String? {
        for key in ["logger", "service"] {
            if case .string(let name)? = fields[key], !name.isEmpty {
                fields[key] = nil
                return name
            }
        }
        return nil
    }
}
