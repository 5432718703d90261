// What the connection of a client command logs: its warnings. Its errors are left out, because they end the command, and
// the command says them itself: one failure is one line. A value; any thread.

import Logging

struct ClientLogHandler: LogHandler {
    private var inner: any LogHandler

    /// Everything goes to `inner` but errors.
    init(_ inner: any LogHandler) {
        self.inner = inner
    }

    var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }

    var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        if event.level < .error { inner.log(event: event) }
    }
}
