// Owns: the single values of config/log_config.json: levels, sizes, streams, file names. Pure; any thread.

import Bytes
import Glibc
import Logging
import NATSProtocol
import PaniniObservability
import ScriptRuntime

extension LogConfiguration {
    /// The path of a handler's file: its placeholders filled in, inside the folder of the log files unless it is absolute.
    func filePath(_ value: PlainValue, _ key: String) throws(OptionError) -> String {
        guard case .string(let given) = value else { throw wrong(key, "must be a file's name", value) }
        var name = given
        for (placeholder, replacement) in [
            ("%MS_NAME%", names.service), ("%CLIENT_ID%", names.client), ("%DATETIME%", names.time),
        ] {
            // A name is one part of a path, whatever it is made of.
            name = Self.replacing(
                placeholder,
                in: name,
                with: replacement.parts(between: ASCII.slash).joined(separator: "_")
            )
        }
        guard !name.isEmpty, !name.ends(with: "/"), name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw wrong(key, "must be a file's name", value)
        }
        if let unknown = Self.placeholder(in: name) {
            throw OptionError(
                message:
                    "key \"\(key)\": \(unknown) stands for nothing; there are %MS_NAME%, %CLIENT_ID% and %DATETIME%"
            )
        }
        if name.begins(with: "/") { return name }
        guard !name.parts(between: ASCII.slash).contains(where: { $0.isExactly("..") }) else {
            throw OptionError(
                message:
                    "key \"\(key)\": \"\(name)\" leaves the folder of the log files; a file elsewhere has an absolute path"
            )
        }
        return "\(folder)/\(name)"
    }

    private static func replacing(_ placeholder: String, in text: String, with replacement: String) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.firstIndex(of: "%") {
            if rest[start...].hasPrefix(placeholder) {
                result += rest[..<start] + replacement
                rest = rest[start...].dropFirst(placeholder.count)
            } else {
                result += rest[...start]
                rest = rest[rest.index(after: start)...]
            }
        }
        return result + rest
    }

    /// The first `%NAME%` in a text.
    private static func placeholder(in text: String) -> String? {
        let parts = text.split(separator: "%", omittingEmptySubsequences: false)
        // Everything between two signs may be one; a single sign is just a sign.
        for part in parts.dropFirst().dropLast()
        where !part.isEmpty && part.utf8.allSatisfy({ (65...90).contains($0) || $0 == 95 }) {
            return "%\(part)%"
        }
        return nil
    }

    func level(_ value: PlainValue, _ key: String) throws(OptionError) -> Logger.Level {
        if case .string(let text) = value {
            switch text.uppercased() {
            case "DEBUG": return .debug
            case "INFO": return .info
            case "WARNING": return .warning
            case "ERROR": return .error
            case "CRITICAL": return .critical
            default: break
            }
        }
        throw wrong(key, "must be DEBUG, INFO, WARNING, ERROR or CRITICAL", value)
    }

    func stream(_ value: PlainValue, _ key: String) throws(OptionError) -> CInt {
        switch value {
        case .string("stdout"), .string("ext://sys.stdout"): return STDOUT_FILENO
        case .string("stderr"), .string("ext://sys.stderr"): return STDERR_FILENO
        default: throw wrong(key, "must be \"stdout\" or \"stderr\"", value)
        }
    }

    /// A number of bytes or of files, under the first of the names that is there.
    func number(_ members: [String: PlainValue], _ keys: [String], _ handler: String) throws(OptionError) -> Int? {
        for key in keys {
            guard let value = members[key] else { continue }
            if case .integer(let number) = value, number >= 0, number <= 1 << 40 { return Int(number) }
            if case .string(let text) = value, key == keys[0], key.hasSuffix("bytes"), let bytes = parseSize(text),
                bytes <= 1 << 40
            {
                return Int(bytes)
            }
            throw wrong("\(handler).\(key)", "must be a whole number, not negative", value)
        }
        return nil
    }

    // MARK: - Shape

    func members(_ value: PlainValue, _ key: String) throws(OptionError) -> [String: PlainValue] {
        switch value {
        case .object(let members): return Dictionary(members) { first, _ in first }
        case .array(let items) where items.isEmpty: return [:]
        default: throw wrong(key, "must be an object", value)
        }
    }

    func sorted(_ value: PlainValue?, _ key: String) throws(OptionError) -> [(key: String, value: PlainValue)] {
        guard let value else { return [] }
        return try members(value, key).sorted { $0.key < $1.key }
    }

    func check(
        _ members: [String: PlainValue],
        known: [String],
        also: [String] = [],
        in key: String
    ) throws(OptionError) {
        for name in members.keys.sorted() where !known.contains(name) && !also.contains(name) {
            let path = key.isEmpty ? name : "\(key).\(name)"
            throw OptionError(message: "unknown key \"\(path)\"" + suggestion(for: name, in: known))
        }
    }

    func wrong(_ key: String, _ text: String, _ value: PlainValue) -> OptionError {
        OptionError(message: "key \"\(key)\" \(text), not \(self.text(value))")
    }

    func text(_ value: PlainValue) -> String {
        switch value {
        case .string(let text): "\"\(text)\""
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .boolean(let flag): "\(flag)"
        case .null: "null"
        case .array: "a list"
        case .object: "an object"
        case .other(let name): name
        }
    }
}
