// One log record on its way from the code that logs to the thread that writes. A plain value; nothing in it is
// formatted yet, so that the caller pays as little as possible.

import Glibc
package import Logging

/// What is known about one log call.
package struct LogRecord: Sendable {
    /// When it was logged, in microseconds of wall time since 1970.
    package var created: Int64
    package var level: Logger.Level
    /// The logger's label.
    package var name: String
    package var threadName: String
    package var message: String
    /// The fields. The one named ``exceptionField`` is the traceback of an error.
    package var metadata: Logger.Metadata
    /// The service it belongs to; nil for the program.
    package var scope: LogScope?
    /// Whether the host says it, and not a script.
    package var isHost: Bool

    /// The metadata key whose value is a traceback: the host's name for it.
    package static let exceptionField = "lua.traceback"

    /// The name under which the log speaks of itself.
    package static let ownName = "panini.log"

    package init(
        created: Int64 = LogRecord.now(),
        level: Logger.Level,
        name: String,
        threadName: String = LogRecord.currentThreadName(),
        message: String,
        metadata: Logger.Metadata = [:],
        scope: LogScope? = nil,
        isHost: Bool = false
    ) {
        self.created = created
        self.level = level
        self.name = name
        self.threadName = threadName
        self.message = message
        self.metadata = metadata
        self.scope = scope
        self.isHost = isHost
    }

    /// The wall clock in microseconds.
    package static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    /// The name the calling thread has for the operating system.
    package static func currentThreadName() -> String {
        ThreadName.current
    }

    /// About how many bytes the record takes while it waits: its texts, and a round number for everything else.
    package var cost: Int {
        var cost = 256 + message.utf8.count
        if !metadata.isEmpty { cost += Self.cost(.dictionary(metadata)) }
        return cost
    }

    private static func cost(_ value: Logger.MetadataValue) -> Int {
        switch value {
        case .string(let text): 32 + text.utf8.count
        case .stringConvertible: 64
        case .array(let values): values.reduce(64) { $0 + cost($1) }
        case .dictionary(let fields): fields.reduce(64) { $0 + 32 + $1.key.utf8.count + cost($1.value) }
        }
    }
}

/// How records become bytes: called on the writer's thread only.
package protocol LogFormat: Sendable {
    /// Appends `record` as one or more whole lines.
    mutating func append(_ record: LogRecord, to bytes: inout [UInt8])
}

extension Logger.Level {
    /// The level's name as the field's tools know it, where trace and notice do not exist.
    var displayName: StaticString {
        switch self {
        case .trace, .debug: "DEBUG"
        case .info, .notice: "INFO"
        case .warning: "WARNING"
        case .error: "ERROR"
        case .critical: "CRITICAL"
        }
    }
}
