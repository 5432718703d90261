"""Middlewares from outside: order, stopping, waiting, errors and what scripts are told when they are wrong."""

import json

import pytest

from harness import assert_error, wait_until
from test_mistakes import refused

# A middleware that writes its name before and after into the message's context, and an own one for sends.
MARKING = """
local trail = {}
local function marking(name)
    return {
        listen_any = function(msg, callback)
            local list = msg.context.list or {}
            msg.context.list = list
            list[#list + 1] = name .. ">"
            local reply, err = callback(msg)
            list[#list + 1] = "<" .. name
            if type(reply) == "table" then reply.trail = panini.array(list) end
            return reply, err
        end,
        send_any = function(subject, message, send, opts)
            trail[#trail + 1] = name .. ">"
            local a, b, c = send(subject, message, opts)
            trail[#trail + 1] = "<" .. name
            return a, b, c
        end,
    }
end
"""


def test_the_last_added_is_the_outermost_in_both_directions(service, client):
    service(MARKING + """
        app.listen("before", function(msg) return { list = #msg.context.list } end)
        app.add_middleware(marking, "a")
        app.add_middleware(marking("b"))
        app.listen("after", { middlewares = { marking("x"), marking("y") } }, function(msg) return {} end)
        app.listen("sends", function(msg)
            trail = {}
            assert(app.publish("somewhere", "text"))
            local published = panini.json.encode(panini.array(trail))
            trail = {}
            app.request("before", {})
            return { published = published, requested = panini.array(trail) }
        end)
    """)
    assert client.ask("before")["trail"] == ["b>", "a>", "<a", "<b"]
    assert client.ask("after")["trail"] == ["b>", "a>", "y>", "x>", "<x", "<y", "<a", "<b"]
    sends = client.ask("sends")
    assert json.loads(sends["published"]) == ["b>", "a>", "<a", "<b"]
    assert sends["requested"] == ["b>", "a>", "<a", "<b"]


def test_each_kind_is_called_for_its_messages_and_fallbacks_for_the_rest(service, client):
    service("""
        local seen = {}
        local function note(kind, subject) seen[#seen + 1] = kind .. " " .. subject end
        app.add_middleware{
            send_publish = function(subject, message, publish, opts) note("send_publish", subject) return publish(subject, message, opts) end,
            send_any = function(subject, message, send, opts) note("send_any", subject) return send(subject, message, opts) end,
            listen_request = function(msg, callback) note("listen_request", msg.subject) return callback(msg) end,
            listen_any = function(msg, callback) note("listen_any", msg.subject) return callback(msg) end,
            http_request = function(req, callback) return callback(req) end,
        }
        app.listen("echo", function(msg) return msg.data end)
        app.listen("oneway", function(msg) app.publish("oneway.ran", msg.data) end)
        app.listen("go", function()
            app.request("echo", { n = 1 })
            app.publish_sync("elsewhere", "x")
            return true
        end)
        app.listen("seen", function() return panini.array(seen) end)
    """)
    ran = client.subscribe("oneway.ran")
    client.publish("oneway", b"{}")
    ran.next()
    client.ask("go")
    assert client.ask("seen") == [
        "listen_any oneway", "send_publish oneway.ran", "listen_request go", "send_any echo", "listen_request echo",
        "send_publish elsewhere", "listen_request seen",
    ]


def test_not_calling_stops_and_calling_twice_raises(service, client):
    running = service("""
        local handled = 0
        app.add_middleware{
            listen_any = function(msg, callback)
                if msg.subject == "stopped" then return { early = true } end
                if msg.subject == "silent" then return end
                if msg.subject == "twice" then callback(msg) return callback(msg) end
                if msg.subject == "caught" then
                    local first = callback(msg)
                    local ok, text = pcall(callback, msg)
                    return { first = first, ok = ok, text = text }
                end
                if msg.subject == "other" then return callback({}) end
                return callback()
            end,
            send_any = function(subject, message, send, opts)
                if subject == "no" then return nil, { code = "refused", message = "not today" } end
                if subject == "nothing" then return end
                if subject == "two" then send(subject, message, opts) return send(subject, message, opts) end
                return send(subject, message, opts)
            end,
        }
        for _, name in ipairs{ "stopped", "silent", "twice", "caught", "other", "plain" } do
            app.listen(name, function(msg) handled = handled + 1 return { handled = handled } end)
        end
        app.listen("sends", function()
            local a, b = app.publish("no", "x")
            local c, d = app.request("no", "x")
            local ok, text = pcall(app.publish, "two", "x")
            return { a == nil, b.code, d.message, select("#", app.publish("nothing", "x")), ok, text }
        end)
    """)
    assert client.ask("stopped") == {"early": True}
    client.publish("silent", b"{}", reply="nobody")
    assert client.ask("plain") == {"handled": 1}
    assert_error(client.request("twice"), 500, "internal error")
    running.wait_for(r"test.lua:\d+: callback was called twice")
    caught = client.ask("caught")
    assert caught["first"] == {"handled": 3} and not caught["ok"]
    assert "test.lua:" in caught["text"] or "callback was called twice" in caught["text"]
    assert_error(client.request("other"), 500, "internal error")
    running.wait_for("callback takes the message that the middleware was given")
    sends = client.ask("sends")
    assert sends[1] == "refused" and sends[2] == "not today" and sends[3] == 0 and sends[4] is False
    assert "publish was called twice" in sends[5]


def test_waiting_before_and_after_the_inner_call(service, client):
    service("""
        app.listen("inner", function(msg) app.sleep(0.01) return { n = msg.data.n } end)
        app.add_middleware{
            listen_request = function(msg, callback)
                if msg.subject == "inner" then return callback(msg) end
                app.sleep(0.01)
                local before = assert(app.request("inner", { n = 1 })).n
                local reply = coroutine.wrap(function() return (callback(msg)) end)()
                app.sleep(0.01)
                reply.sum = before + reply.n + assert(app.request("inner", { n = 100 })).n
                return reply
            end,
            send_request = function(subject, message, request, opts)
                app.sleep(0.005)
                local data, err, msg = request()
                app.sleep(0.005)
                return data, err, msg
            end,
        }
        app.listen("outer", function(msg)
            local n = assert(app.request("inner", { n = 10 })).n
            return { n = n }
        end)
    """)
    assert client.ask("outer") == {"n": 10, "sum": 111}
    replies = client.collect("outer", [b"{}"] * 50)
    assert all(inbox.next().json == {"n": 10, "sum": 111} for inbox in replies)


def test_errors_pass_outward(service, client):
    running = service("""
        local inner = { listen_request = function(msg, callback)
            if msg.data and msg.data.at == "inner" then error("inner failed") end
            return callback(msg)
        end }
        local outer = { listen_request = function(msg, callback)
            if msg.subject == "plain" then return callback(msg) end
            local ok, value, err = pcall(callback, msg)
            if ok then return { value = value, err = err and err.message } end
            if type(value) == "table" then return { code = value.code, message = value.message } end
            return { caught = value }
        end }
        app.add_middleware(inner)
        app.add_middleware(outer)
        local function handler(msg)
            if msg.data.at == "handler" then error("handler failed") end
            if msg.data.at == "code" then error{ code = 409, message = "conflict" } end
            if msg.data.at == "returned" then return nil, { code = 404, message = "none" } end
            return "fine"
        end
        app.listen({ "caught", "plain" }, handler)
        local v = panini.validator{ at = { type = "string" } }
        app.listen("checked", { validator = v }, handler)
    """)
    assert client.ask("caught", {"at": "-"}) == {"value": "fine"}
    assert "test.lua:3: inner failed" in client.ask("caught", {"at": "inner"})["caught"]
    assert "handler failed" in client.ask("caught", {"at": "handler"})["caught"]
    assert client.ask("caught", {"at": "code"}) == {"code": 409, "message": "conflict"}
    assert client.ask("caught", {"at": "returned"}) == {"err": "none"}
    # Decoding and validation are inside: their errors come out as the handler's would.
    assert client.request("caught", b"{").json["code"] == 400
    assert "not valid" in client.ask("checked", {"at": 5})["err"]
    assert_error(client.request("plain", {"at": "inner"}), 500, "internal error")
    running.wait_for(r"test.lua:3: inner failed")
    assert_error(client.request("plain", {"at": "code"}), 409, "conflict")
    assert_error(client.request("plain", {"at": "returned"}), 404, "none")
    assert_error(client.request("plain", b"{"), 400)


def test_data_types_and_headers_are_untouched(service, client):
    service("""
        app.add_middleware{
            listen_any = function(msg, callback)
                if msg.subject == "changed" then msg.data = { changed = msg.data } end
                return callback(msg)
            end,
            send_any = function(subject, message, send, opts)
                opts.headers = opts.headers or {}
                opts.headers["X-Trace"] = "t1"
                return send(subject, message, opts)
            end,
        }
        app.listen("bytes", { data_type = "bytes" }, function(msg) return msg.data end)
        app.listen("string", { data_type = "string" }, function(msg) return #msg.data .. msg.headers["X"] end)
        app.listen({ "changed" }, function(msg) return msg.data end)
        app.listen("trace", function(msg) return { msg.headers["X-Trace"], msg.headers["Own"] } end)
        app.listen("send", function(msg)
            local options = { headers = { Own = "o" }, timeout = 5 }
            local first = assert(app.request("trace", {}, options))
            local second = assert(app.request("trace", {}))
            -- The caller's table is its own.
            return { first, second, panini.array{ options.headers["X-Trace"] }, app.request("bytes", "\\xff\\x00", { response_data_type = "bytes" }) == "\\xff\\x00" }
        end)
    """)
    assert client.request("bytes", b"\xff\x00\xfe").payload == b"\xff\x00\xfe"
    assert client.request("string", "ää".encode(), headers={"X": "y"}).text == "4y"
    assert client.ask("changed", [1, 2]) == {"changed": [1, 2]}
    assert client.ask("send") == [["t1", "o"], ["t1"], [], True]


def test_inner_sends_keep_what_is_left_out(service, client):
    service("""
        app.add_middleware{ send_any = function(subject, message, send, opts)
            if subject == "all" then return send() end
            if subject == "moved" then return send("all.b", message) end
            if subject == "other" then return send(subject, { other = true }) end
            if subject == "bare" then return send(subject, message, {}) end
            send(subject, message, opts)
        end }
        app.listen({ "all", "all.b", "other", "bare", "silent" }, function(msg)
            return { subject = msg.subject, data = msg.data, header = msg.headers.H or "none" }
        end)
        app.listen("go", function()
            local list = panini.array{}
            for i, subject in ipairs{ "all", "moved", "other", "bare", "silent" } do
                list[i] = assert(app.request(subject, { n = i }, { headers = { H = "h" } }))
            end
            assert(app.publish("silent", "x"))
            assert(app.publish_sync("silent", "x"))
            return list
        end)
    """)
    assert client.ask("go") == [
        {"subject": "all", "data": {"n": 1}, "header": "h"},
        {"subject": "all.b", "data": {"n": 2}, "header": "h"},
        {"subject": "other", "data": {"other": True}, "header": "h"},
        {"subject": "bare", "data": {"n": 4}, "header": "none"},
        {"subject": "silent", "data": {"n": 5}, "header": "h"},
    ]


def test_adding_and_removing_while_running(service, client):
    service(MARKING + """
        local handle = app.add_middleware(marking("a"))
        app.listen("work", function() return {} end)
        local later
        app.listen("add", function() later = app.add_middleware(marking("b")) return true end)
        app.listen("remove", function()
            return panini.json.encode{ app.remove_middleware(handle), app.remove_middleware(handle), later.remove() }
        end)
        app.listen("dynamic", function()
            app.listen("late", { middlewares = { marking("l") } }, function() return {} end)
            return true
        end)
    """)
    assert client.ask("work")["trail"] == ["a>", "<a"]
    assert client.ask("add") is True
    assert client.ask("work")["trail"] == ["b>", "a>", "<a", "<b"]
    assert client.ask("dynamic") is True
    assert client.ask("late")["trail"] == ["b>", "a>", "l>", "<l", "<a", "<b"]
    assert client.ask("remove") == [True, False, True]
    assert client.ask("work") == {}
    assert client.ask("late")["trail"] == ["l>", "<l"]


def test_a_message_on_its_way_keeps_its_chain(service, client, gate):
    service(MARKING + """
        local handle = app.add_middleware(marking("a"))
        app.listen("held", function() app.request("gate", {}) return {} end)
        app.listen("remove", function() return app.remove_middleware(handle) end)
    """)
    inbox = client.subscribe("answers")
    client.publish("held", b"{}", reply="answers")
    held = gate.arrived()
    assert client.ask("remove") is True
    gate.open(held)
    assert inbox.next().json["trail"] == ["a>", "<a"]


def test_a_constructor_and_inherited_functions(service, client):
    service("""
        local Base = { listen_request = function(msg, callback) local r = callback(msg) r.base = true return r end }
        Base.__index = Base
        local function make(name, n)
            assert(name == "n" and n == 3)
            return setmetatable({}, setmetatable({ __index = Base }, {}))
        end
        app:add_middleware(make, "n", 3)
        app.listen("made", function() return {} end)
    """)
    assert client.ask("made") == {"base": True}


def test_one_way_errors_are_not_lost(service, client):
    running = service("""
        app.add_middleware{ listen_publish = function(msg, callback) callback(msg) end }
        app.listen("failing", function(msg) return nil, { code = 410, message = "gone for good" } end)
    """)
    client.publish("failing", b"{}")
    running.wait_for("gone for good")


def test_a_middleware_may_fail_without_harm(service, client):
    running = service("""
        app.add_middleware{ send_publish = function(subject, message, publish, opts)
            app.publish("audit", subject)
            return publish(subject, message, opts)
        end }
        app.listen("loops", function() app.publish("x", "y") return true end)
        app.listen("fine", function() return true end)
    """)
    assert_error(client.request("loops"), 500, "internal error")
    running.wait_for("stack overflow")
    assert client.ask("fine") is True


def test_as_many_as_there_may_be(service, client):
    service("""
        local function layer()
            return { listen_any = function(msg, callback) return callback(msg) end,
                send_any = function(subject, message, send, opts) return send(subject, message, opts) end }
        end
        local own = {}
        for i = 1, 24 do
            app.add_middleware(layer)
            own[i] = layer()
        end
        app.listen("deep", { middlewares = own }, function(msg) return { n = msg.data.n, r = app.request("echo", 5) } end)
        app.listen("echo", function(msg) return msg.data end)
        local ok, text = pcall(app.add_middleware, layer)
        app.listen("more", function() return { ok, text } end)
    """)
    assert client.ask("deep", {"n": 1}) == {"n": 1, "r": 5}
    ok, text = client.ask("more")
    assert ok is False and "24" in text


MISTAKES = [
    ("app.add_middleware()", ["table", "nothing"]),
    ("app.add_middleware(5)", ["table", "number"]),
    ("app.add_middleware({})", ["none of", "listen_request"]),
    ("app.add_middleware{ listen_reqest = function() end }", ["listen_reqest", "listen_request"]),
    ("app.add_middleware{ listen_request = 5 }", ["listen_request", "function", "number"]),
    ("app.add_middleware{ function() end }", ["names"]),
    ("app.add_middleware({ listen_any = print }, 5)", ["further arguments"]),
    ("app.add_middleware(function() end)", ["table", "nil"]),
    ("app.add_middleware(function() error('no luck') end)", ["no luck"]),
    ("app.remove_middleware(5)", ["app.add_middleware", "number"]),
    ("app.listen('a', { middlewares = 5 }, print)", ["middlewares", "list"]),
    ("app.listen('a', { middlewares = { listen_any = print } }, print)", ["list"]),
    ("app.listen('a', { middlewares = { {} } }, print)", ["entry 1", "none of"]),
    ("app.listen('a', { middlewares = { { send_any = print } } }, print)", ["entry 1", "listen_request"]),
    ("app.listen('a', { middlewares = { function() end } }, print)", ["entry 1", "call it"]),
    ("panini.middleware.timeout{}", ["subject", "seconds"]),
    ("panini.middleware.timeout{ subject = 'a.*' }", ["subject"]),
    ("panini.middleware.timeout{ second = 1 }", ["second", "seconds"]),
    ("panini.middleware.timeout{ seconds = 1, sends = false }", ["sends"]),
    ("panini.middleware.error{ on_error = 5 }", ["on_error", "function"]),
    ("panini.middleware.error{ codes = {} }", ["codes"]),
    ("panini.middleware.debug{ level = 'loud' }", ["loud"]),
    ("panini.middleware.debug{ sends = false, listens = false }", ["nothing to do"]),
    ("panini.middleware.debug{ max_bytes = 0 }", ["max_bytes"]),
    ("app.add_middleware{ send_any = print } app.publish('a', 'b')", ["on_start_task"]),
]


@pytest.mark.parametrize("text, words", MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_mistakes(check, text, words):
    message = refused(check("\n" + text), "test.lua:2:" if "no luck" not in text else "test.lua", *words)
    assert "traceback" not in message


# ---- built in


def test_debug_shows_the_four_texts(service, client):
    running = service("""
        app.add_middleware(panini.middleware.debug{ level = "info", max_bytes = 20 })
        app.listen("echo", function(msg) return msg.data end)
        app.listen("go", function()
            app.publish("news", { text = "hello" })
            return app.request("echo", { n = 1 })
        end)
        app.listen("bad", function() error("broken") end)
    """)
    assert client.ask("go", {"long": "x" * 100}) == {"n": 1}
    assert_error(client.request("bad"), 500)
    for text in [
        r"listen to go: \{\"long\":.*\.\.\. \(\d+ bytes\)",
        r"sent to news: \{\"text\":\"hello\"\}",
        r"sent to echo: \{\"n\":1\}",
        r"listen to echo: \{\"n\":1\}",
        r"answered to echo: \{\"n\":1\}",
        r"received response from echo: \{\"n\":1\}",
        r"answered to go: \{\"n\":1\}",
        r"failed on bad: .*test.lua:\d+: broken",
    ]:
        running.wait_for(text)
    # The traceback is of where it was raised, not of where the middleware let it pass.
    running.wait_for(r"stack traceback")
    wait_until(lambda: "in function <" in running.output and "test.lua:8: in function" in running.output, "the place")


def test_debug_off_costs_nothing_and_says_nothing(service, client):
    running = service("""
        app.add_middleware(panini.middleware.debug{})
        app.listen("echo", function(msg) return msg.data end)
    """)
    assert client.ask("echo", 1) == 1
    running.stop()
    assert "listen to echo" not in running.output


def test_error_without_and_with_a_function(service, client):
    running = service("""
        app.add_middleware(panini.middleware.error{ codes = { "no_responders", 418, "error" }, on_error = function(err, info)
            app.sleep(0.001)
            if info.kind == "send_request" then return { instead = info.subject, code = err.code, sent = info.message } end
            if err.code == 418 then return { kind = info.kind, subject = info.msg.subject, text = err.message } end
            if err.code == "error" and err.message:find("wordless") then return { text = err.message } end
        end })
        app.add_middleware(panini.middleware.error{ level = "warning" })
        app.listen("go", function() return app.request("nobody", { n = 1 }) end)
        app.listen("teapot", function() error{ code = 418, message = "short and stout" } end)
        app.listen("returned", function() return nil, { code = 418, message = "again" } end)
        app.listen("passed", function() error{ code = 409, message = "conflict" } end)
        app.listen("wordless", function() error("wordless") end)
        app.listen("fault", function() error("fault") end)
    """)
    assert client.ask("go") == {"instead": "nobody", "code": "no_responders", "sent": {"n": 1}}
    assert client.ask("teapot") == {"kind": "listen_request", "subject": "teapot", "text": "short and stout"}
    assert client.ask("returned")["text"] == "again"
    assert_error(client.request("passed"), 409, "conflict")
    running.wait_for("listen_request passed failed: conflict")
    assert "wordless" in client.ask("wordless")["text"]
    assert_error(client.request("fault"), 500, "internal error")
    running.wait_for(r"test.lua:\d+: fault")


def test_timeouts_are_reported_and_limited(service, client):
    reports = client.subscribe("alerts")
    service("""
        app.add_middleware(panini.middleware.timeout{ subject = "alerts", seconds = 0.1 })
        app.listen("hole", { reply = false }, function() end)
        app.listen("go", function(msg)
            local data, err = app.request("hole", { n = 1 })
            local other, second = app.request("nobody.here", "text")
            local third, own = app.request("hole", "x", { timeout = 0.05 })
            return { err.code, second.code, own.code }
        end)
        app.listen("slow", { timeout = 0.1 }, function(msg) app.sleep(5) end)
        app.listen("passes", function(msg) return app.request("hole", msg.data) end)
    """)
    assert client.ask("go") == ["timeout", "no_responders", "timeout"]
    first, second, third = (reports.next().json for _ in range(3))
    assert first == {
        "error": "timeout", "error_msg": first["error_msg"], "subject": "hole", "message": {"n": 1},
        "kind": "send_request", "service": "test",
    }
    assert second["error"] == "no_responders" and second["message"] == "text" and second["subject"] == "nobody.here"
    assert third["error"] == "timeout"
    assert_error(client.request("slow", {"id": 7}), 504)
    report = reports.next().json
    assert report["error"] == "504" and report["subject"] == "slow" and report["message"] == {"id": 7}
    assert report["kind"] == "listen_request"
    assert_error(client.request("passes", {"id": 8}), 504)
    assert [reports.next().json["kind"] for _ in range(2)] == ["send_request", "listen_request"]


def test_per_listener_natives_and_concurrent_waits(service, client):
    running = service("""
        local debug = panini.middleware.debug{ level = "info", sends = false }
        app.listen("watched", { middlewares = { debug } }, function(msg) app.sleep(0.01) return msg.data end)
        app.listen("unwatched", function(msg) return msg.data end)
    """)
    assert [r.next().json for r in client.collect("watched", [str(i).encode() for i in range(40)])] == list(range(40))
    assert client.ask("unwatched", 5) == 5
    running.wait_for("answered to watched: 39")
    assert "listen to unwatched" not in running.output
