// Owns: one look at a reader: values of every type a provider may have them in, and the problems met so far. A value.

import Configuration
import Panini

struct ConfigReading {
    private let reader: ConfigReader
    private(set) var problems: [String] = []

    /// More threads than that are a mistake.
    private static let mostWorkers = 1024

    init(_ reader: ConfigReader) { self.reader = reader }

    // MARK: - Values

    /// A value as text, whatever type its provider has it in; nil when there is none.
    ///
    /// Providers of texts, such as the environment, give every type; those of typed values, such as JSON, the one that they
    /// have.
    mutating func text(_ name: String, isSecret: Bool = false) -> String? {
        let key = Self.key(name)
        if let text = reader.string(forKey: key, isSecret: isSecret) { return text }
        if let number = reader.int(forKey: key, isSecret: isSecret) { return String(number) }
        if let number = reader.double(forKey: key, isSecret: isSecret) { return String(number) }
        if let flag = reader.bool(forKey: key, isSecret: isSecret) { return String(flag) }
        if let list = reader.stringArray(forKey: key, isSecret: isSecret) { return list.joined(separator: ",") }
        let isOther =
            reader.intArray(forKey: key, isSecret: isSecret) != nil
            || reader.doubleArray(forKey: key, isSecret: isSecret) != nil
            || reader.boolArray(forKey: key, isSecret: isSecret) != nil
            || reader.bytes(forKey: key, isSecret: isSecret) != nil
        if isOther { problems.append("configuration key \(name): a value of this type cannot be used") }
        return nil
    }

    /// A list of texts; one text is a list with commas between.
    mutating func texts(_ name: String, isSecret: Bool = false) -> [String]? {
        if let list = reader.stringArray(forKey: Self.key(name), isSecret: isSecret) { return list }
        return text(name, isSecret: isSecret)?.split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    mutating func flag(_ name: String) -> Bool? {
        guard let text = text(name) else { return nil }
        let flag = OptionDefinition.boolean(text)
        if flag == nil { problems.append("configuration key \(name): must be true or false, not \"\(text)\"") }
        return flag
    }

    mutating func workers(_ name: String) -> Int? {
        guard let text = text(name) else { return nil }
        if text == "auto" { return min(PaniniRuntime.processors, Self.mostWorkers) }
        guard let count = Int(text), (1...Self.mostWorkers).contains(count) else {
            problems.append(
                "configuration key \(name): must be auto or a number from 1 to \(Self.mostWorkers), not \"\(text)\""
            )
            return nil
        }
        return count
    }

    mutating func permissions() -> PaniniPermissions {
        var permissions = PaniniPermissions()
        permissions.trusted = texts("trust") ?? []
        permissions.untrusted = texts("untrusted") ?? []
        for permission in PermissionDefinition.all { permission.set(texts(permission.key) ?? [], in: &permissions) }
        if let problem = permissions.problem {
            problems.append("configuration keys trust, untrusted and allow_...: \(problem)")
        }
        return permissions
    }

    /// Adds an option of `panini.app{...}`, when there is a value for it.
    mutating func add(_ definition: OptionDefinition, to overrides: inout PaniniOverrides) {
        let origin = "configuration key \(definition.name)"
        // An address may carry credentials.
        let isSecret = definition.isSecret || definition.name == "servers"
        if case .list = definition.kind {
            guard let list = texts(definition.name, isSecret: isSecret) else { return }
            if let problem = definition.problem(with: list) { return problems.append("\(origin): \(problem)") }
            return overrides.set(definition.name, texts: list, origin: origin)
        }
        guard let text = text(definition.name, isSecret: isSecret) else { return }
        if let problem = definition.problem(with: text) { return problems.append("\(origin): \(problem)") }
        overrides.set(definition.name, text: text, origin: origin)
    }

    private static func key(_ name: String) -> ConfigKey {
        ConfigKey(name.split(separator: ".").map(String.init))
    }
}
