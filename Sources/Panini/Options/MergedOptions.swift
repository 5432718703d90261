// Owns: options of all sources laid over each other, each with where it came from. A value; any thread. Knows the rules
// of precedence, not what an option does.

import Bytes
import NATS
import NATSProtocol
import ScriptRuntime

/// The values that won, by option name.
struct MergedOptions {
    /// Where a value came from.
    enum Origin: Equatable {
        case script
        case outside(source: PaniniOverrides.Source, text: String)
    }

    /// A checked value.
    struct Given {
        let value: OptionValue
        let origin: Origin
        /// How strong its source is; 0 is the strongest.
        let rank: Int
    }

    private(set) var values: [String: Given] = [:]
    /// Options of features that are not in the list of all, by their names.
    private let rows: [String: OptionDefinition]
    /// The sources met so far, the strongest first.
    private var sources: [PaniniOverrides.Source] = []

    init(rows: [OptionDefinition] = []) {
        self.rows = Dictionary(rows.map { ($0.name, $0) }) { first, _ in first }
    }

    func row(_ name: String) -> OptionDefinition? { OptionDefinition.byName[name] ?? rows[name] }

    /// Adds what was given outside the script; must come before the script.
    mutating func add(_ overrides: PaniniOverrides) throws(AppOptions.Failure) {
        for entry in overrides.entries {
            guard let definition = row(entry.name) else {
                throw .outside("\(entry.origin): unknown option \"\(entry.name)\"")
            }
            if !sources.contains(entry.source) { sources.append(entry.source) }
            do throws(OptionError) {
                let value: OptionValue
                switch entry.value {
                case .text(let text): value = try definition.parse(text)
                case .texts(let texts): value = try definition.check(.array(texts.map { .string($0) }))
                case .plain(let plain): value = try definition.check(plain)
                }
                var folder = "."
                if case .file(let path) = entry.source { folder = directory(of: path) }
                try add(definition, value, .outside(source: entry.source, text: entry.origin), directory: folder)
            } catch {
                throw .outside("\(entry.origin): \(error.message)")
            }
        }
    }

    /// Adds the script's own table, the weakest source.
    mutating func add(script: [(String, PlainValue)], directory: String) throws(AppOptions.Failure) {
        do throws(OptionError) {
            for (name, value) in try flattenOptions(script, with: rows) {
                guard let definition = row(name) else { continue }
                guard !definition.isOfHost else {
                    throw OptionError(
                        message: """
                            option "\(name)" is the whole program's: \(definition.flag), \(definition.environmentName) or a \
                            configuration file sets it
                            """
                    )
                }
                try add(definition, try definition.check(value), .script, directory: directory)
            }
        } catch {
            throw .script(error.message)
        }
    }

    private mutating func add(
        _ definition: OptionDefinition,
        _ value: OptionValue,
        _ origin: Origin,
        directory: String
    ) throws(OptionError) {
        var value = value
        if case .list(let servers) = value, definition.name == "servers" { try Self.checkServers(servers) }
        if case .path = definition.kind, case .string(let path) = value {
            guard !path.isEmpty else { throw OptionError(message: "option \"\(definition.name)\" is empty") }
            value = .string(path.begins(with: "/") || directory == "." ? path : "\(directory)/\(path)")
        }
        if definition.name == "module_path", case .list(let folders) = value {
            guard !folders.contains("") else {
                throw OptionError(message: "option \"module_path\" has an empty entry")
            }
            value = .list(folders.map { $0.begins(with: "/") || directory == "." ? $0 : "\(directory)/\($0)" })
        }
        guard values[definition.name] == nil else { return }
        var rank = sources.count
        if case .outside(let source, _) = origin { rank = sources.firstIndex(of: source) ?? rank }
        values[definition.name] = Given(value: value, origin: origin, rank: rank)
    }

    /// Drops all options of some groups and tells which of the groups had any, in alphabetical order.
    mutating func remove(groups: Set<String>) -> [String] {
        groups.sorted().filter { group in
            let names = values.keys.filter { $0.hasPrefix(group + ".") }
            for name in names { values[name] = nil }
            return !names.isEmpty
        }
    }

    /// Lowers the script's own values to what it may ask for; tells which, in the order of their names.
    mutating func lower(to bounds: HostBounds) -> [HostBounds.Lowered] {
        var lowered: [HostBounds.Lowered] = []
        for (name, given) in values where given.origin == .script {
            guard let bound = bounds.bound(of: name, given.value) else { continue }
            values[name] = Given(value: bound, origin: .script, rank: given.rank)
            lowered.append(HostBounds.Lowered(name: name, asked: given.value, bound: bound))
        }
        return lowered.sorted { $0.name < $1.name }
    }

    /// Drops a value that another one replaces.
    mutating func remove(_ name: String) { values[name] = nil }

    /// Decides between `host`, `port` and `servers`, and between credentials in addresses and in options.
    mutating func settleServers() {
        guard let servers = values["servers"], case .list(let list) = servers.value else { return }
        // An address given outside replaces the script's, whichever way either was written; where both stand in one
        // place, or both came from outside, the list says more.
        if servers.origin == .script,
            ["host", "port"].contains(where: { values[$0].map { $0.origin != .script } ?? false })
        {
            values["servers"] = nil
            return
        }
        // Credentials in an address go first at the client, so those of a weaker source must not be there.
        let strongest = values.filter { $0.key.hasPrefix("auth.") }.map(\.value.rank).min()
        guard let strongest, strongest < servers.rank else { return }
        let clean = list.map(withoutCredentials)
        values["servers"] = Given(value: .list(clean), origin: servers.origin, rank: servers.rank)
    }

    static func checkServers(_ servers: [String]) throws(OptionError) {
        for server in servers {
            do throws(NATSError) {
                _ = try NATSServerAddress(parsing: server)
            } catch {
                throw OptionError(message: "option \"servers\": \(hidingCredentials(of: server, in: error.message))")
            }
        }
    }
}

/// The folder a file lies in.
private func directory(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: ASCII.slash) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// A server's address as it may be shown: without user, password or token.
package func withoutCredentials(_ server: String) -> String {
    guard let range = credentials(in: server) else { return server }
    return String(server[..<range.lowerBound] + server[range.upperBound...])
}

/// A text about a server's address, without the credentials in the address.
package func hidingCredentials(of server: String, in text: String) -> String {
    guard let range = credentials(in: server) else { return text }
    // The part before the @ may be quoted alone, too; a text without any of it stays as it is.
    return [server[range], Substring(server[range].utf8.dropLast())].filter { !$0.isEmpty }.reduce(text) {
        text,
        secret in
        var result = ""
        var rest = text[...]
        while let found = rest.range(ofText: secret) {
            result += rest[..<found.lowerBound] + "***"
            rest = rest[found.upperBound...]
        }
        return result + rest
    }
}

/// What stands between the scheme and the host, the @ included. Lenient: an address that cannot be read hides its
/// secrets, too.
private func credentials(in server: String) -> Range<String.Index>? {
    guard let at = server.utf8.lastIndex(of: UInt8(ascii: "@")) else { return nil }
    var start = server.startIndex
    if let scheme = server[...].range(ofText: "://"), scheme.upperBound <= at { start = scheme.upperBound }
    return start..<server.utf8.index(after: at)
}
