// Modules: once, recorded, waiting, in cycles, failing.
import CLuaShim
import Testing

@testable import LuaVM

@Suite struct RequireTests {
    @Test func aModuleRunsOnceAndIsRecorded() throws {
        let machine = try Machine()
        machine.modules["m"] = "count = (count or 0) + 1; return {name = ..., path = select(2, ...)}"
        #expect(
            try machine.run(
                "local a, path = require 'm'; local b = require 'm'; return {a == b, count, a.name, a.path, path}"
            )
                == #"[true,1,"m","modules/m.lua","modules/m.lua"]"#
        )
        #expect(machine.vm.loadedModules == [LuaModuleRecord(name: "m", path: "modules/m.lua")])
    }

    @Test func modulesWithoutAValueAreTrue() throws {
        let machine = try Machine()
        machine.modules["nothing"] = "x = 1"
        machine.modules["no"] = "return false"
        machine.modules["self"] = "package.loaded[...] = 'set by itself'"
        #expect(
            try machine.run("return {require('nothing'), package.loaded.nothing, (require('self'))}")
                == #"[true,true,"set by itself"]"#
        )
        // As in Lua: a false value is returned as it is, and the module runs again.
        #expect(try machine.run("local a = require('no') return a") == "true")
    }

    @Test func librariesAndTheHostsOwnModules() throws {
        let machine = try Machine()
        lua_pushinteger(machine.vm.state, 7)
        machine.vm.setLoadedModule("panini", machine.vm.state)
        #expect(try machine.run("return {require('string') == string, require('panini')}") == "[true,7]")
        #expect(lua_gettop(machine.vm.state) == 0)
    }

    static let failing: [(String, String)] = [
        ("require 'absent'", "test.lua:1: module 'absent' not found"),
        (
            "require 'broken'",
            "test.lua:1: error loading module 'broken':\n\tmodules/broken.lua:1: syntax error near 'x'"
        ),
        ("require 'raising'", "modules/raising.lua:2: boom"),
        ("require 'a'", "modules/c.lua:1: circular require: a -> b -> c -> a"),
        ("require 'selfish'", "modules/selfish.lua:1: circular require: selfish -> selfish"),
        ("require 'before'", "modules/c.lua:1: circular require: a -> b -> c -> a"),
        ("require()", "test.lua:1: bad argument #1 to 'require' (string expected, got no value)"),
    ]

    @Test(arguments: failing) func fails(_ script: String, _ message: String) throws {
        let machine = try Machine()
        machine.modules = [
            "broken": "x x", "raising": "\nerror('boom')", "a": "require 'b'", "b": "require 'c'", "c": "require 'a'",
            "selfish": "require 'selfish'", "before": "require 'a'",
        ]
        // Twice, as a failed module can be tried again, and from both kinds of stack.
        for _ in 0..<2 {
            let error = #expect(throws: LuaError.self) { try machine.run(script) }
            #expect(error?.message == message)
            let co = try machine.coroutine(script)
            #expect(machine.resume(co) == .failed)
            let fromCoroutine = machine.vm.takeError(co)
            #expect(fromCoroutine.message == message)
        }
        machine.modules["raising"] = "return 1"
        #expect(try machine.run("return require 'raising'") == "1")
    }

    @Test func failuresKeepTheModulesTraceback() throws {
        let machine = try Machine()
        machine.modules["raising"] = "local function inner() error('boom') end\ninner()"
        let error = #expect(throws: LuaError.self) { try machine.run("require 'raising'") }
        #expect(
            error?.traceback?.contains("modules/raising.lua:1: in local 'inner'") == true,
            "\(error?.traceback ?? "")"
        )
        #expect(error?.traceback?.contains("test.lua:1:") == true)
        #expect(machine.vm.loadedModules.map(\.name) == ["raising"])
    }

    @Test func anotherHandlerIsToldWhileAModuleWaits() throws {
        let machine = try Machine()
        machine.modules["slow"] = "return 'got ' .. wait('slow')"
        let first = try machine.coroutine("return require 'slow'")
        #expect(machine.resume(first) == .suspended)
        let second = try machine.coroutine("return require 'slow'")
        #expect(machine.resume(second) == .failed)
        #expect(
            machine.vm.takeError(second).message.contains("module 'slow' is still being loaded by another coroutine")
        )
        #expect(machine.finish(first, machine.resume(first, with: ["it"])).first == #""got it""#)
        #expect(try machine.run("return require 'slow'") == #""got it""#)
    }

    @Test func aDiscardedLoadCanBeTriedAgain() throws {
        let machine = try Machine()
        machine.modules["slow"] = "return wait('slow')"
        let first = try machine.coroutine("return coroutine.wrap(function() return require 'slow' end)()")
        #expect(machine.resume(first) == .suspended)
        machine.vm.discard(first)
        let second = try machine.coroutine("return require 'slow'")
        #expect(machine.resume(second) == .suspended)
        #expect(machine.finish(second, machine.resume(second, with: ["x"])).first == #""x""#)
    }

    @Test func anAbandonedCoroutineGivesItsModuleBack() throws {
        let machine = try Machine()
        machine.modules["yielding"] = "coroutine.yield() return 1"
        let message = try machine.run(
            """
            local co = coroutine.create(require)
            coroutine.resume(co, 'yielding')
            return select(2, pcall(require, 'yielding'))
            """
        )
        #expect(message.contains("is still being loaded by another coroutine"))
        machine.vm.collectGarbage()
        machine.modules["yielding"] = "return 2"
        #expect(try machine.run("return require 'yielding'") == "2")
    }

    @Test func withoutAResolverThereAreNoModules() throws {
        let vm = try LuaVM()
        let error = #expect(throws: LuaError.self) { try vm.run("require 'x'") }
        #expect(error?.message == "chunk:1: module 'x' not found")
    }
}
