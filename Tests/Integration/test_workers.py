"""Several workers: one service on several threads, which is one subscriber to the outside. And app.shared, what they have in
common."""

import collections
import json
import os
import re
import signal
import time

import pytest

from harness import NoResponders, assert_error, wait_until


@pytest.fixture
def crew(service):
    """crew(script, workers=2) → a running service on several workers."""

    def begin(script, workers=2, arguments=(), **options):
        return service(script, arguments=("--workers", str(workers), *arguments), **options)

    return begin


def test_plain_listeners_stay_one_subscriber(crew, client):
    out = client.subscribe("w.out")
    crew("""
        app.listen("w.ask", function() return { worker = panini.worker, workers = panini.workers } end)
        app.listen("w.one.way", function(msg) app.publish("w.out", msg.raw) end)
        -- Both match: two listeners, each gets it once.
        app.listen("w.one.*", function(msg) app.publish("w.out", "again") end)
    """)
    replies = [client.ask("w.ask") for _ in range(200)]
    assert {r["worker"] for r in replies} == {0, 1} and {r["workers"] for r in replies} == {2}
    for number in range(100):
        client.publish("w.one.way", str(number))
    seen = collections.Counter(m.text for m in out.take(200))
    assert seen.pop("again") == 100
    assert seen == {str(n): 1 for n in range(100)}
    assert out.empty_after(client)
    # A request has one answer.
    inboxes = client.collect("w.ask", [b"{}"] * 50)
    for inbox in inboxes:
        inbox.next()
    client.flush()
    assert all(len(inbox) == 0 for inbox in inboxes)


def test_two_listeners_of_one_subject_both_run(crew, client):
    out = client.subscribe("w.out")
    crew("""
        app.listen("w.both", function(msg) app.publish("w.out", "first") end)
        app.listen("w.both", function(msg) app.publish("w.out", "second") end)
    """)
    for _ in range(20):
        client.publish("w.both", b"{}")
    assert collections.Counter(m.text for m in out.take(40)) == {"first": 20, "second": 20}
    assert out.empty_after(client)


def test_two_services_of_one_name_both_hear_a_plain_listener(crew, client):
    out = client.subscribe("w.out")
    for number in (1, 2):
        crew(f'app.listen("w.shared.plain", function() app.publish("w.out", "{number}") end)')
    for _ in range(10):
        client.publish("w.shared.plain", b"{}")
    assert collections.Counter(m.text for m in out.take(20)) == {"1": 10, "2": 10}
    assert out.empty_after(client)


def test_each_worker_gets_each_message(crew, client):
    out = client.subscribe("w.out")
    text = """
        local version = %d
        local function tell(what) return function(msg)
            app.publish("w.out", { what = what, worker = panini.worker, n = msg.data.n, version = version })
        end end
        app.listen("w.each.{n}", { each_worker = true }, tell("each"))
        app.listen("w.one.at.a.time", { each_worker = true, concurrency = 1 }, tell("one"))
        app.listen("w.grouped", { each_worker = true, queue = false }, tell("grouped"))
        app.listen("w.plain", tell("plain"))
        app.listen("w.ask", { each_worker = true }, function(msg) return { worker = panini.worker } end)
        app.listen("w.later.begin", { each_worker = true }, function(msg)
            dynamic = assert(app.listen("w.later", { each_worker = true }, tell("later")))
            app.publish("w.out", { what = "begun", worker = panini.worker })
        end)
        app.listen("w.later.end", { each_worker = true }, function(msg)
            app.publish("w.out", { what = dynamic.unsubscribe() and "ended", worker = panini.worker })
        end)
    """
    running = crew(text % 1, workers=3, options='allocation_queue_group = "everybody"')

    def heard(count):
        found = collections.Counter()
        for message in out.take(count):
            found[(message.json["what"], message.json["worker"], message.json.get("version"))] += 1
        assert out.empty_after(client)
        return found

    def every(what, count, version=1):
        return {(what, worker, version): count for worker in range(3)}

    for number in range(20):
        client.publish("w.each.x", json.dumps({"n": number}))
    assert heard(60) == every("each", 20)
    client.publish("w.one.at.a.time", b"{}")
    client.publish("w.grouped", b"{}")
    assert heard(6) == {**every("one", 1), **every("grouped", 1)}
    for _ in range(30):
        client.publish("w.plain", b"{}")
    assert sum(heard(30).values()) == 30
    # Each of them answers.
    inbox = client.subscribe("answers")
    client.publish("w.ask", b"{}", reply="answers")
    assert {message.json["worker"] for message in inbox.take(3)} == {0, 1, 2}
    # Dynamic ones, and their end.
    client.publish("w.later.begin", b"{}")
    assert heard(3) == every("begun", 1, None)
    client.publish("w.later", b"{}")
    assert heard(3) == every("later", 1)
    client.publish("w.later.end", b"{}")
    assert heard(3) == every("ended", 1, None)
    client.publish("w.later", b"{}")
    client.publish("w.each.x", b"{}")
    assert heard(3) == every("each", 1)
    # A reload keeps it so, and turns a plain listener into such a one.
    source = running.path.read_text(encoding="utf-8").replace("version = 1", "version = 2")
    source = source.replace('app.listen("w.plain", tell', 'app.listen("w.plain", { each_worker = true }, tell')
    running.path.write_text(source, encoding="utf-8")
    running.signal(signal.SIGHUP)
    running.wait_for("reloaded")
    client.publish("w.each.x", b"{}")
    client.publish("w.plain", b"{}")
    assert heard(6) == {**every("each", 1, 2), **every("plain", 1, 2)}


def test_each_worker_does_not_go_with_a_queue(check):
    result = check('app.listen("a", { queue = "q", each_worker = true }, print)')
    assert result.returncode == 1 and "test.lua:2:" in result.stderr
    assert "each_worker" in result.stderr and 'queue = "q"' in result.stderr
    assert check('app.listen("a", { each_worker = 5 }, print)').returncode == 1


def test_queue_groups_are_the_scripts_own(crew, client):
    crew('app.listen("w.queue", { queue = "q" }, function() return { worker = panini.worker } end)')
    other = client.subscribe("w.queue", queue="q")
    answered = 0
    inboxes = client.collect("w.queue", [b"{}"] * 60)
    wait_until(lambda: len(other) + sum(len(inbox) for inbox in inboxes) == 60, "each message went to one member")
    assert len(other) > 0
    del answered


def test_tasks_timers_and_events_once(crew, client):
    marks = client.subscribe("w.mark.>")
    events = client.subscribe("panini_events.>")
    crew("""
        app.on_start_task(function() app.publish("w.mark.start", tostring(panini.worker)) end)
        app.task(function() app.publish("w.mark.task", tostring(panini.worker)) end)
        app.timer_task(60, function() app.publish("w.mark.timer", tostring(panini.worker)) end)
        app.timer_task(60, { each_worker = true }, function() app.publish("w.mark.each", tostring(panini.worker)) end)
        app.on_stop(function(reason) app.publish("w.mark.stop", tostring(panini.worker)) end)
        app.listen("w.alive", function() return {} end)
    """, workers=3)
    seen = collections.Counter((m.subject.removeprefix("w.mark."), m.text) for m in marks.take(8))
    assert seen == {
        ("start", "0"): 1, ("start", "1"): 1, ("start", "2"): 1, ("task", "0"): 1, ("timer", "0"): 1,
        ("each", "0"): 1, ("each", "1"): 1, ("each", "2"): 1,
    }
    events.next()
    assert events.empty_after(client) and marks.empty_after(client)


def test_stop_hooks_run_on_each(crew, client):
    marks = client.subscribe("w.stop")
    running = crew('app.on_stop(function(reason) app.publish("w.stop", reason .. panini.worker) end)')
    running.stop()
    assert {m.text for m in marks.take(2)} == {"stop0", "stop1"}


def test_one_at_a_time_is_one_worker(crew, client):
    marks = client.subscribe("w.mark")
    crew("""
        app.listen("w.strict", { concurrency = 1 }, function(msg)
            app.publish("w.mark", "begin " .. msg.raw)
            app.sleep(0.01)
            app.publish("w.mark", "end " .. msg.raw)
        end)
    """)
    for number in range(20):
        client.publish("w.strict", str(number))
    assert [m.text for m in marks.take(40)] == [f"{what} {n}" for n in range(20) for what in ("begin", "end")]


def test_the_sync_strategy_is_one_worker(crew, client):
    crew("""
        local app = panini.app{ service_name = "test", app_strategy = "sync" }
        app.listen("w.sync", function() return { worker = panini.worker, workers = panini.workers } end)
    """)
    assert [client.ask("w.sync") for _ in range(20)] == [{"worker": 0, "workers": 1}] * 20


def test_dynamic_listeners(crew, client):
    crew("""
        app.on_start_task(function() app.listen("w.dynamic", function() return { worker = panini.worker } end) end)
        app.listen("w.make", function(msg)
            local handle = app.listen("w.made", function() return { worker = panini.worker } end)
            return { worker = panini.worker }
        end)
    """)
    assert {client.ask("w.dynamic")["worker"] for _ in range(100)} == {0, 1}
    inboxes = client.collect("w.dynamic", [b"{}"] * 20)
    for inbox in inboxes:
        inbox.next()
    client.flush()
    assert all(len(inbox) == 0 for inbox in inboxes)
    # One that a handler makes lives on the worker of that handler.
    worker = client.ask("w.make")["worker"]
    assert {client.ask("w.made")["worker"] for _ in range(20)} == {worker}


def test_the_services_protocol_answers_as_one(crew, client):
    crew("""
        app.listen("w.counted", function() return {} end)
        app.listen("w.strict", { concurrency = 1, queue = "q" }, function() error{ code = 404, message = "no" } end)
    """)
    for _ in range(100):
        client.ask("w.counted")
    for _ in range(3):
        assert_error(client.request("w.strict", b"{}"), 404)
    pings = client.subscribe("w.pings")
    client.publish("$SRV.PING.test", b"", reply="w.pings")
    pings.next()
    assert pings.empty_after(client)
    stats = client.ask("$SRV.STATS.test")
    endpoints = {e["subject"]: e for e in stats["endpoints"]}
    assert endpoints["w.counted"]["num_requests"] == 100
    assert endpoints["w.counted"].get("queue_group", "") == ""
    assert endpoints["w.strict"]["num_errors"] == 3 and endpoints["w.strict"]["queue_group"] == "q"


def test_all_workers_answer_http(crew):
    import http.client

    running = crew(
        'app.http.get("/worker", function(req) return { worker = panini.worker } end)',
        options="web_server = true, web_port = 0",
    )
    port = int(running.wait_for(r"web server on http://127\.0\.0\.1:(\d+)").group(1))
    seen = set()
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/worker")
        seen.add(json.loads(connection.getresponse().read())["worker"])
        connection.close()
    assert seen == {0, 1}


def test_a_port_in_use_is_noticed_with_several_workers(crew, start, broker):
    first = crew('app.http.get("/", function() end)', options="web_server = true, web_port = 0")
    port = first.wait_for(r"web server on http://127\.0\.0\.1:(\d+)").group(1)
    second = start(
        broker.url, 'app.http.get("/", function() end)', options=f"web_server = true, web_port = {port}",
        arguments=("--workers", "2"), ready=False,
    )
    assert second.wait() == 1
    assert re.search(r"the web server cannot listen on 127\.0\.0\.1:\d+: the port is in use", second.output)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1025", "1.5"])
def test_a_wrong_number_of_workers(start, broker, value):
    running = start(broker.url, 'app.listen("x", function() end)', arguments=(f"--workers={value}",), ready=False)
    assert running.wait() == 2
    assert "--workers must be auto or a number from 1 to 1024" in running.output


def test_auto_is_one_for_each_processor(crew, client):
    crew('app.listen("w.auto", function() return { workers = panini.workers } end)', workers="auto")
    assert client.ask("w.auto") == {"workers": len(os.sched_getaffinity(0))}


def test_a_start_that_fails_on_one_worker_fails_on_all(crew, start, broker):
    running = start(
        broker.url,
        'app.on_start_task(function() if panini.worker == 1 then error("not here") end end)',
        arguments=("--workers", "2"),
        ready=False,
    )
    assert running.wait() == 1
    assert re.search(r"on_start_task .* failed: .*not here", running.output)


def test_a_worker_that_cannot_reload_cancels_the_reload(crew, client):
    text = 'app.listen("w.version", function() return {{ version = {0} }} end)\n'
    running = crew(text.format(1), arguments=("--watch",))
    path = running.path
    head = path.read_text().splitlines()[0] + "\n"
    path.write_text(
        head + text.format(2) + 'app.on_start_task(function() if panini.worker == 1 then error("not here") end end)\n'
    )
    running.wait_for("was not reloaded, version 1 serves on: .*not here")
    assert [client.ask("w.version") for _ in range(20)] == [{"version": 1}] * 20
    path.write_text(head + text.format(3))
    running.wait_for("reloaded: version 1 to 2")
    assert [client.ask("w.version") for _ in range(20)] == [{"version": 3}] * 20


# MARK: app.shared


def test_what_one_worker_writes_the_others_read(crew, client):
    crew("""
        app.listen("s.set", function(msg) return { worker = panini.worker, ok = app.shared.set("k", msg.data.v) } end)
        app.listen("s.get", function() return { worker = panini.worker, v = app.shared.get("k") } end)
        app.listen("s.incr", function() return { n = app.shared.incr("n") } end)
    """)
    for value in range(50):
        assert client.ask("s.set", {"v": value})["ok"] is True
        assert client.ask("s.get")["v"] == value
    inboxes = client.collect("s.incr", [b"{}"] * 200)
    assert sorted(inbox.next().json["n"] for inbox in inboxes) == list(range(1, 201))


def test_the_operations(service, client):
    service("""
        local s = app.shared
        app.listen("s.all", function()
            local seen = {}
            local function note(...) local values = table.pack(...) for i = 1, values.n do
                if values[i] == nil then values[i] = panini.null end end
                values.n = nil
                seen[#seen + 1] = panini.array(values) end
            note(s.get("nothing"))
            note(s.set("text", "a\\0b"), s.get("text") == "a\\0b")
            note(s.set("yes", true), s.get("yes"), s.set("no", false), s.get("no"))
            note(s.set("whole", 7), math.type(s.get("whole")), s.set("half", 0.5), math.type(s.get("half")))
            note(s.add("text", "other"), s.get("text") == "a\\0b", s.add("new", 1), s.get("new"))
            note(s.incr("count"), s.incr("count", 5), s.incr("count", -2), s.incr("fresh", 1, 100), s.incr("half", 1))
            note(s.incr("big", 1, math.maxinteger) > 9.2e18)
            note(s.delete("new"), s.delete("new"), s.get("new"))
            note(s.keys("co"), s.keys("zz"))
            note(s.set("text", nil), s.get("text"))
            return panini.array(seen)
        end)
    """)
    assert client.ask("s.all") == [
        [None], [True, True], [True, True, True, False], [True, "integer", True, "float"], [False, True, True, 1],
        [1, 6, 4, 101, 1.5], [True], [True, False, None], [["count"], {}], [True, None],
    ]


def test_a_time_to_live(service, client):
    service("""
        app.listen("s.ttl", function()
            app.shared.set("short", 1, 0.1)
            app.shared.incr("short")
            local before, added = app.shared.get("short"), app.shared.add("short", 5)
            app.sleep(0.15)
            return { before = before, added = added, after = app.shared.get("short") == nil, again = app.shared.add("short", 9),
                     keys = #app.shared.keys() }
        end)
    """)
    assert client.ask("s.ttl") == {"before": 2, "added": False, "after": True, "again": True, "keys": 1}


def test_the_limit(service, client):
    service(
        """
        app.listen("s.full", function()
            local ok, err
            local count = 0
            repeat
                ok, err = app.shared.set("key" .. count, string.rep("x", 1000))
                if ok then count = count + 1 end
            until not ok
            -- What is there can be replaced by less, and what goes makes room.
            local smaller = app.shared.set("key0", "small")
            app.shared.delete("key1")
            local again = app.shared.set("more", string.rep("x", 900))
            return { code = err.code, text = err.message, count = count, smaller = smaller, again = again }
        end)
        app.listen("s.expired", function()
            for _, key in ipairs(app.shared.keys()) do app.shared.delete(key) end
            for n = 1, 50 do app.shared.set("e" .. n, string.rep("x", 1000), 0.05) end
            app.sleep(0.1)
            return { ok = app.shared.set("now", string.rep("x", 50000)) }
        end)
        """,
        options='shared_limit = "64KB"',
    )
    result = client.ask("s.full")
    assert result["code"] == "full" and "shared_limit" in result["text"]
    assert 55 <= result["count"] <= 64 and result["smaller"] is True and result["again"] is True
    # What has expired makes room by itself.
    assert client.ask("s.expired") == {"ok": True}


def test_tables_are_copied_in_and_out(crew, client):
    running = crew("""
        app.listen("t.set", function(msg)
            local value = { name = "tea", list = { 1, 2, { deep = true } }, none = panini.null, [7] = 0.5, empty = panini.array{} }
            assert(app.shared.set("t", value))
            value.name = "changed afterwards"
            local got = app.shared.get("t")
            got.list[1] = "changed, too"
            return { worker = panini.worker, same = got == value }
        end)
        app.listen("t.get", function()
            local t = app.shared.get("t")
            return { worker = panini.worker, name = t.name, list = t.list, half = t[7], empty = t.empty, null = t.none == panini.null }
        end)
        app.listen("t.more", function(msg)
            local full, err = app.shared.set("large", { text = ("x"):rep(70000) })
            return { full = full == nil and err.code, added = app.shared.add("t", { 1 }), small = app.shared.add("small", { 1 }),
                     echoed = app.shared.set("json", msg.data) and app.shared.get("json"), raised = pcall(app.shared.incr, "t") }
        end)
    """, options='shared_limit = "64KB"')
    assert client.ask("t.set")["same"] is False
    seen = [client.ask("t.get") for _ in range(40)]
    assert {s.pop("worker") for s in seen} == {0, 1}
    assert all(
        s == {"name": "tea", "list": [1, 2, {"deep": True}], "half": 0.5, "empty": [], "null": True} for s in seen
    ), seen[0]
    document = {"a": [], "b": {"c": [{}]}, "d": None}
    more = client.ask("t.more", document)
    assert more == {"full": "full", "added": False, "small": True, "echoed": document, "raised": False}
    # A reload keeps them.
    running.path.write_text(running.path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    running.signal(signal.SIGHUP)
    running.wait_for("reloaded")
    assert client.ask("t.get")["name"] == "tea"


@pytest.mark.parametrize(
    "call, text",
    [
        ("app.shared.set()", "the key must be a string, not nothing"),
        ("app.shared.set({}, 1)", "the key must be a string, not table"),
        ('app.shared.set("k", print)', "the value must be a boolean, a number, a string or a table of them, not function"),
        ('app.shared.set("k", { a = { b = print } })', "the value must be plain data: a.b is a function"),
        ('app.shared.add("k", { 1, { io = coroutine.create(print) } })', "the value must be plain data: [2].io is a thread"),
        ('local t = {} t.me = t app.shared.set("k", t)', "the value must be plain data: me contains itself"),
        ('app.shared.set("k", setmetatable({}, { __index = {} }))', "the value must be plain data: the value has a metatable"),
        ('app.shared.set("k", { [{}] = 1 })', "the value must be plain data: the value has a table as a key"),
        ('app.shared.set("k", {}) app.shared.incr("k")', "the value of that key is no number"),
        ('app.shared.set("k", 1, -1)', "the time to live must be a number of seconds, more than 0 and at most a year, not -1"),
        ('app.shared.set("k", 1, 0)', "the time to live must be a number of seconds, more than 0 and at most a year, not 0"),
        ('app.shared.set("k", 1, 0/0)', "the time to live must be a number of seconds, more than 0 and at most a year, not"),
        ('app.shared.set("k", 1, 1e9)', "the time to live must be a number of seconds, more than 0 and at most a year, not 1"),
        ('app.shared.set("k", 1, "5")', "the time to live must be a number of seconds, more than 0 and at most a year, not string"),
        ('app.shared.add("k")', "the value must be a boolean"),
        ('app.shared.set("k", "text") app.shared.incr("k")', "the value of that key is no number"),
        ('app.shared.incr("k", "1")', "the amount must be a number, not string"),
        ('app.shared.incr("k", 1, {})', "the initial value must be a number, not table"),
        ("app.shared.keys(1)", "the prefix must be a string, not number"),
    ],
)
def test_misuse(check, call, text):
    result = check(call)
    assert result.returncode == 1
    assert re.search(rf"test\.lua:2: app\.shared\.\w+: {re.escape(text)}", result.stderr), result.stderr


# MARK: several services


def test_a_folder_of_services(nats_server, tmp_path):
    from harness import Client, PROGRAM, Program, environment

    (tmp_path / "services").mkdir()
    for name in ("a", "b"):
        (tmp_path / "services" / f"{name}.lua").write_text(
            f'local part = require "part"\nlocal app = panini.app{{ service_name = "{name}", logger_required = false }}\n'
            f'app.listen("m.{name}", function() return {{ it = "{name}", part = part }} end)\n'
        )
    (tmp_path / "services" / "part.lua").write_text("return 7\n")
    program = Program([PROGRAM, "run", "services/", "--server", nats_server.url], cwd=tmp_path, env=environment())
    client = Client(nats_server.url)
    try:
        for name in ("a", "b"):
            wait_until(lambda: f"{name} 0.0.0 is ready" in program.output, f"{name} is ready: {program.output}")
            assert client.ask(f"m.{name}") == {"it": name, "part": 7}
        assert "ERROR" not in program.output
    finally:
        client.close()
        program.signal(15)
        assert program.wait() == 0, program.output


def test_one_that_fails_does_not_stop_the_others(nats_server, tmp_path):
    from harness import Client, PROGRAM, Program, environment

    good = 'local app = panini.app{{ service_name = "{0}", logger_required = false }}\napp.listen("m.{0}", function() return {{}} end)\n'
    (tmp_path / "good.lua").write_text(good.format("good"))
    (tmp_path / "bad.lua").write_text("if then")
    arguments = [PROGRAM, "run", "bad.lua", "good.lua", "--server", nats_server.url]
    client = Client(nats_server.url)
    try:
        program = Program([*arguments, "--watch"], cwd=tmp_path, env=environment())
        program.wait_for("good 0.0.0 is ready")
        assert re.search(r"ERROR .*bad\.lua:1: ", program.output)
        assert client.ask("m.good") == {}
        # Mended, it is started.
        (tmp_path / "bad.lua").write_text(good.format("bad"))
        program.wait_for("bad 0.0.0 is ready")
        assert client.ask("m.bad") == {}
        program.signal(15)
        program.wait()
        (tmp_path / "bad.lua").write_text("if then")
        strict = Program([*arguments, "--strict"], cwd=tmp_path, env=environment())
        assert strict.wait() == 1
    finally:
        client.close()
