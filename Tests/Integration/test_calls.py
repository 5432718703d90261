"""publish, request, flush, sleep, spawn, wait_all: what scripts call, and how calls fail."""

import json
import time

import pytest

from harness import Broker, Client


def lua(service, body, **options):
    """A service that runs a piece of Lua per request to `run` and answers what it returns."""
    return service(f'app.listen("run", function(msg)\n{body}\nend)', **options)


def test_publish(service, client):
    lua(
        service,
        """
        assert(app.publish("out", { n = 1 }) == true)
        assert(app.publish("out", "text"))
        assert(app.publish("out", 5))
        assert(app.publish("out", false))
        assert(app.publish("out", panini.null))
        assert(app.publish("out", nil))
        assert(app.publish("out", "text", { data_type = "json" }))
        assert(app.publish("out", "\\255", { data_type = "bytes" }))
        assert(app.publish("out", "grüße", { data_type = "string" }))
        assert(app.publish("out", {}, { headers = { ["X-A"] = "1", ["X-B"] = { "2", "3" } } }))
        assert(app.publish("out", {}, { reply_to = "third" }))
        assert(app.publish("out", {}, { force = true }))
        assert(app.publish_sync("out", "last") == true)
        return { ok = true }
        """,
    )
    out = client.subscribe("out")
    assert client.ask("run") == {"ok": True}
    got = out.take(13)
    assert [m.payload for m in got] == [
        b'{"n":1}',
        b"text",
        b"5",
        b"false",
        b"null",
        b"",
        b'"text"',
        b"\xff",
        "grüße".encode(),
        b"{}",
        b"{}",
        b"{}",
        b"last",
    ]
    assert got[9].headers["X-A"] == "1"
    assert "X-B" in got[9].headers
    assert got[10].reply == "third"


def test_request_gives_data_and_message(service, client):
    lua(
        service,
        """
        local data, err, reply = app.request("peer", { q = 1 }, { headers = { ["X-Q"] = "q" } })
        return { data = data, no_err = err == nil, raw = reply.raw, kind = reply.headers["Kind"] }
        """,
    )
    client.responder("peer", lambda m: ({"got": m.json, "q": m.headers.get("X-Q")}, {"Kind": "answer"}))
    assert client.ask("run") == {
        "data": {"got": {"q": 1}, "q": "q"},
        "no_err": True,
        "raw": '{"got": {"q": 1}, "q": "q"}',
        "kind": "answer",
    }


def test_request_sync_is_the_same_call(service, client):
    lua(service, 'return { data = app.request_sync("peer", {}) }')
    client.responder("peer", lambda m: {"n": 1})
    assert client.ask("run") == {"data": {"n": 1}}


@pytest.mark.parametrize(
    "options, payload, expected",
    [
        ("", b"[1]", {"type": "table", "value": [1]}),
        ("", b"", {"type": "nil"}),
        ('response_data_type = "string"', b"text", {"type": "string", "value": "text"}),
        ('response_data_type = "bytes"', b"abc", {"type": "string", "value": "abc"}),
        ('response_data_type = "json"', b"7", {"type": "number", "value": 7}),
    ],
)
def test_response_data_types(service, client, options, payload, expected):
    lua(
        service,
        f"""
        local data, err = app.request("peer", {{}}, {{ {options} }})
        if err then error(err) end
        return {{ type = type(data), value = data }}
        """,
    )
    client.responder("peer", lambda m: payload)
    assert client.ask("run") == expected


def failing(service, client, call, **options):
    """The error of a call as the script sees it."""
    lua(
        service,
        f"""
        local started = panini.monotonic()
        local value, err = {call}
        return {{ no_value = value == nil, code = err.code, message = err.message, text = tostring(err),
                 seconds = panini.monotonic() - started }}
        """,
        **options,
    )
    answer = client.ask("run")
    assert answer["no_value"] is True
    assert answer["message"]
    assert answer["message"] in answer["text"]
    return answer


def test_no_responders_answers_at_once(service, client):
    answer = failing(service, client, 'app.request("nobody.listens", {}, { timeout = 20 })')
    assert answer["code"] == "no_responders"
    assert answer["seconds"] < 10


def test_timeout(service, client):
    client.subscribe("silent")
    answer = failing(service, client, 'app.request("silent", {}, { timeout = 0.2 })')
    assert answer["code"] == "timeout"
    assert 0.19 <= answer["seconds"] < 15


def test_undecodable_response(service, client):
    client.responder("peer", lambda m: b"{broken")
    assert failing(service, client, 'app.request("peer", {})')["code"] == "decode"


def test_an_error_reply_becomes_an_error(service, client):
    client.responder(
        "peer",
        lambda m: (
            {"success": False, "code": 404, "error": "no such order"},
            {"Nats-Service-Error": "no such order", "Nats-Service-Error-Code": "404"},
        ),
    )
    answer = failing(service, client, 'app.request("peer", {})')
    assert answer["code"] == 404
    assert answer["message"] == "no such order"


def test_a_services_error_travels_to_the_next(service, client):
    lua(service, 'return app.request("second", {})')
    client.responder("second", lambda m: (b"", {"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "410"}))
    reply = client.request("run")
    assert reply.headers["Nats-Service-Error-Code"] == "410"
    assert reply.json["error"] == "gone"


def test_too_large(service, client):
    for call in (
        'app.publish("big", ("x"):rep(2 * 1024 * 1024))',
        'app.request("big", ("x"):rep(2 * 1024 * 1024))',
        'app.publish_sync("big", ("x"):rep(2 * 1024 * 1024))',
    ):
        answer = failing(service, client, call, name="large" + str(len(call)))
        assert answer["code"] == "too_large"


def test_max_payload_is_the_brokers(start, tmp_path):
    broker = Broker("nats-server", max_payload=2048).start(tmp_path)
    client = Client(broker.url)
    try:
        start(
            broker.url,
            """
            app.listen("run", function(msg)
                local fits = app.publish_sync("out", ("x"):rep(2000))
                local value, err = app.publish("out", ("x"):rep(2049))
                return { fits = fits, code = err.code }
            end)
            app.listen("reply.large", function(msg) return ("x"):rep(4096) end)
            """,
        )
        assert client.ask("run") == {"fits": True, "code": "too_large"}
        # An answer that does not fit is an error reply, not silence.
        reply = client.request("reply.large")
        assert reply.headers["Nats-Service-Error-Code"] == "500"
        assert client.ask("run") == {"fits": True, "code": "too_large"}
    finally:
        client.close()
        broker.kill()


RAISING = [
    'app.publish("x", function() end)',
    'app.publish("x", { f = print })',
    'app.publish("x", { 1, a = 2 })',
    'app.publish("x", 0/0)',
    'app.publish("x", coroutine.create(print))',
    'local t = {} t.t = t app.publish("x", t)',
    'app.request("x", { [true] = 1 })',
    'app.publish("a b", {})',
    'app.publish("", {})',
    'app.publish("a..b", {})',
    'app.publish(".a", {})',
    'app.publish("a.", {})',
    'app.publish("a\\r\\nPUB b 0", {})',
    'app.publish("a.*", {})',
    'app.publish("a.>", {})',
    "app.publish(nil, {})",
    "app.publish({}, {})",
    'app.publish("x", {}, { replyto = "y" })',
    'app.publish("x", {}, { reply_to = "a b" })',
    'app.publish("x", {}, { reply_to = 5 })',
    'app.publish("x", {}, { headers = { ["bad name"] = "v" } })',
    'app.publish("x", {}, { headers = { Name = "a\\r\\nInjected: b" } })',
    'app.publish("x", {}, { headers = "text" })',
    'app.publish("x", {}, { data_type = "xml" })',
    'app.publish("x", {}, "options")',
    'app.publish("x", "\\255", { data_type = "string" })',
    'app.publish("x", {}, { data_type = "bytes" })',
    'app.request("x", {}, { timeout = "1" })',
    'app.request("x", {}, { timeout = -1 })',
    'app.request("a.*", {})',
    'app.sleep("x")',
    "app.sleep(-1)",
    "app.sleep(0/0)",
    "app.spawn(5)",
    "app.wait_all(5)",
    "app.wait_all{ 5 }",
    "app.wait_all{ a = function() end }",
    "app.wait_all{ function() end, a = function() end }",
    "app.wait_all{ [3] = function() end }",
    'app.listen("x")',
    'app.listen("a b", function() end)',
    'app.unsubscribe(5)',
]


def test_misuse_raises_at_the_scripts_own_line(service, client):
    attempts = ",\n".join(f"function() {statement} end" for statement in RAISING)
    lua(
        service,
        f"""
        local results = {{}}
        for i, attempt in ipairs{{ {attempts} }} do
            local ok, problem = pcall(attempt)
            results[i] = {{ ok = ok, problem = tostring(problem) }}
        end
        return results
        """,
    )
    results = client.ask("run")
    wrong = [
        (statement, result)
        for statement, result in zip(RAISING, results)
        if result["ok"] or "test.lua:" not in result["problem"]
    ]
    assert not wrong


def test_did_you_mean(service, client):
    lua(
        service,
        """
        local _, one = pcall(app.publish, "x", {}, { header = {} })
        local _, two = pcall(app.request, "x", {}, { timout = 1 })
        return { one = one, two = two }
        """,
    )
    answer = client.ask("run")
    assert "headers" in answer["one"]
    assert "timeout" in answer["two"]


def test_sleep_and_clocks(service, client):
    lua(
        service,
        """
        local wall, before = panini.now(), panini.monotonic()
        app.sleep(0.05)
        app.sleep(0)
        return { slept = panini.monotonic() - before, wall = wall }
        """,
    )
    answer = client.ask("run")
    assert 0.049 <= answer["slept"] < 15
    assert abs(answer["wall"] - time.time()) < 120


def test_flush(service, client):
    lua(service, "return { plain = app.flush(), limited = app.flush(5) }")
    assert client.ask("run") == {"plain": True, "limited": True}


def test_spawn(service, client):
    lua(
        service,
        """
        local a = app.spawn(function() app.sleep(0.02) return 1, "two", nil, 4 end)
        local b = app.spawn(function() error("spawned failure") end)
        local c = app.spawn(function() error{ code = 404, message = "nothing" } end)
        local one, two, three, four = a.wait()
        local none, err = b.wait()
        local none2, err2 = c.wait()
        return { one = one, two = two, three_nil = three == nil, four = four, none = none == nil,
                 err = tostring(err), none2 = none2 == nil, code = err2.code, message = err2.message }
        """,
    )
    answer = client.ask("run")
    assert "spawned failure" in answer.pop("err")
    assert answer == {
        "one": 1,
        "two": "two",
        "three_nil": True,
        "four": 4,
        "none": True,
        "none2": True,
        "code": 404,
        "message": "nothing",
    }


def test_spawned_work_goes_on_after_the_handler(service, client):
    lua(
        service,
        """
        app.spawn(function() app.sleep(0.05) app.publish("spawned.done", {}) end)
        return { ok = true }
        """,
    )
    done = client.subscribe("spawned.done")
    assert client.ask("run") == {"ok": True}
    done.next()


def test_wait_all_runs_at_once(service, client, gate):
    lua(
        service,
        """
        local results, errors = app.wait_all{
            function() return (app.request("gate", { n = 1 }, { timeout = 60 })).n end,
            function() return (app.request("gate", { n = 2 }, { timeout = 60 })).n end,
            function() return "quick" end,
        }
        return { results = results, no_errors = errors == nil }
        """,
    )
    inbox = client.collect("run", [b"{}"])[0]
    first, second = gate.arrived(), gate.arrived()  # both are out before either is answered
    gate.open(second, second.payload)
    gate.open(first, first.payload)
    assert inbox.next().json == {"results": [1, 2, "quick"], "no_errors": True}


def test_wait_all_errors_by_position(service, client):
    lua(
        service,
        """
        local results, errors = app.wait_all{
            function() return 1 end,
            function() error{ code = 409, message = "second" } end,
            function() return 3 end,
        }
        return { first = results[1], second_nil = results[2] == nil, third = results[3],
                 error = errors[2].code, none = errors[1] == nil and errors[3] == nil }
        """,
    )
    assert client.ask("run") == {"first": 1, "second_nil": True, "third": 3, "error": 409, "none": True}


def test_wait_all_takes_handles(service, client):
    lua(service, """
        local quick = app.spawn(function() return "quick", 2 end)
        local slow = app.spawn(function() app.sleep(0.05) return "slow" end)
        local failing = app.spawn(function() app.sleep(0.01) error{ code = 404, message = "none" } end)
        local refusing = app.spawn(function() app.sleep(0.01) return nil, "refused" end)
        local nothing = app.spawn(function() end)
        assert(quick.wait() == "quick")
        local before = panini.monotonic()
        local results, errors = app.wait_all{
            quick, slow, function() return "function" end, failing, slow, refusing, nothing, function() error("boom") end, failing,
        }
        local again, more = app.wait_all{ slow, quick, failing }
        -- Handles still give what they gave.
        local kept, two = quick.wait()
        local none, err = failing.wait()
        -- Two who wait for the same, at once.
        local late = app.spawn(function() app.sleep(0.02) return "late" end)
        local both = app.wait_all{
            function() return app.wait_all{ late }[1] end, function() return late.wait() end, late,
        }
        return {
            first = { results[1], results[2], results[3], results[5] }, gap = results[4] == nil and results[7] == nil,
            codes = { errors[4].code, errors[9].code }, text = errors[6], boom = errors[8].message:find("boom") ~= nil,
            again = { again[1], again[2] }, more = more[3].message, kept = { kept, two }, err = err.code, both = both,
            waited = panini.monotonic() - before < 5,
        }
    """)
    assert client.ask("run") == {
        "first": ["quick", "slow", "function", "slow"], "gap": True, "codes": [404, 404], "text": "refused", "boom": True,
        "again": ["slow", "quick"], "more": "none", "kept": ["quick", 2], "err": 404, "both": ["late", "late", "late"],
        "waited": True,
    }


def test_wait_all_of_what_has_ended_needs_no_wait(service, client):
    lua(service, """
        local done = app.spawn(function() return 7 end)
        done.wait()
        local seen
        -- Where Lua cannot wait.
        table.sort({ 2, 1 }, function(a, b) seen = app.wait_all{ done, done } return a < b end)
        return { seen = seen, refused = not pcall(app.wait_all, { done, {} }) }
    """)
    assert client.ask("run") == {"seen": [7, 7], "refused": True}


def test_a_failure_that_wait_all_sees_is_not_logged_as_unseen(service, client):
    running = lua(service, """
        local failing = app.spawn(function() app.sleep(0.01) error("seen") end)
        local _, errors = app.wait_all{ failing }
        return { errors[1].message:find("seen") ~= nil }
    """)
    assert client.ask("run") == [True]
    assert "spawned function failed" not in running.output


def test_nothing_waits_for_itself(service, client):
    """Such a wait has no end, and would hold a stop: it raises, also when others lie between."""
    running = lua(
        service,
        """
        local alone, first, second, third
        alone = app.spawn(function() return alone.wait() end)
        local listed = app.spawn(function() app.sleep(0) return app.wait_all{ alone, third } end)
        first = app.spawn(function() app.sleep(0) return second.wait() end)
        second = app.spawn(function() app.sleep(0.01) return app.wait_all{ third } end)
        third = app.spawn(function()
            app.sleep(0.05)
            return pcall(function() return app.wait_all{ function() return first.wait() end, first } end)
        end)
        local _, own = alone.wait()
        listed.wait()
        local raised, problem = third.wait()
        -- Many may wait for one, and one for many.
        local slow = app.spawn(function() app.sleep(0.02) return "slow" end)
        local both = app.wait_all{ function() return slow.wait() end, function() return app.wait_all{ slow }[1] end, slow }
        return { own = own.message, raised = raised, problem = tostring(problem), both = both }
        """,
    )
    answer = client.ask("run")
    assert "test.lua:" in answer["own"] and answer["both"] == ["slow"] * 3
    assert answer["raised"] is False and "test.lua:" in answer["problem"]
    running.stop()


def test_wait_all_of_nothing(service, client):
    lua(service, "local r, e = app.wait_all{} return { empty = next(r) == nil, none = e == nil }")
    assert client.ask("run") == {"empty": True, "none": True}


def test_reply_to_a_third_subject(service, client):
    service("""
        app.listen("responder", function(msg) return { answered = msg.data.n } end)
        app.listen("third", function(msg) app.publish("seen", { data = msg.data, subject = msg.subject }) end)
        app.listen("run", function(msg)
            app.publish("responder", { n = 7 }, { reply_to = "third" })
            return { ok = true }
        end)
    """)
    seen = client.subscribe("seen")
    client.ask("run")
    assert seen.next().json == {"data": {"answered": 7}, "subject": "third"}


def test_a_service_may_ask_itself(service, client):
    lua(
        service,
        """
        if msg.data and msg.data.depth == 0 then return { bottom = true } end
        local depth = msg.data and msg.data.depth or 5
        local inner = assert(app.request("run", { depth = depth - 1 }))
        return { depth = depth, inner = inner }
        """,
    )
    answer = client.ask("run")
    for depth in (5, 4, 3, 2, 1):
        assert answer["depth"] == depth
        answer = answer["inner"]
    assert answer == {"bottom": True}


def test_calls_with_a_colon(service, client):
    lua(
        service,
        """
        assert(app:publish("out", { n = 1 }))
        app:sleep(0.001)
        assert(app:flush())
        return { data = app:request("peer", {}) }
        """,
    )
    out = client.subscribe("out")
    client.responder("peer", lambda m: {"n": 2})
    assert client.ask("run") == {"data": {"n": 2}}
    assert out.next().json == {"n": 1}


def test_order_of_publishes_is_kept(service, client):
    lua(service, 'for n = 1, 2000 do app.publish("out", { n = n }) end return { ok = true }')
    out = client.subscribe("out")
    client.ask("run")
    assert [json.loads(m.payload)["n"] for m in out.take(2000)] == list(range(1, 2001))
