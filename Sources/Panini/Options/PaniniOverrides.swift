// Owns: option values that come from outside the script, with where each came from. Pure values; any thread.

import Bytes
import ScriptRuntime

/// Options of `panini.app{...}` given outside the script: on the command line, in the environment, in a file.
///
/// Add them from the strongest source to the weakest: the first value of a name wins, and all of them win over the
/// script's own.
public struct PaniniOverrides: Sendable {
    /// The kind of place that values come from. Values of one source belong together: two kinds of credentials in one
    /// are a contradiction, in two the stronger source decides.
    public enum Source: Sendable, Hashable {
        /// The command line.
        case commandLine
        /// The environment.
        case environment
        /// A configuration file, by its path.
        case file(String)
        /// The program that embeds the host.
        case program
    }

    /// A value and its origin.
    struct Entry: Sendable {
        let name: String
        let origin: String
        let source: Source
        let value: Value
    }

    enum Value: Sendable {
        case text(String)
        case texts([String])
        case plain(PlainValue)
    }

    private(set) var entries: [Entry] = []
    /// Which scripts may do more than others, or less.
    public var permissions = PaniniPermissions()
    /// Groups of nested options that are checked and then not used, whoever gave them.
    private(set) var ignoredGroups: Set<String> = []

    /// No overrides.
    public init() {}

    /// Adds a value that came as text.
    ///
    /// - Parameters:
    ///   - name: The option's name in ``OptionDefinition/all``, such as `port` or `auth.user`.
    ///   - text: The value as written.
    ///   - origin: What error texts name: `--port`, `PANINI_PORT`.
    ///   - source: The kind of place it comes from.
    public mutating func set(_ name: String, text: String, origin: String, source: Source = .program) {
        entries.append(Entry(name: name, origin: origin, source: source, value: .text(text)))
    }

    /// Adds a list of texts, such as a repeated flag.
    ///
    /// - Parameters:
    ///   - name: The option's name.
    ///   - texts: The values as written.
    ///   - origin: What error texts name.
    ///   - source: The kind of place it comes from.
    public mutating func set(_ name: String, texts: [String], origin: String, source: Source = .program) {
        entries.append(Entry(name: name, origin: origin, source: source, value: .texts(texts)))
    }

    /// Leaves out all options of a group such as `auth`, wherever they were given, the script included. They are still
    /// checked, and the service's log says once that they are not used.
    ///
    /// - Parameter group: The part of the options' names before the dot.
    public mutating func ignore(group: String) { ignoredGroups.insert(group) }

    /// Makes this broker the only one, whatever was said of brokers before: for tests, which must not reach another.
    /// Credentials and TLS are left out with the rest.
    ///
    /// - Parameters:
    ///   - url: The broker's address.
    ///   - origin: What error texts name.
    package mutating func useOnly(broker url: String, origin: String) {
        entries.removeAll { ["servers", "host", "port"].contains($0.name) }
        set("servers", texts: [url], origin: origin)
        ignore(group: "auth")
        ignore(group: "tls")
    }

    /// Adds everything a JSON configuration file holds.
    ///
    /// - Parameters:
    ///   - json: The file's bytes: one object, with the script's option names.
    ///   - path: The file's path, for error texts.
    /// - Throws: ``PaniniError`` with `invalidOption` when it is not a JSON object or has an unknown name.
    public mutating func add(json: [UInt8], path: String) throws(PaniniError) {
        let document: PlainValue
        do throws(OptionError) {
            document = try PlainValue(json: json)
        } catch {
            throw PaniniError(code: .invalidOption, message: "\(path): \(error.message)")
        }
        guard case .object(let members) = document else {
            throw PaniniError(code: .invalidOption, message: "\(path): a configuration file is one JSON object")
        }
        do throws(OptionError) {
            for (name, value) in try flattenOptions(members) {
                entries.append(Entry(name: name, origin: path, source: .file(path), value: .plain(value)))
            }
        } catch {
            throw PaniniError(code: .invalidOption, message: "\(path): \(error.message)")
        }
    }

    /// The values of some options alone.
    func only(_ names: Set<String>) -> PaniniOverrides {
        var result = PaniniOverrides()
        result.entries = entries.filter { names.contains($0.name) }
        return result
    }

    /// The value of one option, or its default.
    ///
    /// - Parameter rows: Options of features that are not in the list of all.
    func value(of option: OptionDefinition, among rows: [OptionDefinition]) throws(PaniniError) -> OptionValue? {
        var merged = MergedOptions(rows: rows)
        do throws(AppOptions.Failure) {
            try merged.add(only([option.name]))
        } catch {
            switch error {
            case .script(let text), .outside(let text): throw PaniniError(code: .invalidOption, message: text)
            }
        }
        return merged.values[option.name]?.value ?? option.usual
    }

    /// True when a value of that name is there: `dev` starts its own broker only when no server is named.
    ///
    /// - Parameter name: The option's name.
    public func contains(_ name: String) -> Bool { entries.contains { $0.name == name } }
}

/// Turns nested tables (`auth = { user = ... }`) into dotted names, refusing unknown ones.
///
/// - Parameter rows: Options that are not in the list of all.
func flattenOptions(
    _ members: [(String, PlainValue)],
    with rows: [String: OptionDefinition] = [:]
) throws(OptionError) -> [(String, PlainValue)] {
    var result: [(String, PlainValue)] = []
    for (name, value) in members {
        let nested =
            OptionDefinition.nestedNames(of: name)
            + rows.keys.filter { $0.hasPrefix(name + ".") }.map { String($0.dropFirst(name.count + 1)) }
        if nested.isEmpty {
            guard OptionDefinition.byName[name] ?? rows[name] != nil, !name.contains(".") else {
                throw OptionError(
                    message: "unknown option \"\(name)\"" + suggestion(for: name, in: OptionDefinition.topLevelNames)
                )
            }
            result.append((name, value))
            continue
        }
        let inner: [(String, PlainValue)]
        switch value {
        case .object(let entries): inner = entries
        case .array(let items) where items.isEmpty: inner = []
        default: throw OptionError(message: "option \"\(name)\" must be a table, not \(value.typeName)")
        }
        for (key, item) in inner {
            guard nested.contains(key) else {
                throw OptionError(message: "unknown option \"\(name).\(key)\"" + suggestion(for: key, in: nested))
            }
            result.append(("\(name).\(key)", item))
        }
    }
    return result
}
