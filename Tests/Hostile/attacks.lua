-- A service that tries to take its host down. Each attack is a handler on attack.<number>; `attack.names` tells their names.
-- None of them may end later than the budget says, take more memory than the limit, or be noticed by anybody else.
local app = panini.app{
    service_name = "attacker",
    limits = { cpu = 0.1, memory = "32MB", weak_keys = 1500 },
    handler_timeout = 3,
    logger_required = true,
}

local names = {}
local function attack(name, body)
    names[#names + 1] = name
    app.listen("attack." .. #names, body)
end

local function forever() while true do end end

-- ---- time

attack("loop", function() while true do end end)
attack("loop of jumps", function() ::again:: goto again end)
attack("numeric loop", function() for _ = 1, math.maxinteger do end end)
attack("recursion through tail calls", function() local function f() return f() end return f() end)
attack("pcall around a loop", function() while true do pcall(forever) end end)
attack("pcall of pcall of pcall", function() local function f() pcall(pcall, pcall, f) end while true do f() end end)
attack("xpcall with a looping handler", function() xpcall(forever, forever) end)
attack("xpcall with a failing handler", function() while true do xpcall(error, error) end end)
attack("xpcall with pcall as its handler", function() while true do xpcall(forever, function() pcall(forever) end) end end)
attack("a looping __close", function() local _ <close> = setmetatable({}, { __close = forever }) end)
attack("a looping __close behind a loop", function() local _ <close> = setmetatable({}, { __close = forever }) forever() end)
attack("many looping __close", function()
    local function f(n)
        local _ <close> = setmetatable({}, { __close = function() pcall(forever) end })
        if n > 0 then f(n - 1) end
    end
    f(100)
end)
attack("a loop in a coroutine", function() coroutine.wrap(forever)() end)
attack("a loop in many coroutines", function() while true do coroutine.resume(coroutine.create(forever)) end end)
attack("a coroutine that closes itself slowly", function()
    local co = coroutine.create(function() local _ <close> = setmetatable({}, { __close = forever }) coroutine.yield() end)
    coroutine.resume(co)
    while true do coroutine.close(co) end
end)
attack("coroutines that resume each other", function()
    local a, b
    a = coroutine.wrap(function() while true do pcall(b) coroutine.yield() end end)
    b = coroutine.wrap(function() while true do pcall(a) coroutine.yield() end end)
    while true do pcall(a) pcall(b) end
end)
attack("20 000 nested closes", function()
    local last
    for _ = 1, 20000 do
        local inner = last
        local co = coroutine.create(function()
            local _ <close> = setmetatable({}, { __close = function() if inner then coroutine.close(inner) end end })
            coroutine.yield()
        end)
        coroutine.resume(co)
        last = co
    end
    return coroutine.close(last)
end)
attack("coroutines in coroutines", function() local function f() return coroutine.wrap(f)() end f() end)
attack("sort with a looping comparison", function() table.sort({ 2, 1 }, forever) end)
attack("sort with a lying comparison", function()
    local t = {}
    for i = 1, 1000 do t[i] = i end
    while true do table.sort(t, function() return math.random(2) == 1 end) end
end)
attack("sort that changes its table", function()
    local t = {}
    for i = 1, 1000 do t[i] = i end
    table.sort(t, function(a, b) t[a] = nil t[#t + 1] = b return a < b end)
    forever()
end)
attack("sort with a comparison in C", function()
    local t = {}
    for i = 1, 1e5 do t[i] = i end
    while true do table.sort(t, rawequal) end
end)
attack("gsub with a looping function", function() ("x"):gsub(".", forever) end)
attack("gsub inside gsub", function()
    local function f() return (("x"):rep(100):gsub(".", f)) end
    f()
end)
attack("xpcall in sort in gsub", function()
    ("x"):gsub(".", function() table.sort({ 2, 1 }, function() xpcall(forever, forever) end) end)
end)
attack("load with a looping reader", function() load(forever) end)
attack("load with a reader of blanks", function() load(function() return " " end) end)
attack("load of load", function() local s = "return 1" while true do load(s) s = s .. " " end end)
attack("a text of parentheses", function() return load("return " .. ("("):rep(1e5) .. ("1") .. (")"):rep(1e5)) == nil end)
attack("a text of blocks", function() return load(("do "):rep(1e5)) == nil end)
attack("a text of locals", function() return load(("local a "):rep(300)) == nil end)
attack("a text of constants", function() return load("return {" .. ("'x',1.5,"):rep(1e5) .. "}") ~= nil end)
attack("a text of concatenations", function() return load("return " .. ("x.."):rep(1e5) .. "x") == nil end)
attack("a text of ors", function() return load("return " .. ("a or "):rep(4e5) .. "a") ~= nil end)
attack("a reader of ands", function()
    local text = "return " .. ("a and "):rep(4e5) .. "a"
    return load(function() local t = text text = nil return t end) ~= nil
end)
attack("a text of elseifs", function() return load("if x then " .. ("elseif y then z() "):rep(2e5) .. "end") ~= nil end)
attack("collectgarbage", function() while true do collectgarbage("count") end end)
attack("next over an emptied table", function()
    local t = {}
    for i = 1, 5e5 do t[i] = true end
    for i = 1, 5e5 do t[i] = nil end
    while true do next(t) end
end)
attack("string to number", function() while true do tonumber(("9"):rep(1e6)) end end)
attack("os.date with a long format", function() os.date(("%c"):rep(1e6)) end)
attack("os.time out of range", function() while true do pcall(os.time, { year = math.maxinteger, month = 1, day = 1 }) end end)
attack("math.random of everything", function() while true do math.random(math.mininteger, math.maxinteger) end end)

-- ---- patterns

attack("a pattern that tries everything", function() ("a"):rep(30):find((".-"):rep(25) .. "b") end)
attack("optional items", function() ("a"):rep(28):match(("a?"):rep(28) .. ("a"):rep(28) .. "b") end)
attack("a square", function() ("a"):rep(1e5):find("a.-b") end)
attack("trim of blanks", function() (" "):rep(1e5):gsub("^(.-)%s*x$", "%1") end)
attack("greedy upon greedy", function() ("x"):rep(200):gsub("x*x*x*x*x*x*x*y", "") end)
attack("balanced parentheses", function() for _ in ("("):rep(1e5):gmatch("%b()") do end end)
attack("frontiers", function() while true do ("a"):rep(1e5):find("%f[b].-%f[c]") end end)
attack("back references", function() ("ab"):rep(5000):find("(.-)(.-)%1%2c") end)
attack("gmatch of nothing", function() for _ in ("x"):rep(1e6):gmatch(".-y") do end end)
attack("a plain search in a long text", function()
    local text, part = ("a"):rep(2e6), ("a"):rep(1e6) .. "b"
    while true do text:find(part, 1, true) end
end)
attack("captures without end", function() return pcall(string.find, "x", ("("):rep(1e5)) end)
attack("sets without end", function() return pcall(string.find, "x", "[" .. ("a-"):rep(1e5)) end)
attack("deep patterns", function() return pcall(string.find, ("a"):rep(1e5), ("(a?)"):rep(30) .. ("a?"):rep(1e5)) end)
attack("gsub that grows", function() local s = "x" while true do s = s:gsub(".", "%0%0") end end)

-- ---- tables

local claims = { __len = function() return 1e10 end }
-- Multiples of 2^18 - 1 spread in a hash part of 2^17 nodes, and are all in one place in the next larger one.
local function flood(set)
    for i = 1, 2 ^ 17 + 1 do set(i * (2 ^ 18 - 1) // 1 | 0, i) end
    return "made"
end
attack("keys in one place", function() local t = {} return flood(function(k, v) t[k] = v end) end)
attack("keys in one place, caught", function()
    local t = {}
    while true do pcall(flood, function(k, v) pcall(rawset, t, k, v) end) end
end)
attack("keys in one place behind __newindex", function()
    local t = setmetatable({}, { __newindex = {} })
    return flood(function(k, v) t[k] = v end)
end)
attack("globals in one place", function() return flood(function(k, v) _G[k] = v end) end)
local floats, float_count = {}, 0
for part = 1, 8 do
    attack("floats in one place " .. part, function()
        while true do
            float_count = float_count + 1
            floats[1.5 + float_count * 2 ^ -52] = true
        end
    end)
end
attack("names in errors", function()
    local large = {}
    for i = 1, 3e4 do large["k" .. i] = i end
    package.loaded.large, package.loaded.larger, large_too = large, { large = large }, large
    while true do pcall(table.sort, { 2, 1 }, function() debug.traceback() pcall(string.rep) error("x") end) end
end)
attack("table.move of ten billion", function() table.move({}, 1, 1e10, 2) end)
attack("table.insert with a false length", function() table.insert(setmetatable({}, claims), 1, 1) end)
attack("table.remove with a false length", function() table.remove(setmetatable({}, claims), 1) end)
attack("table.concat with a false length", function()
    table.concat(setmetatable({}, { __index = table.concat, __len = claims.__len }))
end)
attack("table.unpack of everything", function() return pcall(table.unpack, {}, 1, 1e8), pcall(table.unpack, {}, math.mininteger, math.maxinteger) end)
attack("table.sort with a false length", function() table.sort(setmetatable({}, { __len = function() return 2e9 end, __index = function() return 1 end })) end)
attack("a chain of __index", function()
    local t = {}
    for _ = 1, 5000 do t = setmetatable({}, { __index = t }) end
    return pcall(function() return t.x end)
end)
attack("an __index that is itself", function() local t = {} setmetatable(t, { __index = t }) return pcall(function() return t.x end) end)

-- ---- memory

attack("doubling a string", function() local s = "x" while true do s = s .. s end end)
attack("a long list", function() local t = {} while true do t[#t + 1] = {} end end)
attack("many names", function() local t = {} for i = 1, math.huge do t["k" .. i] = i end end)
attack("recursion", function() local function f() return 1 + f() end return f() end)
attack("recursion with pcall", function() local function f() return pcall(f) and 1 end while true do f() end end)
attack("rep", function() return ("x"):rep(1e10) end)
attack("rep of nothing", function() return #(""):rep(1e10) end)
attack("rep caught", function() while true do pcall(string.rep, "x", 1e9) end end)
attack("many coroutines", function() local t = {} while true do t[#t + 1] = coroutine.create(forever) end end)
attack("suspended coroutines", function()
    local t = {}
    while true do
        local co = coroutine.wrap(coroutine.yield)
        co()
        t[#t + 1] = co
    end
end)
attack("many closures", function() local t = {} for i = 1, math.huge do t[i] = function() return t, i end end end)
attack("format", function() local s = ("x"):rep(1e7) return ("%s%s%s"):format(s, s, s) end)
attack("wide format", function() return pcall(string.format, "%1000d", 1), pcall(string.format, "%.1000f", 1) end)
attack("pack", function() return pcall(string.pack, "c2147483647", "x"), pcall(string.pack, "s8", ("x"):rep(2e7)) end)
attack("unpack", function() return pcall(string.unpack, "s8", "\xff\xff\xff\xff\xff\xff\xff\x7f"), pcall(string.unpack, "z", "x") end)
attack("concat of varargs", function() return select("#", table.unpack({}, 1, 2e5)) end)
attack("an error of ten megabytes", function() error(("x"):rep(1e7)) end)
attack("an error on an error", function() error(setmetatable({}, { __tostring = function() error("again") end })) end)
attack("an error whose text loops", function() error(setmetatable({}, { __tostring = forever })) end)
attack("an error whose fields loop", function() error(setmetatable({}, { __index = forever })) end)
attack("an error that is nil", function() error(nil) end)
attack("an error with a cycle", function() local t = { code = 400, message = "m" } t.errors = { t } error(t) end)
attack("an error with a large list", function()
    local t = { code = 400, message = "m", errors = {} }
    for i = 1, 60 do t.errors = { t.errors, t.errors } end
    error(t)
end)
attack("a traceback of depth", function()
    local function f(n) if n == 0 then return debug.traceback(("x"):rep(1e6)) end return (f(n - 1)) end
    return #f(1e5)
end)
attack("globals", function() for i = 1, 1e5 do _G["hostile" .. i] = i end for i = 1, 1e5 do _G["hostile" .. i] = nil end end)
attack("weak tables at the limit", function()
    local t = setmetatable({}, { __mode = "kv" })
    while true do t[{}] = { ("x"):rep(1000) } end
end)
attack("ephemerons", function()
    local t = setmetatable({}, { __mode = "k" })
    local last = {}
    while true do local key = {} t[key] = last last = key end
end)
attack("ephemerons, made weak late", function()
    local meta = {}
    local t, last = setmetatable({}, meta), {}
    meta.__mode = "k"
    while true do local key = {} t[key] = last last = key end
end)
attack("ephemerons, made weak and given again", function()
    local meta, last = {}, {}
    setmetatable({}, meta)
    meta.__mode = "k"
    local t = setmetatable({}, meta)
    while true do local key = {} t[key] = last last = key end
end)
attack("ephemerons, a table for each", function()
    local meta, all, last = { __mode = "k" }, {}, {}
    while true do
        local key, t = {}, setmetatable({}, meta)
        t[key] = last
        last = key
        all[#all + 1] = t
    end
end)
attack("ephemerons, in pcall and coroutines", function()
    local t, last = setmetatable({}, { __mode = "k" }), {}
    local function grow() while true do local key = {} t[key] = last last = key end end
    while true do pcall(coroutine.wrap(grow)) end
end)
attack("ephemerons, between others", function()
    local t, last, others = setmetatable({}, { __mode = "k" }), {}, {}
    while true do
        local key = {}
        t[key] = { last }
        last = key
        others[#others + 1] = setmetatable({}, {})
    end
end)
attack("ephemerons of an earlier run", function()
    kept = kept or setmetatable({}, { __mode = "k" })
    local last = kept_last or {}
    for _ = 1, 500 do local key = {} kept[key] = last last = key end
    kept_last = last
    local list = {}
    while true do list[#list + 1] = {} end
end)

-- ---- metatables

local evil = setmetatable({}, {
    __index = forever, __newindex = forever, __call = forever, __len = forever, __concat = forever, __eq = forever,
    __lt = forever, __le = forever, __add = forever, __unm = forever, __tostring = forever, __pairs = forever, __close = forever,
    __name = ("n"):rep(1000), __idiv = forever, __band = forever,
})
attack("evil: read", function() return evil.x end)
attack("evil: written", function() evil.x = 1 end)
attack("evil: called", function() return evil() end)
attack("evil: measured", function() return #evil end)
attack("evil: joined", function() return evil .. "" end)
attack("evil: compared", function() return evil < evil end)
attack("evil: equal", function() return evil == setmetatable({}, getmetatable(evil)) end)
attack("evil: added", function() return evil + 1 end)
attack("evil: printed", function() print(evil) end)
attack("evil: logged", function() app.logger.info(evil, evil) end)
attack("evil: walked", function() for _ in pairs(evil) do end end)
attack("evil: formatted", function() return ("%s"):format(evil) end)
attack("evil: concatenated", function() return table.concat(evil) end)
attack("evil: unpacked", function() return table.unpack(evil) end)
attack("evil: closed", function() local _ <close> = evil end)
attack("evil: returned", function() return evil end)
attack("evil: returned as an error", function() return nil, evil end)
attack("evil: raised", function() error(evil) end)
attack("evil: sent", function() return app.publish("nobody.listens", evil) end)
attack("evil: as options", function() return app.publish("nobody.listens", "x", evil) end)
attack("evil: as JSON", function() return panini.json.encode({ evil, evil }) end)
attack("evil: responded", function(msg) return msg.respond(evil) end)
attack("evil: iterated by gsub", function() return ("abc"):gsub(".", evil) end)
attack("__gc", function() setmetatable({}, { __gc = forever }) return true end)
attack("the metatable of strings", function() getmetatable("").__index = forever end)
attack("the libraries", function() string.rep = forever end)
attack("the libraries by rawset", function() rawset(table, "insert", forever) end)
attack("the libraries by what iterates over them", function() local _, contents = pairs(string) contents.rep = forever end)
attack("__gc late", function()
    local metatable = {}
    local t = setmetatable({}, metatable)
    metatable.__gc = forever
    setmetatable(t, metatable)
    for _ = 1, 1e5 do t = {} end
    return #t
end)
attack("the metatable of the globals", function() getmetatable(_G).__gc = forever end)
attack("upvalues of the host", function() debug.setupvalue(string.gmatch("x", "x"), 1, 5) debug.upvaluejoin(print, 1, forever, 1) end)
attack("operators of strings that never end", function()
    getmetatable("").__unm = forever
    local _ = -"x"
end)
attack("standard output in a loop", function() while true do io.write("x") end end)
attack("standard output in one call", function() for _ = 1, 100 do io.stderr:write(("x\n"):rep(1e5)) end end)
attack("a path without end", function()
    local before = package.path
    package.path = ("./?x;"):rep(1e6)
    pcall(require, "x")
    package.path = ("./?x;"):rep(1e4)
    for i = 1, 100 do pcall(require, ("x"):rep(1000) .. i) pcall(require, ("x"):rep(900) .. i) end
    package.path = before
end)
attack("a loader that never ends", function()
    package.preload.endless = forever
    return require "endless"
end)
attack("traceback and getinfo of deep stacks", function()
    local function deep(n) if n > 0 then return (deep(n - 1)) end for i = 1, 1e9 do debug.getinfo(i % 1000) end end
    deep(1000)
end)

-- ---- the host's functions

local deep, shared = {}, {}
do
    local t = deep
    for _ = 1, 10000 do t[1] = {} t = t[1] end
    for _ = 1, 80 do shared = { shared, shared } end
end
local cyclic = {}
cyclic.cyclic = cyclic
local validator = panini.validator{ a = panini.field{ type = "string", pattern = ("a*"):rep(30) .. "b" } }
local handle = app.listen("handle.of.something", function() end)
local values = {
    function() return nil end, function() return 0 / 0 end, function() return math.huge end, function() return -math.huge end,
    function() return math.mininteger end, function() return 2 ^ 63 end, function() return -1 end, function() return 0.5 end,
    function() return true end, function() return "" end, function() return "\0" end, function() return "a b" end,
    function() return ("x"):rep(1e5) end, function() return "a.b" end, function() return ">" end, function() return {} end,
    function() return cyclic end, function() return deep end, function() return shared end, function() return evil end,
    function() return { evil } end, function() return function() end end, function() return coroutine.create(forever) end,
    function() return panini.null end, function() return validator end, function() return handle end, function(msg) return msg end,
    function() return app end, function() return { [1] = 1, x = 2, [3] = 3 } end, function() return string end,
}
local function try(f, msg)
    for _, first in ipairs(values) do
        pcall(f, first(msg))
        pcall(f, "a.b", first(msg))
        pcall(f, first(msg), first(msg), first(msg))
        pcall(f, "a.b", {}, first(msg))
        pcall(f, { first(msg) }, first(msg))
    end
    return "tried"
end
local waiting = { sleep = true, flush = true, request = true, request_sync = true, publish_sync = true }
local function absurd(prefix, functions)
    local sorted = {}
    for name, value in pairs(functions) do if type(value) == "function" then sorted[#sorted + 1] = name end end
    table.sort(sorted)
    for _, name in ipairs(sorted) do
        if not waiting[name] then
            attack("absurd: " .. prefix .. name, function(msg) return try(functions[name], msg) end)
        end
    end
end
absurd("app.", app)
absurd("panini.", panini)
absurd("panini.json.", panini.json)
absurd("panini.base64.", panini.base64)
absurd("panini.hash.", panini.hash)
absurd("panini.middleware.", panini.middleware)
absurd("app.logger.", app.logger)
absurd("app.http.", app.http)
absurd("string.", string)
absurd("table.", table)
absurd("utf8.", utf8)
absurd("math.", math)
absurd("coroutine.", { create = coroutine.create, resume = coroutine.resume, close = coroutine.close, wrap = coroutine.wrap,
    status = coroutine.status, isyieldable = coroutine.isyieldable })
absurd("os.", os)
for name in pairs(waiting) do
    attack("absurd: app." .. name, function(msg)
        for _, value in ipairs(values) do
            if type(value(msg)) ~= "number" then
                pcall(app[name], value(msg))
                if name ~= "sleep" then pcall(app[name], "nobody.listens", value(msg), { timeout = 0.001 }) end
            end
        end
        return "tried"
    end)
end
attack("absurd: fields of msg", function(msg)
    for _, key in ipairs{ "data", "headers", "params", "tokens", "context", "raw", "subject", "reply", "size", "x" } do
        for _, value in ipairs(values) do pcall(function() msg[key] = value(msg) end) end
    end
    pcall(function() return msg.headers.all(msg.headers, evil) end)
    return "tried"
end)
attack("absurd: validator", function(msg)
    for _, value in ipairs(values) do pcall(validator.validate, validator, value(msg)) end
    return "tried"
end)
attack("a validator's pattern", function() return validator:validate{ a = ("a"):rep(1000) } end)
attack("validators without end", function() local t = {} while true do t[#t + 1] = panini.validator{ a = { type = "string" } } end end)
attack("a schema of depth", function()
    local v = panini.validator{ a = { type = "any" } }
    for _ = 1, 100 do v = panini.validator{ a = { type = v }, b = { type = v } } end
    return #panini.json.encode(v:json_schema())
end)
attack("JSON of depth", function() return panini.json.decode(("["):rep(1e6)) end)
attack("JSON of width", function() return panini.json.decode("[" .. ("[],"):rep(1e6) .. "1]") end)
attack("JSON of numbers", function() return panini.json.decode("[" .. ("1e308,"):rep(1e6) .. "1]") end)
attack("JSON of escapes", function() return #panini.json.encode(("\0"):rep(4e6)) end)
attack("JSON of what is shared", function() return panini.json.encode(shared) end)
attack("JSON again and again", function() while true do panini.json.decode("[1,2,3]") end end)
attack("base64 again and again", function() local s = ("x"):rep(1e6) while true do panini.base64.encode(s) end end)
attack("hashes again and again", function() local s = ("x"):rep(1e5) while true do panini.hash.sha256(s) end end)
attack("a header of a megabyte", function() return app.publish("nobody.listens", "x", { headers = { a = ("x"):rep(1e6) } }) end)
attack("headers by the thousand", function()
    local headers = {}
    for i = 1, 5000 do headers["h" .. i] = ("x"):rep(20) end
    return app.publish("nobody.listens", "x", { headers = headers })
end)
attack("publish again and again", function() while true do app.publish("nobody.listens", "x") end end)
attack("logs again and again", function() while true do app.logger.debug("x") end end)
attack("spawn again and again", function() while true do app.spawn(function() end) end end)
attack("spawn that spawns", function()
    local function f() app.spawn(f) app.spawn(f) forever() end
    app.spawn(function() for _ = 1, 5 do app.spawn(forever) end end)
    return "spawned"
end)
attack("wait_all of a hundred thousand", function()
    local t = {}
    for i = 1, 1e5 do t[i] = function() end end
    return #app.wait_all(t)
end)
attack("sleepers", function()
    for _ = 1, 2000 do app.spawn(function() app.sleep(0.2) end) end
    return "asleep"
end)
attack("listeners later", function()
    for i = 1, 500 do
        local listener = app.listen("later." .. i, function() end)
        if listener then listener.unsubscribe() end
    end
    return "listened"
end)
attack("get_logger again and again", function() local t = {} while true do t[#t + 1] = panini.get_logger("n" .. #t) end end)
attack("shared values", function() if app.shared then for i = 1, 1e6 do app.shared.set("k" .. i, ("x"):rep(100)) end end end)
attack("middlewares later", function() while true do app.add_middleware{ listen_any = function(msg, callback) return callback(msg) end } end end)
attack("a wait in sort", function() table.sort({ 2, 1 }, function() app.sleep(1) end) end)
attack("a wait in __close", function() local _ <close> = setmetatable({}, { __close = function() app.sleep(0.01) forever() end }) end)
attack("require of nothing", function() while true do pcall(require, "no.such.module") end end)

app.listen("attack.names", function() return panini.array(names) end)
app.listen("attack.memory", function() return collectgarbage("count") * 1024 end)
