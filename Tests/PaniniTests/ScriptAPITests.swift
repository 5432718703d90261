// What features say of tables and functions: how it comes together for scripts and editors.

import ScriptRuntime
import Testing

@testable import Panini

@Suite("The tables that scripts see")
struct ScriptAPITests {
    private static func function(_ table: String, _ name: String) -> Feature.Function {
        Feature.Function(
            table: table,
            entry: HostFunctionEntry(name: name, signature: "\(table).\(name)()") { _, _ in 0 },
            annotation: "Does \(name)."
        )
    }

    /// A table in a table, and a feature behind it that adds to both and to one of the host's.
    private static let features =
        FeatureList.all + [
            Feature(
                tables: [
                    Feature.Table("app.store", type: "panini.Store", annotation: "Stores.", summary: "what is kept"),
                    Feature.Table("app.store.old", type: "panini.OldStore", annotation: "Old ones."),
                    Feature.Table("panini.clock", type: "panini.Clock", annotation: "Clocks."),
                ],
                functions: [function("app.store", "open")]
            ),
            Feature(functions: [
                function("app.store.old", "find"), function("app.store", "drop"), function("panini.clock", "read"),
                function("app.shared", "sum"),
            ]),
        ]

    private func table(_ path: String) throws -> ScriptAPI.Table {
        try #require(ScriptAPI(Self.features).tables.first { $0.declaration.path == path })
    }

    @Test("each table has what all features add to it, and stands behind the one that it is in")
    func together() throws {
        let api = ScriptAPI(Self.features)
        #expect(try table("app.store").functions.map(\.entry.name) == ["open", "drop"])
        #expect(try table("app.store.old").functions.map(\.entry.name) == ["find"])
        #expect(try table("app.store.old").name == "old")
        #expect(try table("app.shared").functions.map(\.entry.name).last == "sum")
        #expect(try table("app.store").tables.map { api.tables[$0].name } == ["old"])
        #expect(api.tables[api.app].tables.map { api.tables[$0].name } == ["http", "shared", "store"])
        #expect(api.tables[api.panini].tables.map { api.tables[$0].name }.last == "clock")
        for (place, table) in api.tables.enumerated() { #expect(table.tables.allSatisfy { $0 > place }) }
    }

    @Test("a script finds each table where it stands, and cannot assign to it")
    func scripts() throws {
        let file = try ScriptFile(
            """
            local app = panini.app{ service_name = "shop" }
            local functions = {
                app.store.open, app.store.drop, app.store.old.find, app.shared.sum, app.shared.get, panini.clock.read,
                panini.json.encode, panini.middleware.cors, app.http.fetch, app.http.websocket, app.logger.info,
                app.add_middleware, panini.app, print,
            }
            for place = 1, 14 do assert(type(functions[place]) == "function", place) end
            assert(app.store.old.drop == nil and panini.worker == 0 and panini.workers == 1 and panini.null)
            assert(os.getenv("PANINI_NO_SUCH_VARIABLE", "usual") == "usual")
            assert(rawequal(require "panini", panini) and app.logger.name == "shop")
            local _, text = pcall(function() app.store.old.find = 1 end)
            assert(text:find("app.store.old.find cannot be assigned: keep values", 1, true), text)
            """
        )
        defer { file.remove() }
        let place = ScriptPlace(features: Self.features)
        try ServiceLoader.loadScript(file.path, overrides: PaniniOverrides(), logger: quiet, place: place).close()
    }

    @Test("an untrusted script has panini.env in the place of os.getenv, and no other function of Lua's")
    func replacements() {
        let replaced = ScriptAPI(FeatureList.all).replacements
        #expect(replaced.map { "\($0.table).\($0.entry.name)" } == ["panini.env"])
        #expect(replaced.first?.replaces.map { "\($0.library).\($0.name)" } == "os.getenv")
    }

    @Test("editors have a class for each table, and a field of the table that it stands in")
    func editors() throws {
        let text = PaniniTypes.definitions(with: Self.features)
        let blocks = text.split(separator: "\n\n").map(String.init)
        #expect(blocks.contains("---Stores.\n---@class panini.Store\n---@field old panini.OldStore\nlocal Store = {}"))
        #expect(blocks.contains("---Old ones.\n---@class panini.OldStore\nlocal OldStore = {}"))
        #expect(blocks.contains("---Does find.\nfunction OldStore.find() end"))
        #expect(blocks.contains("---Does sum.\nfunction Shared.sum() end"))
        #expect(blocks.contains("---Clocks.\n---@class panini.Clock\npanini.clock = {}"))
        let app = try #require(blocks.first { $0.contains("---@class panini.App\n") })
        #expect(app.contains("\n---@field store panini.Store what is kept\n"))
    }
}
