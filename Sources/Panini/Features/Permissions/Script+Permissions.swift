// Owns: where a script's level of trust is looked at, and what a denial says. Worker's thread. Ordinary scripts pay one
// test of a pointer for it.

import Bytes
import Glibc
import Logging
import LuaVM
import NATS
import NATSProtocol
import ScriptRuntime

extension Script {
    /// The log says so once: with this the script is as powerful as the program.
    func warnOfTrust() {
        logger.warning(
            "\(path) is trusted: it may read and write files, run programs and load modules in C, and end this program"
        )
    }

    /// Whether the script may open a connection. `app.http.fetch` asks before each request, those that follow redirects
    /// among them.
    func mayConnect(host: String, port: Int) -> Bool {
        restrictions?.mayConnect(host: host, port: port) ?? true
    }

    static func connectDenied(host: String, port: Int) -> CallError {
        CallError("denied", "the script may not connect to \(host):\(port) (--allow-net \(host):\(port))")
    }

    /// The error of a send to a subject that is not allowed; nil when it is.
    @inline(__always)
    func publishDenied(_ subject: UnsafeRawBufferPointer) -> CallError? {
        guard let restrictions else { return nil }
        return Self.publishDenied(subject, restrictions)
    }

    @inline(never)
    static func publishDenied(_ subject: UnsafeRawBufferPointer, _ restrictions: ScriptRestrictions) -> CallError? {
        guard !restrictions.mayPublish(subject) else { return nil }
        let subject = String(decoding: subject, as: UTF8.self)
        return CallError("denied", "the script may not send to \(subject) (--allow-publish \(subject))")
    }

    func listenDenied(_ patterns: [SubjectPattern]) -> CallError? {
        guard let restrictions, let denied = patterns.first(where: { !restrictions.mayListen($0.subject) }) else {
            return nil
        }
        return CallError("denied", "the script may not listen to \(denied.subject) (--allow-listen \(denied.subject))")
    }

    /// Refuses a file or folder that is not allowed.
    func requireReadable(_ path: String, _ what: String) throws(UsageError) {
        guard let restrictions, !restrictions.mayRead(path) else { return }
        throw UsageError("\(what): the script may not read \(path) (--allow-read \(path))")
    }

    /// Refuses options in the script's own table that reach beyond it.
    func requireAllowed(options members: [(String, PlainValue)]) throws(UsageError) {
        guard let restrictions else { return }
        let flat: [(String, PlainValue)]
        do throws(OptionError) {
            flat = try flattenOptions(members)
        } catch {
            return  // Reported as the mistake it is.
        }
        for (name, value) in flat {
            if name == "logger_files_path" {
                throw UsageError(
                    "panini.app: the script may not choose the folder of its logs: --logger-files-path does"
                )
            }
            if name == "module_path", !overrides.contains(name) {
                for folder in Self.texts(value) {
                    let path = folder.begins(with: "/") || directory == "." ? folder : "\(directory)/\(folder)"
                    // Of a template, what stands before its mark.
                    let fixed = path.utf8.firstIndex(of: UInt8(ascii: "?")).map { path[..<$0] } ?? path[...]
                    try requireReadable(String(fixed), "panini.app: option \"module_path\"")
                }
            }
            guard case .string(let text) = value, case .path = OptionDefinition.byName[name]?.kind else { continue }
            let path = text.begins(with: "/") || directory == "." ? text : "\(directory)/\(text)"
            try requireReadable(path, "panini.app: option \"\(name)\"")
        }
        // An address from outside wins, and is the program's business.
        guard !["servers", "host"].contains(where: overrides.contains) else { return }
        for (host, port) in addresses(flat) where !restrictions.mayConnect(host: host, port: port) {
            throw UsageError("panini.app: \(Self.connectDenied(host: host, port: port).message)")
        }
    }

    private static func texts(_ value: PlainValue) -> [String] {
        switch value {
        case .string(let text): [text]
        case .array(let items): items.compactMap { if case .string(let text) = $0 { text } else { nil } }
        default: []
        }
    }

    /// The brokers that a script names.
    private func addresses(_ flat: [(String, PlainValue)]) -> [(String, Int)] {
        var host: String?
        var port: Int?
        var servers: [String] = []
        for (name, value) in flat {
            switch (name, value) {
            case ("host", .string(let text)): host = text
            case ("port", .integer(let number)): port = Int(clamping: number)
            case ("servers", .string(let text)): servers.append(text)
            case ("servers", .array(let items)):
                for case .string(let text) in items { servers.append(text) }
            default: break
            }
        }
        if servers.isEmpty { return host == nil && port == nil ? [] : [(host ?? "127.0.0.1", port ?? 4222)] }
        return servers.compactMap { text in (try? NATSServerAddress(parsing: text)).map { ($0.host, $0.port) } }
    }
}

extension HostCall {
    /// What an option of a call becomes that protects the host: an untrusted script does not raise it, and the log says so once.
    func bounded(_ asked: Int, by most: Int, _ option: String) -> Int {
        guard script.restrictions != nil, asked > most else { return asked }
        if script.libraries.lowered.insert("\(name) \(option)").inserted {
            script.logger.warning(
                """
                \(script.vm.position(L)): \(name): \(option) is \(most), not \(asked): an untrusted script does not raise its own \
                bounds
                """
            )
        }
        return most
    }
}
