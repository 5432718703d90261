// The functions that replace Lua's own do what Lua's own do: the same scripts run in a state with Lua's libraries and in one
// of ours, over thousands of random calls, and must say the same. Errors count, with their texts.
import CLuaVM
import Glibc
import Testing

@testable import LuaVM

@Suite struct StockLibraryTests {
    /// Makes the random calls and describes what each gave. `T` is a small generator of its own, so that both states see
    /// the same numbers.
    static let prelude = """
        local seed = 1
        local function random(n) seed = (seed * 1103515245 + 12345) & 0x7fffffff return (seed >> 8) % n + 1 end
        local function pick(list) return list[random(#list)] end
        local function text(alphabet, longest)
          local parts = {}
          for i = 1, random(longest + 1) - 1 do parts[i] = pick(alphabet) end
          return table.concat(parts)
        end
        local out = {}
        local function describe(v)
          if type(v) ~= 'table' then return type(v) .. ':' .. tostring(v) end
          local parts = {}
          local last = 0
          for k in pairs(v) do if math.type(k) == 'integer' and k > last then last = k end end
          for i = 0, math.min(last, 40) do local e = rawget(v, i) parts[#parts + 1] = type(e) == 'table' and '{}' or tostring(e) end
          return '{' .. table.concat(parts, ',') .. '}'
        end
        local function note(what, ...)
          local parts = {what}
          for i = 1, select('#', ...) do parts[#parts + 1] = describe((select(i, ...))) end
          out[#out + 1] = table.concat(parts, ' | ')
        end

        """

    static let patterns = """
        local subjects = {'a', 'b', 'ab', '(', ')', ' ', '1', '-', '%', '\\0', 'é', 'A', '_', ']', '^', '.', 'z', '\\xff'}
        local items = {
          'a', 'b', '.', '%a', '%d', '%s', '%w', '%W', '%p', '%x', '%u', '%l', '%c', '%g', '[ab]', '[^a]', '[a-c]', '[%a_]', '[]]',
          '[^]]', '[a-]', '[%]]', '%%', '%.', '()', '(', ')', '%1', '%2', '%b()', '%bab', '%f[%a]', '%f[^%a]', '^', '$', ' ',
          '\\0', '[%z\\0]', '%', '[', '[a', '%b', '%f', ']', '-', '*', '+', '?', '%0', '[a-%d]', '[%d-z]', '%S', 'é', '[é]', '%z', '%Z',
          '[%z]', '[^%z]', '[%Za]', 'z', '%f[%z]', '[%a-z]', '[a%-z]', '%-', '[%', '%é',
        }
        local suffixes = {'', '', '', '*', '+', '-', '?'}
        local function pattern()
          local parts = {}
          if random(5) == 1 then parts[1] = '^' end
          for _ = 1, random(6) do
            local item = pick(items) .. pick(suffixes)
            if random(4) == 1 then item = '(' .. item .. ')' end
            parts[#parts + 1] = item
          end
          if random(5) == 1 then parts[#parts + 1] = '$' end
          return table.concat(parts)
        end
        local function position() return pick{nil, 1, 2, 5, -1, -3, 0, 100, -100, math.mininteger, math.maxinteger} end
        local replacements = {
          'x', '', '%0', '%1', '%2', '%%', '<%0>', '%', '%9', 'a%1b%0', 5, 1.5,
          {a = 'A', ['1'] = 2, b = false, ab = {}}, function(a) return a end, function() return nil end,
          function(a, b) return b end, function() return {} end, function(a) error('in it ' .. tostring(a), 0) end,
        }
        for i = 1, 6000 do
          local s, p, at = text(subjects, 10), pattern(), position()
          note('find ' .. p, s, pcall(string.find, s, p, at))
          note('plain ' .. p, s, pcall(string.find, s, p, at, true))
          note('match ' .. p, s, pcall(string.match, s, p, at))
          note('gmatch ' .. p, s, pcall(function()
            local all = {}
            for a, b, c in string.gmatch(s, p, at) do
              all[#all + 1] = tostring(a) .. ';' .. tostring(b) .. ';' .. tostring(c)
            end
            return table.concat(all, ' ')
          end))
          local r = pick(replacements)
          note('gsub ' .. p .. ' ' .. (type(r) == 'function' and 'f' or tostring(r)):gsub('0x.*', ''), s,
            pcall(string.gsub, s, p, r, pick{nil, nil, nil, 1, 2, 0, -1}))
        end
        for _, call in ipairs{
          {string.find}, {string.find, 'a'}, {string.find, 'a', {}}, {string.find, 'a', 'a', 'x'}, {string.find, 5, 5},
          {string.gsub, 'a', 'a'}, {string.gsub, 'a', 'a', nil}, {string.gsub, 'a', 'a', true}, {string.gsub, 'a', 'a', 'b', 'c'},
          {string.gmatch, 'a'}, {string.gmatch, 'a', 'a', 1.5}, {string.match, nil, 'a'},
          {string.find, 'a', ('('):rep(33)}, {string.find, ('a'):rep(300), ('a?'):rep(250)}, {string.find, 'a', ('(a'):rep(20)},
          {string.rep}, {string.rep, 'a'}, {string.rep, 'a', {}}, {string.rep, 'ab', 3}, {string.rep, 'ab', 3, ','},
          {string.rep, '', 1000, ''}, {string.rep, '', 3, '-'}, {string.rep, 'a', -1}, {string.rep, 'a', 0}, {string.rep, 'a', 1, 'b'},
          {string.rep, 'abc', 1 << 62}, {string.rep, 'x', 5.0}, {string.rep, 7, 2},
        } do note('call', pcall(table.unpack(call, 1, 6))) end
        """

    static let tables = """
        local integers = {nil, 0, 1, 2, 3, 5, 6, 7, -1, 20, math.maxinteger, math.mininteger, 1.5, '2', 'x', {}}
        local function list()
          local t = {}
          for i = 1, random(8) - 1 do t[i] = random(9) end
          return t
        end
        local log
        local function proxy(t)
          return setmetatable({}, {
            __len = function() log[#log + 1] = '#' return #t end,
            __index = function(_, k) log[#log + 1] = 'r' .. tostring(k) return t[k] end,
            __newindex = function(_, k, v) log[#log + 1] = 'w' .. tostring(k) t[k] = v end,
          })
        end
        local bad = {5, 'x', true, function() end, setmetatable({}, {__len = function() return 'x' end}),
          setmetatable({}, {__index = {1, 2, 3}, __len = function() return 3 end})}
        for i = 1, 4000 do
          local source, n = list(), random(5)
          local t, watched = source, random(3) == 1
          log = {}
          if watched then t = proxy(source) end
          if random(12) == 1 then t = pick(bad) end
          local a, b, c = pick(integers), pick(integers), pick(integers)
          local small = function(x) return type(x) == 'number' and math.abs(x) < 100 and x or random(6) end
          if n == 1 then
            note('insert', pcall(table.insert, t, a, 'v'))
            note('append', pcall(table.insert, t, a))
            note('many', pcall(table.insert, t, 1, 2, 3))
          elseif n == 2 then
            note('remove', pcall(table.remove, t, a))
          elseif n == 3 then
            local other = random(2) == 1 and list() or nil
            note('move', other, pcall(table.move, t, small(a), small(b), small(c), other))
          elseif n == 4 then
            note('concat', pcall(table.concat, t, pick{nil, ',', 1, {}}, small(a), small(b)))
          else
            note('sort', pcall(table.sort, source))
            t = source
          end
          note('after', type(t) == 'table' and source or t and 1, watched and n ~= 5 and table.concat(log, ' ') or '')
        end
        for _, call in ipairs{
          {table.move, {}, 1, math.maxinteger, 2}, {table.move, {}, -1, math.maxinteger, 2}, {table.move, {}, math.mininteger, -1, 1},
          {table.move, {}, 1, 0, 5}, {table.move, 5, 1, 2, 3}, {table.move, {}, 1, 2, 3, 4}, {table.move, {}, 1, 2},
          {table.insert, {}, 5, 1}, {table.insert, {}}, {table.insert, nil, 1}, {table.remove, {}, 5}, {table.remove, {1, 2}, 4},
          {table.remove, {1, 2}, 3}, {table.remove, {}}, {table.remove, {}, 0}, {table.remove, {}, -1},
          {table.concat, {1, {}, 3}}, {table.concat, {}, ',', 1, 2}, {table.concat, {1, 2}, ',', math.maxinteger, math.maxinteger},
          {table.sort, {3, 'x', 1}}, {table.sort, {3, 2}, 5}, {table.sort, 5}, {table.sort, {3, 2, 1}, function() error('no', 0) end},
          {table.sort, setmetatable({}, {__len = function() return math.maxinteger end})},
          {table.sort, {}, 'x'}, {table.sort, {1}, 'x'},
        } do note('call', pcall(table.unpack(call, 1, 6))) end
        for i = 1, 300 do
          local t, u = {}, {}
          for j = 1, random(200) do t[j] = random(50) u[j] = t[j] end
          table.sort(t)
          table.sort(u, function(a, b) return a > b end)
          note('sorted', table.concat(t, ' '), table.concat(u, ' '))
        end
        """

    static let utf8 = """
        local pieces = {'a', 'é', '€', '😀', '\\x80', '\\xC3', '\\xFF', '\\u{D800}', '\\u{7FFFFFFF}', '\\xF8\\x88\\x80\\x80\\x80',
          '\\xC0\\x80', '\\xFE', '\\u{10FFFF}', '\\u{110000}', '', '\\0'}
        local positions = {nil, 0, 1, 2, 3, 4, -1, -2, 9, -9, 100, -100, math.maxinteger, math.mininteger}
        for i = 1, 6000 do
          local s = text(pieces, 6)
          note('len', s, pcall(utf8.len, s, pick(positions), pick(positions), pick{nil, true, false}))
          note('offset', s, pcall(utf8.offset, s, pick{0, 1, 2, 3, -1, -2, 50, -50}, pick(positions)))
        end
        for _, call in ipairs{{utf8.len}, {utf8.len, {}}, {utf8.len, 'a', 'x'}, {utf8.offset, 'a'}, {utf8.offset, 'a', 1.5}} do
          note('call', pcall(table.unpack(call, 1, 4)))
        end
        """

    static let dates = """
        local long = ('%Y-%m-%d %H:%M:%S %% %Ey %Od '):rep(20)
        note('date', os.date('!' .. long, 86400), os.date(long, 0), pcall(os.date, ('x'):rep(300) .. '%Q', 0) == pcall(os.date, '%Q', 0))
        note('table', os.date('!*t', 1).year, os.date('!%c', 5), #os.date() > 5)
        """

    /// Lua's own functions, in a state that is set up otherwise, and those of ours that look through the libraries' tables.
    static let basics = """
        local values = {nil, 0, 1, -1, 255, 256, 3.0, 2.5, -0.0, 1e15, 1e100, 1/0, math.mininteger, math.maxinteger, '', '0', ' 10 ',
          '0x1F', '1e2', '0x.8p1', 'z', '\\0', 'a\\0b', '1e', '0x', true, false, {}, 'inf', '-0x10', '1_0', '9223372036854775808'}
        local formats = {'%d', '%5d', '%-5d|', '%05d', '%+d', '%x', '%X', '%o', '%c', '%s', '%10s', '%.2s', '%q', '%f', '%.3f', '%g',
          '%.14g', '%e', '%a', '%i', '%%', '%', '%5', '%y', '%10.3d', '%-10.3s|', '%0100d', '%.100f', '% d', '%#x', '%d %s'}
        local packs = {'b', 'B', 'h', 'H', 'i', 'I', 'l', 'j', 'J', 'T', 'f', 'd', 'n', 's', 's1', 'z', 'x', 'i3', 'I16', 'i17', '<i4', '>i4',
          '=i4', '!4 i4', '!8 b i8', 'Xi4', 'c3', 'c0', 'c', 'bXi4', '', ' ', '!', '!17', 'y', 'i0', 's8 z', 'bbb', '<!4 b i4 z'}
        for i = 1, 4000 do
          local v, w = pick(values), pick(values)
          note('tonumber', v, pcall(tonumber, v), pcall(tonumber, v, pick{2, 8, 10, 16, 36, 1, 37}))
          note('tostring', type(v) ~= 'table' and tostring(v))
          local f = pick(formats)
          if type(v) ~= 'table' and type(w) ~= 'table' then note('format ' .. f, v, pcall(string.format, f, v, w ~= nil and w or 1)) end
          local p = pick(packs)
          local packed = {pcall(string.pack, p, v, w)}
          note('pack ' .. p, v, w, table.unpack(packed, 1, 2))
          local s = packed[1] and packed[2] or text({'a', '\\0', '\\xff', '\\1', 'bcd'}, 12)
          note('unpack ' .. p, s, pcall(string.unpack, p, s, pick{nil, 1, 2, -1, 0, 100}))
          note('packsize ' .. p, pcall(string.packsize, p))
          local a, b = pick{nil, 0, 1, 2, -1, -2, 100, -100, 1.5, math.mininteger}, pick{nil, 0, 1, 3, -1, 100, math.maxinteger}
          note('sub', pcall(string.sub, 'hello', a, b))
          note('byte', pcall(string.byte, 'h\\0\\xffo', a, b))
          note('char', pcall(string.char, pick{65, 0, 255, 256, -1, 'x'}, pick{66, 300}))
          note('case', pcall(string.upper, v), pcall(string.lower, v), pcall(string.reverse, v), pcall(string.len, v))
          note('arith', pcall(function() return v + w end), pcall(function() return v // w end), pcall(function() return v | w end))
          note('compare', pcall(function() return v < w end), v == w, pcall(function() return v .. w end))
          note('select', pcall(select, v, 1, 2, 3), pcall(math.tointeger, v), pcall(math.floor, v), pcall(math.ult, v, w))
          note('raw', pcall(rawget, v, w), pcall(rawset, {}, v, w) , pcall(rawlen, v), rawequal(v, w), pcall(next, v, w))
          note('utf8', pcall(utf8.char, v), pcall(utf8.codepoint, 'aé€', a, b))
        end
        local chunks = {'return 1', 'x x', 'return ...', '', '#', 'goto x', 'for', 'return 1 + ', 'local a <const> = 1 a = 2', '::a:: ::a::',
          'return "\\\\', 'return 0x', '--[[', 'return [==[ x ]=]', 'break', 'return "\\\\300"', 'return 1e', 'a.b:c = 1', 'local t <close> = 5'}
        for i, chunk in ipairs(chunks) do
          for _, mode in ipairs{'t', 'bt'} do
            local f, err = load(chunk, '=chunk', mode)
            note('load ' .. i, f ~= nil, err, f and pcall(f, 1, 2))
          end
          local at = 0
          local f, err = load(function() at = at + 1 return at <= #chunk and chunk:sub(at, at) or nil end, '=pieces')
          note('pieces ' .. i, f ~= nil, err)
        end
        for _, call in ipairs{
          {load}, {load, 5}, {load, {}}, {load, 'x', 5}, {load, 'return x', 'n', 't', {x = 3}}, {load, function() return {} end},
          {load, function() error('no', 0) end}, {setmetatable}, {setmetatable, {}}, {setmetatable, 5, {}}, {getmetatable},
          {setmetatable, setmetatable({}, {__metatable = 1}), {}}, {getmetatable, setmetatable({}, {__metatable = 1})}, {rawget}, {rawget, {}},
          {rawset, {}, 1}, {rawset, 5, 1, 2}, {next}, {next, {}, 'x'}, {next, 5}, {pcall}, {xpcall}, {xpcall, print}, {select, 0}, {tonumber},
          {tonumber, '10', 99}, {tonumber, 5, 10}, {tostring}, {ipairs}, {pairs}, {rawlen, 5}, {rawequal, 1}, {assert}, {assert, false},
          {assert, nil, 'm'}, {error}, {type}, {math.random, 0, -1}, {math.floor, 'x'}, {os.time, {}}, {collectgarbage, 'x'},
          {coroutine.resume, 5}, {coroutine.wrap}, {coroutine.create, 5}, {coroutine.status}, {coroutine.close, 5}, {os.setlocale, 'x', 'y'},
        } do
          local results = table.pack(pcall(table.unpack(call, 1, 6)))
          for k = 1, results.n do
            if type(results[k]) == 'function' or type(results[k]) == 'thread' then results[k] = type(results[k]) end
          end
          note('call', table.unpack(results, 1, results.n))
        end
        """

    static let suites: [(String, String)] = [
        ("patterns", patterns), ("tables", tables), ("utf8", utf8), ("dates", dates), ("basics", basics),
    ]

    @Test(arguments: suites) func saysTheSameAsLua(_ name: String, _ script: String) throws {
        let script = Self.prelude + script + "\nreturn table.concat(out, '\\n')"
        let expected = try inStock(script)
        let vm = try LuaVM()
        guard case .string(let text) = try vm.run(script, name: "test")[0] else {
            // Bytes that are no UTF-8 come as such.
            guard case .bytes(let bytes) = try vm.run(script, name: "test")[0] else { return }
            return compare(bytes, expected)
        }
        compare(Array(text.utf8), expected)
    }

    private func compare(_ got: [UInt8], _ expected: [UInt8]) {
        #expect(expected.contains(10))
        // Lines are looked for only where something differs: there are megabytes of them.
        guard got.count != expected.count || memcmp(got, expected, got.count) != 0 else { return }
        let got = got.split(separator: 10)
        let expected = expected.split(separator: 10)
        #expect(got.count == expected.count)
        var differences = 0
        for (mine, stock) in zip(got, expected) where !mine.elementsEqual(stock) {
            differences += 1
            guard differences < 12 else { break }
            Issue.record(
                "ours: \(String(decoding: mine, as: UTF8.self))\nLua:  \(String(decoding: stock, as: UTF8.self))"
            )
        }
    }

    private func inStock(_ script: String) throws -> [UInt8] {
        let L = try #require(luaL_newstate())
        defer { lua_close(L) }
        luaL_openlibs(L)
        let status = script.withCString { luaL_loadbufferx(L, $0, strlen($0), "@test", nil) }
        guard status == LUA_OK, lua_pcallk(L, 0, 1, 0, 0, nil) == LUA_OK else {
            Issue.record("\(String(cString: lua_tolstring(L, -1, nil)))")
            return []
        }
        var length = 0
        let bytes = UnsafeRawBufferPointer(start: lua_tolstring(L, -1, &length), count: length)
        return Array(bytes)
    }
}
