// Owns: panini.d.lua, the definitions that editors read (LuaCATS): from what features say of their functions, tables and types to
// one text. Pure; any thread.

import ScriptRuntime

/// What editors know about scripts.
public enum PaniniTypes {
    /// The text of `panini.d.lua`: LuaCATS annotations of everything that scripts can use.
    public static var definitions: String { definitions(with: FeatureList.all) }

    static func definitions(with features: [Feature]) -> String {
        let api = ScriptAPI(features)
        var file = DefinitionFile()
        file.comment(
            """
            What a Panini service script can use, for editors that understand LuaCATS annotations (lua-language-server and
            its kin). Made by `panini types` from the program's own tables: do not edit; a new program, a new file.
            """
        )
        for type in features.flatMap(\.types) { file.block(type) }
        for group in OptionTypes.classes(with: features.flatMap(\.options)) { file.block(group) }
        for table in api.tables {
            file.table(table, in: api)
            for function in table.functions { file.function(function, in: table) }
        }
        file.line("return panini")
        return file.text
    }
}

extension ScriptAPI.Table {
    /// What the file calls it: the global or a field of it, or a local that stands for the class of what hangs on no global.
    fileprivate var variable: String {
        let path = declaration.path
        guard path.prefix(while: { $0 != "." }) != "panini" else { return path }
        return String(declaration.type.split(separator: ".").last ?? "")
    }

    fileprivate var isLocal: Bool { variable != declaration.path }

    /// As a field of the table that it stands in.
    fileprivate var field: String {
        "@field \(name) \(declaration.type)\(declaration.summary.isEmpty ? "" : " ")\(declaration.summary)"
    }
}

/// Writes the file. Annotations are texts whose lines become comments; a line `@param name type text` also names the
/// function's parameter.
private struct DefinitionFile {
    private(set) var text = "---@meta panini\n"

    mutating func line(_ line: String) { text += line + "\n" }

    mutating func comment(_ block: String) {
        for part in lines(block) { line(part.isEmpty ? "--" : "-- \(part)") }
        line("")
    }

    /// A class or an alias: nothing but annotations.
    mutating func block(_ block: String) {
        annotate(block)
        line("")
    }

    /// The class of a table, and the table.
    mutating func table(_ table: ScriptAPI.Table, in api: ScriptAPI) {
        annotate(table.declaration.annotation)
        annotate("@class \(table.declaration.type)")
        for value in table.values { annotate("@field \(value.name) \(value.declaration.type)") }
        for inner in table.tables { annotate(api.tables[inner].field) }
        line("\(table.isLocal ? "local " : "")\(table.variable) = {}")
        line("")
    }

    mutating func function(_ function: Feature.Function, in table: ScriptAPI.Table) {
        annotate(function.annotation)
        let parameters = lines(function.annotation).compactMap { line -> String? in
            guard line.hasPrefix("@param ") else { return nil }
            let name = line.dropFirst(7).prefix { $0 != " " }
            return String(name.hasSuffix("?") ? name.dropLast() : name)
        }
        line("function \(table.variable).\(function.entry.name)(\(parameters.joined(separator: ", "))) end")
        line("")
    }

    private mutating func annotate(_ block: String) {
        for part in lines(block) { line("---" + part) }
    }

    private func lines(_ block: String) -> [Substring] {
        block.split(separator: "\n", omittingEmptySubsequences: false)
    }
}
