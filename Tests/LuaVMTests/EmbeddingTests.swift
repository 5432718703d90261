// The public face: what an embedder writes.
import CLuaVM
import LuaVM
import Testing

@Suite struct EmbeddingTests {
    @Test func runAndCall() throws {
        let vm = try LuaVM()
        try vm.run("function add(a, b) return a + b, 'sum' end", name: "sums.lua")
        #expect(try vm.callGlobal("add", [1, 2]) == [3, "sum"])
        #expect(try vm.callGlobal("add", [1, 0.5]) == [1.5, "sum"])
        #expect(try vm.run("return") == [])
        #expect(try vm.run("return nil, false") == [.nil, false])
    }

    @Test func compiledChunksAreFunctions() throws {
        let vm = try LuaVM()
        let double = try vm.compile("return 2 * ...")
        #expect(try double(21) == [42])
        #expect(try double.call([1.5]) == [3.0])
        let error = #expect(throws: LuaError.self) { try double("x") }
        #expect(error?.message == "chunk:1: attempt to mul a 'number' with a 'string'")
    }

    static let values: [LuaValue] = [
        .nil, .null, true, false, 0, -1, .integer(.max), .integer(.min), 1.5, -0.0, .number(.infinity), "", "text",
        "h\u{E9}\0",
        .bytes([0xFF, 0x00]), [], [1, 2, [3]], ["a": 1, "b": ["c": [1, 2]]],
        .table([1: "x", "k": 2, true: 3, .number(1.5): 4]),
        ["n": .null],
    ]

    @Test(arguments: values) func valuesComeBackAsTheyWent(_ value: LuaValue) throws {
        let vm = try LuaVM()
        let same = try vm.compile("return ...")
        #expect(try same(value) == [value])
        try vm.setGlobal("v", to: value)
        #expect(try vm.global("v") == value)
        vm.register("same") { $0 }
        #expect(try vm.run("return same(v)") == [value])
    }

    @Test func subscriptsReadTables() throws {
        let vm = try LuaVM()
        let value = try #require(try vm.run("return {name = 'x', list = {10, 20}}").first)
        #expect(value["name"] == "x")
        #expect(value["list"][2] == 20)
        #expect(value["list"][3] == .nil)
        #expect(value["name"]["x"] == .nil)
        #expect(value["name"][1] == .nil)
    }

    @Test func listsLeaveHolesForNil() throws {
        let vm = try LuaVM()
        let count = try vm.compile("local t = ... return t[1], t[2], t[3]")
        #expect(try count(.list([1, .nil, 3])) == [1, .nil, 3])
        #expect(try vm.run("return {1, nil, 3}") == [.list([1, .nil, 3])])
    }

    static let uncopied: [(String, String)] = [
        ("return print", "a function cannot be copied from Lua to Swift"),
        ("return {a = {coroutine.create(print)}}", "a thread cannot be copied from Lua to Swift"),
        ("local t = {} t.t = t return t", "a table is nested too deeply for Swift, or contains itself"),
        ("return {[print] = 1}", "a function cannot be copied from Lua to Swift"),
    ]

    @Test(arguments: uncopied) func whatCannotBeCopiedIsAnError(_ script: String, _ message: String) throws {
        let vm = try LuaVM()
        let error = #expect(throws: LuaError.self) { try vm.run(script) }
        #expect(error?.kind == .conversion)
        #expect(error?.message == message)
        vm.register("take") { _ in [] }
        let raised = #expect(throws: LuaError.self) { try vm.run("take((function() \(script) end)())", name: "here") }
        #expect(raised?.kind == .runtime)
        #expect(raised?.message == "here:1: \(message)")
    }

    @Test func impossibleKeysAndDepthsAreErrors() throws {
        let vm = try LuaVM()
        var deep: LuaValue = 1
        for _ in 0..<200 { deep = [deep] }
        for value: LuaValue in [.table([.nil: 1]), .table([.number(.nan): 1]), deep, ["a": ["b": .table([.nil: 2])]]] {
            let error = #expect(throws: LuaError.self) { try vm.setGlobal("v", to: value) }
            #expect(error?.kind == .conversion)
        }
        #expect(try vm.global("v") == .nil)
        #expect(lua_gettop(vm.state) == 0)
    }

    @Test func aThrowingClosureRaisesAtTheScriptsLine() throws {
        struct Refusal: Error, CustomStringConvertible { var description: String { "refused" } }
        let vm = try LuaVM()
        vm.register("refuse") { _ in throw Refusal() }
        #expect(try vm.run("local ok, e = pcall(refuse) return ok, e", name: "s.lua") == [false, "s.lua:1: refused"])
        let error = #expect(throws: LuaError.self) { try vm.run("\n\nrefuse()", name: "s.lua") }
        #expect(error?.message == "s.lua:3: refused")
    }

    @Test func functionsMayOutliveTheState() throws {
        let vm = try LuaVM()
        var function: LuaFunction? = try vm.compile("return 1")
        #expect(try function?() == [1])
        vm.close()
        vm.close()
        #expect(vm.memoryInUse == 0)
        function = nil
        #expect(function == nil)
    }

    @Test func closuresAreFreedWithTheState() throws {
        final class Token {}
        weak var token: Token?
        do {
            let strong = Token()
            token = strong
            let vm = try LuaVM()
            vm.register("hold") { _ in
                _ = strong
                return []
            }
            try vm.run("hold()")
            #expect(token != nil)
        }
        #expect(token == nil)
    }

    @Test func statesAreIndependent() throws {
        let one = try LuaVM()
        let two = try LuaVM()
        try one.run("x = 1")
        #expect(try two.global("x") == .nil)
        #expect(one.memoryInUse > 10_000)
    }
}
