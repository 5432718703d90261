"""What a handler returns goes out; every failed request gets an answer."""

import pytest

from harness import assert_error


@pytest.mark.parametrize(
    "returned, payload",
    [
        ("{ a = 1 }", b'{"a":1}'),
        ("{ 1, 2, 3 }", b"[1,2,3]"),
        ("{}", b"{}"),
        ("panini.array({})", b"[]"),
        ('"plain text"', b"plain text"),
        ('"\\255\\0"', b"\xff\x00"),
        ("42", b"42"),
        ("0.5", b"0.5"),
        ("true", b"true"),
        ("false", b"false"),
        ("panini.null", b"null"),
        ("nil", b""),
        ('""', b""),
    ],
)
def test_returned_values(service, client, returned, payload):
    service(f"""
        app.listen("value", function(msg) return {returned} end)
    """)
    reply = client.request("value", b"{}")
    assert reply.payload == payload
    assert reply.headers == {}


def test_no_value_is_silence(service, client):
    service("""
        app.listen("quiet", function(msg) app.publish("quiet.done", {}) end)
    """)
    done = client.subscribe("quiet.done")
    inbox = client.collect("quiet", [b"{}"])[0]
    done.next()
    client.collect("quiet", [b"{}"])
    done.next()
    client.flush()
    assert len(inbox) == 0


def test_silence_lets_another_answer(service, client):
    service("""
        app.listen("pair", function(msg) end)
        app.listen("pair", function(msg) return { answer = true } end)
    """)
    assert client.ask("pair") == {"answer": True}


def test_respond(service, client):
    service("""
        app.listen("early", function(msg)
            msg.respond({ n = 1 }, { headers = { ["X-Kind"] = "early" } })
            local ok, problem = pcall(msg.respond, { n = 2 })
            app.publish("early.after", { ok = ok, problem = tostring(problem) })
        end)
    """)
    after = client.subscribe("early.after")
    inbox = client.collect("early", [b"{}"])[0]
    reply = inbox.next()
    assert reply.json == {"n": 1}
    assert reply.headers == {"X-Kind": "early"}
    seen = after.next().json
    assert seen["ok"] is False and "test.lua:" in seen["problem"]
    client.flush()
    assert len(inbox) == 0


def test_return_nil_and_an_error(service, client):
    service("""
        app.listen("err", function(msg)
            local kind = msg.data.kind
            if kind == "text" then return nil, "out of paper" end
            if kind == "table" then return nil, { code = 404, message = "no such printer" } end
            if kind == "low" then return nil, { code = 200, message = "odd code" } end
            if kind == "high" then return nil, { code = 600, message = "odd code" } end
            if kind == "none" then return app.request("nobody.there", {}) end
            if kind == "timeout" then return app.request("silent", {}, { timeout = 0.05 }) end
        end)
    """)
    client.subscribe("silent")
    assert_error(client.request("err", {"kind": "text"}), 500, "out of paper")
    assert_error(client.request("err", {"kind": "table"}), 404, "no such printer")
    assert_error(client.request("err", {"kind": "low"}), 500, "odd code")
    assert_error(client.request("err", {"kind": "high"}), 500, "odd code")
    assert_error(client.request("err", {"kind": "none"}), 503)
    assert_error(client.request("err", {"kind": "timeout"}), 504)


def test_raised_tables_go_out_as_they_are(service, client):
    service("""
        app.listen("raise", function(msg) error{ code = 404, message = "no such order" } end)
        app.listen("raise.deep", function(msg)
            local function inner() error{ code = 409, message = "conflict" } end
            inner()
        end)
        app.listen("raise.odd", function(msg) error{ code = 7, message = "odd" } end)
    """)
    assert_error(client.request("raise"), 404, "no such order")
    assert_error(client.request("raise.deep"), 409, "conflict")
    assert_error(client.request("raise.odd"), 500, "odd")


RAISES = [
    'error("secret detail")',
    'error("secret detail", 0)',
    "error()",
    "error(nil)",
    "error(42)",
    "error(true)",
    "error({})",
    "error(function() end)",
    'error(setmetatable({}, { __tostring = function() error("again") end }))',
    "error(setmetatable({}, { __tostring = function() return 7 end }))",
    "error(setmetatable({}, { __index = function() error('from index') end }))",
    "local x = nil; x.field = 1",
    "return msg.data + nil",
    "local t = setmetatable({}, { __close = function() error('closing') end }); local c <close> = t; error('body')",
]


@pytest.mark.parametrize("statement", RAISES)
def test_any_other_error_is_internal_and_logged(service, client, statement):
    running = service(f"""
        app.listen("fails", function(msg)
            {statement}
        end)
        app.listen("alive", function(msg) return {{ ok = true }} end)
    """)
    reply = client.request("fails", b"{}")
    body = assert_error(reply, 500)
    assert body["error"] == "internal error"
    assert "secret" not in reply.text and "test.lua" not in reply.text
    assert client.ask("alive") == {"ok": True}
    running.wait_for(r"(?i)error")


def test_the_log_has_the_traceback(service, client):
    running = service("""
        local function helper() error("something broke") end
        app.listen("fails", function(msg)
            helper()
        end)
    """)
    client.request("fails", b"{}")
    running.wait_for(r"test\.lua:2: something broke")
    running.wait_for(r"traceback")
    running.wait_for(r"test\.lua:4:")


def test_debug_sends_the_real_text(service, client):
    service(
        """
        app.listen("fails", function(msg) error("the real reason") end)
        """,
        options="debug = true",
    )
    assert_error(client.request("fails", b"{}"), 500, "the real reason")


def test_one_way_errors_are_logged(service, client):
    running = service("""
        app.listen("oneway", function(msg) error("nobody asked") end)
    """)
    client.publish("oneway", b"{}")
    running.wait_for(r"nobody asked")


@pytest.mark.parametrize("payload", [b"{", b"[1,]", b"nul", b"\xff\xff", b"{}{}", b"\xef\xbb\xbf{}"])
def test_undecodable_is_400(service, client, payload):
    service("""
        app.listen("decode", function(msg) return { data = msg.data } end)
    """)
    assert_error(client.request("decode", payload), 400)
    assert client.ask("decode", {"x": 1}) == {"data": {"x": 1}}


def test_undecodable_can_be_caught(service, client):
    service("""
        app.listen("caught", function(msg)
            local ok, problem = pcall(function() return msg.data end)
            return { ok = ok, raw = msg.raw }
        end)
    """)
    assert client.request("caught", b"{oops").json == {"ok": False, "raw": "{oops"}


@pytest.mark.parametrize(
    "value",
    [
        "function() end",
        "{ f = print }",
        "{ 1, 2, x = 3 }",
        "{ [1] = 1, [3] = 3 }",
        "{ n = 0/0 }",
        "{ n = 1/0 }",
        '{ s = "\\255" }',
        "(function() local t = {} t.t = t return t end)()",
        "coroutine.create(print)",
        "(function() local t = {} local c = t for i = 1, 1000 do c.c = {} c = c.c end return t end)()",
    ],
)
def test_an_unsendable_return_value_is_500(service, client, value):
    running = service(f"""
        app.listen("unsendable", function(msg) return {value} end)
        app.listen("alive", function(msg) return {{ ok = true }} end)
    """)
    assert_error(client.request("unsendable", b"{}"), 500)
    assert client.ask("alive") == {"ok": True}
    running.wait_for(r"(?i)error")


def test_handler_timeout_is_504(service, client):
    service(
        """
        app.listen("slow", function(msg) app.sleep(60) return { ok = true } end)
        app.listen("slow.own", { timeout = 0.2 }, function(msg) app.sleep(60) return { ok = true } end)
        app.listen("alive", function(msg) return { ok = true } end)
        """,
        options="handler_timeout = 0.3",
    )
    assert_error(client.request("slow", b"{}"), 504)
    assert_error(client.request("slow.own", b"{}"), 504)
    assert client.ask("alive") == {"ok": True}


def test_a_timed_out_handler_is_over(service, client):
    service("""
        app.listen("late", { timeout = 0.2 }, function(msg)
            local guard <close> = setmetatable({}, { __close = function() app.publish("late.closed", {}) end })
            app.sleep(60)
            return { ok = true }
        end)
    """)
    closed = client.subscribe("late.closed")
    assert_error(client.request("late", b"{}"), 504)
    closed.next()


def test_each_of_many_gets_its_own_answer(service, client):
    service("""
        app.listen("many", function(msg)
            if msg.data.n % 3 == 0 then error("third") end
            if msg.data.n % 3 == 1 then app.sleep(0.001) end
            return { n = msg.data.n }
        end)
    """)

    async def run():
        import asyncio
        import json

        async def one(n):
            reply = await client.nc.request("many", json.dumps({"n": n}).encode(), timeout=60)
            return n, reply

        return await asyncio.gather(*(one(n) for n in range(300)))

    import json

    for n, reply in client.run(run()):
        body = json.loads(reply.data)
        if n % 3 == 0:
            assert body["code"] == 500
        else:
            assert body == {"n": n}
