// What scripts see of Lua's libraries, and what they do not.
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
                _G _VERSION assert collectgarbage coroutine debug dofile error getmetatable io ipairs load loadfile math next \
                os package pairs pcall print rawequal rawget rawlen rawset require select setmetatable string table tonumber tostring type utf8 \
                warn xpcall
                """
            ]
        )
    }

    static let members: [(String, String)] = [
        ("os", "clock date difftime execute exit getenv remove rename setlocale time tmpname"),
        ("io", "close flush input lines open output popen read stderr stdin stdout tmpfile type write"),
        ("package", "config cpath loaded loadlib path preload searchers searchpath"),
        (
            "debug",
            """
            debug gethook getinfo getlocal getmetatable getregistry getupvalue getuservalue setcstacklimit sethook setlocal \
            setmetatable setupvalue setuservalue traceback upvalueid upvaluejoin
            """
        ),
        ("coroutine", "close create isyieldable resume running status wrap yield"),
        ("string", "byte char dump find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper"),
    ]

    @Test(arguments: members) func libraries(_ name: String, _ expected: String) throws {
        let vm = try LuaVM()
        let script = "local n = {} for k in pairs(\(name)) do n[#n+1] = k end table.sort(n) return table.concat(n, ' ')"
        #expect(try vm.run(script) == [.string(expected)])
        // Nothing more is reachable through what was loaded.
        #expect(try vm.run("return package.loaded.\(name) == \(name) and require '\(name)' == \(name)") == [true])
        #expect(
            try vm.run(
                "for k, v in next, \(name) do if \(name)[k] ~= v or rawget(\(name), k) ~= v then return k end end"
            ) == []
        )
    }

    static let refused: [(String, String)] = [
        ("collectgarbage('x')", "bad argument #1 to 'collectgarbage' (invalid option 'x')"),
        ("string.find = nil", "string.find is the host's and stays as it is"),
        ("rawset(table, 'insert', print)", "table.insert is the host's and stays as it is"),
        ("table.insert(os, 1, 2) os.time = 1", "os.time is the host's and stays as it is"),
        ("setmetatable(string, {})", "cannot change a protected metatable"),
        ("getmetatable('').__index = {}", "getmetatable('').__index is the host's and stays as it is"),
        ("getmetatable('').__gc = print", "getmetatable('').__gc is the host's and stays as it is"),
        ("rawset(getmetatable(''), '__metatable', 1)", "getmetatable('').__metatable is the host's"),
        ("os.execute('true')", "os.execute is closed to scripts (--trust opens it)"),
        (
            "os.exit()",
            "os.exit is closed to scripts: a service ends with its program, and error(...) ends what runs (--trust"
        ),
        ("os.remove('x')", "os.remove is closed to scripts"), ("os.rename('x', 'y')", "os.rename is closed to scripts"),
        ("os.tmpname()", "os.tmpname is closed to scripts"), ("io.popen('ls')", "io.popen is closed to scripts"),
        ("dofile('x')", "dofile is closed to scripts: require runs modules"),
        ("loadfile('x')", "loadfile is closed to scripts: require loads modules"),
        ("package.loadlib('x', 'y')", "package.loadlib is closed to scripts"),
        ("debug.sethook(print, 'l')", "debug.sethook is closed to scripts"),
        ("debug.sethook(coroutine.create(print), print)", "debug.sethook is closed to scripts"),
        ("debug.setmetatable('', {})", "debug.setmetatable of a string is closed"),
        ("debug.setmetatable(1, {})", "debug.setmetatable of a number is closed"),
        ("debug.setmetatable(io.stdout, nil)", "debug.setmetatable of a userdata is closed"),
        ("debug.setmetatable(string, nil)", "cannot change a protected metatable"),
        ("debug.getregistry()", "debug.getregistry is closed"),
        ("debug.getlocal(1, 1)", "debug.getlocal is closed"),
        ("debug.getinfo(1, 'f')", "debug.getinfo gives S, l, n, t and u: 'f' is closed to scripts"),
        ("debug.getinfo(1, 'X')", "bad argument #2 to 'getinfo' (invalid option)"),
        ("debug.getinfo('x')", "bad argument #1 to 'getinfo' (number expected, got string)"),
        ("string.dump(print)", "string.dump is closed: bytecode is never loaded"),
        ("io.output('x')", "io.output: files are closed to scripts"),
        ("io.stdin:write('x')", "io.stdin cannot be written to"),
        ("io.stdout.write({}, 'x')", "bad argument #1 to 'write' (FILE* expected, got table)"),
        ("io.open('x', 'q')", "bad argument #2 to 'open' (invalid mode)"),
        ("setmetatable(1, {})", "bad argument #1 to 'setmetatable' (table expected, got number)"),
        ("setmetatable({})", "bad argument #2 to 'setmetatable' (nil or table expected, got no value)"),
        ("setmetatable(setmetatable({}, {__metatable = 1}), {})", "cannot change a protected metatable"),
        ("load('x', 'n', {})", "bad argument #3 to 'load' (string expected, got table)"),
        ("null.x = 1", "attempt to index a userdata value (global 'null')"),
    ]

    @Test(arguments: refused) func refuses(_ script: String, _ message: String) throws {
        let machine = try Machine()
        let error = #expect(throws: LuaError.self) { try machine.run(script) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    static let works: [(String, String)] = [
        (
            "(function() table.unpack = table.unpack or unpack string.rep = string.rep return ('x'):rep(2) end)()",
            #""xx""#
        ),
        ("load('return ...')(5)", "5"), ("load('x = 1', 'n', 't', {}) ~= nil and x == nil", "true"),
        ("(function() local e = {} load('y = 2', 'n', 't', e)() return e.y end)()", "2"),
        ("{load('x x', '=name')}", #"[null,"name:1: syntax error near 'x'"]"#.replacing("null,", with: "null,")),
        ("select(2, load('return 1', 'n', 'b'))", #""attempt to load a text chunk (mode is 'b')""#),
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
        ("getmetatable(array{})", #""array""#), ("getmetatable('').__index == string", "true"),
        ("getmetatable(_G) == nil", "true"), ("getmetatable(5) == nil", "true"), ("getmetatable(string)", "false"),
        ("getmetatable(setmetatable({}, {__metatable = 7}))", "7"),
        // What a script adds is there however it is looked for, and goes again.
        (
            """
            (function()
              function string.trim(s) return s:match('^%s*(.-)%s*$') end
              local seen = {}
              for k, v in pairs(string) do seen[k] = v end
              local all = {(' x '):trim(), string.trim == seen.trim, rawget(string, 'trim') == seen.trim, seen.find == string.find}
              string.trim = nil
              all[#all + 1] = rawget(string, 'trim') == nil and not pcall(function() return (''):trim() end)
              rawset(table, 'twice', 2)
              all[#all + 1] = table.twice
              return all
            end)()
            """, #"["x",true,true,true,true,2]"#
        ),
        // Nothing that iterates has the host's own table in its hands.
        ("(function() local _, t = pairs(string) return t == string and next(t, nil) ~= nil end)()", "true"),
        (
            "(function() getmetatable('').__mod = function(s, a) return s .. a end getmetatable('').__call = string.rep "
                + "return {'x' % 5, ('ab')(2), getmetatable('').__mod('a', 'b')} end)()",
            #"["x5","abab","ab"]"#
        ),
        (
            "{collectgarbage(), collectgarbage('step'), collectgarbage('isrunning'), collectgarbage('incremental')}",
            #"[0,true,true,"incremental"]"#
        ),
        (
            "{collectgarbage('stop'), collectgarbage('restart'), collectgarbage('setpause', 1), collectgarbage('generational')}",
            #"[0,0,200,"incremental"]"#
        ),
        (
            "(function() local mt = {__gc = print, __index = {x = 1}} local t = setmetatable({}, mt) "
                + "return {t.x, mt.__gc == print, getmetatable(t) == mt} end)()",
            "[1,true,true]"
        ),
        ("{select(2, io.open('x'))}", #"["x: files are closed to scripts (--trust opens them)",13]"#),
        ("io.open('x') == nil and io.tmpfile() == nil", "true"),
        ("select(2, io.lines('a'))", #""a: files are closed to scripts (--trust opens them)""#),
        (
            "{io.type(io.stdout), io.type(5) == nil, tostring(io.stderr), io.read() == nil, io.stdin:read('a') == nil}",
            #"["file",true,"file (stderr)",true,true]"#
        ),
        (
            "io.stdout:close() and io.stdout:setvbuf('no') and io.output() == io.stdout and io.input() == io.stdin",
            "true"
        ),
        ("{select(2, io.stdout:seek())}", #"["Illegal seek",29]"#),
        ("{os.setlocale(), os.setlocale('C'), os.setlocale('de_DE') == nil}", #"["C","C",true]"#),

        (
            "(function() local before = getmetatable('') debug.setmetatable('', nil) local bare = pcall(function() return (''):len() end) "
                + "debug.setmetatable('', before) debug.sethook() return {bare, (''):len(), getmetatable('') == before} end)()",
            "[false,0,true]"
        ),
        (
            "{debug.getmetatable(string), debug.getmetatable('').__index == string, debug.setmetatable({}, {__index = {x = 1}}).x}",
            "[false,true,1]"
        ),
        ("package.config", #""/\n;\n?\n!\n-\n""#), ("debug.gethook() == nil", "true"),
        ("debug.getinfo(1, 'l').currentline", "1"), ("debug.getinfo(1, 'S').source", #""@test.lua""#),
        ("debug.getinfo(print).what", #""C""#), ("debug.getinfo(99) == nil", "true"),
        (
            "(function(a, b, ...) local i = debug.getinfo(1, 'nSu') return {i.nparams, i.isvararg, i.short_src, i.what} end)()",
            #"[2,true,"test.lua","Lua"]"#
        ),
        (
            "(function() local n local function named() n = debug.getinfo(1, 'n').name end named() return n end)()",
            #""named""#
        ),
        // The frame that stands for a message handler is left out.
        ("select(2, xpcall(error, function() return debug.getinfo(1, 'l').currentline end))", "1"),
        (
            "(function() local co = coroutine.create(function() coroutine.yield() end) coroutine.resume(co) "
                + "return {debug.getinfo(co, 1, 'l').currentline, debug.getinfo(co, 0, 'S').what} end)()",
            #"[1,"C"]"#
        ),
        (
            "(function() local x, y = 1, 2 local function f() return x end local function g() return y end "
                + "debug.setupvalue(f, 1, 5) local a = x debug.upvaluejoin(f, 1, g, 1) "
                + "return {a, f(), debug.getupvalue(g, 1), debug.upvalueid(f, 1) == debug.upvalueid(g, 1)} end)()",
            #"[5,2,"y",true]"#
        ),
        // The host's functions keep theirs for themselves.
        ("debug.getupvalue(('x'):gmatch('x'), 1) == nil and debug.upvalueid(io.write, 1) ~= nil", "true"),
        ("debug.setupvalue(io.write, 1, {}) == nil and not pcall(debug.upvaluejoin, load, 1, io.write, 1)", "true"),
        ("('pizza\\0'):find('%z')", "6"), ("('pizza\\0'):gsub('[%z]', '#')", #""pizza#""#),
        ("('a\\0b'):gsub('%Z', '')", #""\u0000""#),
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

@Suite struct OutputTests {
    final class Taken {
        var texts: [String] = []
        var notices: [CInt] = []
    }

    @Test func whatIsWrittenGoesToTheHost() throws {
        let machine = try Machine()
        let taken = Taken()
        machine.vm.takeOutput(context: Unmanaged.passUnretained(taken).toOpaque()) { context, stream, text, count in
            let taken = Unmanaged<Taken>.fromOpaque(context!).takeUnretainedValue()
            let bytes = UnsafeRawBufferPointer(start: text, count: count)
            taken.texts.append("\(stream)" + (text == nil ? "!" : ":" + String(decoding: bytes, as: UTF8.self)))
        }
        try machine.run(
            """
            assert(io.write('a', 1, 2.5) == io.stdout)
            io.stdout:write('b'):write('c', '\\n')
            io.stderr:write('wrong')
            io.output(io.stderr)
            io.write('x')
            io.flush()
            io.write()
            io.stdout:write()
            assert(not pcall(io.write, {}))
            """
        )
        #expect(taken.texts == ["1:a12.5", "1:b", "1:c\n", "2:wrong", "2:x", "2!"])
    }

    @Test func whatIsLeftOutIsTold() throws {
        let machine = try Machine()
        let taken = Taken()
        machine.vm.takeNotices(context: Unmanaged.passUnretained(taken).toOpaque()) { _, context, notice in
            Unmanaged<Taken>.fromOpaque(context!).takeUnretainedValue().notices.append(notice)
        }
        try machine.run("collectgarbage() setmetatable({}, {__gc = print}) collectgarbage('count')")
        #expect(taken.notices == [LuaNotice.collection.rawValue, LuaNotice.finalizer.rawValue])
    }

    /// Finalizers stay away however the field comes into the metatable; nothing runs at the end of the state either.
    @Test func noFinalizerRuns() throws {
        let machine = try Machine()
        try machine.run(
            """
            count = 0
            local function finalize() count = count + 1 end
            for i = 1, 100 do
              setmetatable({}, {__gc = finalize})
              local mt = {__gc = true}
              local t = setmetatable({}, mt)
              mt.__gc = finalize
              setmetatable(t, mt)
              setmetatable(setmetatable({}, {}), setmetatable({__gc = finalize}, {__gc = finalize}))
            end
            """
        )
        machine.vm.collectGarbage()
        machine.vm.collectGarbage()
        #expect(try machine.run("return count") == "0")
    }

    @Test func eachStateHasLibrariesOfItsOwn() throws {
        let first = try Machine()
        let second = try Machine()
        try first.run("function string.mine() end getmetatable('').__call = print")
        #expect(try second.run("return string.mine == nil and getmetatable('').__call == nil") == "true")
    }
}
