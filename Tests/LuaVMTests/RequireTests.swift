// Modules: once, recorded, waiting, in cycles, failing.
import CLuaVM
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
        (
            "require 'absent'",
            "test.lua:1: module 'absent' not found:\n\tno field package.preload['absent']\n\tno file 'modules/absent.lua'"
        ),
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
        #expect(error?.message == "chunk:1: module 'x' not found:\n\tno field package.preload['x']")
    }

    @Test func oneModuleHasOneName() throws {
        let machine = try Machine()
        machine.modules["a.b"] = "count = (count or 0) + 1 return {name = ...}"
        #expect(
            try machine.run("local m = require 'a/b' return {m == require 'a.b', m == require './a/b', m.name, count}")
                == #"[true,true,"a.b",1]"#
        )
        // What a script has put there under another name is found by it.
        #expect(
            try machine.run("package.preload['x/y'] = function(...) return {...} end return require 'x/y'")
                == #"["x/y",":preload:"]"#
        )
        #expect(try machine.run("package.loaded['p/q'] = 5 return require 'p/q'") == "5")
        for name in ["../a", "/a", "a/../b"] {
            #expect(throws: LuaError.self) { try machine.run("require '\(name)'") }
        }
    }

    @Test func preloadSearchersAndThePath() throws {
        let machine = try Machine()
        machine.modules["host"] = "return 'from the host'"
        #expect(
            try machine.run(
                """
                package.preload.pre = function(...) return {...} end
                table.insert(package.searchers, 1, function(name)
                  if name == 'mine' then return function(n, extra) return n .. ' ' .. extra end, 'extra' end
                  if name == 'odd' then return 5 end
                  return 'not mine: ' .. name
                end)
                local loader, path = package.searchers[3]('host')
                return {require 'pre', require 'mine', require 'host', loader(), path, select(2, pcall(require, 'odd'))}
                """
            ) == """
                [["pre",":preload:"],"mine extra","from the host","from the host","modules/host.lua",\
                "module 'odd' not found:\\n\\t5\\n\\tno field package.preload['odd']\\n\\tno file 'modules/odd.lua'"]
                """
        )
        machine.vm.addSearchPath(["a/?.lua", "b/?.lua"], first: true, machine.vm.state)
        machine.vm.addSearchPath(["c/?.lua"], first: false, machine.vm.state)
        #expect(try machine.run("return package.path") == #""a/?.lua;b/?.lua;c/?.lua""#)
        var asked: [String] = []
        machine.vm.installRequire(
            resolver: { name, path in
                asked.append("\(name) in \(path)")
                return .missing([])
            },
            search: { file, path in file == "x/y" ? .found("found in \(path)") : .missing(["no file '\(file)'"]) }
        )
        #expect(throws: LuaError.self) { try machine.run("package.path = 'mine/?.lua' require 'x'") }
        #expect(asked == ["x in mine/?.lua"])
        #expect(try machine.run("return package.searchpath('x.y', 'p')") == #""found in p""#)
        #expect(try machine.run("return select(2, package.searchpath('x-z', 'p', '-', '+'))") == #""no file 'x+z'""#)
        #expect(lua_gettop(machine.vm.state) == 0)
    }

    @Test(arguments: [
        ("package.path = nil require 'x'", "test.lua:1: 'package.path' must be a string"),
        ("package.searchers = nil require 'x'", "test.lua:1: 'package.searchers' must be a table"),
    ]) func whatAScriptDoesToPackage(_ script: String, _ message: String) throws {
        let machine = try Machine()
        let error = #expect(throws: LuaError.self) { try machine.run(script) }
        #expect(error?.message == message)
    }

    /// Modules in C keep values in the registry, too, by Lua's own function for it.
    @Test func referencesOfLibrariesInCAreTheirOwn() throws {
        var configuration = LuaVM.Configuration()
        configuration.isTrusted = true
        let vm = try LuaVM(configuration: configuration)
        let L = vm.state
        var ours: [(LuaReference, lua_Integer)] = []
        var theirs: [(CInt, lua_Integer)] = []
        var random = SplitMix(state: 5)
        for number in 0..<lua_Integer(2000) {
            lua_pushinteger(L, number)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1: ours.append((vm.makeReference(L), number))
            case 2, 3: theirs.append((luaL_ref(L, PANINI_REGISTRY_INDEX), number))
            case 4 where !ours.isEmpty:
                vm.release(ours.remove(at: Int.random(in: 0..<ours.count, using: &random)).0)
                lua_settop(L, -2)
            case 5 where !theirs.isEmpty:
                luaL_unref(
                    L,
                    PANINI_REGISTRY_INDEX,
                    theirs.remove(at: Int.random(in: 0..<theirs.count, using: &random)).0
                )
                lua_settop(L, -2)
            default: lua_settop(L, -2)
            }
        }
        for (reference, number) in ours.map({ ($0.0.index, $0.1) }) + theirs {
            #expect(lua_rawgeti(L, PANINI_REGISTRY_INDEX, lua_Integer(reference)) == LUA_TNUMBER)
            #expect(lua_tointegerx(L, -1, nil) == number)
            lua_settop(L, -2)
        }
    }
}
