// What Swift learns of a script's failure, whatever the error value is.
import CLuaVM
import Testing

@testable import LuaVM

@Suite struct ErrorTests {
    struct Sample: CustomTestStringConvertible {
        let script: String
        let message: String
        let code: LuaError.Code?
        let isTable: Bool
        init(_ script: String, _ message: String, code: LuaError.Code? = nil, isTable: Bool = false) {
            self.script = script
            self.message = message
            self.code = code
            self.isTable = isTable
        }
        var testDescription: String { script }
    }

    static let samples: [Sample] = [
        Sample("error('boom')", "test.lua:1: boom"),
        Sample("error('boom', 0)", "boom"),
        Sample("local function f() error('boom', 2) end\n\nf()", "test.lua:3: boom"),
        Sample("local x = nil\nreturn x.y", "test.lua:2: attempt to index a nil value (local 'x')"),
        Sample("return 1 + {}", "test.lua:1: attempt to perform arithmetic on a table value"),
        Sample("undefined()", "test.lua:1: attempt to call a nil value (global 'undefined')"),
        Sample("error()", "(error object is a nil value)"),
        Sample("error(nil)", "(error object is a nil value)"),
        Sample("error(42)", "42"), Sample("error(1.5)", "1.5"),
        Sample("error(true)", "(error object is a boolean value)"),
        Sample("error(print)", "(error object is a function value)"),
        Sample("error(null)", "null"),
        Sample("error('caf\\xff', 0)", "caf\u{FFFD}"),
        Sample("error({})", "(error object is a table value)", isTable: true),
        Sample("error{code = 404, message = 'no such order'}", "no such order", code: .integer(404), isTable: true),
        Sample("error{code = 404.0, message = 'x'}", "x", code: .integer(404), isTable: true),
        Sample("error{code = 4.5, message = 'x'}", "x", isTable: true),
        Sample("error{code = 'timeout', message = 'x'}", "x", code: .string("timeout"), isTable: true),
        Sample("error{code = {}, message = {}}", "(error object is a table value)", isTable: true),
        Sample("error{code = '7'}", "error", code: .string("7"), isTable: true),
        Sample("error{code = 404, message = {}}", "error", code: .integer(404), isTable: true),
        Sample("error{code = 404, message = 17}", "17", code: .integer(404), isTable: true),
        Sample("error(setmetatable({}, {__tostring = function() return 'as text' end}))", "as text", isTable: true),
        Sample(
            "error(setmetatable({message = 'field'}, {__tostring = function() return 'as text' end}))",
            "field",
            isTable: true
        ),
        Sample(
            "error(setmetatable({}, {__tostring = function() error('worse', 0) end}))",
            "(error object is a table value whose __tostring failed: worse)",
            isTable: true
        ),
        Sample(
            "error(setmetatable({}, {__tostring = function() error({}) end}))",
            "(error object is a table value whose __tostring failed: table)",
            isTable: true
        ),
        Sample(
            "error(setmetatable({}, {__tostring = function() return {} end}))",
            "(error object is a table value whose __tostring failed: '__tostring' must return a string)",
            isTable: true
        ),
        Sample(
            "error(setmetatable({}, {__index = function(_, k) return k == 'code' and 7 or 'by index' end}))",
            "by index",
            code: .integer(7),
            isTable: true
        ),
        Sample(
            "error(setmetatable({}, {__index = function() error('no fields') end}))",
            "(error object is a table value)",
            isTable: true
        ),
        Sample("fail('from the host')", "test.lua:1: from the host"),
        Sample("\n\npcall(fail) ; fail('line three')", "test.lua:3: line three"),
        Sample("local ok, e = pcall(fail, 'through pcall') ; error(e, 0)", "test.lua:1: through pcall"),
        Sample("coroutine.wrap(function() fail('inside') end)()", "test.lua:1: test.lua:1: inside"),
        Sample("string.format('%d', 'x')", "test.lua:1: bad argument #2 to 'format' (number expected, got string)"),
        Sample("local function f() return f() + 1 end f()", ""),
    ]

    /// The same from a coroutine, which keeps its stack, and from a protected call on the main stack.
    @Test(arguments: samples) func errorValues(_ sample: Sample) throws {
        let machine = try Machine()
        let co = try machine.coroutine(sample.script)
        #expect(machine.resume(co) == .failed)
        let fromCoroutine = machine.vm.takeError(co)
        let fromCall = #expect(throws: LuaError.self) { try machine.run(sample.script) }
        for error in [fromCoroutine, try #require(fromCall)] {
            if sample.message.isEmpty {
                #expect(error.message.contains("stack overflow"))
            } else {
                #expect(error.message == sample.message)
            }
            #expect(error.code == sample.code)
            #expect(error.isTable == sample.isTable)
            #expect(error.kind == .runtime)
            #expect(error.traceback?.hasPrefix("stack traceback:\n") == true)
            #expect(error.traceback?.contains("test.lua:") == true)
        }
        #expect(lua_gettop(machine.vm.state) == 0)
        #expect(machine.vm.referenceCount == 0)
    }

    @Test func theTracebackNamesFunctionsAndLines() throws {
        let machine = try Machine()
        let script = """
            local function deepest() error('x') end
            function middle() deepest() end
            middle()
            """
        let co = try machine.coroutine(script, path: "dir/service.lua")
        #expect(machine.resume(co) == .failed)
        let traceback = try #require(machine.vm.takeError(co).traceback)
        for part in [
            "dir/service.lua:1: in upvalue 'deepest'", "dir/service.lua:2: in global 'middle'",
            "dir/service.lua:3: in",
        ] {
            #expect(traceback.contains(part), "\(traceback)")
        }
    }

    @Test func failingCoroutinesCloseTheirVariables() throws {
        let machine = try Machine()
        let co = try machine.coroutine(
            """
            local x <close> = setmetatable({}, {__close = function(_, e) seen = e end})
            error('boom', 0)
            """
        )
        #expect(machine.resume(co) == .failed)
        #expect(machine.vm.takeError(co).message == "boom")
        #expect(try machine.run("return seen") == #""boom""#)
        // An error while closing replaces the first one, as it does in Lua.
        let worse = try machine.coroutine(
            """
            local x <close> = setmetatable({}, {__close = function() error('while closing', 0) end})
            error('boom', 0)
            """
        )
        #expect(machine.resume(worse) == .failed)
        #expect(machine.vm.takeError(worse).message == "while closing")
    }

    static let syntax: [(String, String)] = [
        ("x =", "bad.lua:1: unexpected symbol near <eof>"), ("\n\nfor", "bad.lua:3: <name> expected near <eof>"),
        ("return 'a", "bad.lua:1: unfinished string near <eof>"),
        ("#!/usr/bin/env panini\nx x", "bad.lua:2: syntax error near 'x'"),
        ("\u{FEFF}\nx x", "bad.lua:2: syntax error near 'x'"),
        ("goto nowhere", "bad.lua:1: no visible label 'nowhere' for <goto> at line 1"),
        ("\u{1B}Lua", "bad.lua:1: not a text chunk (compiled Lua is not accepted)"),
        ("local x <const> = 1\nx = 2", "bad.lua:2: attempt to assign to const variable 'x'"),
        ("local a = {\n1,\n2", "bad.lua:3: '}' expected (to close '{' at line 1) near <eof>"),
    ]

    @Test(arguments: syntax) func syntaxErrorsNameTheLine(_ text: String, _ message: String) throws {
        let machine = try Machine()
        let error = #expect(throws: LuaError.self) { try machine.load(text, path: "bad.lua") }
        #expect(error?.kind == .syntax)
        #expect(error?.message == message)
        #expect(lua_gettop(machine.vm.state) == 0)
    }

    @Test func shebangAndEmptyFilesAreChunks() throws {
        let machine = try Machine()
        for text in ["", "#!/usr/bin/env panini", "# x\nreturn 1", "\u{FEFF}#!x\nreturn 1", "-- only a comment"] {
            machine.vm.release(try machine.load(text))
        }
        let error = #expect(throws: LuaError.self) { try machine.run("#!x\n\nerror('here')") }
        #expect(error?.message == "test.lua:3: here")
    }

    @Test func errorsInErrorHandlersComeBackAsErrors() throws {
        let machine = try Machine()
        #expect(try machine.run("return {xpcall(error, function(e) error(e) end, 'x')}").hasPrefix("[false,"))
        #expect(try machine.run("return {xpcall(error, function(e) return e .. '!' end, 'x')}") == #"[false,"x!"]"#)
        #expect(try machine.run("local function f() return xpcall(f, f) end return f() ~= nil") == "true")
    }

    @Test func runningOutOfMemoryIsAnErrorOfItsOwnKind() throws {
        let machine = try Machine { $0.memoryLimit = 4 << 20 }
        for script in [
            "local t = {} while true do t[#t + 1] = {} end", "local s = 'x' while true do s = s .. s end",
            "return ('x'):rep(1e8)", "local t = {} for i = 1, 1e7 do t[i] = i end",
        ] {
            let co = try machine.coroutine(script)
            #expect(machine.resume(co) == .failed)
            let error = machine.vm.takeError(co)
            #expect(error.kind == .memory)
            #expect(error.message == "not enough memory")
            machine.vm.collectGarbage()
            let fromCall = #expect(throws: LuaError.self) { try machine.run(script) }
            #expect(fromCall?.kind == .memory)
            machine.vm.collectGarbage()
        }
        #expect(machine.vm.refusedAllocations > 0)
        // The state is still of use, and a script may catch it.
        #expect(try machine.run("return {pcall(string.rep, 'x', 1e8)}") == #"[false,"not enough memory"]"#)
        #expect(machine.vm.memoryInUse < 2 << 20)
    }

    @Test func decodingStopsAtTheLimit() throws {
        let machine = try Machine { $0.memoryLimit = 2 << 20 }
        let text =
            "[" + String(repeating: "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\",", count: 50_000) + "1]"
        let error = #expect(throws: LuaJSONError.self) { try machine.push(text) }
        #expect(error?.description.contains("not enough memory") == true)
        #expect(machine.vm.memoryInUse < 3 << 20)
        lua_settop(machine.vm.state, 0)
        machine.vm.collectGarbage()
        #expect(try machine.run("return {}") == "{}")
    }

    /// An object that is alive while a host function of Swift runs.
    final class Counted {
        nonisolated(unsafe) static var alive = 0
        let text: String
        init(_ text: String) {
            self.text = text
            Counted.alive += 1
        }
        deinit { Counted.alive -= 1 }
    }

    @Test func tensOfThousandsOfErrorsLeakNothing() throws {
        let machine = try Machine()
        machine.install("throwing") { L, context in
            guard let L, let context else { return 0 }
            let machine = Unmanaged<Machine>.fromOpaque(context).takeUnretainedValue()
            let counted = Counted(machine.vm.string(L, 1) ?? "")
            machine.vm.pushError(L, "failed with \(counted.text) of \(Counted.alive)")
            return LuaVM.raise
        }
        machine.vm.register("closure") { arguments in
            let counted = Counted("\(arguments)")
            throw LuaError(kind: .runtime, message: "closure failed with \(counted.text)")
        }
        let before = Counted.alive
        let script = """
            for i = 1, 10000 do
              local ok, e = pcall(throwing, 'a longer text that is allocated ' .. i)
              assert(not ok and e:find('failed with'))
              local ok, e = pcall(closure, {i, 'text'})
              assert(not ok and e:find('closure failed'))
              local ok, e = pcall(coroutine.wrap(throwing), i)
              assert(not ok)
            end
            """
        try machine.run(script)
        machine.vm.collectGarbage()
        let memory = machine.vm.memoryInUse
        try machine.run(script)
        machine.vm.collectGarbage()
        #expect(machine.vm.memoryInUse <= memory + 4096)
        let failing = try machine.load("throwing('x')")
        for _ in 0..<10_000 {
            let co = machine.vm.acquireCoroutine()
            machine.vm.push(failing, onto: co.thread)
            #expect(machine.vm.resume(co, argumentCount: 0) == .failed)
            #expect(machine.vm.takeError(co).kind == .runtime)
        }
        #expect(Counted.alive == before)
        #expect(lua_gettop(machine.vm.state) == 0)
    }
}
