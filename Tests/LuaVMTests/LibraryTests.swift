// What scripts see of Lua's libraries, and what they do not.
import CLuaShim
import Testing

@testable import LuaVM

@Suite struct LibraryTests {
    @Test func theGlobalsAreTheAllowList() throws {
        let machine = try LuaVM()
        let names = try machine.run(
            """
            local names = {}
            for k in pairs(_G) do names[#names + 1] = k end
            table.sort(names)
            return table.concat(names, ' ')
            """
        )
        #expect(
            names == [
                """
                _G _VERSION assert collectgarbage coroutine debug error getmetatable ipairs load math next os package pairs \
                pcall print rawequal rawget rawlen rawset require select setmetatable string table tonumber tostring type utf8 \
                warn xpcall
                """
            ]
        )
    }

    static let members: [(String, String)] = [
        ("os", "clock date difftime time"), ("debug", "traceback"), ("package", "loaded"),
        ("coroutine", "close create isyieldable resume running status wrap yield"),
        ("string", "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper"),
    ]

    @Test(arguments: members) func libraries(_ name: String, _ expected: String) throws {
        let vm = try LuaVM()
        let script = "local n = {} for k in pairs(\(name)) do n[#n+1] = k end table.sort(n) return table.concat(n, ' ')"
        #expect(try vm.run(script) == [.string(expected)])
        // Nothing more is reachable through what was loaded.
        #expect(try vm.run("return package.loaded.\(name) == \(name)") == (name == "package" ? [false] : [true]))
    }

    static let refused: [(String, String)] = [
        ("setmetatable({}, {__gc = function() end})", "__gc is not available: use <close> variables"),
        ("collectgarbage()", "collectgarbage('collect') is not available: only 'count' is"),
        ("collectgarbage('stop')", "collectgarbage('stop') is not available: only 'count' is"),
        ("setmetatable(1, {})", "bad argument #1 to 'setmetatable' (table expected, got number)"),
        ("setmetatable({})", "bad argument #2 to 'setmetatable' (nil or table expected, got no value)"),
        ("setmetatable(setmetatable({}, {__metatable = 1}), {})", "cannot change a protected metatable"),
        ("getmetatable('').x = 1", "attempt to index a boolean value"),
        ("load('x', 'n', {})", "bad argument #3 to 'load' (string expected, got table)"),
        ("null.x = 1", "attempt to index a userdata value (global 'null')"),
    ]

    @Test(arguments: refused) func refuses(_ script: String, _ message: String) throws {
        let machine = try Machine()
        let error = #expect(throws: LuaError.self) { try machine.run(script) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    static let works: [(String, String)] = [
        ("load('return ...')(5)", "5"), ("load('x = 1', 'n', 't', {}) ~= nil and x == nil", "true"),
        ("(function() local e = {} load('y = 2', 'n', 't', e)() return e.y end)()", "2"),
        ("{load('x x', '=name')}", #"[null,"name:1: syntax error near 'x'"]"#.replacing("null,", with: "null,")),
        ("select(2, load('return 1', 'n', 'b'))", #""only text chunks can be loaded""#),
        ("load('\\27Lua')", "null"),
        (
            "(function() local p = {'return ', '1', '+1'} local i = 0 return load(function() i = i + 1 return p[i] end)() end)()",
            "2"
        ),
        ("select(2, load(function() return {} end))", #""test.lua:1: reader function must return a string""#),
        (
            "(function() local n = 0 return load(function() n = n + 1 return n == 1 and ('x'):rep(10) .. '= 1' or nil end) ~= nil end)()",
            "true"
        ),
        ("select(2, load(function() error('in reader', 0) end))", #""in reader""#),
        ("collectgarbage('count') > 10", "true"), ("tostring(null)", #""null""#), ("type(null)", #""userdata""#),
        ("getmetatable(null)", #""null""#),
        ("getmetatable(array{})", #""array""#), ("getmetatable('')", "false"),
        ("getmetatable(setmetatable(array{}, {__index = {x = 1}})).__index.x", "1"),
        ("getmetatable(setmetatable(array{}, nil)) == nil", "true"),
        ("math.type(3)", #""integer""#), ("utf8.char(8364)", #""€""#),
        ("os.time{year=2020,month=1,day=1,hour=12} > 0", "true"),
        ("_VERSION", #""Lua 5.4""#), ("debug.traceback('x'):sub(1, 1)", #""x""#),
        ("select('#', table.unpack({1, 2, 3}))", "3"), ("('x'):rep(3)", #""xxx""#), ("next({}) == nil", "true"),
    ]

    @Test(arguments: works) func evaluates(_ expression: String, _ result: String) throws {
        let machine = try Machine()
        if expression.hasPrefix("{load") {
            #expect(
                try machine.run("return select(2, \(expression.dropFirst().dropLast()))")
                    == #""name:1: syntax error near 'x'""#
            )
        } else {
            let found = try machine.run("return \(expression)")
            #expect(found == result)
        }
    }

    @Test func theVersionIsKnown() {
        #expect(LuaVM.luaVersion.hasPrefix("Lua 5.4"))
    }
}
