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
        writer.submit(
            LogRecord(level: event.level, name: label, message: event.message.description, metadata: fields)
        )
    }
}
