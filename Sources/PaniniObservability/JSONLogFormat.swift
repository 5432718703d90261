// Log lines for programs: one JSON object a line, with the keys of Python's log records, because that is what the
// field's collectors are set up for. Lives on the writer's thread.

/// `{"created","name","levelname","processName","threadName","message","extra","exc_info"?}`
package struct JSONLogFormat: LogFormat {
    private let processName: String

    package init(processName: String) {
        self.processName = processName
    }

    package mutating func append(_ record: LogRecord, to bytes: inout [UInt8]) {
        LogText.append("{\"created\":", to: &bytes)
        LogText.append(record.created / 1_000_000, to: &bytes)
        bytes.append(0x2E)
        LogText.append(record.created % 1_000_000, width: 6, to: &bytes)
        LogText.append(",\"name\":", to: &bytes)
        LogText.appendJSONString(record.name, to: &bytes)
        LogText.append(",\"levelname\":\"", to: &bytes)
        LogText.append(record.level.displayName, to: &bytes)
        LogText.append("\",\"processName\":", to: &bytes)
        LogText.appendJSONString(processName, to: &bytes)
        LogText.append(",\"threadName\":", to: &bytes)
        LogText.appendJSONString(record.threadName, to: &bytes)
        LogText.append(",\"message\":", to: &bytes)
        LogText.appendJSONString(record.message, to: &bytes)
        var extra = record.metadata
        let traceback = extra.removeValue(forKey: LogRecord.exceptionField)
        LogText.append(",\"extra\":", to: &bytes)
        LogText.appendJSON(extra, to: &bytes)
        if let traceback {
            LogText.append(",\"exc_info\":", to: &bytes)
            LogText.appendJSONString("\(traceback)", to: &bytes)
        }
        LogText.append("}\n", to: &bytes)
    }
}
