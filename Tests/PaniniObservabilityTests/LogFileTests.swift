// Log files: what gets where, rotation, and disks and folders that refuse.

import Foundation
import Logging
import PaniniObservability
import Synchronization
import Testing

/// A folder of its own with the logs of one service in it.
private final class Folder {
    let path: String
    let console = RecordSink()
    let logs: PaniniLogs

    final class RecordSink: LogSink, Sendable {
        let records = Mutex<[LogRecord]>([])

        var messages: [String] { records.withLock { $0.map(\.message) } }
        func write(_ record: LogRecord) { records.withLock { $0.append(record) } }
        func flush() {}
    }

    init(queueLimit: Int = LogWriter.defaultLimit) throws {
        path = NSTemporaryDirectory() + "panini-logs-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        logs = PaniniLogs(console: LogWriter(sinks: [console]), queueLimit: queueLimit)
    }

    deinit {
        chmod(path, 0o700)
        try? FileManager.default.removeItem(atPath: path)
    }

    func open(_ files: LogPlan.File...) -> ServiceLogs {
        logs.open(
            service: "orders",
            plan: LogPlan(
                files: files,
                handlers: files.indices.map { LogPlan.Handler(.file($0)) },
                loggers: [:],
                root: LogPlan.Entry(level: .info, handlers: Array(files.indices))
            )
        )
    }

    func file(_ name: String, bytes: Int = 1_000_000, backups: Int = 10) -> LogPlan.File {
        LogPlan.File(path: "\(path)/\(name)", maximumBytes: bytes, backups: backups)
    }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }

    func text(_ name: String) throws -> String { try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) }

    func messages(_ name: String) throws -> [String] {
        try text(name).split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return object?["message"] as? String ?? ""
        }
    }
}

private func record(_ message: String, _ level: Logger.Level = .info, name: String = "orders") -> LogRecord {
    LogRecord(level: level, name: name, message: message)
}

@Suite struct LogFileTests {
    @Test func theDefaultFilesExistFromTheStart() throws {
        let folder = try Folder()
        let orders = folder.logs.open(
            service: "orders",
            plan: LogPlan(folder: "\(folder.path)/logs", service: "orders")
        )
        #expect(folder.logs.flush())
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/logs").sorted()
        #expect(names == ["app.log", "errors.log", "inter_services_request.log", "orders.log", "panini.log"])
        var status = stat()
        #expect(stat("\(folder.path)/logs/app.log", &status) == 0 && status.st_mode & 0o137 == 0)
        orders.submit(record("mine", .debug))
        orders.submit(record("bad", .error))
        orders.submit(record("other", name: "audit"))
        orders.submit(record("request", name: "inter_services_request"))
        orders.makeLogger().info("host", metadata: ["k": "v"])
        Logger(label: "shop") { folder.logs.makeHandler(label: $0) }.info("program")
        folder.logs.shutdown()
        #expect(try folder.messages("logs/orders.log") == ["mine", "bad", "host"])
        #expect(try folder.messages("logs/inter_services_request.log") == ["request"])
        #expect(try folder.messages("logs/errors.log") == ["bad"])
        #expect(try folder.messages("logs/panini.log").dropFirst() == ["host"])
        #expect(
            try folder.messages("logs/app.log").dropFirst() == ["mine", "bad", "other", "request", "host", "program"]
        )
        #expect(folder.console.messages == ["bad", "other", "request", "host", "program"])
    }

    @Test func renamesBeforeTheSizeIsPassedAndKeepsSoMany() throws {
        let folder = try Folder()
        let logs = folder.open(folder.file("a.log", bytes: 2000, backups: 3))
        for number in 0..<200 { logs.submit(record("message \(number)")) }
        folder.logs.shutdown()
        #expect(folder.names == ["a.log", "a.log.1", "a.log.2", "a.log.3"])
        for name in folder.names { #expect(try folder.text(name).utf8.count <= 2000) }
        // The newest is in the file itself; what is kept is whole and in order.
        let kept = try ["a.log.3", "a.log.2", "a.log.1", "a.log"].flatMap { try folder.messages($0) }
        #expect(kept == (0..<200).suffix(kept.count).map { "message \($0)" })
        // A file is renamed because the next record did not fit, not earlier.
        let longest = try folder.text("a.log").split(separator: "\n").map(\.utf8.count).max() ?? 0
        #expect(try folder.text("a.log.1").utf8.count > 2000 - longest - 1)
    }

    @Test func goesOnInAFileThatIsThere() throws {
        let folder = try Folder()
        for round in 0..<2 {
            let logs = PaniniLogs(console: LogWriter(sinks: [folder.console]))
            let plan = LogPlan(
                files: [folder.file("a.log", bytes: 500)],
                handlers: [LogPlan.Handler(.file(0))],
                loggers: [:],
                root: LogPlan.Entry(level: .info, handlers: [0])
            )
            let service = logs.open(service: "orders", plan: plan)
            for number in 0..<2 { service.submit(record("round \(round) \(number)")) }
            logs.shutdown()
        }
        #expect(folder.names == ["a.log", "a.log.1"])
        #expect(
            try folder.messages("a.log.1") + folder.messages("a.log")
                == ["round 0 0", "round 0 1", "round 1 0", "round 1 1"]
        )
    }

    @Test func aRecordLargerThanTheFileHasAFileOfItsOwn() throws {
        let folder = try Folder()
        let logs = folder.open(folder.file("a.log", bytes: 400, backups: 5))
        let large = String(repeating: "x", count: 1000)
        for message in ["a", large, "b"] { logs.submit(record(message)) }
        folder.logs.shutdown()
        #expect(try folder.messages("a.log.2") == ["a"])
        #expect(try folder.messages("a.log.1") == [large])
        #expect(try folder.messages("a.log") == ["b"])
    }

    @Test(arguments: [(0, 10), (500, 0)])
    func withoutALimitTheFileGrows(_ bytes: Int, _ backups: Int) throws {
        let folder = try Folder()
        let logs = folder.open(folder.file("a.log", bytes: bytes, backups: backups))
        for number in 0..<50 { logs.submit(record("\(number)")) }
        folder.logs.shutdown()
        #expect(folder.names == ["a.log"])
        #expect(try folder.messages("a.log").count == 50)
    }

    @Test func twoProcessesShareAFile() throws {
        // Two writers with descriptors of their own, as two processes have.
        let folder = try Folder()
        let others = PaniniLogs(console: LogWriter(sinks: [folder.console]))
        let file = folder.file("a.log", bytes: 3000, backups: 500)
        let plan = LogPlan(
            files: [file],
            handlers: [LogPlan.Handler(.file(0))],
            loggers: [:],
            root: LogPlan.Entry(level: .info, handlers: [0])
        )
        let writers = [folder.open(file), others.open(service: "orders", plan: plan)]
        for round in 0..<40 {
            for (number, writer) in writers.enumerated() {
                for message in 0..<10 { writer.submit(record("\(number) \(round * 10 + message)")) }
            }
            folder.logs.flush()
            others.flush()
        }
        folder.logs.shutdown()
        others.shutdown()
        let all = try folder.names.flatMap { try folder.messages($0) }
        #expect(all.count == 800)
        #expect(Set(all).count == 800)
        #expect(folder.names.count > 20)
    }

    @Test func aFileThatWasMovedAwayIsMadeAgain() throws {
        let folder = try Folder()
        let logs = folder.open(folder.file("a.log"))
        logs.submit(record("before"))
        folder.logs.flush()
        #expect(rename("\(folder.path)/a.log", "\(folder.path)/moved") == 0)
        logs.submit(record("after"))
        folder.logs.shutdown()
        #expect(try folder.messages("moved") == ["before"])
        #expect(try folder.messages("a.log") == ["after"])
        #expect(folder.console.messages == [])
    }

    @Test func aFullDiskIsSaidOnceAndCounted() throws {
        let folder = try Folder()
        // /dev/full takes nothing; the file beside it goes on.
        #expect(symlink("/dev/full", "\(folder.path)/a.log") == 0)
        let logs = folder.open(folder.file("a.log"), folder.file("b.log"))
        for number in 0..<30 {
            logs.submit(record("\(number)"))
            folder.logs.flush()
        }
        let said = folder.console.messages
        #expect(said.count == 1)
        #expect(
            said.first?.hasPrefix("cannot write the log file \(folder.path)/a.log: No space left on device") == true
        )
        #expect(folder.logs.lost >= 30)
        #expect(try folder.messages("b.log").filter { Int($0) != nil }.count == 30)
        // There is room again.
        #expect(unlink("\(folder.path)/a.log") == 0)
        logs.submit(record("again"))
        folder.logs.shutdown()
        #expect(try folder.messages("a.log").first == "again")
        let lost = folder.logs.lost
        #expect(
            folder.console.messages.last == "the log files are written again; \(lost) lines were not written meanwhile"
        )
        #expect(folder.console.messages.count == 2)
    }

    @Test func aFolderThatCannotBeMadeIsSaidOnce() throws {
        let folder = try Folder()
        // A file where the folder should be: refused to everybody, root included.
        #expect(FileManager.default.createFile(atPath: "\(folder.path)/logs", contents: nil))
        let plan = LogPlan(folder: "\(folder.path)/logs", service: "orders")
        let orders = folder.logs.open(service: "orders", plan: plan)
        for number in 0..<5 {
            orders.submit(record("\(number)"))
            folder.logs.flush()
        }
        folder.logs.shutdown()
        let said = folder.console.messages.filter { Int($0) == nil }
        #expect(said.count == 1)
        #expect(said.first?.contains("\(folder.path)/logs/orders.log: Not a directory") == true)
        #expect(folder.console.messages.filter { Int($0) != nil } == (0..<5).map(String.init))
        #expect(folder.logs.lost >= 10)
    }

    @Test func aPipeThatNobodyReadsHoldsNothingUp() throws {
        let folder = try Folder()
        #expect(mkfifo("\(folder.path)/a.log", 0o600) == 0)
        let logs = folder.open(folder.file("a.log"), folder.file("b.log"))
        logs.submit(record("x"))
        folder.logs.shutdown()
        #expect(try folder.messages("b.log").first == "x")
        #expect(folder.console.messages.count == 1)
    }

    @Test func servicesOfOneFolderShareItsFiles() throws {
        let folder = try Folder()
        for name in ["orders", "bills"] {
            let service = folder.logs.open(service: name, plan: LogPlan(folder: folder.path, service: name))
            service.submit(record("of \(name)", name: name))
        }
        // The program's own records are there once.
        Logger(label: "panini") { folder.logs.makeHandler(label: $0) }.info("stopped")
        folder.logs.shutdown()
        #expect(try folder.messages("app.log").filter { $0 == "stopped" }.count == 1)
        #expect(try folder.messages("app.log").filter { $0.hasPrefix("of ") } == ["of orders", "of bills"])
        #expect(try folder.messages("orders.log") == ["of orders"])
    }

    @Test func aProgramsRecordAboutAServiceGoesToItsFiles() throws {
        let folder = try Folder()
        for name in ["orders", "bills"] {
            _ = folder.logs.open(service: name, plan: LogPlan(folder: "\(folder.path)/\(name)", service: name))
        }
        var logger = Logger(label: "panini") { folder.logs.makeHandler(label: $0) }
        logger[metadataKey: "service"] = "orders"
        logger.info("orders is ready")
        folder.logs.noteInFiles(.critical, "why it ended")
        folder.logs.shutdown()
        #expect(try folder.messages("orders/orders.log") == ["orders is ready"])
        #expect(try folder.messages("bills/app.log").dropFirst() == ["why it ended"])
        #expect(folder.console.messages == ["orders is ready"])
    }

    @Test func whatNobodyWantsIsNotEnabled() throws {
        let folder = try Folder()
        let logs = folder.open(folder.file("a.log"))
        #expect(!logs.isEnabled(.debug, for: "orders"))
        #expect(logs.isEnabled(.info, for: "orders"))
        var plan = LogPlan(folder: folder.path, service: "orders")
        plan.loggers["quiet"] = LogPlan.Entry(level: .error, handlers: [])
        let other = folder.logs.open(service: "orders", plan: plan)
        #expect(other.isEnabled(.debug, for: "orders"))
        #expect(!other.isEnabled(.warning, for: "quiet"))
        #expect(!other.isEnabled(.warning, for: "quiet.below"))
        #expect(other.isEnabled(.error, for: "quiet"))
        folder.logs.shutdown()
    }
}
