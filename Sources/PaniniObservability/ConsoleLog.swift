// The console as a log destination: which form records take there. Called once by the program's entry point.

import Glibc
package import Logging

/// How log records look on the console.
package enum ConsoleLogStyle: Sendable {
    /// Readable lines; coloured when the console is a terminal and `NO_COLOR` is not set.
    case text
    /// One JSON object a line.
    case json
}

/// The console log of a program.
package struct ConsoleLog: Sendable {
    /// Flush it, and shut it down before the program ends.
    package let writer: LogWriter
    private let level: Logger.Level

    /// - Parameters:
    ///   - descriptor: 1 for standard output, 2 for standard error.
    ///   - level: what is below is not logged.
    package init(descriptor: CInt, style: ConsoleLogStyle, level: Logger.Level, capacity: Int = 10_000) {
        let format: any LogFormat
        switch style {
        case .text:
            let isTerminal = isatty(descriptor) == 1
            format = TextLogFormat(isColoured: Self.usesColour(descriptor), showsDate: !isTerminal)
        case .json:
            format = JSONLogFormat(processName: "panini")
        }
        self.level = level
        writer = LogWriter(sinks: [DescriptorSink(descriptor: descriptor, format: format)], capacity: capacity)
    }

    /// Whether coloured text makes sense: on a terminal that understands it, unless `NO_COLOR` asks for none
    /// (https://no-color.org: present and not empty).
    package static func usesColour(_ descriptor: CInt) -> Bool {
        guard isatty(descriptor) == 1 else { return false }
        if let value = getenv("NO_COLOR"), value.pointee != 0 { return false }
        if let terminal = getenv("TERM"), strcmp(terminal, "dumb") == 0 { return false }
        return true
    }

    /// A handler for one logger that writes here; what `LoggingSystem.bootstrap` asks for.
    package func makeHandler(label: String) -> any LogHandler {
        PaniniLogHandler(label: label, level: level, writer: writer)
    }
}
