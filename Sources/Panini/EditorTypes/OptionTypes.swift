// Owns: the options of `panini.app{...}` for panini.d.lua, from the one table of options. Pure; any thread.

enum OptionTypes {
    /// `panini.AppOptions`, and one class for each nested group.
    ///
    /// - Parameter rows: Options of features; those in the list of all are there once.
    static func classes(with rows: [OptionDefinition] = []) -> [String] {
        var result: [String] = []
        var fields = [
            "What `panini.app{...}` takes. Durations are seconds; sizes are bytes, or texts such as \"64MB\"."
        ]
        fields.append("@class panini.AppOptions")
        for name in OptionDefinition.topLevelNames {
            let nested = OptionDefinition.all.filter { $0.name.hasPrefix(name + ".") && !$0.isOfHost }
            if nested.isEmpty, let definition = OptionDefinition.byName[name] {
                if definition.isOfHost { continue }
                fields.append(field(name, of: definition, isRequired: name == "service_name"))
                continue
            }
            let group = "panini.AppOptions.\(name)"
            fields.append("@field \(name)? \(group)")
            let members = nested.map { field(String($0.name.dropFirst(name.count + 1)), of: $0, isRequired: false) }
            result.append((["@class \(group)"] + members).joined(separator: "\n"))
        }
        for row in rows where OptionDefinition.byName[row.name] == nil && !row.isOfHost {
            fields.append(field(row.name, of: row, isRequired: false))
        }
        return result + [fields.joined(separator: "\n")]
    }

    private static func field(_ name: String, of definition: OptionDefinition, isRequired: Bool) -> String {
        "@field \(name)\(isRequired ? "" : "?") \(type(of: definition.kind)) \(definition.summary)"
    }

    private static func type(of kind: OptionDefinition.Kind) -> String {
        switch kind {
        case .string, .path: "string"
        case .choice(let texts): texts.map { "\"\($0)\"" }.joined(separator: "|")
        case .integer: "integer"
        case .number: "number"
        case .boolean: "boolean"
        case .size: "integer|string"
        case .list: "string|string[]"
        case .map: "table<string, string>"
        }
    }
}
