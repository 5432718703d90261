// Log lines for people: "22:23:01.123 INFO    orders: message  key=value", coloured on a terminal, with the date when
// they go to a file. Lives on the writer's thread.

import Glibc
import Logging

/// The readable form.
package struct TextLogFormat: LogFormat {
    private let isColoured: Bool
    private let showsDate: Bool
    /// Local time changes once a second, and asking for it is the costliest part of a line.
    private var cachedSecond: Int64 = .min
    private var cachedTime: [UInt8] = []

    /// - Parameters:
    ///   - isColoured: whether to use terminal colours.
    ///   - showsDate: whether lines begin with the date; on a terminal the time is enough.
    package init(isColoured: Bool, showsDate: Bool) {
        self.isColoured = isColoured
        self.showsDate = showsDate
    }

    package mutating func append(_ record: LogRecord, to bytes: inout [UInt8]) {
        colour("\u{1B}[2m", &bytes)
        appendTime(record.created, to: &bytes)
        colour("\u{1B}[0m", &bytes)
        bytes.append(0x20)
        colour(Self.colour(of: record.level), &bytes)
        let level = record.level.displayName
        LogText.append(level, to: &bytes)
        colour("\u{1B}[0m", &bytes)
        for _ in level.utf8CodeUnitCount..<8 {
            bytes.append(0x20)
        }
        if !record.name.isEmpty {
            colour("\u{1B}[36m", &bytes)
            LogText.appendVisible(record.name, keepsLines: false, to: &bytes)
            colour("\u{1B}[0m", &bytes)
            LogText.append(": ", to: &bytes)
        }
        LogText.appendVisible(record.message, keepsLines: true, indent: 4, to: &bytes)
        appendFields(record.metadata, to: &bytes)
        bytes.append(0x0A)
    }

    private func appendFields(_ metadata: Logger.Metadata, to bytes: inout [UInt8]) {
        if metadata.isEmpty { return }
        var separator: StaticString = "  "
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) where key != LogRecord.exceptionField {
            LogText.append(separator, to: &bytes)
            separator = " "
            colour("\u{1B}[2m", &bytes)
            LogText.appendVisible(key, keepsLines: false, to: &bytes)
            bytes.append(0x3D)
            colour("\u{1B}[0m", &bytes)
            appendValue(value, to: &bytes)
        }
        if let traceback = metadata[LogRecord.exceptionField] {
            LogText.append("\n    ", to: &bytes)
            LogText.appendVisible("\(traceback)", keepsLines: true, indent: 4, to: &bytes)
        }
    }

    /// A word stays a word; everything else is quoted, so that it is clear where a value ends.
    private func appendValue(_ value: Logger.MetadataValue, to bytes: inout [UInt8]) {
        switch value {
        case .string(let text) where Self.isWord(text): bytes.append(contentsOf: text.utf8)
        case .stringConvertible(let value) where Self.isWord(value.description):
            bytes.append(contentsOf: value.description.utf8)
        default: LogText.appendJSON(value, to: &bytes)
        }
    }

    private static func isWord(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D }
    }

    private mutating func appendTime(_ microseconds: Int64, to bytes: inout [UInt8]) {
        let second = microseconds / 1_000_000
        if second != cachedSecond {
            cachedSecond = second
            cachedTime.removeAll(keepingCapacity: true)
            var clock = time_t(second)
            var parts = tm()
            localtime_r(&clock, &parts)
            if showsDate {
                LogText.append(Int64(parts.tm_year) + 1900, width: 4, to: &cachedTime)
                cachedTime.append(0x2D)
                LogText.append(Int64(parts.tm_mon) + 1, width: 2, to: &cachedTime)
                cachedTime.append(0x2D)
                LogText.append(Int64(parts.tm_mday), width: 2, to: &cachedTime)
                cachedTime.append(0x20)
            }
            LogText.append(Int64(parts.tm_hour), width: 2, to: &cachedTime)
            cachedTime.append(0x3A)
            LogText.append(Int64(parts.tm_min), width: 2, to: &cachedTime)
            cachedTime.append(0x3A)
            LogText.append(Int64(parts.tm_sec), width: 2, to: &cachedTime)
            cachedTime.append(0x2E)
        }
        bytes.append(contentsOf: cachedTime)
        LogText.append(microseconds / 1000 % 1000, width: 3, to: &bytes)
    }

    private func colour(_ code: StaticString, _ bytes: inout [UInt8]) {
        if isColoured {
            LogText.append(code, to: &bytes)
        }
    }

    private static func colour(of level: Logger.Level) -> StaticString {
        switch level {
        case .trace, .debug: "\u{1B}[2m"
        case .info, .notice: "\u{1B}[32m"
        case .warning: "\u{1B}[33m"
        case .error: "\u{1B}[31m"
        case .critical: "\u{1B}[1;31m"
        }
    }
}
