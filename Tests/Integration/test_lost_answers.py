"""Every failed request gets an answer: ways of failing, and what could lose them on their way out."""

import json
import urllib.error
import urllib.request

import pytest

from harness import assert_error, free_port, wait_until

# way of failing: (body of the handler, payload, code, text)
WAYS = {
    "raised": ('error{ code = 404, message = "none" }', "{}", 404, "none"),
    "returned": ('return nil, { code = 404, message = "none" }', "{}", 404, "none"),
    "text": ('return nil, "no luck"', "{}", 500, "no luck"),
    "fault": ('error("boom")', "{}", 500, "internal error"),
    "runtime": ("local t = nil; return t.x", "{}", 500, "internal error"),
    "invalid": ("return {}", '{"id": 5}', 422, "not valid"),
    "undecodable": ("return data()", "{", 400, "not valid JSON"),
    "waited": ('app.sleep(0.001) return nil, { code = 409, message = "later" }', "{}", 409, "later"),
    "raised_late": ('app.sleep(0.001) error{ code = 409, message = "later" }', "{}", 409, "later"),
    "listed": ('return nil, { code = 422, message = "bad", errors = { { path = "a" } } }', "{}", 422, "bad"),
    "no_value": ("error(nil)", "{}", 500, "internal error"),
    "empty": ("error({})", "{}", 500, "internal error"),
    "mute": ('error(setmetatable({}, { __tostring = function() error("mute") end }))', "{}", 500, "internal error"),
    "object": ('return nil, setmetatable({}, { __index = { code = 410, message = "gone" } })', "{}", 410, "gone"),
    "function": ("return nil, print", "{}", 500, None),
    "assert": ('assert(nil, { code = 403, message = "closed" })', "{}", 403, "closed"),
}

# What a middleware may do without meaning to lose anything.
MIDDLEWARES = {
    "assigns": "local r = callback(msg) return r",
    "nothing": "callback(msg)",
    "one": "return (callback(msg))",
    "touches": "local r = callback(msg) r.x = 1 return r",
    "asserts": "local r = callback(msg) assert(r) return r",
    "counts": "local r = callback(msg) return #r > 0 and r",
    "library": "local r = callback(msg) return string.upper(r)",
    "waits": "local r = callback(msg) app.sleep(0.001) return r",
    "drops": "local ok, r = pcall(callback, msg) if ok then return r end",
    "coroutine": "return coroutine.wrap(function() return (callback(msg)) end)()",
    "rethrows": "local ok, r, err = pcall(callback, msg) if not ok then error(r, 0) end return r, err",
}
NATIVE = {
    "watches": "panini.middleware.error{}",
    "on_error": "panini.middleware.error{ on_error = function(err) local r = nil return r end }",
    "on_error_fails": "panini.middleware.error{ on_error = function(err) return err.message.x.y end }",
    "debugs": "panini.middleware.debug{}",
}

PREFACE = """
local app = panini.app{ service_name = "test", web_server = true }
local validator = panini.validator{ id = { type = "string", optional = true } }
local ways, mw = {}, {}
"""


def matrix():
    lines = [PREFACE]
    kinds = {}
    for name, body in MIDDLEWARES.items():
        kinds[name] = f"{{ listen_any = function(msg, callback) {body} end, http_request = function(msg, callback) {body} end }}"
    for name, maker in NATIVE.items():
        kinds[name] = maker
    lists = {name: [name] for name in kinds}
    lists["several"] = ["assigns", "touches", "on_error", "nothing", "waits", "drops"]
    for name, made in kinds.items():
        lines.append(f"mw.{name} = {made}")
    for way, (body, _, _, _) in WAYS.items():
        # `data()` reads the payload, as JSON.
        lines.append(f"ways.w_{way} = function(data) {body} end")
        validated = "validator = validator, " if way == "invalid" else ""
        for name, parts in lists.items():
            own = ", ".join(f"mw.{part}" for part in parts)
            lines.append(
                f'app.listen("{way}.{name}", {{ {validated}middlewares = {{ {own} }} }}, '
                f"function(msg) return ways.w_{way}(function() return msg.data end) end)"
            )
            routed = ", ".join(f"mw.{part}" for part in parts if part in MIDDLEWARES)
            if routed:
                lines.append(
                    f'app.http.post("/{way}/{name}", {{ {validated}middlewares = {{ {routed} }} }}, '
                    f"function(req) return ways.w_{way}(req.json) end)"
                )
    return "\n".join(lines), lists


def post(port, path, payload):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=payload.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_no_middleware_loses_an_error_that_it_does_not_mean_to(service, client):
    text, lists = matrix()
    port = free_port()
    service(text, arguments=["--web-port", port])
    wrong = []
    for way, (_, payload, code, message) in WAYS.items():
        for name in lists:
            try:
                reply = client.request(f"{way}.{name}", payload.encode(), timeout=5)
            except TimeoutError as error:
                wrong.append(f"{way} behind {name}: no answer")
                continue
            try:
                body = assert_error(reply, code, message)
                assert way != "listed" or body["errors"] == [{"path": "a"}]
            except (AssertionError, ValueError) as error:
                wrong.append(f"{way} behind {name}: {reply} {error}")
            if name in NATIVE:
                continue
            status, body = post(port, f"/{way}/{name}", payload)
            if status != code or (message and message not in json.loads(body)["error"]):
                wrong.append(f"route {way} behind {name}: {status} {body}")
    assert not wrong, "\n".join(wrong)


def test_a_value_that_cannot_be_sent_is_answered_behind_middlewares_too(service, client):
    service("""
        app.add_middleware{ listen_request = function(msg, callback) local r = callback(msg) return r end }
        app.add_middleware(panini.middleware.error{})
        app.listen("unsendable", function() return { f = print } end)
    """)
    assert_error(client.request("unsendable"), 500, "internal error")


def test_the_error_of_the_middleware_itself_is_in_the_log(service, client):
    running = service("""
        app.add_middleware{ listen_request = function(msg, callback)
            local r = callback(msg)
            r.x = 1
            return r
        end }
        app.listen("missing", function() return nil, { code = 404, message = "none" } end)
    """)
    assert_error(client.request("missing"), 404, "none")
    running.wait_for(r"middleware \(listen_request\) failed on missing .*test.lua:4: attempt to index a nil value")
    running.wait_for(r"test.lua:4: in ")


OWN = {
    "value": ('callback(msg) return { own = true }', None),
    "false": ("callback(msg) return false", None),
    "error": ('callback(msg) return nil, { code = 409, message = "own" }', (409, "own")),
    "raised": ('callback(msg) error{ code = 410, message = "own" }', (410, "own")),
    "deliberate": ('callback(msg) error("on purpose")', (500, "internal error")),
    "renamed": ('local fail = error callback(msg) fail("on purpose")', (500, "internal error")),
    "not_called": ('msg.context.x.y = 1', (500, "internal error")),
}


def test_a_middleware_answers_in_its_place(service, client):
    lines = []
    for name, (body, _) in OWN.items():
        lines.append(
            f'app.listen("{name}", {{ middlewares = {{ {{ listen_request = function(msg, callback) {body} end }} }} }}, '
            'function() return nil, { code = 404, message = "inner" } end)'
        )
    lines.append("""
        app.listen("swift", { middlewares = { panini.middleware.error{ on_error = function() return { own = true } end } } },
            function() return nil, { code = 404, message = "inner" } end)
        app.listen("swift_error", { middlewares = { panini.middleware.error{
            on_error = function() return nil, { code = 409, message = "own" } end } } },
            function() error{ code = 404, message = "inner" } end)
        app.listen("swift_raised", { middlewares = { panini.middleware.error{
            on_error = function() error{ code = 410, message = "own" } end } } },
            function() error{ code = 404, message = "inner" } end)
        -- An empty answer stays one.
        app.listen("empty", { middlewares = { { listen_request = function(msg, callback) local r = callback(msg) return r end } } },
            function() return nil end)
    """)
    service("\n".join(lines))
    for name, (_, expected) in OWN.items():
        reply = client.request(name)
        if expected:
            assert_error(reply, *expected)
        else:
            assert "Nats-Service-Error" not in reply.headers, (name, reply)
    assert client.ask("swift") == {"own": True}
    assert_error(client.request("swift_error"), 409, "own")
    assert_error(client.request("swift_raised"), 410, "own")
    assert client.request("empty").payload == b""


SENDS = {
    "assigns": "local r = send(subject, message, opts) return r",
    "nothing": "send(subject, message, opts)",
    "one": "return (send(subject, message, opts))",
    "touches": "local r = send(subject, message, opts) r.x = 1 return r",
    "drops": "local ok, r = pcall(send, subject, message, opts) if ok then return r end",
    "waits": "local r = send(subject, message, opts) app.sleep(0.001) return r",
}


@pytest.mark.parametrize("name", SENDS)
def test_a_failed_send_is_not_lost_either(service, client, name):
    body = SENDS[name]
    running = service(f"""
        app.listen("answers", function() return nil, {{ code = 418, message = "short" }} end)
        app.listen("empty", function() return nil end)
        app.add_middleware{{ send_any = function(subject, message, send, opts) {body} end }}
        app.listen("request", function(msg)
            local data, err = app.request("nobody.there", {{}})
            local other, second = app.request("answers", {{}})
            return {{ data == nil, err and err.code, other == nil, second and second.code }}
        end)
        app.listen("publish", function(msg)
            local done, err = app.publish("big", string.rep("x", 2 << 20))
            local raised, text = pcall(app.request, "answers", print)
            return {{ done == nil, err and err.code, raised, tostring(text):find("function") ~= nil }}
        end)
    """)
    assert client.ask("request") == [True, "no_responders", True, 418]
    assert client.ask("publish") == [True, "too_large", False, True]
    if name == "touches":
        running.wait_for(r"middleware \(send_request\) failed on nobody.there .* attempt to index a nil value")


def test_one_way_errors_are_logged_whatever_stands_around(service, client):
    running = service("""
        app.add_middleware{ listen_publish = function(msg, callback) pcall(callback, msg) end }
        app.listen("raised", function(msg) error("lost and found") end)
        app.listen("returned", function(msg) return nil, { code = 410, message = "gone for good" } end)
    """)
    client.publish("raised", b"{}")
    running.wait_for("lost and found")
    client.publish("returned", b"{}")
    running.wait_for("gone for good")


ON_INVALID = {
    "nothing": ("", 422, "not valid"),
    "nil": ("return nil", 422, "not valid"),
    "fault": ("return msg.data.id.x.y", 422, "not valid"),
    "late": ("app.sleep(0.001) return msg.data.id.x.y", 422, "not valid"),
    "waits": ("app.sleep(0.001)", 422, "not valid"),
    "error": ('return nil, { code = 409, message = "own" }', 409, "own"),
    "raised": ('error{ code = 410, message = "own" }', 410, "own"),
    "text": ('error("on purpose")', 500, "internal error"),
}


def test_on_invalid_loses_no_violation(service, client):
    port = free_port()
    lines = [PREFACE]
    for name, (body, _, _) in ON_INVALID.items():
        lines.append(f"local function f_{name}(msg, violations) {body} end")
        lines.append(f'app.listen("{name}", {{ validator = validator, on_invalid = f_{name} }}, print)')
        lines.append(f'app.http.post("/{name}", {{ validator = validator, on_invalid = f_{name} }}, print)')
    running = service("\n".join(lines), arguments=["--web-port", port])
    for name, (_, code, text) in ON_INVALID.items():
        assert_error(client.request(name, b'{"id": 5}'), code, text)
        status, body = post(port, f"/{name}", '{"id": 5}')
        # `msg.data` is not there on a request; either way it is a fault of on_invalid.
        assert status == code and text in json.loads(body)["error"], name
    running.wait_for("on_invalid failed on fault .* attempt to index")


def test_what_a_handler_leaves_to_spawned_functions(service, client):
    running = service("""
        local function on(name, fn) app.listen(name, function(msg) app.spawn(function() return fn(msg) end) end) end
        on("raises", function() error("boom") end)
        on("code", function() error{ code = 404, message = "none" } end)
        on("returns", function() app.sleep(0.01) return nil, { code = 409, message = "conflict" } end)
        on("passes", function() return app.request("nobody.there", {}) end)
        on("nested", function(msg) app.spawn(function() error{ code = 410, message = "gone" } end) end)
        on("answers", function(msg) msg.respond{ ok = true } error("afterwards") end)
        on("too_large", function(msg) msg.respond(string.rep("x", 2 << 20)) end)
        app.listen("one_of_two", function(msg)
            app.spawn(function() error("the first") end)
            app.spawn(function() app.sleep(0.05) msg.respond{ ok = true } end)
        end)
        app.listen("itself", function(msg)
            app.spawn(function() error("only logged") end)
            app.sleep(0.01)
            return { ok = true }
        end)
        app.listen("waited", function(msg)
            local value, err = app.spawn(function() error{ code = 404, message = "none" } end).wait()
            return { code = err.code }
        end)
        app.listen("chain", { middlewares = { { listen_request = function(msg, callback)
            app.spawn(function() return callback(msg) end)
        end } } }, function() return nil, { code = 404, message = "none" } end)
        app.listen("respond", function(msg) msg.respond(string.rep("x", 2 << 20)) end)
        app.listen("respond_behind_nil", { middlewares = { { listen_request = function(msg, callback)
            local reply = callback(msg)
            return reply
        end } } }, function(msg) msg.respond(string.rep("x", 2 << 20)) end)
        app.listen("respond_nonsense", function(msg) pcall(msg.respond, print) end)
        app.listen("early", function(msg) msg.respond{ ok = true } return nil, { code = 404, message = "too late" } end)
        app.listen("early_raise", function(msg) msg.respond{ ok = true } error{ code = 404, message = "much too late" } end)
        app.listen("later", function(msg) app.spawn(function() app.sleep(60) end) end)
    """, arguments=["--shutdown-timeout", "0.5"])
    assert_error(client.request("raises"), 500, "internal error")
    assert_error(client.request("code"), 404, "none")
    assert_error(client.request("returns"), 409, "conflict")
    assert_error(client.request("passes"), 503)
    assert_error(client.request("nested"), 410, "gone")
    assert client.ask("answers") == {"ok": True}
    assert_error(client.request("too_large"), 500)
    assert client.ask("one_of_two") == {"ok": True}
    assert client.ask("itself") == {"ok": True}
    assert client.ask("waited") == {"code": 404}
    assert_error(client.request("chain"), 404, "none")
    assert_error(client.request("respond"), 500)
    assert_error(client.request("respond_behind_nil"), 500)
    assert_error(client.request("respond_nonsense"), 500)
    # What comes after the answer is not sent; nor is it lost.
    assert client.ask("early") == {"ok": True}
    running.wait_for("too late")
    assert client.ask("early_raise") == {"ok": True}
    running.wait_for("much too late")
    # One answer each: nothing comes behind it.
    answers = client.subscribe("answers.of")
    for subject in ["raises", "answers", "one_of_two", "code", "respond"]:
        client.publish(subject, b"{}", reply="answers.of")
    answers.take(5)
    client.ask("itself")
    assert answers.empty_after(client)
    # And a stop answers for what it ends.
    last = client.subscribe("answer.later")
    client.publish("later", b"{}", reply="answer.later")
    client.flush()
    wait_until(lambda: client.ask("itself"), "the handler ran")
    running.stop(expect=(0, 1))
    running.expected_exit = (0, 1)
    assert_error(last.next(), 503)
