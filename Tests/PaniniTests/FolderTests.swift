// The scripts of a folder, as a bundle's resources are one.

import Foundation
import Testing

@testable import Panini

@Suite("scripts of a folder")
struct FolderTests {
    private func withFolder(_ files: [String: String], _ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, text) in files {
            try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8)
        }
        try await body(folder.path)
    }

    @Test func theyRunAndModulesAreLeftOut() async throws {
        let files = [
            "b.lua": """
            local app = panini.app{ service_name = "b" }
            app.listen("b", function() return require("words").hello end)
            """,
            "a.lua": """
            local app = panini.app{ service_name = "a" }
            app.listen("a", function() return "a" end)
            """,
            "words.lua": "return { hello = 'hello' }", "a_test.lua": "error('no script')",
            ".hidden.lua": "error('no script')",
            "notes.txt": "not Lua",
        ]
        try await withFolder(files) { folder in
            var found = PaniniHostConfiguration(scripts: [])
            try found.addScripts(in: folder)
            #expect(found.scripts == ["a.lua", "b.lua", "words.lua"].map { "\(folder)/\($0)" })
            try await Running.with(
                "",
                configure: configuring { configuration in
                    configuration.scripts = []
                    try? configuration.addScripts(in: folder + "/")
                }
            ) { running in
                while try await running.host.status().map(\.state) != ["running", "running"] { await Task.yield() }
                try await running.expect("a", gives: "a")
                try await running.expect("b", gives: "hello")
            }
        }
    }

    @Test func aFolderWithoutScriptsIsAnError() async throws {
        var configuration = PaniniHostConfiguration(scripts: [])
        var error = #expect(throws: PaniniError.self) { try configuration.addScripts(in: "/nowhere/at/all") }
        #expect(error?.code == .scriptNotFound)
        #expect(error?.message == "/nowhere/at/all: no such folder")
        try await withFolder(["notes.txt": ""]) { folder in
            var configuration = configuration
            var error = #expect(throws: PaniniError.self) { try configuration.addScripts(in: folder) }
            #expect(error?.message == "\(folder): no scripts (*.lua) in this folder")
            error = #expect(throws: PaniniError.self) { try configuration.addScripts(in: folder + "/notes.txt") }
            #expect(error?.message == "\(folder)/notes.txt: is no folder")
        }
        error = #expect(throws: PaniniError.self) { try configuration.addScripts(in: "") }
        #expect(error?.code == .scriptNotFound)
    }
}
