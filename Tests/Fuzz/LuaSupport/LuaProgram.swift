// Makes Lua programs out of bytes: each byte is a choice, and when there are none left the plainest ones are taken, so that
// every input is a program that compiles, and a small change of the input a small change of the program. A value, any thread.

/// Choices out of bytes.
package struct ByteChoices {
    private var bytes: ArraySlice<UInt8>

    package init(_ bytes: some Sequence<UInt8>) { self.bytes = ArraySlice(Array(bytes)) }

    package var isEmpty: Bool { bytes.isEmpty }

    /// From 0 up to `limit`, 0 at the end.
    package mutating func below(_ limit: Int) -> Int {
        guard limit > 1, let byte = bytes.popFirst() else { return 0 }
        return Int(byte) % limit
    }

    package mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    /// As many as there are, in the order of the input, at most `limit`.
    package mutating func take(_ limit: Int) -> [UInt8] {
        let taken = Array(bytes.prefix(limit))
        bytes = bytes.dropFirst(limit)
        return taken
    }
}

/// Writes one program.
package struct LuaProgram {
    private var choices: ByteChoices
    private var depth = 0
    /// Statements that may still be written.
    private var left = 150

    private static let deepest = 5

    private init(_ choices: ByteChoices) { self.choices = choices }

    /// The program of the choices; `v` is a table of values that its statements share.
    package static func source(_ choices: ByteChoices) -> String {
        var program = LuaProgram(choices)
        var text = prelude
        repeat {
            text += "step(function(...) \(program.statement()) end)\n"
        } while !program.choices.isEmpty && program.left > 0
        return text + "return #v"
    }

    /// Errors are part of the game; what ends a run is none that it could catch.
    private static let prelude = """
        local v, sink = {}, nil
        local function step(f) local fine, problem = pcall(f) if not fine then sink = problem end end
        local function t(i) if type(v[i]) ~= "table" then v[i] = {} end return v[i] end
        local function s(i) local x = v[i] if type(x) == "string" then return x end return tostring(x) end

        """

    // MARK: - Pieces

    private enum Piece {
        case slot, text, function, table, expression, weakTable, json
        case validator, message
        case plain(String)
    }

    /// One of them; the others take no choices.
    private mutating func one(_ pieces: [Piece]) -> String {
        switch pieces[choices.below(pieces.count)] {
        case .slot: slot()
        case .text: text()
        case .function: function()
        case .table: table()
        case .expression: expression()
        case .weakTable: weakTable()
        case .json: "[==[" + json(3) + "]==]"
        case .validator: "(" + validator(2) + ")"
        case .message: message()
        case .plain(let text): text
        }
    }

    private mutating func slot() -> String { "v[\(choices.below(8) + 1)]" }
    private mutating func number() -> Int { choices.below(8) + 1 }

    private mutating func key() -> String {
        choices.pick([
            "1", "2", "'a'", "'b'", "'k\(choices.below(30))'", "3", "0.5", "true", "{}", "2^53", "-1", "v[1]",
            "('k'):rep(50)",
            "math.maxinteger",
        ])
    }

    private mutating func size() -> String {
        choices.pick(["0", "1", "3", "10", "100", "1000", "20000", "-1", "300000"])
    }

    private mutating func text() -> String {
        switch choices.below(12) {
        case 0: "''"
        case 1: "'a'"
        case 2: "('\(choices.pick(["x", "ab", "\\255", "ä", "%", "\\0"]))'):rep(\(size()))"
        case 3: "'\\195\\40\\255'"
        case 4: "s(\(number()))"
        case 5: "'k\(choices.below(30))'"
        case 6: choices.pick(["'10'", "'0x1p4'", "'-'", "' 1 '", "'1e400'"])
        case 7: "[==[" + json(3) + "]==]"
        case 8: "tostring(\(expression()))"
        case 9: "table.concat({ 'a', \(choices.below(100)), 'b' }, 's')"
        default:
            choices.pick(["'%a+'", "'.-'", "'(%w)%1'", "'%b()'", "'%f[%w]'", "'[^a]*$'", "'^x'", "'()'", "'%'", "'[a'"])
        }
    }

    private mutating func json(_ depth: Int) -> String {
        switch choices.below(depth > 0 ? 10 : 6) {
        case 0: "1"
        case 1: "-0.5e3"
        case 2: "\"a\""
        case 3: "null"
        case 4: "true"
        case 5: "\"\\u00e4\\n\""
        case 6: "[\(json(depth - 1)),\(json(depth - 1))]"
        case 7: "{\"a\":\(json(depth - 1)),\"k1\":\(json(depth - 1))}"
        case 8: "[]"
        default: choices.pick(["{}", "[1,", "{\"a\"", "\"\\ud800\"", "01", "1e999", "nul"])
        }
    }

    private mutating func function() -> String {
        "function(a, b, ...) \(block()) return \(one([.plain("a"), .plain("b"), .plain("..."), .plain("nil, 'no'"), .plain("false"), .expression])) end"
    }

    private mutating func table() -> String {
        var members: [String] = []
        for _ in 0..<choices.below(5) {
            switch choices.below(4) {
            case 0: members.append(expression())
            case 1: members.append("\(choices.pick(["a", "b", "k1", "n"])) = \(expression())")
            default: members.append("[\(key())] = \(expression())")
            }
        }
        return "{ \(members.joined(separator: ", ")) }"
    }

    private mutating func metatable() -> String {
        var members: [String] = []
        for _ in 0..<choices.below(4) + 1 {
            switch choices.below(5) {
            case 0: members.append("__mode = '\(choices.pick(["k", "v", "kv", "x"]))'")
            case 1:
                members.append("__index = \(one([.slot, .function, .plain("error"), .plain("function() gc() end")]))")
            case 2: members.append("__tostring = \(one([.function, .plain("function() gc() return 'text' end")]))")
            case 3: members.append("__close = \(function())")
            default:
                let name = choices.pick([
                    "__newindex", "__len", "__eq", "__lt", "__le", "__concat", "__call", "__pairs", "__gc", "__name",
                    "__metatable",
                    "__add", "__unm",
                ])
                members.append("\(name) = \(one([.function, .plain("'text'"), .plain("error"), .plain("{}")]))")
            }
        }
        return "{ \(members.joined(separator: ", ")) }"
    }

    private mutating func weakTable() -> String {
        let mode = choices.pick(["v", "k", "kv"])
        let fill = choices.pick([
            "w['k' .. i] = {}", "w[{}] = i", "w[{}] = {}", "w[i] = {}", "w[('k'):rep(50) .. i] = {}", "w[i] = i",
            "w['k' .. i] = v",
        ])
        return
            "(function() local w = setmetatable({}, { __mode = '\(mode)' }) for i = 1, \(choices.pick([1, 5, 40, 300])) do "
            + "\(fill) end return w end)()"
    }

    private mutating func schema(_ depth: Int) -> String {
        let types = ["any", "string", "integer", "number", "boolean", "array", "object"]
        var members = ["type = '\(choices.pick(types))'"]
        if depth > 0, choices.below(4) == 0 { members = ["type = \(validator(depth - 1))"] }
        for _ in 0..<choices.below(4) {
            switch choices.below(9) {
            case 0: members.append("optional = true")
            case 1: members.append("null = true")
            case 2: members.append("min = \(choices.below(4))")
            case 3: members.append("max = \(choices.below(40))")
            case 4: members.append("pattern = \(choices.pick(["'%a+'", "'a-a-b'", "'%b()'", "'(a*)*b'", "'[^x]*'"]))")
            case 5: members.append("enum = { 'a', 'b', 1, true }")
            case 6:
                members.append("check = \(one([.function, .plain("function() gc() return true end"), .plain("wait")]))")
            case 7 where depth > 0: members.append("items = \(schema(depth - 1))")
            default:
                members.append(
                    choices.pick(["default = 'a'", "default = { a = { 1 } }", "many = true", "default = {}"])
                )
            }
        }
        return "{ \(members.joined(separator: ", ")) }"
    }

    private mutating func validator(_ depth: Int) -> String {
        var fields: [String] = []
        for name in ["a", "b", "k1"] where choices.below(3) > 0 { fields.append("\(name) = \(schema(depth))") }
        let options = choices.pick(["", ", { unknown = 'refuse' }", ", { unknown = 'refuse', max_violations = 3 }"])
        return "panini.validator({ \(fields.joined(separator: ", ")) }\(options))"
    }

    private mutating func message() -> String {
        "message('\(choices.pick(["a.b", "x", "a\\255"]))', '\(choices.pick(["", "r"]))', "
            + "'\(choices.pick(["", "NATS/1.0\\r\\na: 1\\r\\na: 2\\r\\nb:\\r\\n\\r\\n", "junk\\n:x\\na:\\255"]))', "
            + "\(one([.json, .text])), \(choices.below(3)))"
    }

    private mutating func request() -> String {
        "request('GET', '/a', '?q=1&q=%41&=', "
            + "'\(choices.pick(["A: 1\\r\\na: 2\\r\\n", "cookie: a=b; c\\r\\n", "content-type: application/x-www-form-urlencoded\\r\\n"]))', "
            + "\(one([.plain("'a=b&c'"), .json, .text])))"
    }

    private mutating func expression() -> String {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { return choices.pick(["1", "nil", "'x'", "v[1]", "{}"]) }
        switch choices.below(22) {
        case 0:
            return choices.pick([
                "0", "1", "-1", "0.5", "1e300", "1/0", "0/0", "math.mininteger", "255", "2^53", "65535",
            ])
        case 1, 2: return text()
        case 3: return choices.pick(["true", "false", "nil", "panini.null"])
        case 4, 5: return slot()
        case 6, 7: return table()
        case 8: return weakTable()
        case 9: return function()
        case 10: return "coroutine.\(choices.pick(["create", "wrap"]))(\(function()))"
        case 11: return validator(2)
        case 12: return message()
        case 13: return request()
        case 14: return "setmetatable(\(one([.table, .slot])), \(metatable()))"
        case 15: return "panini.array(\(table()))"
        case 16:
            return "(\(expression()) \(choices.pick(["..", "==", "<", "+", "//", "<=", "and", "or"])) \(expression()))"
        case 17: return "\(choices.pick(["#", "-", "not ", "~"]))(\(expression()))"
        case 18: return "t(\(number()))[\(key())]"
        case 19: return "select(2, pcall(error, \(expression())))"
        case 20: return "(panini.json.decode(\(text())))"
        default: return "(\(call()))"
        }
    }

    /// A call of a function of the libraries or of the host.
    private mutating func call() -> String {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { return "gc()" }
        switch choices.below(40) {
        case 0: return "panini.json.encode(\(expression()))"
        case 1: return "panini.json.decode(\(text()))"
        case 2:
            return
                "string.gsub(\(text()), \(text()), \(one([.function, .table, .text, .plain("function() gc() end")])))"
        case 3: return "string.find(\(text()), \(text()), \(choices.below(4) - 2), \(choices.pick(["true", "false"])))"
        case 4: return "string.format('%q %s %d %5.1f %-10s %x', \(text()), \(expression()), 1, 2, \(text()), 255)"
        case 5: return "string.rep(\(text()), \(size()), \(text()))"
        case 6: return "string.\(choices.pick(["byte", "sub"]))(\(text()), \(size()), \(size()))"
        case 7: return "string.unpack('\(choices.pick(["<I4z", "s1", "!8d", "i16"]))', \(text()))"
        case 8: return "string.pack('\(choices.pick(["s", "z", "<i8", ">s2"]))', \(expression()))"
        case 9: return "table.concat(\(slot()), \(text()))"
        case 10: return "table.insert(t(\(number())), \(expression()))"
        case 11: return "table.insert(t(\(number())), 1, \(expression()))"
        case 12: return "table.remove(t(\(number())), \(choices.pick(["1", "nil", "#v", "0"])))"
        case 13: return "table.move(t(\(number())), 1, \(size()), \(choices.below(9) - 2), t(\(number())))"
        case 14:
            return
                "table.sort(\(one([.slot, .table, .plain("{ 5, 3, 9, 1, 7, 2, 8 }"), .plain("{ 'b', 'a', {} }")])), \(one([.plain("nil"), .function, .plain("function(x, y) gc() return x < y end"), .plain("function() return true end")])))"
        case 15: return "table.unpack(t(\(number())), 1, \(size()))"
        case 16: return "utf8.\(choices.pick(["len", "offset", "codepoint"]))(\(text()), \(size()), \(size()))"
        case 17: return "utf8.char(\(choices.pick(["65", "0x10FFFF", "-1", "0x7FFFFFFF"])))"
        case 18: return "coroutine.resume(\(slot()), \(expression()))"
        case 19: return "coroutine.close(\(slot()))"
        case 20: return "coroutine.yield(\(expression()))"
        case 21: return "coroutine.status(\(slot()))"
        case 22: return "wait(\(expression()))"
        case 23:
            return
                "check(\(one([.message, .slot])), \(one([.validator, .slot])), \(function()), \(one([.plain("nil"), .function, .plain("function(m, l) l[1] = nil gc() end")])))"
        case 24: return "\(one([.validator, .slot])):validate(\(one([.slot, .weakTable, .table, .expression])))"
        case 25: return "setmetatable(t(\(number())), \(metatable()))"
        case 26: return "getmetatable(\(expression()))"
        case 27: return "rawset(t(\(number())), \(key()), \(expression()))"
        case 28: return "next(t(\(number())), \(choices.pick(["nil", key()])))"
        case 29:
            return
                "load(\(one([.text, .plain("'return ...'"), .function, .plain("'local x <close> = nil return {' .. ('1,'):rep(200) .. '}'")])))"
        case 30: return "require(\(one([.plain("'preloaded'"), .plain("'missing'"), .text])))"
        case 31:
            return
                "debug.\(choices.pick(["traceback", "getinfo", "getupvalue", "setmetatable"]))(\(one([.slot, .plain("1"), .text])), \(choices.below(3)))"
        case 32: return "show(\(expression()))"
        case 33: return "panini.response{ \(choices.pick(["json", "text", "headers", "status"])) = \(expression()) }"
        case 34: return "panini.base64.\(choices.pick(["encode", "decode"]))(\(text()))"
        case 35: return "panini.hash.sha256(\(text()))"
        case 36: return "tostring(\(expression()))"
        case 37:
            return
                "\(slot())\(choices.pick([".data", ".headers", ".context", ".subject", ".raw", ".tokens", ".query", ".cookies", ".body", ".params"]))"
        case 38: return "\(slot()).\(choices.pick(["respond", "json", "form", "data", "headers.all"]))(\(expression()))"
        default: return "print(\(expression()))"
        }
    }

    // MARK: - Statements

    private mutating func block() -> String {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { return "" }
        return (0..<choices.below(3)).map { _ in statement() }.joined(separator: " ")
    }

    private mutating func statement() -> String {
        depth += 1
        left -= 1
        defer { depth -= 1 }
        guard depth < Self.deepest + 1, left > 0 else { return "sink = nil" }
        switch choices.below(24) {
        case 0, 1, 2, 3: return "\(slot()) = \(expression())"
        case 4: return "t(\(number()))[\(key())] = \(expression())"
        case 5: return "\(slot()) = nil"
        case 6:
            return
                "for i = 1, \(choices.pick([1, 3, 20, 200])) do \(block()) t(\(number()))['k' .. i] = \(expression()) end"
        case 7:
            return
                "for k, x in \(choices.pick(["pairs", "ipairs", "getmetatable('').__index.gmatch"]))(t(\(number()))) do \(block()) end"
        case 8: return "for a, b in string.gmatch(\(text()), \(text())) do \(block()) end"
        case 9: return "do local c <close> = setmetatable({}, { __close = \(function()) }) \(block()) end"
        case 10:
            return
                "\(slot()) = coroutine.create(function(...) local c <close> = setmetatable({}, { __close = \(function()) }) \(block()) coroutine.yield(1) \(block()) \(choices.pick(["wait()", "error('x')", "gc()"])) end)"
        case 11: return "coroutine.resume(\(slot()))"
        case 12: return "local x = coroutine.wrap(\(function())) x() x()"
        case 13: return "gc()"
        case 14: return "collector(\(choices.below(5)))"
        case 15: return "faults(\(choices.pick([0, 1, 2, 3, 5, 8, 13, 40, 200])), \(choices.below(2) + 1))"
        case 16:
            return
                "local fine, err = xpcall(\(function()), \(one([.function, .plain("debug.traceback"), .plain("gc")])))"
        case 17: return "package.preload.preloaded = \(function()) package.loaded.preloaded = nil"
        case 18: return "error(\(expression()))"
        case 19: return "for i = #v, 3 do v[i + 1] = \(expression()) end"
        case 20: return "v[1], v[2] = v[2], v[1]"
        case 21: return "repeat local x = \(call()) until true"
        default: return "sink = \(call())"
        }
    }
}
