// The two forms of a log line.

import Foundation
import Logging
import PaniniObservability
import Testing

@Suite struct LogFormatTests {
    static func record(
        _ message: String = "hello",
        level: Logger.Level = .info,
        metadata: Logger.Metadata = [:]
    ) -> LogRecord {
        LogRecord(
            created: 1_700_000_000_123_456,
            level: level,
            name: "orders",
            threadName: "loop 0",
            message: message,
            metadata: metadata
        )
    }

    static func line(_ format: some LogFormat, _ record: LogRecord) -> String {
        var format = format
        var bytes: [UInt8] = []
        format.append(record, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The readable line without its time.
    static func text(_ record: LogRecord, coloured: Bool = false) -> String {
        let line = line(TextLogFormat(isColoured: coloured, showsDate: false), record)
        return coloured ? line : String(line.dropFirst("22:13:20.123 ".count))
    }

    @Test func textIsReadable() {
        #expect(Self.text(Self.record()) == "INFO    orders: hello\n")
        #expect(Self.text(Self.record(level: .warning)) == "WARNING orders: hello\n")
        #expect(Self.text(Self.record(level: .trace)) == "DEBUG   orders: hello\n")
    }

    @Test func textBeginsWithLocalTime() throws {
        var clock = time_t(1_700_000_000)
        var parts = tm()
        localtime_r(&clock, &parts)
        let time = String(format: "%02d:%02d:%02d.123", parts.tm_hour, parts.tm_min, parts.tm_sec)
        #expect(Self.line(TextLogFormat(isColoured: false, showsDate: false), Self.record()).hasPrefix("\(time) INFO"))
        let date = String(format: "%04d-%02d-%02d", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday)
        #expect(
            Self.line(TextLogFormat(isColoured: false, showsDate: true), Self.record()).hasPrefix(
                "\(date) \(time) INFO"
            )
        )
    }

    @Test func textShowsFieldsInOrder() {
        let fields: Logger.Metadata = [
            "zeta": "last", "count": .stringConvertible(3), "text": "two words", "empty": "",
            "list": ["a", "b"], "nested": ["k": "v"],
        ]
        #expect(
            Self.text(Self.record(metadata: fields))
                == #"INFO    orders: hello  count=3 empty="" list=["a","b"] nested={"k":"v"} text="two words" zeta=last"#
                + "\n"
        )
    }

    @Test func textIndentsFurtherLinesAndTracebacks() {
        #expect(Self.text(Self.record("one\ntwo")) == "INFO    orders: one\n    two\n")
        let failed = Self.record(
            "failed",
            level: .error,
            metadata: [LogRecord.exceptionField: "boom\nat a.lua:3", "id": "7"]
        )
        #expect(Self.text(failed) == "ERROR   orders: failed  id=7\n    boom\n    at a.lua:3\n")
    }

    @Test func textCannotSteerATerminal() {
        #expect(
            Self.text(Self.record("a\u{1B}[2Jb\u{0}c\u{7F}d\u{9B}e\re"))
                == "INFO    orders: a\\x1b[2Jb\\x00c\\x7fd\\x9be\\x0de\n"
        )
        #expect(Self.text(Self.record("tab\tümlaut 漢字")) == "INFO    orders: tab\tümlaut 漢字\n")
        #expect(Self.text(Self.record(metadata: ["k": "x\u{1B}\n"])) == "INFO    orders: hello  k=\"x\\u001b\\n\"\n")
    }

    @Test func colourIsOnlyAround() {
        let line = Self.text(Self.record(level: .error, metadata: ["k": "v"]), coloured: true)
        #expect(line.contains("\u{1B}[31mERROR\u{1B}[0m"))
        let plain = line.replacing(/\u{1B}\[[0-9;]*m/, with: "")
        #expect(plain.hasSuffix("ERROR   orders: hello  k=v\n"))
    }

    @Test func jsonHasTheAgreedKeys() throws {
        let record = Self.record(
            "say \"hi\"\n\u{1}",
            level: .error,
            metadata: [
                "id": .stringConvertible(7), "ok": .stringConvertible(true), "ratio": .stringConvertible(0.5),
                "list": [.stringConvertible(1), "x"], LogRecord.exceptionField: "boom",
            ]
        )
        let line = Self.line(JSONLogFormat(processName: "panini"), record)
        #expect(line.hasSuffix("}\n") && !line.dropLast().contains("\n"))
        let object = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(
            object.keys.sorted()
                == ["created", "exc_info", "extra", "levelname", "message", "name", "processName", "threadName"]
        )
        #expect(object["created"] as? Double == 1_700_000_000.123456)
        #expect(line.contains("\"created\":1700000000.123456,"))
        #expect(object["name"] as? String == "orders")
        #expect(object["levelname"] as? String == "ERROR")
        #expect(object["processName"] as? String == "panini")
        #expect(object["threadName"] as? String == "loop 0")
        #expect(object["message"] as? String == "say \"hi\"\n\u{1}")
        #expect(object["exc_info"] as? String == "boom")
        #expect(line.contains(#""extra":{"id":7,"list":[1,"x"],"ok":true,"ratio":0.5}"#))
    }

    @Test func jsonWithoutFieldsHasAnEmptyExtra() {
        let line = Self.line(JSONLogFormat(processName: "p"), Self.record())
        #expect(line.contains("\"extra\":{}"))
        #expect(!line.contains("exc_info"))
    }

    @Test func jsonTurnsNumbersThatAreNoneIntoText() {
        let line = Self.line(
            JSONLogFormat(processName: "p"),
            Self.record(metadata: ["n": .stringConvertible(Double.nan)])
        )
        #expect(line.contains(#""extra":{"n":"nan"}"#))
    }
}
