// Plain data from one Lua state to another: whole, or refused with the place.

import CLuaVM
import Testing

@testable import LuaVM

@Suite("Snapshots")
struct SnapshotTests {
    /// Runs `source` in one state, which returns a value, and `check` in another with that value as its argument.
    private func hand(_ source: String, to check: String) throws -> [LuaValue] {
        let from = try LuaVM()
        let to = try LuaVM()
        try from.run("function value() \(source) end", name: "from.lua")
        let snapshot = try snapshot(from)
        from.close()
        try to.run("function check(value) \(check) end", name: "to.lua")
        lua_rawgeti(to.state, CInt(PANINI_REGISTRY_INDEX), lua_Integer(LUA_RIDX_GLOBALS))
        _ = to.pushRawField(to.state, -1, "check")
        to.push(snapshot, onto: to.state)
        #expect(panini_call(panini_vm_of(to.state), to.state, 1, 1) == LUA_OK)
        return [try to.value(to.state, -1)]
    }

    private func snapshot(_ vm: LuaVM) throws -> LuaSnapshot {
        lua_rawgeti(vm.state, CInt(PANINI_REGISTRY_INDEX), lua_Integer(LUA_RIDX_GLOBALS))
        _ = vm.pushRawField(vm.state, -1, "value")
        #expect(panini_call(panini_vm_of(vm.state), vm.state, 0, 1) == LUA_OK)
        return try vm.snapshot(vm.state, -1)
    }

    @Test(
        "values come through whole",
        arguments: [
            ("return nil", "return value == nil"),
            ("return true", "return value == true"),
            ("return false", "return value == false"),
            ("return math.mininteger", "return value == math.mininteger and math.type(value) == 'integer'"),
            ("return 0.1", "return value == 0.1"),
            ("return 1e300 * 1e10", "return value == math.huge"),
            ("return '\\0\\255' .. ('x'):rep(100000)", "return value == '\\0\\255' .. ('x'):rep(100000)"),
            (
                "return { a = { b = { 1, 2, [5] = 5, [true] = 'yes', [1.5] = 2 } } }",
                "local b = value.a.b return b[1] == 1 and b[2] == 2 and b[5] == 5 and b[true] == 'yes' and b[1.5] == 2"
            ),
            ("local t = {} return { t, t }", "return type(value[1]) == 'table' and type(value[2]) == 'table'"),
        ]
    )
    func whole(source: String, check: String) throws {
        #expect(try hand(source, to: check) == [.boolean(true)])
    }

    @Test(
        "what is no plain data is refused with its place",
        arguments: [
            ("return print", "the value is a function"),
            ("return { list = { 1, { deep = print } } }", "list[2].deep is a function"),
            ("local t = {} t.x = { t } return t", "x[1] contains itself"),
            ("return { setmetatable({}, {}) }", "[1] has a metatable"),
            ("return { [print] = 1 }", "the value has a function as a key"),
            ("return ('x'):rep(9 * 1024 * 1024)", "larger than 8 MiB"),
            ("local t = {} for _ = 1, 200 do t = { t } end return t", "nested deeper than 128"),
        ]
    )
    func refused(source: String, text: String) throws {
        let vm = try LuaVM()
        try vm.run("function value() \(source) end", name: "from.lua")
        let problem = #expect(throws: LuaSnapshotError.self) { try snapshot(vm) }
        #expect(problem?.message.contains(text) == true, "\(problem?.message ?? "")")
    }

    // MARK: - Bounds

    @Test("errors show the beginning of a long place, which no level of the data copies")
    func longPlace() throws {
        let vm = try LuaVM()
        try vm.run(
            """
            function value()
              local inner = { print }
              for _ = 1, 100 do inner = { inner } end
              return { [("x"):rep(1000000)] = { [("y"):rep(1000000)] = inner } }
            end
            """
        )
        let problem = #expect(throws: LuaSnapshotError.self) { try snapshot(vm) }
        let message = try #require(problem?.message)
        #expect(message.hasPrefix("xxxx") && message.hasSuffix(" is a function, not plain data"))
        #expect(message.utf8.count < 10_000, "\(message.utf8.count)")
    }

    @Test(
        "a value takes no more in Lua than its snapshot says",
        arguments: [
            "local t = {} for i = 1, 100 do t = { [true] = t } end local l = {} for i = 1, 2000 do l[i] = t end return l",
            "local l = {} for i = 1, 70000 do l[i] = i end return l",
            "local l = {} for i = 1, 70000 do l[i * 1.5] = true end return l",
            "local l = {} for i = 1, 70000 do l['key ' .. i] = 'value ' .. i end return l",
            "local l = {} for i = 1, 70000 do l[i] = {} end return l",
            "return ('x'):rep(1000000)", "return { ('x'):rep(1000000), ('y'):rep(1000000) }",
        ]
    )
    func sizeInLua(source: String) throws {
        let from = try LuaVM()
        try from.run("function value() \(source) end")
        let snapshot = try snapshot(from)
        let to = try LuaVM()
        to.collectGarbage()
        let before = to.memoryInUse
        // What it needs on the way counts, too.
        #expect(to.push(snapshot, onto: to.state))
        #expect(to.memoryInUse - before <= snapshot.sizeInLua + 4096)
        #expect(snapshot.sizeInLua < 48 * snapshot.bytes.count + 4096)
    }

    @Test("a snapshot that takes long to push ends with the run, and leaves nil")
    func pushEnds() throws {
        let from = try LuaVM()
        try from.run(
            "function value() local t = {} for i = 1, 100 do t = { [true] = t } end "
                + "local l = {} for i = 1, 20000 do l[i] = t end return l end"
        )
        let snapshot = try snapshot(from)
        let to = try LuaVM()
        to.cpuLimit = 0.05
        let top = lua_gettop(to.state)
        var isWhole = true
        // A fifth of the budget, for some two million tables.
        let isInTime = to.withinBudget { isWhole = to.push(snapshot, onto: to.state) }
        #expect(!isWhole && !isInTime)
        #expect(lua_gettop(to.state) == top + 1 && lua_type(to.state, -1) == LUA_TNIL)
        lua_settop(to.state, top)
        to.collectGarbage()
        #expect(try to.run("return 1") == [1])
    }

    @Test("a copy takes no more bytes than it may, and says that it was the memory")
    func most() throws {
        let vm = try LuaVM()
        try vm.run("text, list = ('x'):rep(10000), {} for i = 1, 1000 do list[i] = i end")
        for name in ["text", "list"] as [StaticString] {
            lua_rawgeti(vm.state, CInt(PANINI_REGISTRY_INDEX), lua_Integer(LUA_RIDX_GLOBALS))
            _ = vm.pushRawField(vm.state, -1, name)
            let problem = #expect(throws: LuaSnapshotError.self) {
                try vm.snapshot(vm.state, -1, most: 5000)
            }
            #expect(problem?.isMemory == true && problem?.message == "not enough memory")
            #expect(try vm.snapshot(vm.state, -1, most: 100_000).bytes.count > 5000)
            lua_settop(vm.state, -3)
        }
    }
}
