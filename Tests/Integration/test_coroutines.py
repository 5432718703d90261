"""Waiting wherever Lua code can be: only the coroutine that waits stops."""

import pytest

from harness import assert_error

PLACES = {
    "pcall": "local ok, data = pcall(app.request, 'peer', {}) assert(ok) return data",
    "pcall_function": "local ok, data = pcall(function() return (app.request('peer', {})) end) assert(ok) return data",
    "pcall_error": """
        local ok, problem = pcall(function() app.sleep(0.001) error("after the wait", 0) end)
        assert(not ok and problem == "after the wait")
        return app.request('peer', {})
    """,
    "xpcall": """
        local ok, data = xpcall(function() return (app.request('peer', {})) end, debug and debug.traceback or tostring)
        assert(ok) return data
    """,
    "xpcall_error": """
        local ok, problem = xpcall(function() app.sleep(0.001) error("x", 0) end, function(e) return "handled " .. e end)
        assert(not ok and problem == "handled x")
        return app.request('peer', {})
    """,
    "nested_pcall": """
        local ok, ok2, data = pcall(pcall, function() return (app.request('peer', {})) end)
        assert(ok and ok2) return data
    """,
    "index": "local t = setmetatable({}, { __index = function(_, k) return (app.request('peer', {}))[k] end }) return { n = t.n }",
    "newindex": """
        local got
        local t = setmetatable({}, { __newindex = function(_, k, v) got = app.request('peer', { [k] = v }) end })
        t.x = 1
        return got
    """,
    "call": "local t = setmetatable({}, { __call = function() return (app.request('peer', {})) end }) return t()",
    "add": "local t = setmetatable({}, { __add = function() return (app.request('peer', {})) end }) return t + 1",
    "concat": "local t = setmetatable({}, { __concat = function() return (app.request('peer', {})) end }) return t .. 'x'",
    "eq": """
        local mt = { __eq = function() return app.request('peer', {}) ~= nil end }
        local a, b = setmetatable({}, mt), setmetatable({}, mt)
        assert(a == b)
        return { n = 1 }
    """,
    "lt": """
        local mt = { __lt = function() return app.request('peer', {}) ~= nil end }
        local a, b = setmetatable({}, mt), setmetatable({}, mt)
        assert(a < b)
        return { n = 1 }
    """,
    "unm": "return -setmetatable({}, { __unm = function() return (app.request('peer', {})) end })",
    "len": "return { n = #setmetatable({}, { __len = function() return (app.request('peer', {})).n end }) }",
    "close": """
        local result = {}
        do local c <close> = setmetatable({}, { __close = function() result.n = app.request('peer', {}).n end }) end
        return result
    """,
    "iterator": """
        local function each(count)
            return function(_, i) if i < count then app.sleep(0.001) return i + 1, app.request('peer', {}) end end, nil, 0
        end
        local last
        for _, data in each(3) do last = data end
        return last
    """,
    "wrap": "return coroutine.wrap(function() return (app.request('peer', {})) end)()",
    "resume": """
        local co = coroutine.create(function(a)
            local b = coroutine.yield(a + 1)
            local data = app.request('peer', {})
            local c = coroutine.yield(data.n)
            return b + c
        end)
        local ok, v1 = coroutine.resume(co, 1)
        local ok2, v2 = coroutine.resume(co, 10)
        local ok3, v3 = coroutine.resume(co, 20)
        assert(ok and ok2 and ok3 and v1 == 2 and v3 == 30)
        assert(coroutine.status(co) == "dead")
        return { n = v2 }
    """,
    "deep": """
        local function nest(depth)
            if depth == 0 then return (app.request('peer', {})) end
            return coroutine.wrap(function() return nest(depth - 1) end)()
        end
        return nest(30)
    """,
    "generator": """
        local function produce() for i = 1, 3 do app.sleep(0.001) coroutine.yield(app.request('peer', {})) end end
        local last
        for data in coroutine.wrap(produce) do last = data end
        return last
    """,
    "wrap_in_pcall": """
        local ok, data = pcall(coroutine.wrap(function()
            local ok, data = pcall(app.request, 'peer', {})
            return data
        end))
        return data
    """,
    "tail_call": "return app.request('peer', {})",
    "vararg": "return (select(1, app.request('peer', {})))",
    "table_constructor": "local t = { app.request('peer', {}) } return t[1]",
    "spawn_in_wrap": "return coroutine.wrap(function() return (app.spawn(function() return (app.request('peer', {})) end).wait()) end)()",
}


@pytest.mark.parametrize("place", PLACES)
def test_waiting_works(service, client, place):
    service(f"""
        app.listen("wait", function(msg)
            {PLACES[place]}
        end)
    """)
    client.responder("peer", lambda m: {"n": 1})
    assert client.ask("wait") == {"n": 1}
    # The coroutine that was used for it is as good as new.
    assert client.ask("wait") == {"n": 1}


@pytest.mark.parametrize(
    "statement, word",
    [
        ("table.sort({ 3, 2, 1 }, function(a, b) app.sleep(0.001) return a < b end)", "sort"),
        ('("abc"):gsub("b", function() app.request("peer", {}) end)', "gsub"),
        ('("abc"):gsub("b", function() app.flush() end)', "gsub"),
    ],
)
def test_where_lua_cannot_wait_the_error_says_so(service, client, statement, word):
    service(f"""
        app.listen("cannot", function(msg)
            local ok, problem = pcall(function() {statement} end)
            return {{ ok = ok, problem = tostring(problem) }}
        end)
        app.listen("raises", function(msg) {statement} end)
        app.listen("after", function(msg) app.sleep(0.001) return {{ ok = true }} end)
    """)
    client.responder("peer", lambda m: {"n": 1})
    answer = client.ask("cannot")
    assert answer["ok"] is False
    assert "test.lua:3" in answer["problem"]
    assert word in answer["problem"] or "cannot wait" in answer["problem"] or "yield" in answer["problem"]
    assert_error(client.request("raises", b"{}"), 500)
    assert client.ask("after") == {"ok": True}


def test_sort_works_without_waiting(service, client):
    service("""
        app.listen("sort", function(msg)
            table.sort(msg.data, function(a, b) return a > b end)
            local ok = pcall(table.sort, msg.data, function() error("in the callback") end)
            return { sorted = msg.data, ok = ok }
        end)
    """)
    answer = client.ask("sort", [2, 3, 1])
    assert sorted(answer["sorted"]) == [1, 2, 3]
    assert answer["ok"] is False


def test_a_waiting_coroutine_cannot_be_resumed_by_another(service, client, gate):
    service("""
        local co
        app.listen("first", function(msg)
            co = coroutine.create(function() return app.request("gate", {}, { timeout = 60 }) end)
            local ok, data = coroutine.resume(co)
            return { ok = ok, data = data }
        end)
        app.listen("second", function(msg)
            local status = coroutine.status(co)
            local ok, problem = coroutine.resume(co, "stolen")
            return { status = status, ok = ok, problem = tostring(problem) }
        end)
    """)
    waiting = client.collect("first", [b"{}"])[0]
    held = gate.arrived()
    answer = client.ask("second")
    assert answer["ok"] is False
    assert answer["status"] in ("suspended", "normal", "running")
    gate.open(held, b'{"n": 5}')
    assert waiting.next().json == {"ok": True, "data": {"n": 5}}


def test_yield_outside_a_user_coroutine_is_an_error(service, client):
    service("""
        app.listen("yield", function(msg) coroutine.yield(1) return { ok = true } end)
        app.listen("alive", function(msg) return { ok = true } end)
    """)
    assert_error(client.request("yield", b"{}"), 500)
    assert client.ask("alive") == {"ok": True}


def test_an_endless_recursion_is_an_error(service, client):
    service("""
        local function down(n) return 1 + down(n + 1) end
        app.listen("deep", function(msg) return { n = down(0) } end)
        app.listen("alive", function(msg) return { ok = true } end)
    """)
    assert_error(client.request("deep", b"{}"), 500)
    assert client.ask("alive") == {"ok": True}
