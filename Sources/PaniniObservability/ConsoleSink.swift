// The standard streams as a log destination. Lives on the console writer's thread.

import Glibc

/// Sends each record to the streams its route names, in their forms.
final class ConsoleSink: LogSink {
    private struct Stream: Hashable {
        let descriptor: CInt
        let isJSON: Bool
    }

    private let descriptor: CInt
    private let form: LogForm
    private var outputs: [(stream: Stream, sink: DescriptorSink)] = []
    private var routes = LogRouteCache()

    init(descriptor: CInt, form: LogForm) {
        self.descriptor = descriptor
        self.form = form
    }

    func write(_ record: LogRecord) {
        guard let scope = record.scope else { return output(descriptor, form).write(record) }
        for target in routes.route(of: record, in: scope).consoles where record.level >= target.level {
            // `--json` is for whoever reads the output: it counts for all of it.
            let form = self.form == .json ? .json : target.form ?? self.form
            output(target.descriptor ?? descriptor, form).write(record)
        }
    }

    func flush() {
        for output in outputs { output.sink.flush() }
    }

    private func output(_ descriptor: CInt, _ form: LogForm) -> DescriptorSink {
        let stream = Stream(descriptor: descriptor, isJSON: form == .json)
        if let found = outputs.first(where: { $0.stream == stream }) { return found.sink }
        let sink = DescriptorSink(descriptor: descriptor, format: Self.format(form, for: descriptor))
        outputs.append((stream, sink))
        return sink
    }

    private static func format(_ form: LogForm, for descriptor: CInt) -> any LogFormat {
        switch form {
        case .json:
            return JSONLogFormat(processName: PaniniLogs.processName)
        case .text:
            let isTerminal = isatty(descriptor) == 1
            return TextLogFormat(isColoured: usesColour(descriptor), showsDate: !isTerminal)
        }
    }

    /// Whether coloured text makes sense: on a terminal that understands it, unless `NO_COLOR` asks for none
    /// (https://no-color.org: present and not empty).
    private static func usesColour(_ descriptor: CInt) -> Bool {
        guard isatty(descriptor) == 1 else { return false }
        if let value = getenv("NO_COLOR"), value.pointee != 0 { return false }
        if let terminal = getenv("TERM"), strcmp(terminal, "dumb") == 0 { return false }
        return true
    }
}

@available(*, unavailable)
extension ConsoleSink: Sendable {}
