// The background writer: order, bounds, and that nothing is lost at the end.

import Foundation
import Logging
import PaniniObservability
import Synchronization
import Testing

@Suite struct LogWriterTests {
    /// Keeps messages; can be held up to play a slow console.
    final class MemorySink: LogSink, Sendable {
        private let messages = Mutex<[String]>([])
        private let gate = DispatchSemaphore(value: 0)
        private let isHeld: Bool
        /// Signalled when the writer's thread has arrived at a held sink.
        let arrived = DispatchSemaphore(value: 0)

        init(isHeld: Bool = false) {
            self.isHeld = isHeld
        }

        var written: [String] { messages.withLock { $0 } }

        func write(_ record: LogRecord) {
            if isHeld {
                arrived.signal()
                gate.wait()
                gate.signal()
            }
            messages.withLock { $0.append(record.message) }
        }

        func flush() {}

        func letGo() {
            gate.signal()
        }
    }

    static func record(_ message: String) -> LogRecord {
        LogRecord(level: .info, name: "test", message: message)
    }

    @Test func writesInOrder() {
        let sink = MemorySink()
        let writer = LogWriter(sinks: [sink])
        let expected = (0..<5000).map { "message \($0)" }
        for message in expected {
            writer.submit(Self.record(message))
        }
        #expect(writer.flush())
        #expect(sink.written == expected)
        #expect(writer.dropped == 0)
        writer.shutdown()
    }

    @Test func keepsTheOrderOfEachThread() async {
        let sink = MemorySink()
        let writer = LogWriter(sinks: [sink])
        await withTaskGroup(of: Void.self) { group in
            for thread in 0..<4 {
                group.addTask {
                    for number in 0..<1000 {
                        writer.submit(Self.record("\(thread) \(number)"))
                    }
                }
            }
        }
        writer.shutdown()
        for thread in 0..<4 {
            #expect(sink.written.filter { $0.hasPrefix("\(thread) ") } == (0..<1000).map { "\(thread) \($0)" })
        }
    }

    /// A value of a record that logs when it goes.
    final class Farewell: CustomStringConvertible, Sendable {
        let description = "farewell"
        private let said: @Sendable () -> Void

        init(_ said: @escaping @Sendable () -> Void) { self.said = said }

        deinit { said() }
    }

    /// To free a batch of records takes its time, and who logs is not to wait for that.
    @Test func recordsAreFreedOutsideOfTheLock() {
        let sink = MemorySink()
        let writer = LogWriter(sinks: [sink])
        let isFreed = DispatchSemaphore(value: 0)
        var record = Self.record("with a value")
        record.metadata["value"] = .stringConvertible(
            Farewell {
                writer.submit(Self.record("farewell"))
                isFreed.signal()
            }
        )
        writer.submit(record)
        record.metadata = [:]
        // Where it is freed under the lock, its own record waits for the lock for ever, and so would `shutdown`.
        guard isFreed.wait(timeout: .now() + 10) == .success else {
            Issue.record("the record was freed under the lock")
            return
        }
        writer.shutdown()
        #expect(sink.written == ["with a value", "farewell"])
    }

    @Test func dropsCountsAndReportsWhatDoesNotFit() {
        let sink = MemorySink(isHeld: true)
        // Each of the numbers below costs as much as this; the record that is being written counts.
        let cost = Self.record("0").cost
        let writer = LogWriter(sinks: [sink], limit: 10 * cost + Self.record("first").cost)
        writer.submit(Self.record("first"))
        sink.arrived.wait()
        // The thread is stuck in the first record: ten more fit, five do not, and none of these calls waits.
        for number in 0..<15 {
            writer.submit(Self.record("\(number)"))
        }
        #expect(writer.dropped == 5)
        #expect(!writer.flush(timeout: 0.01))
        sink.letGo()
        #expect(writer.flush())
        let report = "dropped 5 log records: they came faster than they could be written"
        #expect(sink.written == ["first"] + (0..<10).map(String.init) + [report])
        #expect(writer.dropped == 5)
        writer.shutdown()
    }

    @Test func shutdownWritesWhatIsWaitingAndLaterRecordsDirectly() {
        let sink = MemorySink()
        let writer = LogWriter(sinks: [sink])
        for number in 0..<100 {
            writer.submit(Self.record("\(number)"))
        }
        writer.shutdown()
        #expect(sink.written.count == 100)
        writer.submit(Self.record("late"))
        #expect(sink.written.last == "late")
        writer.shutdown()
        #expect(writer.flush())
    }

    @Test func shutdownDoesNotWaitForAStuckConsole() {
        let sink = MemorySink(isHeld: true)
        let writer = LogWriter(sinks: [sink])
        writer.submit(Self.record("stuck"))
        sink.arrived.wait()
        writer.shutdown(timeout: 0.01)
        #expect(sink.written.isEmpty)
        sink.letGo()
    }

    @Test func writesToADescriptor() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let writer = LogWriter(sinks: [
            DescriptorSink(descriptor: ends[1], format: TextLogFormat(isColoured: false, showsDate: false))
        ])
        for number in 0..<3 {
            writer.submit(Self.record("m\(number)"))
        }
        writer.shutdown()
        close(ends[1])
        let text = String(
            decoding: FileHandle(fileDescriptor: ends[0], closeOnDealloc: true).readDataToEndOfFile(),
            as: UTF8.self
        )
        #expect(text.split(separator: "\n").map { $0.suffix(2) } == ["m0", "m1", "m2"])
    }

    @Test func reportsWhatAFullDiskCost() throws {
        // /dev/full refuses every byte; afterwards the same descriptor is made to point to a file that takes them.
        let descriptor = open("/dev/full", O_WRONLY)
        try #require(descriptor >= 0)
        let sink = DescriptorSink(descriptor: descriptor, format: TextLogFormat(isColoured: false, showsDate: false))
        sink.write(Self.record("a"))
        sink.write(Self.record("b"))
        sink.flush()
        let path = NSTemporaryDirectory() + "panini-log-\(UUID().uuidString)"
        defer { unlink(path) }
        let file = open(path, O_WRONLY | O_CREAT, 0o600)
        try #require(file >= 0 && dup2(file, descriptor) == descriptor)
        sink.write(Self.record("c"))
        sink.flush()
        close(file)
        close(descriptor)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.first?.contains("lost 2 log records that could not be written: No space left on device") == true)
        #expect(lines.last?.hasSuffix("test: c") == true)
    }
}

@Suite struct PaniniLogHandlerTests {
    final class RecordSink: LogSink, Sendable {
        let records = Mutex<[LogRecord]>([])

        func write(_ record: LogRecord) { records.withLock { $0.append(record) } }
        func flush() {}
    }

    @Test func mergesFieldsAndHonoursTheLevel() throws {
        let sink = RecordSink()
        let writer = LogWriter(sinks: [sink])
        let logs = PaniniLogs(console: writer)
        var logger = Logger(label: "orders") { logs.makeHandler(label: $0) }
        logger[metadataKey: "worker"] = "0"
        logger.debug("not this")
        logger.info("this", metadata: ["id": "7", "worker": "1"])
        logger.logLevel = .debug
        logger.debug("now this")
        writer.shutdown()
        let records = sink.records.withLock { $0 }
        #expect(records.map(\.message) == ["this", "now this"])
        let first = try #require(records.first)
        #expect(first.name == "orders")
        #expect(first.level == .info)
        #expect(first.metadata == ["id": "7", "worker": "1"])
        #expect(abs(first.created - LogRecord.now()) < 60_000_000)
    }

    @Test func takesTheNameFromTheHostsFields() {
        let sink = RecordSink()
        let writer = LogWriter(sinks: [sink])
        let logs = PaniniLogs(console: writer)
        var logger = Logger(label: "panini") { logs.makeHandler(label: $0) }
        logger.info("host")
        logger[metadataKey: "service"] = "orders"
        logger.info("service")
        logger.info("own", metadata: ["logger": "audit", "id": "7"])
        writer.shutdown()
        let records = sink.records.withLock { $0 }
        #expect(records.map(\.name) == ["panini", "orders", "audit"])
        #expect(records.map(\.metadata) == [[:], [:], ["id": "7"]])
    }

    @Test func recordsTheThreadsName() throws {
        // What the kernel says about the thread this test happens to run on.
        let name = try String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8).dropLast()
        #expect(!name.isEmpty)
        #expect(LogRecord(level: .info, name: "", message: "").threadName == name)
    }
}
