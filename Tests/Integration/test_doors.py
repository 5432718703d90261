"""Small doors of Lua: what a script could reach, end or outlast by way of what the host hands to it."""

import json
import pathlib
import re
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from harness import PATIENCE, free_port
from test_limits import failure


# Goes over all that is reachable from a value, and says where a metatable of the host is. What it has seen stays seen.
WALKER = r"""
local OWN, seen, found, ran = {}, {}, {}, 0
local function gc() ran = ran + 1 while true do end end
local FIELDS = {
    "data", "subject", "reply", "raw", "headers", "params", "tokens", "size", "context", "respond",
    "method", "path", "query", "query_all", "body", "cookies", "remote_address", "json", "form",
    "receive", "send", "send_binary", "close", "id", "protocol", "write", "wait", "unsubscribe", "remove", "validate",
}
local function say(path, what) found[#found + 1] = path .. ": " .. what end

local look
local function look_at_metatable(value, metatable, path)
    if type(metatable) ~= "table" or OWN[metatable] then return end
    if type(value) ~= "string" then return say(path, "a metatable of the host") end
    -- What stands for that of strings: no field that Lua itself reads can be set in it.
    for _, field in ipairs{ "__gc", "__mode", "__metatable", "__name", "__index" } do
        if pcall(function() metatable[field] = gc end) then say(path, field .. " can be assigned") end
        if pcall(rawset, metatable, field, gc) then say(path, field .. " can be set") end
    end
    if pcall(setmetatable, metatable, { __index = 1 }) then say(path, "its metatable can be set") end
    look(metatable, path .. "<metatable>")
end

function look(value, path)
    local kind = type(value)
    if kind == "nil" or kind == "number" or kind == "boolean" or seen[value] then return end
    seen[value] = true
    look_at_metatable(value, getmetatable(value), path)
    look_at_metatable(value, debug.getmetatable(value), path)
    if kind == "string" then return end
    if kind == "function" then
        for i = 1, 255 do
            local name, inner = debug.getupvalue(value, i)
            if name == nil then break end
            look(inner, path .. "^" .. i)
        end
        return
    end
    for _, field in ipairs(FIELDS) do
        local done, inner = pcall(function() return value[field] end)
        if done then look(inner, path .. "." .. field) end
    end
    if kind ~= "table" then
        local done = pcall(function() for k, v in pairs(value) do look(k, path .. "{}") look(v, path .. "{}") end end)
        if done then say(path, "pairs goes over it") end
        return
    end
    for k, v in next, value do look(k, path .. "[]") look(v, path .. "[" .. tostring(k) .. "]") end
    local done, step, state, first = pcall(pairs, value)
    if done then
        look(step, path .. "<next>")
        -- What pairs goes over is the table itself.
        if not rawequal(state, value) then say(path, "pairs goes over another table") end
        for k, v in step, state, first do look(k, path .. "{}") look(v, path .. "{" .. tostring(k) .. "}") end
    end
    done, step, state = pcall(ipairs, value)
    if done and not rawequal(state, value) then say(path, "ipairs goes over another table") end
    for i, v in pairs(table.move(value, 1, 3, 1, {})) do look(v, path .. "<moved>" .. i) end
    for i, v in pairs{ table.unpack(value, 1, 3) } do look(v, path .. "<unpacked>" .. i) end
end

local function look_all(path, ...)
    for i = 1, select("#", ...) do look((select(i, ...)), path .. "#" .. i) end
    return ...
end
local function report()
    -- Garbage enough for many collections.
    for i = 1, 200000 do local x = { i } end
    return { found = panini.array(found), ran = ran, seen = next(seen) ~= nil }
end
"""

REACHABLE = (
    WALKER
    + r"""
look(_G, "_G") look(_ENV, "_ENV") look(package, "package") look(app, "app") look(panini, "panini") look("", "''")
look(null, "null") look(panini.null, "panini.null")
look_all("file", ...)
look_all("gmatch", ("x"):gmatch("."))
look_all("running", coroutine.running())
look(coroutine.create(print), "coroutine") look(coroutine.wrap(print), "wrap")
look_all("load", load("return 1")) look_all("load, failing", load("return return"))
look_all("require", pcall(require, "no.such.module"))
look_all("searchpath", package.searchpath("x", "./?.lua"))
look_all("xpcall", xpcall(error, debug.traceback, {}))
look_all("getinfo", debug.getinfo(1, "Slntu"))
look_all("date", os.date("*t"))
look_all("io", io.open("x"), io.stdout, io.stdin, io.stderr, io.output(), io.lines("x"))
look_all("decode", panini.json.decode('{"a": {}, "b": [], "c": [1], "d": null}'))
look_all("decode, failing", panini.json.decode("{"))
look_all("base64, failing", panini.base64.decode("x"))
look_all("array", panini.array{})
look_all("response", panini.response{ json = {}, headers = { a = "b" } })
local v = panini.validator{ a = { type = "array", items = { type = "any" }, default = {} }, b = { type = "string", pattern = "x" } }
look(v, "validator")
look_all("validate", v:validate{ b = "x" })
look_all("validate, failing", v:validate{ b = 1, a = 2 })
look_all("validate of nothing", pcall(v.validate, v))
look_all("validate of nil", pcall(v.validate, v, nil))
look_all("validate of all", pcall(v.validate))
look_all("field", panini.field{ type = "string" })
look_all("logger", panini.get_logger("x"))
for _, name in ipairs{ "timeout", "error", "debug", "metrics", "cors" } do
    local make = panini.middleware[name]
    look(make, name)
    if make then look_all(name, pcall(make, { timeout = 1, seconds = 1 }, 1)) end
end
look_all("env", pcall(panini.env, "HOME"), panini.uuid(), panini.now())
local handle = app.add_middleware{
    send_publish = function(subject, message, publish, options)
        look_all("send_publish", subject, message, publish, options)
        return look_all("publish", publish(subject, message, options))
    end,
    listen_request = function(msg, callback) look_all("listen_request", msg, callback) return look_all("callback", callback(msg)) end,
    http_request = function(req, callback) look_all("http_request", req, callback) return look_all("callback", callback(req)) end,
}
look(handle, "middleware")
for name in pairs(app) do look_all("misuse of app." .. name, pcall(app[name], {}, {}, {}, {}, {})) end
for name in pairs(panini) do if type(panini[name]) == "function" then look_all("misuse of " .. name, pcall(panini[name], 1, 2, 3, 4)) end end

look_all("listen", app.listen("walk.{name}", { validator = v }, function(msg)
    look(msg, "msg")
    look_all("headers.all", msg.headers:all("X"), msg.headers:all("none"))
    look_all("request", app.request("nobody", {}, { timeout = 0.2 }))
    look_all("request, answered", app.request("echo", { a = {} }))
    look_all("publish", app.publish("x.y", {}), pcall(app.publish, "x y", {}))
    look_all("listen later", app.listen("later", print))
    look_all("unsubscribe", app.unsubscribe("later"))
    look_all("shared", app.shared.set("a", { b = {} }), app.shared.get("a"), app.shared.keys(), app.shared.add("a", 1))
    local spawned = app.spawn(function() return {}, setmetatable({}, { __metatable = 1 }) end)
    look(spawned, "spawn") look_all("wait", spawned.wait())
    look_all("wait, failing", app.spawn(function() error{ code = 5 } end).wait())
    look_all("wait_all", app.wait_all{ function() error("x") end, function() return {} end })
    look_all("fetch", app.http.fetch("http://127.0.0.1:" .. app_port .. "/page"))
    look_all("fetch, failing", app.http.fetch("http://127.0.0.1:1/"))
    look_all("flush", app.flush(1)) look_all("sleep", app.sleep(0))
    look_all("misuse", pcall(app.publish, {}), pcall(msg.respond, print), pcall(app.http.fetch, "x"))
    look_all("context", msg.context)
    return report()
end))
app.listen("echo", function(msg) return msg.data end)
app.listen("bad", { validator = v, on_invalid = function(msg, errors) look(msg, "invalid msg") look(errors, "errors") return report() end }, print)
app.on_start_task(function() look_all("start task", coroutine.running()) end)
app.timer_task(60, function(...) look_all("timer", ...) end)
app.http.get("/page", function(req)
    look(req, "req") look_all("form", pcall(req.form)) look_all("json", pcall(req.json)) look_all("all", req.headers:all("host"))
    return "page"
end)
app.http.post("/form", function(req) look(req, "post") look_all("form", req.form()) return report() end)
app.http.get("/stream", function(req)
    return panini.response{ stream = function(write) look(write, "write") look_all("written", write("x")) end }
end)
app.http.websocket("/ws", function(ws, req)
    look(ws, "ws") look(req, "ws req")
    look_all("receive", ws.receive())
    ws.send(panini.json.encode(report()))
    look_all("closed", ws.receive()) look_all("send, closed", ws.send("x"))
end)
app.listen("report", report)
"""
)


@pytest.mark.parametrize("flags", [[], ["--untrusted", "--allow-listen", ">", "--allow-publish", ">", "--allow-net", "127.0.0.1"]])
def test_no_metatable_of_the_host_can_be_reached(flags, start, nats_server, asking):
    port = free_port()
    start(
        nats_server.url,
        f"app_port = {port}\n" + REACHABLE,
        options=f"web_server = true, web_port = {port}, limits = {{ cpu = 20, load = 20 }}",
        arguments=["--limits-cpu", "20", "--limits-load", "20", *flags],
    )
    client = asking
    reports = [client.ask("walk.it", {"b": "x"}, headers={"X": "1"}, timeout=60)]
    reports.append(client.ask("bad", {"b": 1}, timeout=60))
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=60).read() == b"x"
    form = b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\nx\r\n--b--\r\n"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/form", form, {"Content-Type": "multipart/form-data; boundary=b", "Cookie": "a=b"}
    )
    reports.append(json.load(urllib.request.urlopen(request, timeout=60)))
    with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=PATIENCE) as socket:
        socket.send("x")
        reports.append(json.loads(socket.recv(60)))
    reports.append(client.ask("report", timeout=60))
    assert all(report["found"] == [] and report["ran"] == 0 and report["seen"] for report in reports), reports


def test_no_finalizer_of_a_script_ever_runs(service, client):
    service(
        r"""
        local ran, tried = 0, 0
        local function gc() ran = ran + 1 end
        local function try(f, ...) tried = tried + 1 return select(2, pcall(f, ...)) end
        local function mt() return { __gc = gc, __index = { x = 1 } } end
        local v = panini.validator{ a = { type = "any", optional = true }, d = { type = "array", items = { type = "any" }, default = { { 1 } } } }
        local ways = {
            function() setmetatable({}, mt()) end,
            function() local m = {} setmetatable({}, m) m.__gc = gc end,
            function() local m = { __gc = false } local t = setmetatable({}, m) m.__gc = gc setmetatable(t, m) end,
            function() debug.setmetatable({}, mt()) end,
            function() debug.setmetatable(print, mt()) end,
            function() debug.setmetatable("", mt()) end,
            function() debug.setmetatable(coroutine.create(print), mt()) end,
            function() setmetatable({}, setmetatable({}, { __index = mt() })) end,
            function() local m = mt() setmetatable(m, m) end,
            function() setmetatable(panini.array{}, mt()) end,
            function() setmetatable(panini.json.decode("{}"), mt()) end,
            function() setmetatable(panini.json.decode("[]"), mt()) end,
            function() setmetatable(select(2, panini.json.decode("{")), mt()) end,
            function() getmetatable(select(2, panini.json.decode("{"))).__gc = gc end,
            function() getmetatable("").__gc = gc end,
            function() rawset(getmetatable(""), "__gc", gc) end,
            function() table.move({ gc }, 1, 1, 1, getmetatable("")) end,
            function() getmetatable(_G).__gc = gc end,
            function() setmetatable(_G, nil) setmetatable(_G, mt()) end,
            function() getmetatable(v).__gc = gc end,
            function() v:validate().__gc = gc end,
            function() getmetatable(panini.null).__gc = gc end,
            function() v:validate(setmetatable({ a = setmetatable({}, mt()) }, mt())) end,
            function() panini.validator{ a = { type = "any", default = setmetatable({}, mt()) } }:validate{} end,
            function() panini.response(setmetatable({ text = "x" }, mt())) end,
            function() panini.array(setmetatable({}, mt())) end,
            function() app.shared.set("k", setmetatable({}, mt())) app.shared.get("k") end,
            function() app.publish("x", setmetatable({ a = 1 }, mt()), setmetatable({ headers = setmetatable({}, mt()) }, mt())) end,
            function() app.request("nobody", {}, setmetatable({ timeout = 0.1 }, mt())) end,
            function() getmetatable(select(2, app.request("nobody", {}, { timeout = 0.1 }))).__gc = gc end,
            function() app.spawn(function() return setmetatable({}, mt()) end).wait() end,
            function() app.spawn(function() error(setmetatable({}, mt())) end).wait() end,
            function() app.wait_all{ function() return setmetatable({}, mt()) end } end,
            function() app.logger.info("x", setmetatable({ a = setmetatable({}, mt()) }, mt())) end,
            function() coroutine.close(coroutine.create(function() local _ <close> = setmetatable({}, { __close = gc, __gc = gc }) end)) end,
            function() error(setmetatable({}, mt())) end,
            function() load("x", "x", "t", setmetatable({}, mt())) end,
            function() package.loaded.x = setmetatable({}, mt()) package.loaded.x = nil end,
        }
        app.add_middleware{ send_publish = function(s, m, publish, options) setmetatable(options, mt()) return publish(s, m, options) end }
        app.listen("try", function(msg)
            getmetatable(msg)
            try(function() getmetatable(msg).__gc = gc end)
            try(function() getmetatable(msg.headers).__gc = gc end)
            for round = 1, 50 do
                for _, way in ipairs(ways) do if round == 1 or tried < 500 then try(way) end end
                msg.context[round] = nil
            end
            for i = 1, 300000 do local x = { i } end
            return { ran = ran, tried = tried, ways = #ways }
        end)
        app.listen("later", function() for i = 1, 300000 do local x = { i } end return ran end)
        """,
        arguments=["--limits-cpu", "20"],
    )
    answer = client.ask("try", {}, headers={"X": "1"}, timeout=60)
    assert answer["ran"] == 0 and answer["tried"] >= answer["ways"], answer
    assert client.ask("later", timeout=60) == 0


ENDED = """
    local function guard(name)
        return setmetatable({}, { __close = function() print("CLOSED " .. name) while true do end end })
    end
    local late = "local m = {} local t = setmetatable({}, m) m.__mode = 'k' while true do local k = {} t[k] = k end"
    local ends = { time = function() while true do end end, late = load(late, "=late") }
    local kept = {}
    app.listen("end.{how}", function(msg)
        local how = msg.params.how
        kept[how] = coroutine.create(function() local _ <close> = guard(how) ends[how]() end)
        coroutine.resume(kept[how])
    end)
    app.listen("waited.{how}", function(msg)
        local how = msg.params.how
        kept[how] = coroutine.create(function() local _ <close> = guard(how) app.sleep(0.01) ends[how]() end)
        coroutine.resume(kept[how])
    end)
    app.listen("self.{how}", function(msg) local _ <close> = guard("handler") ends[msg.params.how]() end)
    app.listen("close.{how}", function(msg) return { coroutine.close(kept[msg.params.how]) } end)
    app.listen("ok", function() return { ok = true } end)
"""


@pytest.mark.parametrize("how", ["time", "late"])
def test_a_coroutine_that_was_ended_by_force_stays_dead(how, service, client):
    running = service(ENDED, options="limits = { cpu = 0.1 }")
    for subject in ("end", "waited", "self"):
        assert failure(client, f"{subject}.{how}")["code"] == 504
        assert client.ask("ok", timeout=PATIENCE) == {"ok": True}
        if subject == "self":
            continue
        for _ in range(2):
            assert client.ask(f"close.{how}", timeout=PATIENCE)[0] is False
            assert client.ask("ok", timeout=PATIENCE) == {"ok": True}
    running.stop()
    assert "CLOSED" not in running.output


def test_weak_tables_that_pass_the_count_end_their_run(service, client):
    service(
        """
        local N = 120000
        local key, weak, late, mode = {}, setmetatable({}, { __mode = "k" }), {}, { __mode = false }
        setmetatable(late, mode)
        local text = "[" .. ("[1,2],"):rep(100000) .. "0]"
        app.listen("fill", function() for i = 1, N do key[i] = {} weak[key[i]] = true end return "filled" end)
        app.listen("change", function()
            for i = 1, N - 1 do if weak[key[i]] then weak[key[i]] = key[i + 1] end end
            for i = 1, N do key[i] = false end
            return #panini.json.decode(text)
        end)
        app.listen("late", function()
            local own = {}
            for i = 1, N do own[i] = {} end
            for i = 1, N - 1 do late[own[i]] = own[i + 1] end
            own = nil
            mode.__mode = "k"
            pcall(string.rep, "x", 63 * 2 ^ 20)
            return "came back"
        end)
        app.listen("ok", function() return { ok = true } end)
        """,
        options="limits = { cpu = 2, memory = '64MB' }",
    )
    for subject in ("fill", "change", "late"):
        # Whether it is ended or comes to its end by itself, it does so in time.
        begin = time.monotonic()
        reply = client.request(subject, b"{}", timeout=4 * PATIENCE)
        assert time.monotonic() - begin < 2 * PATIENCE, reply
        assert client.ask("ok", timeout=PATIENCE) == {"ok": True}
        if subject != "change":
            assert reply.json["code"] == 504, reply


def test_a_pattern_with_many_steps_ends_with_its_run(service, client):
    service(
        """
        local v = panini.validator({ a = { type = "string", pattern = ("a*"):rep(12) .. "b" } }, { pattern_steps = 1000000000 })
        app.listen("match", function(msg) return (v:validate{ a = ("a"):rep(2000) }) end)
        app.listen("guarded", { validator = v }, function() return "valid" end)
        app.listen("time", function() return os.clock() end)
        """,
        options="limits = { cpu = 0.2 }",
    )
    for subject, data in (("match", {}), ("guarded", {"a": "a" * 2000})):
        before = client.ask("time")
        assert failure(client, subject, json.dumps(data).encode())["code"] == 504
        assert client.ask("time") - before < 1.5


def test_a_text_of_the_size_of_a_table_is_no_table(service, client):
    service(
        """
        local full, pieces = {}, {}
        for n = 12, 18 do pieces[n] = ("x"):rep(24 * 2 ^ n // 1 - 26 | 0) end
        -- Ended where the table would become larger: it stays as it is, and has no room left.
        app.listen("fill", function() for i = 1, 2 ^ 17 + 1 do full[i * (2 ^ 18 - 1) // 1 | 0] = true end end)
        app.listen("text", function()
            local t, lengths = full, {}
            for n = 12, 18 do
                local text = pieces[n] .. "y"
                lengths[#lengths + 1] = #text
            end
            return lengths
        end)
        """,
        options="limits = { cpu = 1 }",
    )
    assert failure(client, "fill")["code"] == 504
    assert client.ask("text", timeout=PATIENCE) == [24 * 2**n - 25 for n in range(12, 19)]


def mappings(pid):
    """Where the program, its libraries and its memory lie."""
    ranges = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        begin, end = re.match(r"([0-9a-f]+)-([0-9a-f]+)", line).groups()
        ranges.append((int(begin, 16), int(end, 16)))
    return ranges


def test_no_text_shows_an_address(service, client):
    running = service(
        r"""
        local kept = { {}, {}, print, string.rep, function() end, coroutine.create(print), io.stdout, panini.validator{} }
        kept[#kept + 1] = app.listen("x", print)
        kept[#kept + 1] = select(2, panini.json.decode("{"))
        app.listen("texts", function(msg)
            local texts = {}
            local function add(text) texts[#texts + 1] = text end
            for _, value in ipairs(kept) do
                add(tostring(value)) add(("%p"):format(value)) add(("%s|%20p|%-20p"):format(value, value, value))
            end
            add(tostring(msg)) add(tostring(next)) add(("%p"):format("a text")) add(("%p"):format(("x"):rep(100)))
            add(tostring(debug.upvalueid(function() return kept end, 1)))
            for _, call in ipairs{
                function() panini[{}] = 1 end, function() app[print] = 1 end, function() string[{}] = string.rep end,
                function() error({}) end, function() return {} .. {} end, function() return #print end, function() kept() end,
                function() table.concat({ {} }) end, function() return {} < {} end, function() ("x"):rep({}) end,
                function() app.publish({}, {}) end, function() app.listen(print, print) end, function() panini.env({}) end,
            } do
                local _, text = pcall(call)
                local _, trace = xpcall(call, function(e) return debug.traceback(tostring(e)) end)
                add(tostring(text)) add(tostring(trace))
            end
            local seed = { math.randomseed() }
            add(("%x"):format(seed[1])) add(("%x"):format(seed[2]))
            local first, second = tostring(kept[1]), ("%p"):format(kept[1])
            for i = 1, 100000 do local x = { i } end
            return {
                texts = texts, stable = first == tostring(kept[1]) and first == "table: " .. second and second == ("%p"):format(kept[1]),
                unique = tostring(kept[1]) ~= tostring(kept[2]), null = ("%p"):format(5),
                wrong = { pcall(string.format, "%010p", {}) }, plain = ("%5.1f|%-5d|%q|%%|%s"):format(1.25, 3, "x", nil),
            }
        end)
        """
    )
    answer = client.ask("texts", {})
    assert answer["stable"] and answer["unique"] and answer["null"] == "(null)"
    assert answer["wrong"][0] is False and "invalid conversion" in answer["wrong"][1]
    assert answer["plain"] == '  1.2|3    |"x"|%|nil'
    ranges = mappings(running.process.pid)
    numbers = [int(digits, 16) for text in answer["texts"] for digits in re.findall(r"\b(?:0x)?([0-9a-f]{8,16})\b", text)]
    assert len(numbers) > 20
    assert not [hex(number) for number in numbers if any(begin <= number < end for begin, end in ranges)]


def test_libraries_cannot_be_written_to_by_way_of_their_iterators(service, client):
    service(
        r"""
        local function own() return "owned" end
        local function write(t)
            if type(t) ~= "table" then return end
            pcall(rawset, t, "rep", own) pcall(function() t.rep = own end) pcall(table.insert, t, own) pcall(table.move, { own }, 1, 1, 1, t)
        end
        app.listen("try", function()
            for _, library in ipairs{ string, table, math, utf8, coroutine, os, io, debug } do
                for _, iterate in ipairs{ pairs, ipairs, function(t) return next, t end } do
                    local step, state, first = iterate(library)
                    write(state)
                    for i = 1, 10 do write(select(2, debug.getupvalue(step, i))) write(select(2, debug.getupvalue(iterate, i))) end
                    for k, v in step, state, first do write(v) end
                end
                for i = 1, 5 do write(select(2, debug.getupvalue(library.rep or library.insert or print, i))) end
                write(table.move(library, 1, 1, 1, {})) write(getmetatable(library)) write(debug.getmetatable(library))
                write(table.pack(table.unpack(library))) write(setmetatable(library == nil and {} or {}, { __index = library }))
            end
            return ("x"):rep(2)
        end)
        app.listen("again", function() return string.rep("y", 3) .. ("x"):rep(2) end)
        """
    )
    assert client.request("try", b"{}").text == "xx"
    assert client.request("again", b"{}").text == "yyyxx"
