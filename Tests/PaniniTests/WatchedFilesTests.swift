// What a look at the files of a service means. Values; the system is asked for two signatures only.

import Testing

@testable import Panini

@Suite("Watched files")
struct WatchedFilesTests {
    private let one = FileSignature("/")
    private let other = FileSignature("/proc")

    @Test("the first look at an attempt reads everything, the next ones what differs")
    func suspects() throws {
        #expect(one != nil && one != other)
        var files = WatchedFiles()
        var signatures = ["a.lua": one, "b.lua": one, "gone.lua": nil]
        func look(_ attempt: Int) -> [String] {
            files.suspects(among: signatures.keys.sorted(), attempt: attempt) { signatures[$0] ?? nil }
        }
        #expect(look(1) == ["a.lua", "b.lua", "gone.lua"])
        #expect(look(1) == [])
        signatures["b.lua"] = other
        #expect(look(1) == ["b.lua"])
        signatures["gone.lua"] = one
        #expect(look(1) == ["gone.lua"])
        #expect(look(2) == ["a.lua", "b.lua", "gone.lua"])
        files.forget(["a.lua"])
        #expect(look(2) == ["a.lua"])
    }

    @Test("a script that is gone is told once, until it is there again")
    func missing() {
        var files = WatchedFiles()
        #expect(files.found(changed: ["app.lua", "b.lua"], gone: ["app.lua"], script: "app.lua") == .scriptMissing)
        #expect(files.found(changed: ["app.lua"], gone: ["app.lua"], script: "app.lua") == .nothing)
        #expect(files.found(changed: ["app.lua"], gone: [], script: "app.lua") == .changed(["app.lua"]))
        #expect(files.found(changed: ["app.lua"], gone: ["app.lua"], script: "app.lua") == .scriptMissing)
        // A new attempt tells it anew.
        _ = files.suspects(among: ["app.lua"], attempt: 7) { _ in nil }
        #expect(files.found(changed: ["app.lua"], gone: ["app.lua"], script: "app.lua") == .scriptMissing)
    }

    @Test("a module that is gone is believed at the second look")
    func secondLook() {
        var files = WatchedFiles()
        let changed = ["m.lua", "a.lua"]
        #expect(files.found(changed: changed, gone: ["m.lua"], script: "app.lua") == .lookAgain(["m.lua"]))
        #expect(files.found(changed: changed, gone: ["m.lua"], script: "app.lua") == .changed(["a.lua", "m.lua"]))
        #expect(files.found(changed: changed, gone: ["m.lua"], script: "app.lua") == .lookAgain(["m.lua"]))
        #expect(files.found(changed: ["a.lua"], gone: [], script: "app.lua") == .changed(["a.lua"]))
        #expect(files.found(changed: changed, gone: ["m.lua"], script: "app.lua") == .lookAgain(["m.lua"]))
    }
}
