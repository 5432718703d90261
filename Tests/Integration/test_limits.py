"""Budgets of CPU time and memory, seen from outside: what the requester hears, what the log says, who goes on."""

import json
import re
import time
import urllib.error
import urllib.request

import pytest

from harness import PROGRAM, Program, free_port, panini

LIMITS = "limits = { cpu = 0.1, memory = '32MB' }"


def failure(client, subject, payload=b"{}"):
    reply = client.request(subject, payload)
    assert reply.headers.get("Nats-Service-Error-Code") == str(reply.json["code"]), reply
    return reply.json


def test_a_handler_over_its_cpu_budget_is_answered_504(service, client):
    running = service(
        """
        app.listen("spin", function(msg) while true do end end)
        app.listen("caught", function(msg)
            pcall(function() while true do end end)
            return "caught"
        end)
        app.listen("ok", function(msg) return { ok = true } end)
        """,
        options=LIMITS,
    )
    for subject in ("spin", "caught"):
        answer = failure(client, subject)
        assert answer == {"success": False, "code": 504, "error": "the handler took too much CPU time and was ended"}
        assert client.ask("ok") == {"ok": True}
    running.wait_for(r"handler of spin \(.*test.lua:2\) failed: .*test.lua:2: more than 0.1 s of CPU time")
    running.wait_for(r"handler of caught \(.*test.lua:3\) failed: .*test.lua:4: more than 0.1 s of CPU time")


def test_a_run_with_very_many_calls_under_way_is_ended(service, client):
    """Arming the hook walks over all calls under way. A thread that was told anew meanwhile did nothing else any more."""
    service(
        """
        app.listen("deep", function(msg)
            local till = os.clock() + msg.data
            while os.clock() < till do end
            local function f() return 1 + f() end
            return f()
        end)
        app.listen("ok", function(msg) return { ok = true } end)
        """,
        options="limits = { cpu = 0.4, memory = '256MB' }",
    )
    for number in range(12):
        assert failure(client, "deep", json.dumps(0.1 + 0.024 * number))["code"] in (500, 504)
        assert client.ask("ok") == {"ok": True}


def test_budgets_hold_in_dev_too(tmp_path):
    """Its threads are made by Swift's own, which block all signals: the one that ends runs as well."""
    (tmp_path / "spin.lua").write_text(
        "local app = panini.app{ service_name = 'spin', limits = { cpu = 0.1 } }\n"
        "app.listen('spin', function() while true do end end)\n"
    )
    program = Program([PROGRAM, "dev", "spin.lua"], cwd=tmp_path)
    try:
        url = program.wait_for(r"nats://127\.0\.0\.1:\d+").group(0)
        program.wait_for(r"\bready\b")
        result = panini("request", "spin", "--server", url)
        assert '"code":504' in result.stdout, (result, program.output)
    finally:
        program.kill()


def test_the_end_of_a_handler_is_its_neighbours_delay_and_no_more(service, client):
    service(
        """
        app.listen("spin", function(msg) while true do end end)
        app.listen("ok", function(msg) return { ok = true } end)
        """,
        options=LIMITS,
    )
    begin = time.monotonic()
    inboxes = client.collect("spin", [b"{}"]) + client.collect("ok", [b"{}"])
    assert inboxes[0].next().json["code"] == 504
    assert inboxes[1].next().json == {"ok": True}
    assert time.monotonic() - begin < 10


def test_waiting_costs_no_budget(service, client, gate):
    service(
        """
        app.listen("patient", function(msg)
            for i = 1, 20 do app.sleep(0.01) end
            return { ok = true }
        end)
        """,
        options="limits = { cpu = 0.05 }",
    )
    assert client.ask("patient") == {"ok": True}


def test_tasks_timers_hooks_and_spawned_functions_have_budgets(service, client):
    running = service(
        """
        app.task(function() while true do end end)
        app.timer_task(60, { name = "spinner" }, function() while true do end end)
        app.listen("spawn", function(msg)
            local handle = app.spawn(function() while true do end end)
            local value, err = handle.wait()
            return { value = value, message = err.message }
        end)
        app.on_stop(function() while true do end end)
        """,
        options=LIMITS,
    )
    running.wait_for(r"task \(.*test.lua:2\) failed: .*test.lua:2: more than 0.1 s of CPU time")
    running.wait_for(r"timer spinner failed: .*test.lua:3: more than 0.1 s of CPU time")
    assert client.ask("spawn")["message"].endswith("test.lua:5: more than 0.1 s of CPU time")
    running.stop()
    assert re.search(r"on_stop \(.*test.lua:9\) failed: .*test.lua:9: more than 0.1 s of CPU time", running.output)


def test_a_task_may_work_for_longer_than_a_budget_when_it_waits_between(service, client):
    running = service(
        """
        app.task(function()
            for i = 1, 8 do
                local t = os.clock()
                while os.clock() - t < 0.05 do end
                app.sleep(0)
            end
            app.logger.info("worked enough")
        end)
        """,
        options=LIMITS,
    )
    running.wait_for("worked enough")


def test_a_start_task_over_its_budget_ends_the_start(service):
    running = service("app.on_start_task(function() while true do end end)", options=LIMITS, ready=False)
    assert running.wait() == 1
    assert re.search(r"on_start_task \(.*test.lua:2\) failed: .*test.lua:2: more than 0.1 s of CPU", running.output)


def test_a_file_over_its_budget_does_not_load(check):
    result = check("while true do end", options="limits = { load = 0.1 }")
    assert result.returncode == 1
    assert "test.lua:2: more than 0.1 s of CPU time" in result.stderr


WEAK = """
        app.listen("fill", function(msg)
            cache = cache or setmetatable({}, { __mode = "k" })
            list = list or {}
            for i = 1, msg.data.count do local key = {} list[#list + 1] = key cache[key] = { key } end
            return #list
        end)
"""


def test_values_in_tables_with_weak_keys_are_limited(service, client):
    running = service(WEAK, options="limits = { weak_keys = 20000 }")
    assert client.ask("fill", {"count": 10000}) == 10000
    assert failure(client, "fill", b'{"count": 50000}')["code"] == 504
    running.wait_for(r"handler of fill .* failed: .*more than 20000 values in tables with weak keys \(limits.weak_keys\)")


def test_the_limit_of_weak_keys_can_be_raised(service, client):
    service(WEAK, arguments=["--limits-weak-keys", "200000"], options="limits = { weak_keys = 2000 }")
    assert client.ask("fill", {"count": 100000}) == 100000


def test_a_file_that_makes_a_metatable_weak_late_does_not_load(check):
    result = check("local meta = {}\nlocal cache = setmetatable({}, meta)\nmeta.__mode = 'k'")
    assert result.returncode == 1
    assert "__mode" in result.stderr and "test.lua" in result.stderr


def test_limits_from_outside_hold_before_the_script_makes_its_app(check):
    result = check("while true do end\nlocal app = panini.app{ service_name = 'late' }", "--limits-load", "0.1")
    assert result.returncode == 1
    assert "test.lua:1: more than 0.1 s of CPU time" in result.stderr


def test_checks_of_validators_and_middlewares_count_to_the_handler(service, client):
    service(
        """
        local V = panini.validator{ n = panini.field{ type = "integer", check = function() while true do end end } }
        app.listen("check", { validator = V }, function(msg) return true end)
        app.listen("middleware", { middlewares = { { listen_request = function(msg, callback) while true do end end } } },
            function(msg) return true end)
        app.listen("ok", function() return true end)
        """,
        options=LIMITS,
    )
    assert failure(client, "check", b'{"n": 1}')["code"] == 504
    assert failure(client, "middleware")["code"] == 504
    assert client.ask("ok") is True


def test_a_web_handler_over_its_budget_is_answered_504(start, nats_server):
    port = free_port()
    start(
        nats_server.url,
        """
        app.http.get("/spin", function(req) while true do end end)
        app.http.get("/ok", function(req) return "ok" end)
        """,
        options=f"{LIMITS}, web_server = true, web_port = {port}",
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/spin", timeout=30)
    assert raised.value.code == 504
    assert json.load(raised.value)["error"] == "the handler took too much CPU time and was ended"
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/ok", timeout=30).read() == b"ok"


def test_undeclared_globals_are_reported_once(service, client):
    running = service(
        """
        declared = 1
        app.listen("leak", function(msg)
            counter = (counter or 0) + 1
            declared = declared + 1
            return counter
        end)
        """,
    )
    assert [client.ask("leak") for _ in range(3)] == [1, 2, 3]
    running.stop()
    assert running.output.count("the global 'counter' is made in a handler") == 1
    assert "test.lua:4: the global 'counter' is made in a handler; write local, or declare it at file level" in running.output
    assert "'declared'" not in running.output
