// Owns: panini.d.lua, the definitions that editors read (LuaCATS): from the tables that register the host functions and
// the annotations beside them to one text. Pure; any thread.

import ScriptRuntime

/// What editors know about scripts.
public enum PaniniTypes {
    /// The text of `panini.d.lua`: LuaCATS annotations of everything that scripts can use.
    ///
    /// A function of the host without an annotation is in it, too, with the text of how it is called and no types; the
    /// tests refuse that.
    public static var definitions: String { definitions(with: FeatureList.all) }

    static func definitions(with features: [Feature]) -> String {
        let functions = features.flatMap(\.functions)
        var file = DefinitionFile()
        file.comment(
            """
            What a Panini service script can use, for editors that understand LuaCATS annotations (lua-language-server and
            its kin). Made by `panini types` from the program's own tables: do not edit; a new program, a new file.
            """
        )
        for alias in ScriptTypes.aliases { file.block(alias) }
        for value in ScriptTypes.classes + ScriptTypes.webSocketClasses { file.block(value) }
        for group in ScriptTypes.optionClasses(with: features.flatMap(\.options)) { file.block(group) }
        for table in ScriptTypes.tables {
            file.table(table)
            for entry in table.entries { file.function(entry.name, or: entry.signature, in: table) }
            for function in functions where table.path == "app" {
                file.function(function.entry.name, saying: function.annotation, in: table)
            }
            // Those that the host registers by themselves: the tests find them, and what is here and not there.
            let names = Set(table.entries.map(\.name))
            for name in table.annotations.keys.sorted() where !names.contains(name) {
                file.function(name, or: name, in: table)
            }
        }
        file.line("return panini")
        return file.text
    }
}

/// A table of host functions, and where the file has it.
struct ScriptTypesTable {
    /// What scripts write: `app.http`.
    let path: String
    /// What the file calls it: a global, a field of one, or a local that stands for a class.
    let variable: String
    /// The class's name, and what else is to be said of it.
    let header: String
    let entries: [HostFunctionEntry]
    let annotations: [String: String]
}

enum ScriptTypes {
    /// Every table whose functions the host registers.
    static let tables: [ScriptTypesTable] = [
        .init(
            path: "app",
            variable: "App",
            header: appHeader,
            entries: HostFunctionEntry.app,
            annotations: app
        ),
        .init(
            path: "app.shared",
            variable: "Shared",
            header: "Values that all workers have in common, kept over reloads.\n@class panini.Shared",
            entries: HostFunctionEntry.shared,
            annotations: shared
        ),
        .init(
            path: "app.http",
            variable: "HTTP",
            header: "Routes of the web server, for an app with `web_server = true`.\n@class panini.HTTP",
            entries: HostFunctionEntry.http,
            annotations: http
        ),
        .init(
            path: "panini",
            variable: "panini",
            header: paniniHeader,
            entries: HostFunctionEntry.panini + [HostFunctionEntry.response],
            annotations: panini
        ),
        .init(
            path: "panini.json",
            variable: "panini.json",
            header: "The JSON codec of messages.\n@class panini.JSON",
            entries: HostFunctionEntry.json,
            annotations: json
        ),
        .init(
            path: "panini.base64",
            variable: "panini.base64",
            header: "Base64 (RFC 4648, section 4).\n@class panini.Base64",
            entries: HostFunctionEntry.base64,
            annotations: base64
        ),
        .init(
            path: "panini.hash",
            variable: "panini.hash",
            header: "Hashes, as hexadecimal digits.\n@class panini.Hash",
            entries: HostFunctionEntry.hash,
            annotations: hash
        ),
        .init(
            path: "panini.middleware",
            variable: "panini.middleware",
            header: "Middlewares that the host brings; no Lua runs on their path.\n@class panini.BuiltInMiddlewares",
            entries: HostFunctionEntry.middleware,
            annotations: middleware
        ),
    ]
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

    mutating func table(_ table: ScriptTypesTable) {
        annotate(table.header)
        let isLocal = !table.variable.contains(".") && table.variable != "panini"
        line("\(isLocal ? "local " : "")\(table.variable) = {}")
        line("")
    }

    mutating func function(_ name: String, or signature: String, in table: ScriptTypesTable) {
        function(name, saying: table.annotations[name] ?? signature, in: table)
    }

    mutating func function(_ name: String, saying annotation: String, in table: ScriptTypesTable) {
        annotate(annotation)
        let parameters = lines(annotation).compactMap { line -> String? in
            guard line.hasPrefix("@param ") else { return nil }
            let name = line.dropFirst(7).prefix { $0 != " " }
            return String(name.hasSuffix("?") ? name.dropLast() : name)
        }
        line("function \(table.variable).\(name)(\(parameters.joined(separator: ", "))) end")
        line("")
    }

    private mutating func annotate(_ block: String) {
        for part in lines(block) { line("---" + part) }
    }

    private func lines(_ block: String) -> [Substring] {
        block.split(separator: "\n", omittingEmptySubsequences: false)
    }
}
