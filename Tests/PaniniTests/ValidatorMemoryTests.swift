// Validators over values that change under them: weak tables, tables that hold one another often, lists that scripts get.

import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Validators and memory")
struct ValidatorMemoryTests {
    private func script() throws -> Script {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
    }

    /// What the weak table holds, which nobody else does.
    private static let weak = """
        local v = panini.validator({ a = { type = "any", optional = true } }, { unknown = "refuse", max_violations = 10000 })
        function fill(count)
          value = setmetatable({}, { __mode = "v" })
          for i = 1, count do value["k" .. i] = {} end
          value.kept = 1
        end
        function validate()
          local _, list = v:validate(value)
          local paths = {}
          for i, one in ipairs(list or {}) do paths[i] = one.path end
          return table.concat(paths, " ")
        end
        """

    @Test(
        "of a weak table the keys that are left are reported, whenever the collector runs",
        arguments: [1, 2, 3, 5, 8]
    )
    func weakTable(every: Int) throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        try vm.run(Self.weak)
        for count in [1, 10, 1000] {
            try vm.callGlobal("fill", [.integer(Int64(count))])
            try #require(vm.injectMemoryFaults(every: every))
            defer { vm.injectMemoryFaults(every: 0) }
            var found: [LuaValue] = []
            do {
                found = try vm.callGlobal("validate")
            } catch {
                // Buffers of the C library do not ask twice.
                #expect(error.kind == .memory, "\(error)")
                continue
            }
            guard case .string(let paths)? = found.first else { return #expect(Bool(false), "\(found)") }
            let keys = paths.split(separator: " ")
            #expect(keys.contains("kept") && keys == keys.sorted(), "\(paths)")
            #expect(keys.allSatisfy { $0 == "kept" || Int($0.dropFirst()) != nil }, "\(paths)")
        }
        #expect(vm.injectedMemoryFaults > 10)
    }

    @Test("the first unknown keys by name are reported, and that there are more", arguments: [1, 3, 100])
    func manyUnknown(limit: Int) throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        let results = try vm.run(
            """
            local v = panini.validator({}, { unknown = "refuse", max_violations = \(limit) })
            local value = {}
            for i = 1, 5000 do value[("%04d"):format(i * 7919 % 5000)] = true end
            value[2], value[7] = 1, 1
            local _, list = v:validate(value)
            local names = {}
            for i = 1, #list - 1 do names[i] = list[i].path end
            return table.concat(names, " "), list[#list].code, #list
            """
        )
        let expected = (0..<limit).map { name in
            let digits = String(name)
            return String(repeating: "0", count: 4 - digits.count) + digits
        }
        #expect(results == [.string(expected.joined(separator: " ")), "too_many", .integer(Int64(limit + 1))])
    }

    @Test("no memory for a validation is an error of the run, and nothing else", arguments: 1...60)
    func withoutMemory(every: Int) throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        try vm.run(Self.weak)
        try vm.callGlobal("fill", [50])
        let before = vm.memoryInUse
        try #require(vm.injectMemoryFaults(every: every, attempts: 2))
        _ = try? vm.callGlobal("validate")
        vm.injectMemoryFaults(every: 0)
        _ = try vm.callGlobal("validate")
        vm.collectGarbage()
        #expect(vm.memoryInUse <= before + 4096)
    }

    @Test("on_invalid may do to the list of violations what it likes")
    func changedList() throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        for change in [
            "list[1] = nil", "list[1] = 7", "list[1].path = nil", "list[1].message = {}",
            "list[1].path = setmetatable({}, {})",
            "for k in pairs(list) do list[k] = nil end", "setmetatable(list, { __index = error })",
        ] {
            // A guard as listeners have it, whose argument is the value itself.
            let L = vm.state
            try vm.run("refused = panini.validator{ a = { type = 'integer' } } function change(_, list) \(change) end")
            var host = panini_guard_host()
            host.push_value = { L, _ in lua_pushvalue(L, 1) }
            host.failed = { _, _ in }
            host.covered = { _, _ in }
            host.error_metatable = script.tables.errorType
            #expect(vm.pushGlobal("change", onto: L))
            lua_settop(L, -2)
            withUnsafePointer(to: &host) { host in
                vm.pushFunction("print", onto: L)
                lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(LUA_RIDX_GLOBALS))
                panini_field(L, -1, "refused")
                lua_rotate(L, -2, 1)
                lua_settop(L, -2)
                vm.pushFunction("change", onto: L)
                panini_validator_push_guard(L, host)
                vm.setGlobal(L, "guard")
                #expect(throws: Never.self) {
                    let results = try vm.run(
                        "local none, err = guard({ a = 'x' }) return none, err.code, #err.message > 3"
                    )
                    #expect(results == [.nil, 422, true], "\(change)")
                }
            }
        }
    }

    @Test("a validator that visits one table again and again ends with its run", .timeLimit(.minutes(1)))
    func exponential() throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        vm.cpuLimit = 0.1
        for (name, source) in [
            (
                "items",
                """
                local items = { type = "any" }
                for i = 1, 7 do items = { type = "array", items = items } end
                local v = panini.validator{ a = items }
                local t = 1
                for i = 1, 7 do local list = {} for k = 1, 100 do list[k] = t end t = list end
                v:validate{ a = t }
                """
            ),
            (
                "objects",
                """
                local v = panini.validator{ x = { type = "any", optional = true } }
                for i = 1, 7 do
                  v = panini.validator{ l = { type = v, optional = true }, r = { type = v, optional = true },
                    m = { type = v, optional = true } }
                end
                local items = { type = "array", items = { type = v } }
                local w = panini.validator{ a = { type = "array", items = items } }
                local t = {}
                for i = 1, 9 do t = { l = t, r = t, m = t } end
                local row, rows = {}, {}
                for i = 1, 1000 do row[i] = t end
                for i = 1, 1000 do rows[i] = row end
                w:validate{ a = rows }
                """
            ),
            (
                "a pattern",
                """
                local v = panini.validator({ s = { type = "string", pattern = "a-a-a-a-a-a-b" } }, { pattern_steps = 1000000000 })
                v:validate{ s = ("a"):rep(10000) }
                """
            ),
            (
                "one text again and again",
                """
                local v = panini.validator{ a = { type = "array", items = { type = "string", max = 1000000000 } } }
                local list, text = {}, ("x"):rep(1000000)
                for i = 1, 100000 do list[i] = text end
                v:validate{ a = list }
                """
            ),
        ] {
            do {
                try vm.run(source, name: name)
                Issue.record("\(name) came to an end")
            } catch {
                #expect(error.kind == .cpu, "\(name): \(error)")
            }
            #expect(try vm.run("return 1") == [1])
        }
    }

    @Test("without an argument nothing is validated, the validators' metatable least of all")
    func noValue() throws {
        let script = try script()
        defer { withExtendedLifetime(script) {} }
        let results = try script.vm.run(
            """
            local v = panini.validator{ a = { type = "any", optional = true } }
            local value, list = v:validate()
            return value, list[1].code
            """
        )
        #expect(results == [.nil, "required"])
    }
}

extension LuaVM {
    /// Pushes a global function that is there.
    fileprivate func pushFunction(_ name: String, onto L: OpaquePointer) {
        precondition(pushGlobal(name, onto: L))
    }
}
