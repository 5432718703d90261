"""Lua: loops that no budget ends, memory that is not the script's, doors out of the sandbox."""

import pathlib
import re

from .rows import ENDED, FINE, SOME, WHATEVER, Ask, Must, Row

WEAK_WALK = """
local v = panini.validator({ a = { type = "any", optional = true } }, { unknown = "refuse", max_violations = 10000 })
on("x", function()
    local N = 30000
    local value, hold, pad = setmetatable({}, { __mode = "v" }), {}, {}
    for i = 1, N do local x = {} hold[i] = x value["k" .. i] = x end
    local spray = ("AAAAAAAA"):rep(N * 3)
    for i = 1, 1000 do
        if 64 * 2 ^ 20 - collectgarbage("count") * 1024 < 600000 then break end
        pad[i] = ("x"):rep(100000) .. i
    end
    spray, hold = nil, nil
    local _, _, list = pcall(v.validate, v, value)
    local said = 0
    for _, one in ipairs(type(list) == "table" and list or {}) do
        if not one.path:find("^k%d+$") then error("foreign bytes: " .. one.path) end
        said = said + 1
    end
    return { said = said }
end)
"""


def nested(depth, name="items"):
    text = '{ type = "any" }'
    for _ in range(depth):
        text = f'{{ type = "array", {name} = {text} }}'
    return text


def addresses(a):
    """What a script sees of its functions and tables says nothing of where the program and its memory lie."""
    got = a.ask("x")
    a.check(got and got.code == FINE, f"answered {got}")
    ranges = []
    for line in (pathlib.Path("/proc") / str(a.pid) / "maps").read_text().splitlines():
        begin, end = line.split(" ", 1)[0].split("-")
        ranges.append((int(begin, 16), int(end, 16)))
    seen = {int(number, 16) for number in re.findall(rb"0x([0-9a-f]+)", got.payload)}
    real = [hex(number) for number in seen if any(begin <= number < end for begin, end in ranges)]
    a.check(not real, f"addresses: {real}")


# What must not reach a terminal as it is, from any place of a record.
FORGED = r"""local forged = "a\27[31m\r\n2026-01-01 ERROR forged\0\7\127\u{9b}\u{85}\u{2028}\u{202e}\u{2066}\xff" """


ROWS = [
    # ---- one call, or one instruction, of Lua's own that takes as long as a script likes
    # A chain of __call is met where Lua's stack grows, before the step that would be beyond the budget.
    Row("lua.one-call.call-chain", 'local t = {} setmetatable(t, { __call = t }) on("x", function() t() end)', attack=(Ask("x", ENDED),)),
    Row("lua.one-call.call-chain-in-close", """
on("x", function() local t = {} setmetatable(t, { __call = t }) local mt = { __close = t } local c <close> = setmetatable({}, mt) end)
""", attack=(Ask("x", ENDED),)),
    Row("lua.one-call.unpack", """
local t = {} for i = 1, 1990 do t = setmetatable({}, { __index = t }) end
on("x", function() return select("#", table.unpack(t, 1, 900000)) end)
""", attack=(Ask("x", ENDED),), quick=True),
    Row("lua.one-call.sort-long-texts", 'local z, l = ("\\0"):rep(2e6), {} for i = 1, 2000 do l[i] = z end on("x", function() table.sort(l) end)',
        attack=(Ask("x", (FINE, ENDED)),)),
    # What a call of the string library does is counted, whatever the pattern, the text and the replacement.
    Row("lua.one-call.replacement", 'local r = ("%1"):rep(10e6) on("x", function() return #(("x"):rep(1000):gsub("(x-)", r)) end)',
        attack=(Ask("x", ENDED),), must=Must(grow=120, keep=120), quick=True),
    Row("lua.one-call.pattern-of-many-items", """
on("x", function() return ("a"):rep(2e6):match(("a"):rep(1e6) .. "b") end)
on("y", function() return ("x"):rep(1e5):find(("a?"):rep(1e6) .. "b") end)
""", attack=(Ask("x", ENDED), Ask("y", ENDED))),
    Row("lua.one-call.long-sets", """
local set, s = "[" .. ("ab"):rep(5e5) .. "]", ("x"):rep(1e5)
local other = "[^" .. set:sub(2)
on("match", function() return s:match(set) end)
on("most", function() return #s:match(other .. "*") end)
on("fewest", function() return s:match(other .. "-y") end)
on("optional", function() return s:match((other .. "?"):rep(5) .. "y") end)
on("frontier", function() return s:find("%f" .. set) end)
on("gmatch", function() for _ in s:gmatch(set) do end end)
on("gsub", function() return (s:gsub(set, "")) end)
""", attack=tuple(Ask(name, ENDED) for name in ("match", "most", "fewest", "optional", "frontier", "gmatch", "gsub")), quick=True),
    Row("lua.one-call.long-captures", """
on("x", function() return ("x"):rep(4e5):find("(x*)%1y") end)
on("y", function() return ("("):rep(4e5):find("%b()") end)
on("z", function() local s, n = ("a"):rep(1e7), ("a"):rep(1e5) .. "b" for i = 1, 1e9 do s:find(n, i, true) end end)
""", attack=(Ask("x", ENDED), Ask("y", ENDED), Ask("z", ENDED)), must=Must(grow=120, keep=120)),
    Row("lua.one-call.formats", """
local s, z = (" "):rep(4e6), ("\\0"):rep(2e6)
on("pack", function() return pcall(string.pack, s) or pcall(string.unpack, s, "") or pcall(string.packsize, s) or "refused" end)
on("quoted", function() while true do ("%q"):format(z) end end)
on("upper", function() while true do s:upper():lower():reverse() end end)
""", attack=(Ask("pack", FINE), Ask("quoted", ENDED), Ask("upper", ENDED)), must=Must(grow=120, keep=120)),
    Row("lua.one-call.numbers", """
local s, n, m = ("0"):rep(5e6) .. "1", {}, {}
for i = 1, 2000 do n[i] = s end
for i = 1, 100000 do m[i] = s end
on("x", function() return { string.pack(("b"):rep(2000), table.unpack(n)) } end)
on("y", function() return { string.char(table.unpack(n)) } end)
on("z", function() return { utf8.char(table.unpack(n)) } end)
on("w", function() return { math.max(table.unpack(m)), math.min(table.unpack(m)) } end)
""", attack=(Ask("x", 500), Ask("y", 500), Ask("z", 500), Ask("w", 500)), quick=True),
    Row("lua.one-call.format-of-long-texts", """
local x, k = ("x"):rep(2e7), {} for i = 1, 10000 do k[i] = x end
on("x", function() return string.format(("%.1s"):rep(10000), table.unpack(k)) end)
""", attack=(Ask("x", (FINE, ENDED)),)),
    Row("lua.one-call.format-of-floats", """
local d = {} for i = 1, 150000 do d[i] = 1e308 end
on("x", function() return #string.format(("%99.99f"):rep(150000), table.unpack(d)) end)
""", attack=(Ask("x", (FINE, ENDED)),), quick=True),
    Row("lua.one-call.lines", 'on("x", function() io.write(("\\n"):rep(5e6)) end) on("y", function() io.stderr:write(("x\\n"):rep(2e6)) end)',
        attack=(Ask("x", ENDED), Ask("y", ENDED)), must=Must(lines=2_000_000, kilobytes=200_000, grow=130, keep=130)),
    Row("lua.one-call.event-lines", """
local s = ("\\n"):rep(1e7)
app.http.get("/x", function() return panini.response{ events = function(send) send(s) end } end)
app.http.get("/y", function() return panini.response{ events = function(send) send{ event = ("\\u{301}"):rep(1.5e7), data = "x" } end } end)
""", web=True, attack=lambda a: (a.get("/x"), a.get("/y"), a.sleep(1)), must=Must(grow=130)),
    Row("lua.one-call.long-paths", """
app.http.get("/x", function() return panini.response{ file = ("a/../"):rep(3e6) } end)
on("y", function() return app.http.fetch("http://127.0.0.1:1/" .. ("\\u{301}"):rep(9e6)) end)
""", web=True, attack=lambda a: (a.get("/x"), a.ask("y"), a.sleep(0.5)), must=Must(grow=130)),
    Row("memory.middlewares-of-the-host", """
on("x", function() for i = 1, 100000 do panini.middleware.debug{} panini.middleware.timeout{ seconds = 1 } panini.middleware.cors{} end return 1 end)
""", attack=(Ask("x", (FINE, 500, ENDED), times=20),), must=Must(grow=100, keep=100, exits=(0, 1))),
    # ---- closed and killed coroutines (4a, 4b)
    Row("lua.coroutine.killed-close", """
local co = coroutine.create(function() local _ <close> = setmetatable({}, { __close = forever }) forever() end)
on("a", function() return coroutine.resume(co) end)
on("b", function() return tostring(coroutine.close(co)) end)
on("c", function() return coroutine.status(co) end)
""", attack=(Ask("a", ENDED), Ask("b"), Ask("c")), quick=True),
    Row("lua.coroutine.killed-close-wrapped", """
local co
on("a", function()
    co = coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = function() pcall(forever) end })
        coroutine.wrap(forever)()
    end)
    coroutine.resume(co)
end)
on("b", function() coroutine.close(co) return "closed" end)
""", attack=(Ask("a", ENDED), Ask("b"))),
    Row("lua.coroutine.killed-close-nested", """
local list = {}
on("a", function()
    local function deep(n)
        local co = coroutine.create(function()
            local _ <close> = setmetatable({}, { __close = forever })
            if n > 0 then deep(n - 1) else forever() end
        end)
        list[#list + 1] = co
        coroutine.resume(co)
    end
    deep(50)
end)
on("b", function() for _, co in ipairs(list) do pcall(coroutine.close, co) end return #list end)
""", attack=(Ask("a", ENDED), Ask("b"))),
    Row("lua.coroutine.killed-resume", """
local co = coroutine.create(function() local _ <close> = setmetatable({}, { __close = forever }) forever() end)
on("a", function() return coroutine.resume(co) end)
on("b", function() local done = coroutine.resume(co) return done end)
""", attack=(Ask("a", ENDED), Ask("b"), Ask("b"))),
    Row("lua.coroutine.killed-then-collected", """
on("a", function()
    for i = 1, 50 do coroutine.resume(coroutine.create(function() local _ <close> = setmetatable({}, { __close = forever }) forever() end)) end
end)
on("b", function() local t = {} for i = 1, 3e5 do t = { t and i } end return "collected" end)
""", attack=(Ask("a", ENDED), Ask("b", FINE))),
    Row("lua.coroutine.killed-by-watchdog-in-close", """
local co
on("a", function()
    co = coroutine.create(function() local _ <close> = setmetatable({}, { __close = forever }) coroutine.yield() end)
    coroutine.resume(co)
    coroutine.close(co)
end)
on("b", function() pcall(coroutine.close, co) return coroutine.status(co) end)
""", attack=(Ask("a"), Ask("b"))),
    Row("lua.coroutine.error-of-weak-mode-then-close", """
local co = coroutine.create(function()
    local _ <close> = setmetatable({}, { __close = forever })
    local mt = {}
    local t = setmetatable({}, mt)
    mt.__mode = "k"
    local list, last = {}, {}
    while true do local key = {} t[key] = last last = key list[#list + 1] = key end
end)
on("a", function() return tostring(coroutine.resume(co)) end)
on("b", function() pcall(coroutine.close, co) return "closed" end)
""", attack=(Ask("a"), Ask("b"))),
    Row("lua.close.error-of-weak-mode-in-handler", """
on("a", function()
    local _ <close> = setmetatable({}, { __close = forever })
    local mt = {}
    local t = setmetatable({}, mt)
    mt.__mode = "k"
    local list, last = {}, {}
    while true do local key = {} t[key] = last last = key list[#list + 1] = key end
end)
""", attack=(Ask("a"), Ask("a"))),
    Row("lua.close.loops-after-error", """
on("a", function() local _ <close> = setmetatable({}, { __close = forever }) error("x") end)
on("b", function() local _ <close> = setmetatable({}, { __close = function() pcall(forever) forever() end }) error("x") end)
""", attack=(Ask("a"), Ask("b"))),
    Row("lua.close.after-limit-of-time", """
on("a", function() local _ <close> = setmetatable({}, { __close = forever }) app.sleep(30) end, { timeout = 0.3 })
""", attack=(Ask("a", ENDED), Ask("a", ENDED))),
    Row("lua.close.thousand-levels", """
on("a", function()
    local function f(n) local _ <close> = setmetatable({}, { __close = function() pcall(forever) end }) if n > 0 then f(n - 1) end error("x") end
    f(150)
end)
""", attack=(Ask("a"), Ask("a"))),
    Row("lua.close.generic-for", """
on("a", function() for _ in function() return 1 end, nil, nil, setmetatable({}, { __close = forever }) do error("x") end end)
""", attack=(Ask("a"),)),
    # ---- finalizers through open metatables (4c, 4d, 4e)
    Row("lua.gc.metatable-of-errors", """
on("a", function()
    local _, err = app.request("nobody.listens", {}, { timeout = 0.5 })
    local mt = getmetatable(err)
    if type(mt) == "table" then pcall(function() mt.__gc = forever end) end
    local _, other = app.request("nobody.listens", {}, { timeout = 0.5 })
    other = nil
    local t = {}
    for i = 1, 2e5 do t = { i } end
    return type(mt)
end)
""", attack=(Ask("a"), Ask("a")), quick=True),
    Row("lua.gc.metatable-of-validators", """
local v = panini.validator{ a = { type = "any", optional = true } }
on("a", function()
    local done, mt = pcall(function() return v:validate() end)
    if type(mt) == "table" then
        pcall(function() mt.__gc = forever end)
        for i = 1, 20 do panini.validator{ a = { type = "any" } } end
    end
    local t = {}
    for i = 1, 2e5 do t = { i } end
    return "made"
end)
""", attack=(Ask("a"), Ask("a"))),
    Row("lua.gc.metatables-of-all-that-is-handed-out", """
local things = { app, app.http, app.shared, app.logger, panini, panini.null, panini.json, panini.array{}, _G, "",
    panini.get_logger("x"), panini.validator{ a = { type = "any" } }, app.listen("evil.handle", function() end),
    panini.response{ text = "x" }, app.task, coroutine.create(forever) }
on("a", function(msg)
    things[#things + 1] = msg
    things[#things + 1] = msg.headers
    things[#things + 1] = msg.params
    things[#things + 1] = app.spawn(function() end)
    local _, err = app.request("nobody.listens", {}, { timeout = 0.5 })
    things[#things + 1] = err
    local open = 0
    for _, thing in ipairs(things) do
        for _, get in ipairs{ getmetatable, debug.getmetatable } do
            local done, mt = pcall(get, thing)
            if done and type(mt) == "table" then
                for _, name in ipairs{ "__gc", "__close", "__index", "__newindex", "__mode", "__tostring" } do
                    if pcall(rawset, mt, name, forever) and name == "__gc" then open = open + 1 end
                end
            end
        end
    end
    things = { app.shared }
    local t = {}
    for i = 1, 3e5 do t = { i } end
    return { open = open }
end)
""", attack=(Ask("a"), Ask("a"), Ask("a"))),
    Row("lua.gc.from-setmetatable", """
on("a", function()
    local mt = { __gc = forever }
    for i = 1, 1000 do setmetatable({}, mt) end
    local t = {}
    for i = 1, 3e5 do t = { i } end
    return "ignored"
end)
""", attack=(Ask("a", FINE), Ask("a", FINE))),
    Row("lua.gc.debug-setmetatable", """
on("a", function()
    for _, value in ipairs{ {}, forever, coroutine.create(forever), panini.null, "x", 1, true } do
        pcall(debug.setmetatable, value, { __gc = forever, __index = forever, __close = forever })
    end
    local t = {}
    for i = 1, 3e5 do t = { i } end
    return "tried"
end)
""", attack=(Ask("a"), Ask("a"))),
    Row("lua.weak.metatable-of-globals", """
local key = {}
for i = 1, 60000 do key[i] = {} end
on("a", function()
    local mt = getmetatable(_G)
    if type(mt) ~= "table" then return "closed" end
    if not pcall(function() mt.__mode = "k" end) then return "closed" end
    local order = {}
    for i = 1, #key do order[i] = i end
    for i = #key, 2, -1 do local j = math.random(i) order[i], order[j] = order[j], order[i] end
    for _, i in ipairs(order) do rawset(_G, key[i], key[i + 1]) end
    key = nil
    local t = {}
    for i = 1, 2e5 do t = { i } end
    return "filled"
end)
""", attack=(Ask("a"),)),
    Row("lua.weak.metatable-of-errors", """
on("a", function()
    local _, err = app.request("nobody.listens", {}, { timeout = 0.5 })
    local mt = getmetatable(err)
    if type(mt) ~= "table" or not pcall(function() mt.__mode = "k" end) then return "closed" end
    local last = {}
    for i = 1, 60000 do local key = {} rawset(err, key, last) last = key end
    local t = {}
    for i = 1, 3e5 do t = { i } end
    return "filled"
end)
""", attack=(Ask("a"),)),
    # ---- weak tables past the count (4e, 4f)
    Row("lua.weak.values-changed-in-place", """
local key, t = {}, setmetatable({}, { __mode = "k" })
on("a", function(msg)
    for i = #key + 1, #key + 20000 do key[i] = {} t[key[i]] = true end
    return #key
end)
on("b", function()
    local order = {}
    for i = 1, #key - 1 do order[i] = i end
    for i = #order, 2, -1 do local j = math.random(i) order[i], order[j] = order[j], order[i] end
    for n = 1, #order do local i = order[n] t[key[i]] = key[i + 1] end
    return panini.json.decode("[" .. ("[1,2,3],"):rep(50000) .. "1]") and "decoded"
end)
""", cpu=0.5, memory=128, attack=(Ask("a", times=6), Ask("b"), Ask("b")), must=Must(grow=200, keep=200)),
    Row("lua.weak.grown-in-small-steps", """
local t, last, n = setmetatable({}, { __mode = "k" }), {}, 0
on("a", function()
    for i = 1, 300 do local key = {} t[key] = last last = key end
    n = n + 300
    return n
end)
on("b", function() local x = {} for i = 1, 3e5 do x = { i } end return "collected" end)
""", attack=(Ask("a", WHATEVER, times=40), Ask("b", WHATEVER)), must=Must(grow=100, keep=100)),
    Row("lua.weak.mode-set-late", """
on("a", function()
    local mt = {}
    local t, last = setmetatable({}, mt), {}
    mt.__mode = "k"
    for i = 1, 1e5 do local key = {} t[key] = last last = key end
    return "made"
end)
""", attack=(Ask("a"), Ask("a")), must=Must(grow=100, keep=100)),
    Row("lua.weak.many-small-tables", """
on("a", function()
    local all, last = {}, {}
    local mt = { __mode = "k" }
    for i = 1, 3e4 do local key = {} local t = setmetatable({}, mt) t[key] = last last = key all[i] = t end
    return "made"
end)
""", attack=(Ask("a"), Ask("a")), must=Must(grow=100, keep=100)),
    # ---- memory safety (3)
    Row("lua.validator.weak-table", WEAK_WALK, cpu=1,
        attack=(Ask("x", (FINE, ENDED, 500), times=6),), must=Must(grow=140, keep=140), quick=True),
    Row("lua.validator.weak-keys-that-die", """
local v = panini.validator({ a = { type = "any", optional = true } }, { unknown = "refuse", max_violations = 10000 })
on("x", function()
    local value, pad = setmetatable({}, { __mode = "kv" }), {}
    for i = 1, 20000 do value["long key that is a text of its own, number " .. i] = {} end
    for i = 1, 1000 do
        if 64 * 2 ^ 20 - collectgarbage("count") * 1024 < 2e6 then break end
        pad[i] = ("x"):rep(100000) .. i
    end
    local _, _, list = pcall(v.validate, v, value)
    for _, one in ipairs(type(list) == "table" and list or {}) do
        if not one.path:find("long key", 1, true) then error("foreign bytes: " .. one.path) end
    end
    return "walked"
end)
""", cpu=1, attack=(Ask("x", (FINE, ENDED, 500), times=6),), must=Must(grow=140, keep=140)),
    Row("lua.validator.table-emptied-by-check", """
local value
local v = panini.validator({ a = { type = "any", check = function() for k in pairs(value) do value[k] = nil end collectgarbage() return true end } },
    { unknown = "refuse", max_violations = 10000 })
on("x", function()
    for i = 1, 100 do
        value = { a = 1 }
        for k = 1, 500 do value["key " .. k] = {} end
        v:validate(value)
    end
    return "walked"
end)
""", cpu=1, attack=(Ask("x", times=3),)),
    Row("lua.validator.array-shrunk-by-check", """
local value
local v = panini.validator{ a = { type = "array", items = { type = "any", check = function() for i = 1, #value do value[i] = nil end return true end } } }
on("x", function()
    for i = 1, 200 do
        value = {}
        for k = 1, 500 do value[k] = { k } end
        v:validate{ a = value }
    end
    return "walked"
end)
""", cpu=1, attack=(Ask("x", times=3),)),
    Row("lua.validator.check-that-yields-and-forgets", """
local v = panini.validator{ a = { type = "any", check = function() app.sleep(0.001) collectgarbage() return true end } }
on("x", function()
    local done = app.wait_all{ function() return v:validate{ a = {} } end, function() return v:validate{ a = {} } end }
    return #done
end)
""", attack=(Ask("x", times=5),)),
    Row("lua.validator.patterns-that-change", """
local key = "p"
local field = { type = "string", pattern = "a+" }
local v = panini.validator{ a = field }
on("x", function()
    field.pattern = ("("):rep(40)
    field.type = nil
    collectgarbage()
    return tostring(v:validate{ a = "aaa" })
end)
""", attack=(Ask("x", times=3),)),
    # ---- validators of width and depth (4i)
    Row("lua.validator.exponential-width", f"""
local v = panini.validator{{ a = {nested(7)} }}
on("x", function()
    local t = 1
    for _ = 1, 7 do local list = {{}} for i = 1, 100 do list[i] = t end t = list end
    return tostring(v:validate{{ a = t }})
end)
""", attack=(Ask("x", ENDED), Ask("x", ENDED)), quick=True),
    Row("lua.validator.exponential-validators", """
local v = panini.validator{ a = { type = "any", optional = true } }
for _ = 1, 8 do v = panini.validator{ a = { type = v, many = true, optional = true } } end
on("x", function()
    local value = { a = 1 }
    for _ = 1, 8 do
        local list = {}
        for i = 1, 100 do list[i] = value end
        value = { a = list }
    end
    return tostring(v:validate(value))
end)
""", attack=(Ask("x", ENDED), Ask("x", ENDED))),
    Row("lua.validator.in-wait-all", f"""
local v = panini.validator{{ a = {nested(7)} }}
on("x", function()
    local t = 1
    for _ = 1, 7 do local list = {{}} for i = 1, 100 do list[i] = t end t = list end
    local fs = {{}}
    for i = 1, 5 do fs[i] = function() return v:validate{{ a = t }} end end
    return #app.wait_all(fs)
end)
""", attack=(Ask("x", WHATEVER),)),
    Row("lua.validator.recursive-value", """
local v = panini.validator{ a = { type = "array", items = { type = "array", items = { type = "any" } } } }
on("x", function()
    local t = {}
    for i = 1, 1000 do t[i] = t end
    return tostring(v:validate{ a = t })
end)
""", attack=(Ask("x"), Ask("x"))),
    Row("lua.validator.unknown-keys-by-the-hundred-thousand", """
local v = panini.validator({ a = { type = "any", optional = true } }, { unknown = "refuse", max_violations = 10000 })
local value = {}
for i = 1, 1e5 do value["k" .. i] = i end
on("x", function() local _, list = v:validate(value) return #list end)
""", attack=(Ask("x"), Ask("x")), must=Must(grow=120, keep=120)),
    Row("lua.validator.enum-of-hundred-thousand", """
local enum = {}
for i = 1, 1e5 do enum[i] = "e" .. i end
local done, v = pcall(panini.validator, { a = { type = "array", items = { type = "string", enum = enum } } })
local value = {}
for i = 1, 1e4 do value[i] = "not there" end
on("x", function() return done and tostring(v:validate{ a = value }) end)
""", attack=(Ask("x"), Ask("x")), must=Must(grow=100, keep=100)),
    Row("lua.validator.pattern-steps", """
local done, v = pcall(panini.validator, { a = panini.field{ type = "string", pattern = ("a*"):rep(30) .. "b" } }, { pattern_steps = 1000000000 })
on("x", function() return done and tostring(v:validate{ a = ("a"):rep(1000) }) end)
""", attack=(Ask("x"), Ask("x")), quick=True),
    Row("lua.validator.pattern-of-many-items", """
local v = panini.validator{ a = { type = "array", items = { type = "string", pattern = ("a*"):rep(30) .. "b" } } }
local text = ("a"):rep(200)
local value = {}
for i = 1, 5000 do value[i] = text end
on("x", function() return tostring(v:validate{ a = value }) end)
""", attack=(Ask("x"), Ask("x"))),
    Row("lua.validator.walk-of-colliding-keys", """
local v = panini.validator{ a = { type = "array", items = { type = panini.validator({ b = { type = "any", optional = true } }, { unknown = "refuse" }) } } }
local value = {}
on("fill", function()
    local text = {}
    for i = 1, 8000 do text[i] = "[" .. i * 8191 .. "]=1" end
    local made = load("return {" .. table.concat(text, ",") .. "}")
    local one = made and made() or {}
    for i = 1, 300 do value[i] = one end
    return #value
end)
on("x", function() return tostring(v:validate{ a = value }) end)
""", cpu=0.5, attack=(Ask("fill", WHATEVER), Ask("x", WHATEVER), Ask("x", WHATEVER)), must=Must(grow=120, keep=120)),
    Row("lua.middleware.options-of-colliding-keys", """
app.add_middleware{ send_any = function(subject, message, send, opts) return send(subject, message, opts) end }
local headers = {}
on("fill", function()
    local text = {}
    for i = 1, 8000 do text[i] = "[" .. i * 8191 .. "]=1" end
    local made = load("return {" .. table.concat(text, ",") .. "}")
    headers = made and made() or {}
    return "filled"
end)
on("x", function()
    for i = 1, 200 do pcall(app.publish, "nobody.listens", headers, headers) pcall(app.publish, "nobody.listens", 1, { headers = headers }) end
    return "tried"
end)
""", cpu=0.5, attack=(Ask("fill", WHATEVER), Ask("x", WHATEVER), Ask("x", WHATEVER)), must=Must(grow=120, keep=120)),
    # ---- a run that is ended while others wait (suspected)
    Row("lua.wait.ended-at-a-suspension", """
package.preload.slow = function() app.sleep(0.3) return { slow = true } end
on("x", function() while true do for i = 1, 1000 do end app.sleep(0) end end)
on("y", function() package.loaded.slow = nil return require("slow") end)
on("z", function() while true do pcall(app.request, "evil.alive", {}) for i = 1, 1000 do end end end)
""", attack=(lambda a: [a.requester.publish(f"evil.{name}", reply="nobody") for name in "xyzyxzy"], Ask("y", (FINE, 500)), Ask("y", (FINE, 500)), Ask("alive", FINE)), must=Must(exits=(0, 1))),
    # ---- limits that a script raises itself (4j)
    Row("lua.limits.untrusted-raises-cpu", """
app.listen("evil.x", forever)
""", own_app='{ service_name = "evil", limits = { cpu = 86400 } }', cpu=1, flags=("--untrusted=evil", "--allow-listen", "evil.>"),
        attack=(Ask("x", ENDED),), quick=True),
    Row("lua.limits.untrusted-raises-memory", """
on("x", function() local t = {} for i = 1, 600 do t[i] = ("x"):rep(1 << 20) .. i end return #t end)
""", own_app='{ service_name = "evil", limits = { memory = "1024GB" } }', cpu=1, flags=("--untrusted=evil", "--allow-listen", "evil.>"),
        attack=(Ask("x", (500, ENDED)),), must=Must(grow=320, keep=320)),
    Row("lua.limits.untrusted-raises-weak-keys", """
on("x", function()
    local t, last = setmetatable({}, { __mode = "k" }), {}
    for i = 1, 15000 do local key = {} t[key] = last last = key end
    local list = {} for i = 1, 3e5 do list[i] = { i } end
    return "kept"
end)
""", own_app='{ service_name = "evil", limits = { weak_keys = 1000000000 } }', cpu=1, flags=("--untrusted=evil", "--allow-listen", "evil.>"),
        attack=(Ask("x", (ENDED, 500)),), must=Must(grow=320, keep=320)),
    Row("lua.limits.untrusted-within-those-from-outside", """
on("x", forever)
""", own_app='{ service_name = "evil", limits = { cpu = 20 } }', flags=("--untrusted=evil", "--allow-listen", "evil.>", "--limits-cpu", "0.25"),
        attack=(Ask("x", ENDED), Ask("x", ENDED))),
    Row("lua.limits.untrusted-raises-handler-timeout", """
on("x", function() app.sleep(1000) end)
""", own_app='{ service_name = "evil", handler_timeout = 80000, limits = { cpu = 0.25 } }', cpu=0.25,
        flags=("--untrusted=evil", "--allow-listen", "evil.>", "--handler-timeout", "1"), attack=(Ask("x", ENDED),)),
    # ---- doors of the sandbox (9, 10, "what held")
    Row("lua.doors.pairs-of-libraries", """
on("x", function()
    for _, library in ipairs{ string, table, math, utf8, coroutine, os, panini, panini.json, panini.hash, app, app.http, app.shared } do
        local step, state = pairs(library)
        if type(state) == "table" then
            pcall(function() state.rep = function() return "owned" end state.insert = state.rep state.floor = state.rep end)
            for k in step, state do pcall(rawset, state, k, forever) end
        end
    end
    assert(("a"):rep(3) == "aaa" and math.floor(1.5) == 1)
    return table.concat{ "still", "there" }
end)
on("other", function() return ("b"):rep(3) end)
""", attack=(Ask("x", FINE), Ask("other", FINE)), quick=True),
    Row("lua.doors.next-of-libraries", """
on("x", function()
    for _, library in ipairs{ string, table, math, utf8 } do
        for _, walk in ipairs{ next, rawget, rawset, rawlen, table.insert, table.sort, table.move, setmetatable } do
            pcall(walk, library, "rep", forever)
        end
        pcall(table.move, { forever }, 1, 1, 1, library)
    end
    assert(("a"):rep(3) == "aaa")
    return "still there"
end)
""", attack=(Ask("x", FINE),)),
    Row("lua.doors.addresses", """
on("x", function()
    local seen = {}
    for _, value in ipairs{ print, next, string.rep, app.publish, panini.json.encode, pcall, io.write, coroutine.running(), {}, _G, "text", forever } do
        seen[#seen + 1] = tostring(value)
        seen[#seen + 1] = ("%p"):format(value)
        seen[#seen + 1] = ("%s"):format(value)
    end
    return seen
end)
""", attack=addresses),
    Row("lua.doors.bytecode", """
on("x", function()
    assert(not pcall(string.dump, forever) or not load(string.dump(forever)))
    assert(not load("\\27Lua" .. ("\\0"):rep(100)) and not load("\\27Lua", "x", "b"))
    local parts, n = { "\\27", "Lua", "\\x54\\0\\x19\\x93\\r\\n\\x1a\\n" }, 0
    assert(not load(function() n = n + 1 return parts[n] end))
    return "text alone"
end)
""", attack=(Ask("x", FINE),)),
    Row("lua.doors.registry-and-upvalues", """
on("x", function()
    for _, f in ipairs{ print, pairs, app.listen, app.publish, panini.json.decode, string.gmatch("a", "a"), coroutine.wrap(forever) } do
        for i = 1, 20 do
            local done, name, value = pcall(debug.getupvalue, f, i)
            assert(not done or value == nil or type(value) ~= "userdata")
            pcall(debug.setupvalue, f, i, forever)
            pcall(debug.upvaluejoin, f, i, forever, 1)
        end
    end
    local done, registry = pcall(function() return debug.getregistry() end)
    assert(not done or type(registry) ~= "table" or next(registry) == nil)
    return "closed"
end)
""", attack=(Ask("x", FINE),)),
    Row("lua.doors.hooks", """
on("x", function()
    pcall(function() debug.sethook() end)
    pcall(function() debug.sethook(forever, "l") end)
    pcall(function() debug.sethook(coroutine.running(), forever, "c", 1) end)
    forever()
end)
""", attack=(Ask("x", ENDED), Ask("x", ENDED))),
    Row("lua.doors.files-and-programs", """
on("x", function()
    assert(not io.open("/etc/passwd") and not pcall(io.popen, "id") and not pcall(os.execute, "id") and not pcall(dofile, "/etc/passwd"))
    assert(not pcall(os.remove, "/tmp/x") and not pcall(os.rename, "/tmp/x", "/tmp/y") and not pcall(os.tmpname))
    assert(not pcall(package.loadlib, "libc.so.6", "*") and not pcall(os.exit, 1))
    return "closed"
end)
""", attack=(Ask("x", FINE),)),
    Row("lua.doors.environment-of-untrusted", """
on("x", function()
    for _, get in ipairs{ function() return panini.env("SIEGE_SECRET") end, function() return os.getenv("SIEGE_SECRET") end,
        function() return panini.env("siege_secret", "none") end } do
        local done, value = pcall(get)
        if done and type(value) == "string" and value:find("SIEGE%-") then return value end
    end
    return "denied"
end)
""", flags=("--untrusted=evil", "--allow-listen", "evil.>"), attack=(Ask("x", FINE),)),
    Row("lua.doors.secret-in-errors", """
local secret = panini.env("SIEGE_SECRET")
on("x", function() local kept = secret error(setmetatable({}, { __tostring = function() return nil end })) end)
on("y", function() local kept = secret local x = nil return x.y end)
on("z", function() local kept = secret forever() end)
""", attack=(Ask("x"), Ask("y", 500), Ask("z", ENDED))),
    Row("lua.doors.tokens-by-grapheme-publish", """
on("x", function()
    for _, subject in ipairs{ "plugin.x.\\u{301}secret", "plugin.a.\\u{301}.b", "plugin\\u{600}.x.y", "plugin.x\\u{600}.y", "plugin.\\u{200d}.b" } do
        local done, err = app.publish(subject, 1)
        assert(done == nil and err.code == "denied", subject)
    end
    assert(app.publish("plugin.x", 1))
    return "denied"
end)
""", flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-publish", "plugin.*"), attack=(Ask("x", FINE),), quick=True),
    Row("lua.doors.tokens-by-grapheme-listen", """
on("x", function()
    for _, subject in ipairs{ "plugin.x\\u{600}.>", "plugin.x.\\u{301}>", "plugin.x\\u{600}.*", "plugin.\\u{600}.a" } do
        local done, listener, err = pcall(app.listen, subject, function() end)
        assert(not done or (listener == nil and err.code == "denied"), subject)
    end
    return "denied"
end)
""", flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-listen", "plugin.*"), attack=(Ask("x", FINE),)),
    Row("lua.doors.tokens-by-grapheme-reply-to", """
on("x", function()
    local done, err = app.publish("plugin.x", 1, { reply_to = "plugin.x.\\u{301}secret" })
    assert(done == nil and err.code == "denied")
    local answer, other = app.request("plugin.x.\\u{301}secret", 1, { timeout = 0.5 })
    assert(answer == nil and other.code == "denied")
    return "denied"
end)
""", flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-publish", "plugin.*"), attack=(Ask("x", FINE),)),
    Row("lua.doors.tokens-by-grapheme-bridge", """
local open = pcall(app.http.nats_bridge, "/b", { allow = { "plugin.x\\u{600}.>" } })
on("x", function() assert(not open) return "denied" end)
""", web=True, flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-listen", "plugin.*"), attack=(Ask("x", FINE),)),
    Row("lua.doors.equal-by-normal-form", """
on("x", function()
    local done, err = app.publish("caf\\u{65}\\u{301}", 1)
    assert(done == nil and err.code == "denied")
    return "denied"
end)
""", flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-publish", "caf\u00e9"), attack=(Ask("x", FINE),)),
    Row("lua.doors.fetch-of-untrusted", """
on("x", function()
    for _, url in ipairs{ "http://127.0.0.1:9/", "http://127.0.0.1@localhost:9/", "http://LOCALHOST.:9/", "http://[::1]:9/", "http://0x7f000001:9/",
        "http://2130706433:9/" } do
        local done, answer, err = pcall(app.http.fetch, url, { timeout = 1 })
        assert(not done or (answer == nil and err.code == "denied"), url)
    end
    return "denied"
end)
""", flags=("--untrusted=evil", "--allow-listen", "evil.>", "--allow-net", "example.com:443"), attack=(Ask("x", FINE),)),
    Row("lua.doors.require-out-of-the-folder", """
on("x", function()
    for _, name in ipairs{ "../good", "..good", "/etc/passwd", "good\\0", ("a."):rep(5000) .. "b", "....good", "evil/../good" } do pcall(require, name) end
    package.path = "/etc/?;../?;/proc/self/?"
    for _, name in ipairs{ "passwd", "environ", "good" } do assert(not pcall(require, name), name) end
    return "closed"
end)
""", attack=(Ask("x", FINE),)),
    Row("lua.doors.threads-of-the-host", """
local mine
on("a", function() mine = coroutine.running() app.sleep(0.2) return "slept" end)
on("b", function()
    if not mine then return "none" end
    for _, f in ipairs{ coroutine.resume, coroutine.close, coroutine.status, coroutine.wrap, debug.traceback } do pcall(f, mine) end
    pcall(coroutine.resume, mine, forever)
    return coroutine.status(mine)
end)
""", attack=(Ask("a", FINE), Ask("b", FINE), Ask("a", FINE))),
    Row("lua.doors.close-a-handler-that-waits", """
local mine
on("a", function() mine = coroutine.running() app.spawn(function() pcall(coroutine.close, mine) pcall(coroutine.resume, mine, 1) end) app.sleep(0.05) return "slept" end)
""", attack=(Ask("a", FINE), Ask("a", FINE))),
    # ---- CPU in one call, and errors of size
    Row("lua.error.thirty-megabytes", """
on("x", function() error(("x"):rep(30 << 20)) end)
on("y", function() return nil, ("x"):rep(30 << 20) end)
on("z", function() error{ code = 418, message = ("x"):rep(30 << 20) } end)
""", attack=(Ask("x", (418, 500)), Ask("y", (418, 500)), Ask("z")), must=Must(grow=90, keep=90, kilobytes=300), quick=True),
    Row("lua.error.thirty-megabytes-of-lines", """
on("x", function() error(("x\\n"):rep(10 << 20)) end)
""", attack=(Ask("x", 500),), must=Must(grow=90, keep=90, kilobytes=300, lines=40_000)),
    Row("lua.error.of-a-spawned-function", """
on("x", function() for i = 1, 5 do app.spawn(function() error(("x"):rep(20 << 20)) end) end return "spawned" end)
""", attack=(Ask("x", FINE), Ask("x", FINE)), must=Must(grow=90, keep=90, kilobytes=900)),
    Row("lua.error.log-of-thirty-megabytes", """
on("x", function() for i = 1, 3 do app.logger.error(("x"):rep(20 << 20)) end print(("x"):rep(20 << 20)) return "said" end)
""", attack=(Ask("x", (FINE, ENDED, 500)),), must=Must(grow=160, keep=130, kilobytes=1500)),
    Row("lua.error.levels-of-cause", """
on("x", function() local e = "x" for i = 1, 2000 do local inner = e e = setmetatable({}, { __tostring = function() return tostring(inner) .. "x" end }) end error(e) end)
""", attack=(Ask("x"), Ask("x"))),
    Row("lua.error.in-error-handler", """
on("x", function() return xpcall(function() error("x") end, function() error("y") end) end)
on("y", function() local function h() return h() end return xpcall(error, h) end)
""", attack=(Ask("x"), Ask("y"))),
    Row("lua.cpu.loop", "on('x', forever)", attack=(Ask("x", ENDED, times=3),)),
    Row("lua.cpu.loop-in-pcall", "on('x', function() while true do pcall(forever) end end)", attack=(Ask("x", ENDED, times=2),)),
    Row("lua.cpu.pattern-that-tries-everything", 'on("x", function() return ("a"):rep(30):find((".-"):rep(25) .. "b") end)', attack=(Ask("x", ENDED),)),
    Row("lua.cpu.gsub-of-a-large-text", 'on("x", function() local s = ("ab"):rep(5e6) while true do s:gsub("a", "%0") end end)',
        attack=(Ask("x", ENDED),), must=Must(grow=120, keep=120)),
    Row("lua.cpu.sort-of-equals", """
on("x", function() local t = {} for i = 1, 2e5 do t[i] = 1 end while true do table.sort(t, function(a, b) return a < b end) end end)
""", attack=(Ask("x", ENDED),)),
    Row("lua.cpu.table-move", 'on("x", function() table.move({}, 1, 1e10, 2) end)', attack=(Ask("x", ENDED),)),
    Row("lua.cpu.concat-with-false-length", """
on("x", function() return table.concat(setmetatable({}, { __index = function() return "x" end, __len = function() return 1e10 end })) end)
""", attack=(Ask("x"),), must=Must(grow=120, keep=120)),
    Row("lua.cpu.unpack-of-everything", 'on("x", function() return pcall(table.unpack, {}, math.mininteger, math.maxinteger) end)', attack=(Ask("x"),)),
    Row("lua.cpu.keys-in-one-place", """
on("x", function() local t = {} for i = 1, 2 ^ 17 + 1 do t[i * (2 ^ 18 - 1) // 1 | 0] = i end return "made" end)
""", attack=(Ask("x", ENDED), Ask("x", ENDED))),
    Row("lua.cpu.keys-in-one-place-by-message", """
on("x", function(msg) local t = {} for _, k in ipairs(msg.data) do t[k] = true end return "made" end)
""", attack=(Ask("x", WHATEVER, b"[" + b",".join(b"%d" % (i * ((1 << 18) - 1)) for i in range(1, 60000)) + b"]"),)),
    Row("lua.keys.texts-of-one-size", """
on("x", function()
    local t = {}
    for i = 1, 2 ^ 16 do t[i * 7919] = i end
    local list = {}
    for n = 10, 18 do list[#list + 1] = ("x"):rep(24 * 2 ^ n // 1 | 0) end
    return #list
end)
""", attack=(Ask("x", FINE), Ask("x", FINE))),
    Row("lua.cpu.load-of-a-large-text", 'on("x", function() return load("return {" .. ("{},"):rep(2e6) .. "}") ~= nil end)', attack=(Ask("x"),),
        must=Must(grow=150, keep=150)),
    Row("lua.cpu.date-of-a-long-format", 'on("x", function() return #os.date(("%c"):rep(1e6)) end)', attack=(Ask("x", WHATEVER),), must=Must(grow=120, keep=120)),
    Row("lua.cpu.string-to-number", 'on("x", function() while true do tonumber(("9"):rep(1e6)) end end)', attack=(Ask("x", ENDED),)),
    Row("lua.cpu.names-in-errors", """
on("x", function() while true do pcall(table.sort, { 2, 1 }, function() debug.traceback() error("x") end) end end)
""", attack=(Ask("x", ENDED),)),
    Row("lua.stack.c-recursion", """
on("x", function() local function f() return (("x"):gsub(".", f)) end return f() end)
on("y", function() local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x end)
on("z", function() local function f() return coroutine.wrap(f)() end return f() end)
""", attack=(Ask("x"), Ask("y"), Ask("z")), must=Must(grow=120, keep=120)),
    Row("lua.stack.pcall-recursion", 'on("x", function() local function f() return pcall(f) and 1 end while true do f() end end)', attack=(Ask("x"),),
        must=Must(grow=120, keep=120)),
    # ---- the log
    Row("lua.log.controls-in-texts", f"""
{FORGED}
on("x", function() app.logger.error(forged) app.logger.info("x" .. forged) print(forged) io.write(forged, "\\n") return "said" end)
""", attack=(Ask("x", FINE),)),
    Row("lua.log.controls-in-fields", f"""
{FORGED}
on("x", function()
    app.logger.error("x", {{ [forged] = forged, a = {{ [forged] = {{ forged }} }} }})
    panini.get_logger(forged).warning(forged, {{ a = forged }})
    pcall(app.logger.exception, forged, {{ a = forged }})
    return "said"
end)
""", attack=(Ask("x", FINE),), quick=True),
    Row("lua.log.controls-in-errors", f"""
{FORGED}
on("x", function() error(forged) end)
on("y", function() error{{ code = 418, message = forged, errors = {{ {{ path = forged, code = forged, message = forged }} }} }} end)
on("z", function() load("error(...)", "=" .. forged)(forged) end)
""", attack=(Ask("x", 500), Ask("y"), Ask("z", 500))),
    Row("lua.log.controls-in-names", f"""
{FORGED}
on("x", function()
    for _, f in ipairs{{ function() app.listen("evil.n", {{ name = forged }}, error) end, function() _G[forged] = 1 end,
        function() app.publish("p." .. forged, 1) end, function() require(forged) end, function() return app[forged] end,
        function() return panini.env(forged) end, function() app.timer_task(1000, {{ name = forged }}, error) end,
        function() app.shared.set(forged, error) end, function() panini.validator{{ [forged] = {{ type = forged }} }} end }} do
        local done, err = pcall(f)
        print(err)
    end
    return "said"
end)
""", attack=(Ask("x", FINE),)),
    Row("lua.log.controls-of-clients", """
app.listen("log.>", function(msg) app.logger.error(msg.subject, { subject = msg.subject, data = msg.raw, headers = msg.headers.X }) error(msg.raw) end)
""", attack=lambda a: ([a.requester.publish("log.s\u202e\u2028\u009b", "\x1b[31m\r\n2026 ERROR forged\u202e\u2066\u009b".encode()) for _ in range(3)], a.sleep(0.3)),
        must=Must(lines=60)),
    # ---- the file itself
    Row("lua.load.loop", "forever()", program="load"),
    Row("lua.load.loop-in-pcall", "while true do pcall(forever) end", program="load"),
    Row("lua.load.killed-close", """
local co = coroutine.create(function() local _ <close> = setmetatable({}, { __close = forever }) forever() end)
pcall(coroutine.resume, co)
pcall(coroutine.close, co)
""", program="load"),
    Row("lua.load.weak-mode-close", """
local _ <close> = setmetatable({}, { __close = forever })
local mt = {}
local t = setmetatable({}, mt)
mt.__mode = "k"
local list, last = {}, {}
while true do local key = {} t[key] = last last = key list[#list + 1] = key end
""", program="load"),
    Row("lua.load.memory", "local t = {} while true do t[#t + 1] = {} end", program="load"),
    Row("lua.load.deep-text", "return load('return ' .. ('('):rep(2e5) .. '1' .. (')'):rep(2e5))", program="load"),
    Row("lua.load.hundred-thousand-listeners", 'for i = 1, 1e5 do app.listen("s." .. i, function() end) end', program="load"),
    Row("lua.load.validator-of-depth", "local f = { type = 'array' } for i = 1, 1e5 do f = { type = 'array', items = f } end panini.validator{ a = f }", program="load"),
]
