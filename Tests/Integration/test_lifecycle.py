"""Start order, tasks, timers, stopping, and the one-at-a-time strategy."""

import signal
import time

import pytest

from harness import Broker, Client, NoResponders, assert_error, free_port, wait_until


def test_start_order(start, broker, client):
    everything = client.subscribe("trace.>")
    started = client.subscribe("panini_events.>")
    running = start(
        broker.url,
        """
        local app = panini.app{ service_name = "orderly", client_name = "orderly-1" }
        app.task(function() app.publish("trace.task", { subscribed = app.request("order.ask", {}) ~= nil }) end)
        app.on_start_task(function()
            app.sleep(0.05)
            local data, err = app.request("order.ask", {})
            app.publish("trace.start1", { code = err.code })
        end)
        app.on_start_task(function() app.publish("trace.start2", {}) end)
        app.listen("order.ask", function() return { ok = true } end)
        app.timer_task(60, function() app.publish("trace.timer", {}) end)
        app.start()
        """,
        name="orderly",
    )
    running.wait_for(r"\bready\b.*orderly|orderly.*\bready\b")
    seen = {}
    order = []
    for message in everything.take(4):
        order.append(message.subject)
        seen[message.subject] = message.json
    assert order[:2] == ["trace.start1", "trace.start2"]
    assert set(order[2:]) == {"trace.task", "trace.timer"}
    # Start tasks run before the subscriptions, tasks after them.
    assert seen["trace.start1"] == {"code": "no_responders"}
    assert seen["trace.task"] == {"subscribed": True}
    event = started.next()
    assert event.subject == "panini_events.orderly.orderly-1.started"
    assert event.json == {}


def test_the_service_listens_when_the_event_comes(start, broker, client):
    started = client.subscribe("panini_events.*.*.started")
    start(broker.url, 'app.listen("quick", function() return { ok = true } end)', ready=False)
    started.next()
    assert client.ask("quick") == {"ok": True}


def test_tasks_run_once_and_at_once(service, client):
    out = client.subscribe("task.>")
    service("""
        for n = 1, 3 do
            app.task(function() app.sleep(0.01) app.publish("task." .. n, { n = n }) end)
        end
        app.task(function() error("broken task") end)
        app.listen("alive", function() return { ok = true } end)
    """)
    assert sorted(m.json["n"] for m in out.take(3)) == [1, 2, 3]
    assert client.ask("alive") == {"ok": True}
    client.flush()
    assert len(out) == 0


def test_a_failing_task_is_logged_and_ignored(service, client):
    running = service("""
        app.task(function() error("broken task") end)
        app.listen("alive", function() return { ok = true } end)
    """)
    running.wait_for(r"test\.lua:2: broken task")
    running.wait_for("traceback")
    assert client.ask("alive") == {"ok": True}


@pytest.mark.parametrize(
    "code",
    [
        'app.task(function() error("fatal task") end)',
        'app.timer_task(0.01, function() error("fatal task") end)',
        'app.timer_task(0.01, { immediate = false }, function() error("fatal task") end)',
    ],
)
def test_ignore_task_exceptions_false_ends_the_service(service, code):
    running = service(code, options="ignore_task_exceptions = false", ready=False)
    assert running.wait() == 1
    assert "fatal task" in running.output
    running.assert_nothing_left()


def test_timer_runs_at_once_and_again(service, client):
    ticks = client.subscribe("tick")
    service("""
        local n = 0
        app.timer_task(0.05, function() n = n + 1 app.publish("tick", { n = n }) end)
    """)
    assert [m.json["n"] for m in ticks.take(5)] == [1, 2, 3, 4, 5]


def test_timer_not_immediate(service, client):
    ticks = client.subscribe("tick")
    service("""
        local before = panini.monotonic()
        app.task(function() app.publish("tick", { task = true }) end)
        app.timer_task(0.4, { immediate = false, name = "later" }, function()
            app.publish("tick", { waited = panini.monotonic() - before })
        end)
    """)
    assert ticks.next().json == {"task": True}
    assert ticks.next().json["waited"] >= 0.39


@pytest.mark.parametrize("mode, least, most", [("rate", 0.35, 0.62), ("delay", 0.69, 5)])
def test_timer_modes(service, client, mode, least, most):
    ticks = client.subscribe("tick")
    service(f"""
        app.timer_task(0.4, {{ mode = "{mode}" }}, function()
            app.publish("tick", {{ at = panini.monotonic() }})
            app.sleep(0.3)
        end)
    """)
    # The best of the periods: a busy machine makes them longer, never shorter on average.
    at = [m.json["at"] for m in ticks.take(5)]
    periods = [later - earlier for earlier, later in zip(at, at[1:])]
    assert least <= min(periods) <= most, periods


def test_timers_never_overlap_themselves(service, client):
    ticks = client.subscribe("tick")
    service("""
        local running, n = 0, 0
        app.timer_task(0.02, function()
            running = running + 1
            n = n + 1
            app.publish("tick", { n = n, running = running })
            app.sleep(0.1)
            running = running - 1
        end)
    """)
    assert [m.json for m in ticks.take(5)] == [{"n": n, "running": 1} for n in range(1, 6)]


def test_a_failing_timer_goes_on(service, client):
    ticks = client.subscribe("tick")
    running = service("""
        local n = 0
        app.timer_task(0.05, function()
            n = n + 1
            app.publish("tick", { n = n })
            if n % 2 == 1 then error("odd tick") end
        end)
    """)
    assert [m.json["n"] for m in ticks.take(4)] == [1, 2, 3, 4]
    running.wait_for(r"test\.lua:6: odd tick")


def test_timers_share_the_loop_with_handlers(service, client, gate):
    ticks = client.subscribe("tick")
    service("""
        app.timer_task(0.02, function() app.publish("tick", {}) end)
        app.listen("hold", function() assert(app.request("gate", {}, { timeout = 60 })) return { ok = true } end)
    """)
    waiting = client.collect("hold", [b"{}"])[0]
    held = gate.arrived()
    ticks.take(10)
    gate.open(held)
    assert waiting.next().json == {"ok": True}


def test_a_failing_start_task_ends_the_start(service, client):
    out = client.subscribe("begin.>")
    running = service(
        """
        app.on_start_task(function() app.publish("begin.one", {}) end)
        app.on_start_task(function() error("cannot start") end)
        app.on_start_task(function() app.publish("begin.three", {}) end)
        app.task(function() app.publish("begin.task", {}) end)
        app.listen("begin.never", function() end)
        """,
        ready=False,
    )
    assert running.wait() == 1
    assert "cannot start" in running.output
    assert "test.lua:3:" in running.output
    assert not any("ready" in line.split() for line in running.output.splitlines())
    client.flush()
    assert "begin.three" not in [m.subject for m in out.take(len(out))]


def test_on_stop(service, client):
    out = client.subscribe("end.>")
    running = service("""
        app.on_stop(function() app.publish("end.first", {}) end)
        app.on_stop(function()
            app.sleep(0.02)
            app.publish("end.second", { answer = app.request("peer", {}) })
        end)
        app.on_stop(function() error("broken on_stop") end)
    """)
    client.responder("peer", lambda m: {"n": 1})
    running.stop()
    messages = out.take(2)
    assert {m.subject for m in messages} == {"end.first", "end.second"}
    assert [m.json for m in messages if m.subject == "end.second"] == [{"answer": {"n": 1}}]
    assert "broken on_stop" in running.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_in_order(service, client, number):
    running = service('app.listen("x", function() return { ok = true } end)')
    assert client.ask("x") == {"ok": True}
    running.stop(number)
    with pytest.raises(NoResponders):
        client.request("x")


def test_stopping_lets_running_handlers_answer(service, client, gate):
    running = service("""
        app.listen("work", { concurrency = 1 }, function(msg)
            assert(app.request("gate", {}, { timeout = 60 }))
            return { n = msg.data.n }
        end)
    """)
    inboxes = client.collect("work", [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}'])
    held = gate.arrived()
    running.signal(signal.SIGTERM)
    wait_until(lambda: _refuses(client, "work"), "new work is no longer taken")
    gate.open(held)
    assert inboxes[0].next().json == {"n": 1}
    # What waited is either still run within the time or told that the service is stopping; never silent.
    for inbox, n in zip(inboxes[1:], (2, 3)):
        while len(inbox) == 0:
            if len(gate.inbox):
                gate.open(gate.arrived())
            wait_until(lambda: len(inbox) or len(gate.inbox), "an answer for what waited")
        reply = inbox.next()
        if "Nats-Service-Error" in reply.headers:
            assert_error(reply, 503)
        else:
            assert reply.json == {"n": n}
    # A probe of _refuses that came before the end of the subscription waits at the gate, too.
    while running.running:
        wait_until(lambda: len(gate.inbox) or not running.running, "the end, or one more at the gate")
        if len(gate.inbox):
            gate.open(gate.arrived())
    assert running.wait() == 0, running.output
    running.assert_nothing_left()


def _refuses(client, subject):
    """Whether a new request is refused: nobody listens, or 503."""
    reply_to = client.nc.new_inbox()
    inbox = client.subscribe(reply_to)
    client.publish(subject, b'{"n": 0}', reply=reply_to)
    client.flush()
    if not len(inbox):
        return False
    headers = inbox.next().headers
    # An answer without any is one of the handler's: the stop has not begun.
    return bool(headers) and headers.get("Nats-Service-Error-Code") in (None, "503", "429")


def test_shutdown_timeout(service, client, gate):
    running = service(
        """
        app.listen("stuck", { concurrency = 1 }, function(msg)
            app.request("gate", {}, { timeout = 600 })
            return { ok = true }
        end)
        """,
        options="shutdown_timeout = 0.5, handler_timeout = 600",
    )
    inboxes = client.collect("stuck", [b"{}"] * 3)
    gate.arrived()
    began = time.monotonic()
    running.stop(expect=1)
    assert time.monotonic() - began < 20
    for inbox in inboxes[1:]:
        assert_error(inbox.next(), 503)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(service, client, gate, number):
    running = service(
        """
        app.listen("stuck", function(msg) app.request("gate", {}, { timeout = 600 }) end)
        app.on_stop(function() app.publish("never.comes", {}) end)
        app.listen("alive", function() return { ok = true } end)
        """,
        options="shutdown_timeout = 600, handler_timeout = 600",
    )
    client.collect("stuck", [b"{}"])
    gate.arrived()
    running.signal(number)
    wait_until(lambda: _refuses(client, "alive"), "it has begun to stop")
    running.stop(number, expect=(128 + number, -number))


def test_idle_service_stops_quickly(service):
    running = service('app.listen("x", function() end) app.timer_task(0.01, function() end)')
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < 10


def test_sync_strategy_runs_one_at_a_time(service, client):
    trace = client.subscribe("trace")
    service(
        """
        local function work(name)
            app.publish("trace", { name = name, at = "begin" })
            app.sleep(0.01)
            app.publish("trace", { name = name, at = "end" })
        end
        local ticks = 0
        app.listen("a", function(msg) work("a") return { ok = true } end)
        app.listen("b", function(msg) work("b") return { ok = true } end)
        app.timer_task(0.03, function() if ticks < 3 then ticks = ticks + 1 work("timer") end end)
        app.task(function() work("task") end)
        """,
        options='app_strategy = "sync"',
    )
    inboxes = [inbox for pair in zip(client.collect("a", [b"{}"] * 5), client.collect("b", [b"{}"] * 5)) for inbox in pair]
    for inbox in inboxes:
        assert inbox.next().json == {"ok": True}
    steps = [m.json for m in trace.take(2 * (10 + 3 + 1))]
    for begin, end in zip(steps[::2], steps[1::2]):
        assert (begin["at"], end["at"]) == ("begin", "end")
        assert begin["name"] == end["name"]


def test_sync_strategy_goes_on_after_errors(service, client):
    service(
        """
        app.listen("bad", function(msg) app.sleep(0.001) error("bad") end)
        app.listen("slow", { timeout = 0.1 }, function(msg) app.sleep(60) end)
        app.listen("good", function(msg) return { ok = true } end)
        """,
        options='app_strategy = "sync"',
    )
    assert_error(client.request("bad", b"{}"), 500)
    assert_error(client.request("slow", b"{}"), 504)
    assert client.ask("good") == {"ok": True}


def test_client_name_is_the_connections(start, nats_server, tmp_path):
    """The name is seen by whoever looks at the broker; the started event carries it too."""
    client = Client(nats_server.url)
    try:
        events = client.subscribe("panini_events.named.>")
        start(nats_server.url, 'local app = panini.app{ service_name = "named", client_name = "the-name" }', name="named")
        assert events.next().subject == "panini_events.named.the-name.started"
        # Without one, each process makes its own.
        for _ in range(2):
            start(nats_server.url, 'local app = panini.app{ service_name = "named" }', name="named")
        names = {m.subject.split(".")[2] for m in events.take(2)}
        assert len(names) == 2
    finally:
        client.close()


def test_outside_beats_the_script(start, broker):
    """--server, then NATS_URL, then what the script says."""
    dead = f"nats://127.0.0.1:{free_port()}"
    script = f"""
        local app = panini.app{{ service_name = "test", servers = {{ "{dead}" }} }}
    """
    start(broker.url, script, env={"NATS_URL": dead})


@pytest.mark.slow
def test_retry_on_start(start, tmp_path):
    """The default waits for a broker that comes later, saying so in single lines."""
    broker = Broker("nats-server")
    running = start(
        broker.url,
        'app.listen("late", function() return { ok = true } end)',
        options="reconnecting_time_sleep = 0.2",
        ready=False,
    )
    running.wait_for(str(broker.port))
    broker.start()
    try:
        running.wait_for(r"\bready\b")
        client = Client(broker.url)
        assert client.ask("late") == {"ok": True}
        client.close()
        assert len(running.output.splitlines()) < 100
    finally:
        running.stop()
        broker.kill()


def test_print_does_not_break_anything(service, client):
    running = service("""
        print("at load", 1, nil, {} ~= nil)
        app.listen("say", function(msg) print("in a handler", msg.data.n) return { ok = true } end)
        app.logger.info("an information", { key = "value" })
    """)
    assert client.ask("say", {"n": 5}) == {"ok": True}
    running.wait_for(r"at load\s+1\s+nil\s+true")
    running.wait_for(r"in a handler\s+5")
    running.wait_for(r"an information")


def test_logger_levels(service, client):
    running = service("""
        app.listen("log", function(msg)
            app.logger.debug("a debug line")
            app.logger.info("an info line")
            app.logger.warning("a warning line", { n = 1, nested = { a = true } })
            app.logger.error("an error line")
            local ok = pcall(function() error("inner") end)
            app.logger.exception("an exception line")
            panini.get_logger("other").info("from another logger")
            return { ok = true }
        end)
    """)
    assert client.ask("log") == {"ok": True}
    for text in ("an info line", "a warning line", "an error line", "an exception line", "from another logger"):
        running.wait_for(text)
