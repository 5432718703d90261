"""Reload while serving: the twelve guarantees of docs/reload.md (G1 to G12), what triggers a reload, and what happens when
the new version is broken. Against a real nats-server."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import textwrap
import threading
import time

import pytest

from harness import PATIENCE, PROGRAM, NoResponders, Program, assert_error, environment, panini, script_text, wait_until
from reloading import Load, Reloading, save


@pytest.fixture
def control(tmp_path_factory):
    """A control folder of this test alone: other tests' services are not in its listings."""
    # The system's names of sockets are short; the test's own folder may not be.
    folder = pathlib.Path("/tmp") / f"panini-test-{os.getpid()}-{time.monotonic_ns() % 10**9}"
    yield {"PANINI_CONTROL_DIR": str(folder)}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def reloading(start, nats_server, control):
    """reloading(script, ...) → a service that watches its files, on a real broker."""

    def begin(script, arguments=("--watch",), **options):
        return Reloading(start(nats_server.url, script, arguments=arguments, env=control, **options), control)

    return begin


@pytest.fixture
def ask(nats_server):
    from harness import Client

    client = Client(nats_server.url)
    yield client
    client.close()


def version(number, more=""):
    return (
        'local app = panini.app{ service_name = "test" }\n'
        f'app.listen("r.version", function() return {{ version = {number} }} end)\n{textwrap.dedent(more)}\n'
    )


LOADED = """
local app = panini.app{{ service_name = "loaded", logger_required = false }}
local version = {version}
app.listen("load.ask", function(msg)
    -- Some wait, so that there is always something in flight.
    if math.random() < 0.05 then app.sleep(0.03) end
    return {{ version = version }}
end)
app.listen("load.number", function(msg) app.publish("load.number.out", msg.raw) end)
{more}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_g1_no_request_is_lost(reloading, nats_server, workers):
    service = reloading(LOADED.format(version=1, more=""), arguments=("--watch", "--workers", str(workers)))
    count = 15
    with Load(nats_server.url) as load:
        for number in range(2, count + 2):
            service.save(LOADED.format(version=number, more=""))
            service.reloaded(to=number)
    load.check()
    assert len(load.values) >= count - 1, "the versions have served in turn"
    if workers == 1:
        assert load.received == sorted(load.received), "one worker keeps the order"


def test_g2_a_syntax_error_keeps_the_old(reloading, ask, nats_server):
    service = reloading(version(1))
    service.save(version(2) + "\nif then\n")
    service.running.wait_for(r"ERROR.*was not reloaded, version 1 serves on: .*\.lua:5: .*'then'")
    assert ask.ask("r.version") == {"version": 1}
    service.save(version(3))
    service.reloaded(to=2)
    assert ask.ask("r.version") == {"version": 3}


@pytest.mark.parametrize(
    "broken, message",
    [
        ('error("no database")', r"\.lua:3: no database"),
        ('app.on_start_task(function() error("no database") end)', r"on_start_task \(\S*\.lua:3\) failed: .*no database"),
        ('app.on_start_task(function() return nil, "no database" end)', r"on_start_task .* failed: no database"),
        ('app.listen("r.b.", function() end)', r"\.lua:3: app\.listen"),
        ('app.nothing()', r"\.lua:3: .*nothing"),
        ('panini.app{ service_name = "again" }', r"\.lua:3: .*one file is one service"),
    ],
)
def test_g3_a_failing_start_keeps_the_old(reloading, ask, broken, message):
    service = reloading(version(1))
    service.save(version(2, broken))
    service.running.wait_for("ERROR.*was not reloaded, version 1 serves on: .*" + message)
    assert ask.ask("r.version") == {"version": 1}
    service.save(version(3))
    service.reloaded()
    assert ask.ask("r.version") == {"version": 3}


def test_g4_what_has_begun_ends_on_the_old_code(reloading, ask):
    slow = 'app.listen("r.slow", function() app.request("gate", {{}}) return {{ version = {0} }} end)'
    gate = ask.subscribe("gate")
    service = reloading(version(1, slow.format(1)))
    inbox = ask.collect("r.slow", [b"{}"])[0]
    held = gate.next()
    service.save(version(2, slow.format(2)))
    line = service.running.wait_for(r"reloaded: version 1 to 2 .*")
    assert "1 in flight on version 1" in line.group(0)
    # New requests get the new code while the old one still waits.
    assert ask.ask("r.version") == {"version": 2}
    assert len(inbox) == 0
    ask.publish(held.reply, b"{}")
    assert inbox.next().json == {"version": 1}
    wait_until(lambda: service.ps()[0]["draining"] == 0, "the old version is gone")


def test_g5_timers_keep_their_beat(reloading, ask):
    ticks = ask.subscribe("r.tick")
    timer = (
        'app.timer_task(0.2, {{ name = "beat" }}, function() '
        'app.publish("r.tick", {{ version = {0}, at = panini.monotonic() }}) end)'
    )
    service = reloading(version(1, timer.format(1)))
    seen = [ticks.next().json for _ in range(4)]
    service.save(version(2, timer.format(2)))
    service.reloaded()
    seen += [ticks.next().json for _ in range(5)]
    versions = [tick["version"] for tick in seen]
    assert versions == sorted(versions) and versions[0] == 1 and versions[-1] == 2
    # The beat of the first tick goes on: none lost, none twice, and no tick at once after the reload.
    first = seen[0]["at"]
    for number, tick in enumerate(seen):
        assert abs(tick["at"] - first - 0.2 * number) < 0.1, (number, seen)


def test_a_timer_with_another_interval_begins_anew(reloading, ask):
    ticks = ask.subscribe("r.tick")
    timer = 'app.timer_task({0}, {{ name = "beat" }}, function() app.publish("r.tick", {{ version = {1} }}) end)'
    service = reloading(version(1, timer.format(60, 1)))
    assert ticks.next().json == {"version": 1}
    service.save(version(2, timer.format(59, 2)))
    assert ticks.next().json == {"version": 2}
    line = service.running.wait_for(r"reloaded: version 1 to 2.*")
    assert "changed timer beat" in line.group(0)


def test_a_tick_that_runs_is_not_overlapped_by_the_next_version(reloading, ask):
    marks = ask.subscribe("r.mark")
    timer = """
    app.timer_task(0.1, { name = "long" }, function()
        app.publish("r.mark", { version = VERSION, what = "begin" })
        app.sleep(VERSION == 1 and 1 or 0)
        app.publish("r.mark", { version = VERSION, what = "end" })
    end)
    """
    service = reloading(version(1, timer.replace("VERSION", "1")))
    assert marks.next().json == {"version": 1, "what": "begin"}
    service.save(version(2, timer.replace("VERSION", "2")))
    service.reloaded()
    assert marks.next().json == {"version": 1, "what": "end"}
    assert marks.next().json == {"version": 2, "what": "begin"}


def test_g6_state_is_handed_over(reloading, ask):
    counting = """
    local state = { count = 0, list = panini.array{}, deep = { a = { b = 1.5 } }, raw = "\\0\\255", [7] = true, nothing = panini.null }
    app.on_start_task(function(before)
        if before then state = before end
        state.generation = (state.generation or 0) + 1
    end)
    app.on_reload(function() app.sleep(0.01) return state end)
    app.listen("r.count", function()
        state.count = state.count + 1
        return {
            count = state.count, generation = state.generation, list = state.list, b = state.deep.a.b,
            raw = #state.raw, seven = state[7], null = state.nothing == panini.null,
            integer = math.type(state.count),
        }
    end)
    """
    service = reloading(version(1, counting))
    for _ in range(3):
        ask.ask("r.count")
    for number in range(2, 5):
        service.save(version(number, counting))
        service.reloaded(to=number)
    assert ask.ask("r.count") == {
        "count": 4, "generation": 4, "list": [], "b": 1.5, "raw": 2, "seven": True, "null": True, "integer": "integer",
    }


@pytest.mark.parametrize(
    "state, message",
    [
        ("{ handler = print }", r"handler is a function, not plain data"),
        ("{ a = { b = { coroutine.create(print) } } }", r"a\.b\[1\] is a thread, not plain data"),
        ("loop", r"loop\.self contains itself|contains itself"),
        ("setmetatable({}, { __index = print })", "has a metatable"),
        ("{ [{}] = 1 }", "has a table as a key"),
        ('{ text = string.rep("x", 9 * 1024 * 1024) }', "larger than 8 MiB"),
        ('error("cannot say")', r"on_reload .*cannot say"),
        ('nil, "cannot say"', r"on_reload .*cannot say"),
    ],
)
def test_what_cannot_be_handed_over_keeps_the_old(reloading, ask, state, message):
    hook = "local loop = {} loop.self = loop\napp.on_reload(function() return %s end)"
    service = reloading(version(1, hook % state))
    service.save(version(2))
    service.running.wait_for("ERROR.*was not reloaded, version 1 serves on: .*(" + message + ")")
    assert ask.ask("r.version") == {"version": 1}


@pytest.mark.slow
def test_g7_g8_nothing_grows(reloading, nats_server, ask):
    more = """
    app.timer_task(60, { name = "rare" }, function() end)
    app.task(function() while true do app.sleep(0.01) end end)
    app.on_start_task(function() app.listen("r.dynamic", function() return { version = version } end) end)
    """
    service = reloading(LOADED.format(version=1, more=more), arguments=())
    pid = service.running.process.pid

    def memory():
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss_Anon") or line.startswith("Anonymous:"):
                return int(line.split()[1])

    def descriptors():
        return len(os.listdir(f"/proc/{pid}/fd"))

    def cycle(number):
        service.save(LOADED.format(version=number, more=more + f"-- {number}\n"))
        result = service.reload("--json")
        assert result.returncode == 0, result.stdout + result.stderr

    for number in range(2, 8):
        cycle(number)
    wait_until(lambda: service.ps()[0]["draining"] == 0, "the old versions are gone")
    early = (memory(), descriptors(), service.ps()[0]["memory_bytes"])
    for number in range(8, 203):
        cycle(number)
    wait_until(lambda: service.ps()[0]["draining"] == 0, "the old versions are gone")
    late = (memory(), descriptors(), service.ps()[0]["memory_bytes"])
    assert late[1] == early[1], "descriptors"
    assert late[0] <= early[0] * 1.10 + 1024, f"kB of memory after 5 and 200 reloads: {early[0]}, {late[0]}"
    assert late[2] <= early[2] * 1.10, f"bytes of Lua after 5 and 200 reloads: {early[2]}, {late[2]}"
    assert ask.ask("load.ask", {"a": 1}) == {"version": 202}
    assert ask.ask("r.dynamic")["version"] == 202


def test_g8_kept_subjects_keep_their_subscription(start, control, tmp_path):
    """The broker sees no new SUB and no UNSUB for what stays."""
    from harness import Broker

    broker = Broker("nats-server")
    log = tmp_path / "broker.log"
    from harness import NATS_SERVER

    broker.program = Program([NATS_SERVER, "-a", "127.0.0.1", "-p", broker.port, "-DV", "-l", log])
    wait_until(broker._answers, "the broker listens")
    try:
        service = Reloading(start(broker.url, version(1), arguments=("--watch",), env=control), control)
        service.save(version(2, 'app.listen("r.new", function() return {} end)'))
        service.reloaded(to=2)
        service.save(version(3))
        service.reloaded(to=3)
        wait_until(lambda: log.read_text().count("UNSUB") >= 1, "the removed subject is unsubscribed")
        text = log.read_text()
        assert len(re.findall(r"\[SUB r\.version ", text)) == 1
        assert len(re.findall(r"\[SUB r\.new ", text)) == 1
        assert len(re.findall(r"\[UNSUB ", text)) == 1
    finally:
        broker.kill()


def test_g9_a_shared_module_reloads_those_who_use_it(tmp_path, nats_server, ask, control):
    for name in ("a", "b", "c"):
        use = 'local shared = require "shared"' if name != "c" else "local shared = { value = 0 }"
        (tmp_path / f"{name}.lua").write_text(
            f'{use}\nlocal app = panini.app{{ service_name = "{name}", logger_required = false }}\n'
            f'app.listen("r.{name}", function() return {{ value = shared.value }} end)\n'
        )
    (tmp_path / "shared.lua").write_text("return { value = 1 }\n")
    program = Program(
        [PROGRAM, "run", "a.lua", "b.lua", "c.lua", "--watch", "--server", nats_server.url],
        cwd=tmp_path,
        env=environment(**control),
    )
    try:
        for name in ("a", "b", "c"):
            wait_until(lambda: re.search(rf"{name} 0\.0\.0 is ready", program.output), f"{name} is ready")
        save(tmp_path / "shared.lua", "return { value = 2 }\n")
        program.wait_for(r"a reloaded: version 1 to 2")
        wait_until(lambda: "b reloaded: version 1 to 2" in program.output, "b is reloaded")
        assert ask.ask("r.a") == {"value": 2} and ask.ask("r.b") == {"value": 2} and ask.ask("r.c") == {"value": 0}
        assert "c reloaded" not in program.output
        # A touch changes nothing.
        os.utime(tmp_path / "shared.lua")
        save(tmp_path / "c.lua", (tmp_path / "c.lua").read_text() + "-- changed\n")
        wait_until(lambda: "c reloaded: version 1 to 2" in program.output, "c is reloaded")
        assert "version 2 to 3" not in program.output
    finally:
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output


def test_g12_the_last_of_two_quick_saves_wins(reloading, ask):
    service = reloading(version(1))
    for number in range(2, 12):
        service.save(version(number))
    wait_until(lambda: ask.ask("r.version") == {"version": 11}, "the last content serves")
    time.sleep(0.3)
    assert ask.ask("r.version") == {"version": 11}
    assert service.running.output.count("reloaded: version") <= 10


def test_newer_content_takes_the_place_of_what_waits_in_its_start(reloading, ask):
    service = reloading(version(1))
    service.save(version(2, "app.on_start_task(function() app.sleep(3600) end)"))
    # It hangs in its start task; the old one serves.
    wait_until(lambda: ask.ask("r.version") == {"version": 1}, "the old one serves")
    time.sleep(0.3)
    service.save(version(3))
    service.reloaded(to=2)
    assert ask.ask("r.version") == {"version": 3}


# MARK: what follows a reload


def test_added_and_removed_subjects(reloading, ask):
    service = reloading(version(1, 'app.listen("r.old", function() return { it = "old" } end)'))
    assert ask.ask("r.old") == {"it": "old"}
    service.save(version(2, 'app.listen("r.new", { queue = "q" }, function() return { it = "new" } end)'))
    line = service.running.wait_for(r"reloaded: version 1 to 2.*").group(0)
    assert "added r.new" in line and "removed r.old" in line
    # The broker has confirmed the new one before the switch.
    assert ask.ask("r.new") == {"it": "new"}

    def gone():
        try:
            ask.request("r.old", timeout=1)
        except NoResponders:
            return True

    wait_until(gone, "nobody listens to the removed subject")


def test_waiting_messages_run_on_the_new_version(reloading, ask):
    one = """
    app.listen("r.one", { concurrency = 1 }, function(msg)
        if msg.data.wait then app.request("gate", {}) end
        return { version = VERSION, number = msg.data.number }
    end)
    """
    gate = ask.subscribe("gate")
    service = reloading(version(1, one.replace("VERSION", "1")))
    first = ask.collect("r.one", [b'{"wait": true, "number": 0}'])[0]
    held = gate.next()
    rest = ask.collect("r.one", [json.dumps({"number": n}).encode() for n in range(1, 6)])
    service.save(version(2, one.replace("VERSION", "2")))
    service.reloaded()
    assert [inbox.next().json for inbox in rest] == [{"version": 2, "number": n} for n in range(1, 6)]
    ask.publish(held.reply, b"{}")
    assert first.next().json == {"version": 1, "number": 0}


def test_hooks_tasks_and_events(reloading, ask):
    told = ask.subscribe("r.told.>")
    events = ask.subscribe("panini_events.>")
    hooks = """
    app.on_start_task(function(state) app.publish("r.told.start", { version = VERSION, state = state }) end)
    app.on_stop(function(reason) app.publish("r.told.stop", { version = VERSION, reason = reason }) end)
    app.on_reload(function() return { from = VERSION } end)
    app.task(function() app.publish("r.told.task", { version = VERSION }) end)
    """
    service = reloading(version(1, hooks.replace("VERSION", "1")))
    assert events.next().subject.startswith("panini_events.test.")
    assert [told.next().json for _ in range(2)] == [{"version": 1}, {"version": 1}]
    service.save(version(2, hooks.replace("VERSION", "2")))
    service.reloaded()
    seen = [(m.subject, m.json) for m in told.take(3)]
    assert seen[0] == ("r.told.start", {"version": 2, "state": {"from": 1}})
    assert ("r.told.task", {"version": 2}) in seen and ("r.told.stop", {"version": 1, "reason": "reload"}) in seen
    # on_stop runs last.
    assert seen[2][0] == "r.told.stop"
    assert len(events) == 0, "the started event is not repeated"
    service.running.stop()
    assert told.next().json == {"version": 2, "reason": "stop"}


def test_dynamic_listeners_end_with_their_version(reloading, ask):
    dynamic = """
    app.on_start_task(function()
        app.listen("r.kept", function() return { version = VERSION } end)
        app.listen("r.only.VERSION", function() return { version = VERSION } end)
    end)
    """
    service = reloading(version(1, dynamic.replace("VERSION", "1")))
    assert ask.ask("r.kept") == {"version": 1} and ask.ask("r.only.1") == {"version": 1}
    service.save(version(2, dynamic.replace("VERSION", "2")))
    service.reloaded()
    assert ask.ask("r.kept") == {"version": 2} and ask.ask("r.only.2") == {"version": 2}
    # One answer each: the old listener of the kept subject is gone.
    inboxes = ask.collect("r.kept", [b"{}"] * 5)
    for inbox in inboxes:
        assert inbox.next().json == {"version": 2}
    ask.flush()
    assert all(len(inbox) == 0 for inbox in inboxes)

    def gone():
        try:
            ask.request("r.only.1", timeout=1)
        except NoResponders:
            return True

    wait_until(gone, "the old version's own listener has ended")


def test_middlewares_validators_and_options_follow(reloading, ask):
    more = """
    app.add_middleware{ listen_request = function(msg, callback)
        local result, err = callback(msg)
        if err then return nil, err end
        result.by = VERSION
        return result
    end }
    app.listen("r.checked", { validator = panini.validator{ n = panini.field{ type = "integer", min = VERSION } } },
        function(msg) return { n = msg.data.n } end)
    app.listen("r.limit", function() app.sleep(0.3) return {} end)
    """
    service = reloading(version(1, more.replace("VERSION", "1")))
    assert ask.ask("r.checked", {"n": 1}) == {"n": 1, "by": 1}
    text = version(2, more.replace("VERSION", "2"))
    service.save(text.replace("panini.app{", "panini.app{ handler_timeout = 0.1,"))
    service.reloaded()
    assert_error(ask.request("r.checked", b'{"n": 1}'), 422)
    assert ask.ask("r.checked", {"n": 2}) == {"n": 2, "by": 2}
    assert_error(ask.request("r.limit", b"{}"), 504)


def test_the_services_protocol_keeps_counting(reloading, ask):
    service = reloading(version(1))
    for _ in range(3):
        ask.ask("r.version")
    service.save(version(2, 'app.listen("r.more", { metadata = { a = "b" } }, function() return {} end)').replace(
        "panini.app{", 'panini.app{ version = "2.0.0",'
    ))
    service.reloaded()
    ask.ask("r.version")
    stats = ask.ask("$SRV.STATS.test")
    endpoints = {e["subject"]: e for e in stats["endpoints"]}
    assert endpoints["r.version"]["num_requests"] == 4 and endpoints["r.more"]["num_requests"] == 0
    info = ask.ask("$SRV.INFO.test")
    assert info["version"] == "2.0.0" and info["id"] == stats["id"]


def test_shared_survives(reloading, ask):
    more = 'app.listen("r.shared", function() return { n = app.shared.incr("n") } end)'
    service = reloading(version(1, more))
    assert ask.ask("r.shared") == {"n": 1}
    service.save(version(2, more))
    service.reloaded()
    assert ask.ask("r.shared") == {"n": 2}


def test_one_at_a_time_stays_one_at_a_time(reloading, ask):
    text = """
    local app = panini.app{ service_name = "test", app_strategy = "sync" }
    app.listen("r.sync", function(msg)
        app.publish("r.mark", { n = msg.data.n, what = "begin" })
        if msg.data.wait then app.request("gate", {}) end
        app.publish("r.mark", { n = msg.data.n, what = "end" })
        return { version = VERSION }
    end)
    """
    gate = ask.subscribe("gate")
    marks = ask.subscribe("r.mark")
    service = reloading(script_text(text.replace("VERSION", "1")))
    first = ask.collect("r.sync", [b'{"wait": true, "n": 0}'])[0]
    held = gate.next()
    rest = ask.collect("r.sync", [json.dumps({"n": n}).encode() for n in (1, 2, 3)])
    service.save(script_text(text.replace("VERSION", "2")))
    service.reloaded()
    ask.publish(held.reply, b"{}")
    assert first.next().json == {"version": 1}
    assert [inbox.next().json for inbox in rest] == [{"version": 2}] * 3
    assert [(m["n"], m["what"]) for m in (marks.next().json for _ in range(8))] == [
        (n, what) for n in range(4) for what in ("begin", "end")
    ]


def test_drain_timeout_answers_who_still_waits(reloading, ask):
    slow = 'app.listen("r.stuck", function() app.sleep(3600) end)'
    service = reloading(version(1, slow), arguments=("--watch", "--drain-timeout", "0.3"))
    inbox = ask.collect("r.stuck", [b"{}"])[0]
    service.save(version(2))
    service.reloaded()
    assert_error(inbox.next(), 503, "reloaded")
    wait_until(lambda: service.ps()[0]["draining"] == 0, "the old version is gone")
    service.running.wait_for(r"version 1 did not end within drain_timeout \(0\.3 s\): 1 running")


def test_many_old_versions_may_still_be_at_work(reloading, ask):
    slow = 'app.listen("r.hold", function() app.request("gate", {}) return { version = VERSION } end)'
    gate = ask.subscribe("gate")
    service = reloading(version(1, slow.replace("VERSION", "1")))
    inboxes, held = [], []
    for number in range(1, 6):
        inboxes.append(ask.collect("r.hold", [b"{}"])[0])
        held.append(gate.next())
        service.save(version(number + 1, slow.replace("VERSION", str(number + 1))))
        service.reloaded(to=number + 1)
    assert service.ps()[0]["draining"] == 5
    for message in reversed(held):
        ask.publish(message.reply, b"{}")
    assert [inbox.next().json["version"] for inbox in inboxes] == [1, 2, 3, 4, 5]
    wait_until(lambda: service.ps()[0]["draining"] == 0, "the old versions are gone")


def test_a_stop_in_the_middle_of_a_reload(reloading, ask):
    service = reloading(version(1, 'app.listen("r.slow", function() app.sleep(0.3) return { version = 1 } end)'))
    inbox = ask.collect("r.slow", [b"{}"])[0]
    service.save(version(2, "app.on_start_task(function() app.sleep(3600) end)"))
    time.sleep(0.15)
    service.running.stop()
    assert inbox.next().json == {"version": 1}


# MARK: what cannot change


@pytest.mark.parametrize(
    "old, new, names",
    [
        ('service_name = "test"', 'service_name = "other"', "service_name"),
        ('service_name = "test"', 'service_name = "test", auth = { token = "secret-token" }', r"auth\.token"),
        ('service_name = "test"', 'service_name = "test", ping_interval = 3, reconnect = false', "ping_interval, reconnect"),
    ],
)
def test_what_a_running_service_keeps(reloading, ask, old, new, names):
    service = reloading(version(1))
    service.save(version(2).replace(old, new))
    service.running.wait_for(f"was not reloaded, version 1 serves on: .*{names} cannot change.*restart")
    assert "secret-token" not in service.running.output
    assert ask.ask("r.version") == {"version": 1}


# MARK: triggers


def test_a_rename_an_overwrite_a_link_and_a_new_file(reloading, ask, tmp_path):
    service = reloading(version(1))
    path = service.path
    path.write_text(version(2))
    service.reloaded(to=2)
    path.unlink()
    service.running.wait_for("WARNING.*is gone or cannot be read: version 2 of test serves on")
    assert ask.ask("r.version") == {"version": 2}
    path.write_text(version(3))
    service.reloaded(to=3)
    other = tmp_path / "elsewhere.lua"
    other.write_text(version(4))
    path.unlink()
    path.symlink_to(other)
    service.reloaded(to=4)
    save(other, version(5))
    service.reloaded(to=5)
    assert ask.ask("r.version") == {"version": 5}


def test_a_folder_that_is_exchanged_by_a_link(start, nats_server, control, ask, tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"release{number}"
        folder.mkdir()
        (folder / "app.lua").write_text(
            'local part = require "part"\n' + version(0).replace("version = 0", "version = part")
        )
        (folder / "part.lua").write_text(f"return {number}\n")
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "release1")
    program = Program(
        [PROGRAM, "run", current / "app.lua", "--watch", "--server", nats_server.url],
        cwd=tmp_path,
        env=environment(**control, PANINI_LOGGER_FILES_PATH=str(tmp_path / "logs")),
    )
    try:
        program.wait_for("ready")
        assert ask.ask("r.version") == {"version": 1}
        beside = tmp_path / "next"
        beside.symlink_to(tmp_path / "release2")
        os.rename(beside, current)
        program.wait_for("reloaded: version 1 to 2")
        assert ask.ask("r.version") == {"version": 2}
    finally:
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_a_module_that_was_missing(reloading, ask):
    service = reloading(version(1))
    service.save('local extra = require "extra"\n' + version(2))
    service.running.wait_for("was not reloaded.*extra")
    (service.path.parent / "extra.lua").write_text("return 1\n")
    service.reloaded()
    assert ask.ask("r.version") == {"version": 2}


def test_a_module_that_a_handler_requires_later(reloading, ask):
    lazy = 'app.listen("r.lazy", function() return { value = require("lazy") } end)'
    service = reloading(version(1, lazy), files={"lazy.lua": "return 1\n"})
    assert ask.ask("r.lazy") == {"value": 1}
    save(service.path.parent / "lazy.lua", "return 2\n")
    service.reloaded()
    assert ask.ask("r.lazy") == {"value": 2}


def test_the_log_configuration_is_watched(reloading):
    service = reloading(version(1), files={"config/log_config.json": '{"version": 1, "root": {"level": "INFO"}}'})
    save(service.path.parent / "config" / "log_config.json", '{"version": 1, "rot": {}}')
    service.running.wait_for("was not reloaded.*log_config.json")
    save(service.path.parent / "config" / "log_config.json", '{"version": 1, "root": {"level": "DEBUG"}}')
    service.reloaded()


def test_without_watching_nothing_happens_by_itself(reloading, ask):
    service = reloading(version(1), arguments=())
    service.save(version(2))
    time.sleep(0.3)
    assert ask.ask("r.version") == {"version": 1}
    service.running.signal(signal.SIGHUP)
    service.reloaded(to=2)
    assert ask.ask("r.version") == {"version": 2}


def test_dev_watches_by_itself(tmp_path, control):
    path = tmp_path / "app.lua"
    path.write_text(version(1))
    program = Program(
        [PROGRAM, "dev", "app.lua"], cwd=tmp_path, env=environment(**control, PANINI_LOGGER_FILES_PATH=str(tmp_path / "l"))
    )
    try:
        url = program.wait_for(r"embedded broker at (nats://\S+?)(,|$)").group(1)
        program.wait_for("is ready")
        save(path, version(2))
        program.wait_for("reloaded: version 1 to 2")
        assert json.loads(panini("request", "r.version", "--server", url).stdout) == {"version": 2}
    finally:
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


# MARK: the commands


def test_panini_reload(reloading, ask):
    service = reloading(version(1), arguments=())
    service.save(version(2, 'app.listen("r.more", function() end)'))
    result = service.reload()
    assert result.returncode == 0 and re.match(r"test reloaded: version 1 to 2 in \d+ ms; added r\.more\n$", result.stdout)
    assert ask.ask("r.version") == {"version": 2}
    service.save(version(3))
    result = service.reload("test", "--json")
    [report] = json.loads(result.stdout)
    assert report["success"] and (report["from"], report["to"]) == (2, 3) and report["removed"] == ["r.more"]
    assert report["added"] == [] and report["changed"] == [] and report["in_flight"] == 0 and report["ms"] > 0
    service.save("if then")
    result = service.reload()
    assert result.returncode == 1 and re.match(r"panini: not reloaded: .*\.lua:1: .*\n$", result.stderr)
    result = service.reload("test", "--json")
    [report] = json.loads(result.stdout)
    assert result.returncode == 1 and report["success"] is False and report["code"] == "script_syntax"
    result = service.reload("nobody")
    assert result.returncode == 1 and result.stderr == "panini: no service nobody is running\n"
    assert ask.ask("r.version") == {"version": 3}


def test_panini_ps(reloading, control):
    assert panini("ps", env=control).stderr == "no services are running\n"
    service = reloading(version(1), arguments=("--workers", "2"))
    [row] = service.ps()
    assert row["service"] == "test" and row["state"] == "running" and row["generation"] == 1 and row["workers"] == 2
    assert row["pid"] == service.running.process.pid and row["connected"] is True and row["memory_bytes"] > 1000
    table = panini("ps", env=control).stdout.splitlines()
    assert table[0].split()[:3] == ["PID", "SERVICE", "VERSION"]
    assert table[1].split()[:4] == [str(row["pid"]), "test", "0.0.0", "running"]
    service.running.stop()
    assert json.loads(panini("ps", "--json", env=control).stdout) == []


def test_a_program_that_was_killed_is_not_listed(reloading, control):
    service = reloading(version(1), arguments=())
    service.running.kill()
    assert json.loads(panini("ps", "--json", env=control).stdout) == []


def test_only_its_user_may_open_the_control_socket(reloading, control):
    reloading(version(1), arguments=())
    folder = pathlib.Path(control["PANINI_CONTROL_DIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    [socket] = list(folder.glob("*.sock"))
    assert socket.stat().st_mode & 0o777 == 0o600


def test_a_control_folder_of_somebody_else_is_not_used(start, nats_server, control, ask):
    folder = pathlib.Path(control["PANINI_CONTROL_DIR"])
    folder.mkdir()
    folder.chmod(0o777)
    running = start(nats_server.url, version(1), env=control)
    running.wait_for("WARNING.*panini ps and panini reload cannot reach this program.*others may write")
    assert ask.ask("r.version") == {"version": 1}


# MARK: HTTP


def http(port, path="/", method="GET", body=None):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def web(number, more="", options="web_server = true, web_port = 0"):
    return (
        f'local app = panini.app{{ service_name = "test", {options} }}\n'
        f'app.http.get("/version", function() return {{ version = {number} }} end)\n{more}'
    )


def port_of(running, count=1):
    wait_until(lambda: len(re.findall(r"web server on http://127\.0\.0\.1:(\d+)", running.output)) >= count, "the port")
    return int(re.findall(r"web server on http://127\.0\.0\.1:(\d+)", running.output)[-1])


def test_routes_follow_and_connections_stay(reloading):
    import http.client

    service = reloading(web(1))
    port = port_of(service.running)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def get(path):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()

    assert get("/version") == (200, b'{"version":1}')
    local = connection.sock.getsockname()
    service.save(web(2, 'app.http.post("/new", function(req) return req.body end)'))
    line = service.running.wait_for(r"reloaded: version 1 to 2.*").group(0)
    assert "added POST /new" in line
    assert get("/version") == (200, b'{"version":2}')
    assert connection.sock.getsockname() == local, "the connection was kept"
    assert http.client and get("/new")[0] == 405


def test_a_request_whose_body_comes_during_a_reload(reloading):
    import socket

    text = 'app.http.{0}("/echo", function(req) return {{ version = {1}, body = req.body }} end)'
    service = reloading(web(1, text.format("post", 1)))
    port = port_of(service.running)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw:
        raw.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab")
        time.sleep(0.1)
        # Another route before it: the places in the table move.
        service.save(web(2, 'app.http.post("/a", function() end)\n' + text.format("post", 2)))
        service.reloaded(to=2)
        raw.sendall(b"cd")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'{"body":"abcd","version":2}') or answer.endswith(
        b'{"version":2,"body":"abcd"}'
    )


def test_the_port_may_change_and_the_server_come_and_go(reloading):
    from harness import free_port

    first, second = free_port(), free_port()
    service = reloading(web(1, options=f"web_server = true, web_port = {first}"))
    assert http(first, "/version") == (200, b'{"version":1}')
    service.save(web(2, options=f"web_server = true, web_port = {second}"))
    service.reloaded(to=2)
    assert http(second, "/version") == (200, b'{"version":2}')
    with pytest.raises(OSError):
        http(first, "/version")
    service.save(version(3))
    service.reloaded(to=3)
    with pytest.raises(OSError):
        http(second, "/version")
    service.save(web(4, options=f"web_server = true, web_port = {first}"))
    service.reloaded(to=4)
    assert http(first, "/version") == (200, b'{"version":4}')


def test_a_port_that_is_taken_keeps_the_old(reloading):
    import socket

    service = reloading(web(1))
    port = port_of(service.running)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service.save(web(2, options=f"web_server = true, web_port = {taken.getsockname()[1]}"))
        service.running.wait_for("was not reloaded, version 1 serves on: .*the port is in use")
        assert http(port, "/version") == (200, b'{"version":1}')


def test_limits_of_the_web_server_follow(reloading):
    more = 'app.http.post("/echo", function(req) return req.body end)'
    service = reloading(web(1, more))
    port = port_of(service.running)
    assert http(port, "/echo", "POST", b"x" * 1000)[0] == 200
    service.save(web(2, more, options="web_server = true, web_port = 0, web_max_body = 100"))
    service.reloaded(to=2)
    assert http(port, "/echo", "POST", b"x" * 1000)[0] == 413


# MARK: broken and hostile versions under load


def test_g10_an_old_handler_in_an_endless_loop_cannot_block_the_switch(reloading, ask):
    loop = 'app.listen("r.loop", function() while true do end end)'
    service = reloading(version(1, loop), arguments=("--watch", "--limits-cpu", "0.5"))
    inbox = ask.collect("r.loop", [b"{}"])[0]
    service.save(version(2))
    service.reloaded(to=2, timeout=10)
    assert_error(inbox.next(), 504)
    assert ask.ask("r.version") == {"version": 2}


def test_g11_a_file_that_loads_for_ever_fails_while_the_old_serves(reloading, nats_server, ask):
    service = reloading(LOADED.format(version=1, more=""), arguments=("--watch", "--limits-load", "0.5"))
    with Load(nats_server.url) as load:
        service.save(LOADED.format(version=2, more="while true do end"))
        service.running.wait_for(r"ERROR.*was not reloaded, version 1 serves on: .*\.lua:\d+: ")
        service.save(LOADED.format(version=3, more=""))
        service.reloaded(to=2)
    load.check()
    # Loading has a thread of its own: nobody waited half a second for it.
    assert load.percentile(0.99) < 0.3


@pytest.mark.parametrize(
    "more",
    [
        "if then",
        'error("at file level")',
        'app.on_start_task(function() app.sleep(0.05) error("in a start task") end)',
        "app.on_start_task(function() while true do end end)",
        'app.listen("load.extra", function() end) app.on_start_task(function() return nil, "no" end)',
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_broken_versions_under_load_cost_nobody_anything(reloading, nats_server, more, workers):
    service = reloading(
        LOADED.format(version=1, more="app.on_reload(function() return { n = 1 } end)"),
        arguments=("--watch", "--workers", str(workers), "--limits-cpu", "0.2"),
    )
    with Load(nats_server.url, rate=300) as load:
        for number in range(3):
            service.save(LOADED.format(version=2, more=more + f"\n-- {number}"))
            wait_until(lambda: service.running.output.count("was not reloaded") == number + 1, "the error is told")
        service.save(LOADED.format(version=3, more=""))
        service.reloaded(to=2)
    load.check()
    assert load.values <= {b'{"version":1}', b'{"version":3}'}


def test_a_state_that_cannot_be_handed_over_under_load(reloading, nats_server):
    service = reloading(LOADED.format(version=1, more="app.on_reload(function() return { f = print } end)"))
    with Load(nats_server.url, rate=300) as load:
        service.save(LOADED.format(version=2, more=""))
        service.running.wait_for("was not reloaded.*f is a function")
    load.check()
    assert load.values == {b'{"version":1}'}


def test_a_full_lua_state_is_replaced(reloading, ask):
    hoard = """
    local kept = {}
    app.listen("r.hoard", function() while true do kept[#kept + 1] = string.rep("x", 1000) .. #kept end end)
    app.on_reload(function() return { kept = kept } end)
    """
    service = reloading(version(1, hoard), arguments=("--limits-memory", "8MB", "--limits-cpu", "5"))
    # Nobody has asked for this one: it waits for a reload.
    service.save(version(2))
    assert_error(ask.request("r.hoard", b"{}"), 500)
    service.running.wait_for("memory of the Lua state is used up")
    service.reloaded(to=2)
    assert ask.ask("r.version") == {"version": 1}


# A subscription may last longer than the listener it was made for: nothing of the version before is reached by it then.


@pytest.mark.parametrize("end", ["handle.unsubscribe()", 'app.unsubscribe("r.dynamic")', "app.sleep(0.2) handle.unsubscribe()"])
def test_a_start_task_may_end_a_listener_that_it_takes_over(reloading, ask, end):
    script = version(
        1,
        f"""
        app.listen("r.make", function() app.listen("r.dynamic", function() return 1 end) return 0 end)
        app.on_reload(function() return {{ 1 }} end)
        app.on_start_task(function(state)
            if not state then return end
            local handle = app.listen("r.dynamic", function() return 2 end)
            {end}
        end)
        """,
    )
    service = reloading(script, arguments=())
    assert ask.ask("r.make") == 0 and ask.ask("r.dynamic") == 1
    for number in range(2, 5):
        service.save(script.replace("version = 1", f"version = {number}"))
        assert service.reload().returncode == 0
        assert ask.ask("r.version") == {"version": number}
        # Nobody listens any more, once the broker knows that.
        wait_until(lambda: not is_served(ask, "r.dynamic"), "the listener has ended")
        assert ask.ask("r.make") == 0 and ask.ask("r.dynamic") == 1


def is_served(ask, subject):
    try:
        ask.request(subject, timeout=PATIENCE)
    except NoResponders:
        return False
    return True


def test_a_start_task_may_end_a_listener_of_the_file(reloading, ask):
    service = reloading(version(1, 'app.listen("r.plain", function() return 1 end)'), arguments=())
    assert ask.ask("r.plain") == 1
    more = """
    app.listen("r.plain", function() return 2 end)
    app.on_start_task(function() app.unsubscribe("r.plain") end)
    """
    service.save(version(2, more))
    assert service.reload().returncode == 0
    assert ask.ask("r.version") == {"version": 2}
    # A subscription without a listener would leave requests without an answer.
    wait_until(lambda: not is_served(ask, "r.plain"), "the subscription of the version before has ended")


def test_requests_that_come_after_the_end_of_their_version_are_answered(reloading, nats_server, ask):
    """More of them are under way than the version before can handle in its drain_timeout."""
    script = """
    local app = panini.app{ service_name = "test", drain_timeout = 0.3, limits = { cpu = 1 } }
    app.listen("r.version", function() return { version = 1 } end)
    app.listen("r.gone", function()
        local ends = panini.monotonic() + 0.02
        while panini.monotonic() < ends do end
        return 1
    end)
    """
    service = reloading(script, arguments=())
    assert ask.ask("r.version") == {"version": 1}
    answers = ask.subscribe("r.answers")
    ask.flush()
    count = 200
    for _ in range(count):
        ask.publish("r.gone", reply="r.answers")
    ask.flush()
    # No new subject: the switch waits for nothing.
    service.save('local app = panini.app{ service_name = "test", drain_timeout = 0.3, limits = { cpu = 1 } }\n'
                 'app.listen("r.version", function() return { version = 2 } end)\n')
    assert service.reload().returncode == 0
    seen = answers.take(count)
    assert ask.ask("r.version") == {"version": 2}
    codes = {json.loads(message.payload)["code"] for message in seen if message.payload != b"1"}
    assert codes <= {503}, codes
    assert service.running.process.poll() is None


def test_an_unsubscribe_while_the_subscription_drains(reloading, nats_server, ask):
    """A handler of the version before ends its listener while its messages are still under way."""
    script = version(
        1,
        """
        local handle
        app.listen("r.make", function() handle = app.listen("r.flood", function() end) return 0 end)
        app.listen("r.wait", function()
            while not app.shared.get("go") do app.sleep(0.0005) end
            handle.unsubscribe()
            app.shared.set("go", nil)
            app.sleep(0.01)
            for i = 1, 2e5 do local t = {} end
            return 3
        end)
        app.on_start_task(function() end)
        """,
    )
    later = script.replace("app.on_start_task(function() end)", 'app.task(function() app.shared.set("go", 1) end)')
    service = reloading(script, arguments=())
    flood = threading.Event()

    def publish():
        with socket.create_connection(("127.0.0.1", int(nats_server.url.rsplit(":", 1)[1])), PATIENCE) as connection:
            connection.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
            while not flood.is_set():
                connection.sendall(b"PUB r.flood 2\r\n{}\r\n" * 200)
                time.sleep(0.001)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        for number in range(2, 14):
            assert ask.ask("r.make") == 0
            waiting = ask.subscribe("r.waited")
            ask.publish("r.wait", reply="r.waited")
            ask.flush()
            service.save(later.replace("version = 1", f"version = {number}"))
            assert service.reload().returncode == 0
            assert waiting.next().payload == b"3"
            assert ask.ask("r.version") == {"version": number}
    finally:
        flood.set()
        thread.join(PATIENCE)
