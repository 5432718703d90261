// Owns: config/log_config.json, from its text to a plan of handlers and loggers, each mistake with its key. Reads one
// small file while a script is loaded; opens no log file.

import Bytes
import Glibc
import Logging
import PaniniObservability
import ScriptRuntime

/// The configuration of a service's logs.
struct LogConfiguration {
    /// Where the file lies, beside the script.
    static let fileName = "config/log_config.json"
    static let maximumBytes = 1 << 20

    /// What placeholders in file names stand for.
    struct Names {
        let service: String
        let client: String
        let time: String
    }

    let path: String
    let folder: String
    let names: Names

    /// The plan for a service: the file's if there is one, else the default.
    ///
    /// - Parameters:
    ///   - directory: The script's folder.
    ///   - folder: The folder of the log files.
    static func plan(
        directory: String,
        folder: String,
        names: Names,
        sources: SourceFiles = SourceFiles()
    ) throws(PaniniError) -> LogPlan {
        let path = directory == "." ? fileName : "\(directory)/\(fileName)"
        guard sources.exists(path) else { return LogPlan(folder: folder, service: names.service) }
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try sources.read(path, maximum: maximumBytes)
        } catch {
            throw PaniniError(code: .logConfiguration, message: error.message)
        }
        do throws(OptionError) {
            return try LogConfiguration(path: path, folder: folder, names: names).plan(PlainValue(json: bytes))
        } catch {
            throw PaniniError(code: .logConfiguration, message: "\(path): \(error.message)")
        }
    }

    // MARK: - The document

    func plan(_ document: PlainValue) throws(OptionError) -> LogPlan {
        let top = try members(document, "the document")
        try check(
            top,
            known: ["version", "disable_existing_loggers", "formatters", "handlers", "loggers", "root"],
            in: ""
        )
        if let version = top["version"], version != .integer(1) { throw wrong("version", "must be 1", version) }
        let forms = try formatters(top["formatters"])
        var plan = LogPlan(files: [], handlers: [], loggers: [:], root: LogPlan.Entry(handlers: []))
        var positions: [String: Int] = [:]
        var owners: [String] = []
        for (name, value) in try sorted(top["handlers"], "handlers") {
            let key = "handlers.\(name)"
            let handler = try handler(name, value, key, forms, &plan.files, &owners)
            positions[name] = plan.handlers.count
            plan.handlers.append(handler)
        }
        for (name, value) in try sorted(top["loggers"], "loggers") {
            guard !name.isEmpty else { throw OptionError(message: "key \"loggers\": a logger's name is empty") }
            plan.loggers[name] = try entry(value, "loggers.\(name)", positions)
        }
        if let root = top["root"] { plan.root = try entry(root, "root", positions) }
        return plan
    }

    private func formatters(_ value: PlainValue?) throws(OptionError) -> [String: LogForm] {
        var forms: [String: LogForm] = ["json": .json, "text": .text]
        for (name, value) in try sorted(value, "formatters") {
            let key = "formatters.\(name)"
            let members = try members(value, key)
            try check(members, known: ["format"], in: key)
            switch members["format"] {
            case .string("json"): forms[name] = .json
            case .string("text"): forms[name] = .text
            case let other: throw wrong("\(key).format", "must be \"json\" or \"text\"", other ?? .null)
            }
        }
        return forms
    }

    private func handler(
        _ name: String,
        _ value: PlainValue,
        _ key: String,
        _ forms: [String: LogForm],
        _ files: inout [LogPlan.File],
        _ owners: inout [String]
    ) throws(OptionError) -> LogPlan.Handler {
        let members = try members(value, key)
        let known = ["filename", "stream", "level", "formatter", "max_bytes", "backup_count"]
        // What else the original's files have: accepted in its spelling; it means nothing here.
        let python = ["class", "mode", "encoding", "maxBytes", "backupCount"]
        try check(members, known: known, also: python, in: key)
        var form: LogForm?
        if let given = members["formatter"] {
            guard case .string(let name) = given, let found = forms[name] else {
                throw wrong("\(key).formatter", "must be \"json\", \"text\" or a name of \"formatters\"", given)
            }
            form = found
        }
        let level = try members["level"].map { value throws(OptionError) in try self.level(value, "\(key).level") }
        guard let filename = members["filename"] else {
            guard members["stream"] != nil || name == "console" else {
                throw OptionError(message: "key \"\(key)\" needs a \"filename\" or a \"stream\"")
            }
            let descriptor = try members["stream"].map { value throws(OptionError) in
                try stream(value, "\(key).stream")
            }
            return LogPlan.Handler(.console(descriptor: descriptor, form: form), level: level)
        }
        guard members["stream"] == nil else {
            throw OptionError(message: "key \"\(key)\" has both a \"filename\" and a \"stream\"")
        }
        let maximum = try number(members, ["max_bytes", "maxBytes"], key) ?? LogPlan.defaultMaximumBytes
        let backups = try number(members, ["backup_count", "backupCount"], key) ?? LogPlan.defaultBackups
        guard backups <= 10_000 else {
            throw OptionError(message: "key \"\(key).backup_count\" must be at most 10000, not \(backups)")
        }
        let file = LogPlan.File(
            path: try filePath(filename, "\(key).filename"),
            form: form ?? .json,
            maximumBytes: maximum,
            backups: backups
        )
        if let index = files.firstIndex(where: { $0.path == file.path }) {
            guard files[index] == file else {
                throw OptionError(
                    message: "key \"\(key).filename\": \"\(owners[index])\" writes this file with other settings"
                )
            }
            return LogPlan.Handler(.file(index), level: level)
        }
        files.append(file)
        owners.append(key)
        return LogPlan.Handler(.file(files.count - 1), level: level)
    }

    private func entry(
        _ value: PlainValue,
        _ key: String,
        _ positions: [String: Int]
    ) throws(OptionError) -> LogPlan.Entry {
        let members = try members(value, key)
        try check(members, known: ["level", "handlers", "propagate"], in: key)
        var entry = LogPlan.Entry(handlers: [])
        if let level = members["level"] { entry.level = try self.level(level, "\(key).level") }
        switch members["propagate"] {
        case nil: break
        case .boolean(let flag): entry.propagates = flag
        case .some(let other): throw wrong("\(key).propagate", "must be true or false", other)
        }
        guard let given = members["handlers"] else { return entry }
        guard case .array(let items) = given else {
            throw wrong("\(key).handlers", "must be a list of handlers' names", given)
        }
        for item in items {
            guard case .string(let name) = item, let position = positions[name] else {
                let hint =
                    if case .string(let name) = item { suggestion(for: name, in: positions.keys.sorted()) } else { "" }
                throw OptionError(message: "key \"\(key).handlers\": there is no handler \(text(item))\(hint)")
            }
            entry.handlers.append(position)
        }
        return entry
    }
}
