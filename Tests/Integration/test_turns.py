"""Services that share a worker: whatever one of them does, the others have their turns. Measured from outside, by somebody who
asks a neighbour all the time, and by the log and the exit of the program."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest

from harness import PATIENCE, Client, NoResponders, panini, wait_until
from rawsocket import TEXT, RawSocket, frame
from test_hostile import SANITIZED, STRICT
from test_http import WEB, Web

NEIGHBOUR = """
local app = panini.app{ service_name = "good" }
app.listen("good.ping", function(msg) return { n = msg.data.n } end)
"""

BURN = """
local function burn(seconds)
    local over = os.clock() + seconds
    while os.clock() < over do end
end
"""

# Of one run. `scripts/test --hostile` asks for what is promised, on a machine that does nothing else: the neighbour's p99 under
# 30 ms and one budget, no wait as long as two. The ordinary check has to notice what is not fair: a burst that is worked off
# in one go takes several times as long as it allows.
BUDGET = 0.5
LONGEST = 2 * BUDGET if STRICT else 4 * BUDGET + 0.5
P99 = BUDGET + 0.03 if STRICT else LONGEST


class Watch:
    """Asks the neighbour every 20 ms, and keeps how long it waited."""

    def __init__(self, url):
        self.client = Client(url)
        self.times = []
        self.failed = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        while not self.over.is_set():
            begin = time.monotonic()
            try:
                assert self.client.ask("good.ping", {"n": 1}, timeout=PATIENCE) == {"n": 1}
            except Exception as error:
                self.failed.append(repr(error))
            self.times.append(time.monotonic() - begin)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.client.close()

    def check(self):
        assert not self.failed
        times = sorted(self.times)
        assert len(times) >= 5
        if SANITIZED:
            return
        assert times[-1] < LONGEST, times[-10:]
        assert times[int(len(times) * 0.99)] < P99, times[-10:]


@pytest.fixture
def pair(start, broker, tmp_path):
    """pair(script, options) → a service and its neighbour, on one worker of one program."""

    def start_pair(script, options="", arguments=()):
        neighbour = tmp_path / "good.lua"
        neighbour.write_text(NEIGHBOUR)
        running = start(
            broker.url,
            script,
            options=f"limits = {{ cpu = {BUDGET}, cpu_rate = 1 }}, shutdown_timeout = 2, {WEB}" + (f", {options}" if options else ""),
            arguments=[neighbour, *arguments],
        )
        client = Client(broker.url)

        def is_there():
            with contextlib.suppress(NoResponders):
                return client.ask("good.ping", {"n": 0}) == {"n": 0}

        wait_until(is_there, "the neighbour answers")
        client.close()
        running.expected_exit = (0, 1)
        return running

    return start_pair


def watched(broker, seconds, act=lambda client: None):
    """Does something, waits, and looks how it was for the neighbour meanwhile."""
    client = Client(broker.url)
    with Watch(broker.url) as watch:
        wait_until(lambda: len(watch.times) > 3, "the neighbour is asked")
        act(client)
        time.sleep(seconds)
    client.close()
    watch.check()
    return watch


def burst(subject, count, payload=b"{}"):
    def act(client):
        for _ in range(count):
            client.publish(subject, payload)
        client.flush()

    return act


# MARK: - Messages


@pytest.mark.parametrize("strategy", ["asyncio", "sync"])
def test_a_burst_of_long_messages(pair, broker, strategy):
    pair(
        BURN + 'app.listen("evil", function() burn(0.2) done = (done or 0) + 1 end)\n'
        'app.listen("evil.done", function() return done or 0 end)',
        options=f'app_strategy = "{strategy}"' if strategy == "sync" else "",
    )
    watched(broker, 1, burst("evil", 12))
    client = Client(broker.url)
    wait_until(lambda: client.ask("evil.done", timeout=4 * PATIENCE) == 12, "all are handled", timeout=4 * PATIENCE)
    client.close()


def test_a_burst_of_messages_without_an_end(pair, broker):
    pair('app.listen("evil", function() while true do end end)')
    watched(broker, 1, burst("evil", 12))


def test_messages_keep_their_order(pair, broker):
    pair(
        BURN + """
        local seen = {}
        app.listen("evil", function(msg) burn(0.004) seen[#seen + 1] = msg.data end)
        app.listen("evil.seen", function() return panini.array(seen) end)
        """
    )
    client = Client(broker.url)
    for number in range(200):
        client.publish("evil", str(number).encode())
    client.flush()
    # On the same connection, behind them.
    assert client.ask("evil.seen", timeout=4 * PATIENCE) == list(range(200))
    client.close()


def test_handlers_that_go_on_together(pair, broker):
    """What waits goes on after a sleep, messages without a place when there is one."""
    pair(BURN + 'app.listen("evil", { concurrency = 10 }, function() app.sleep(0.02) burn(0.1) end)')
    watched(broker, 1.5, burst("evil", 40))


# MARK: - The web server


def test_pipelined_requests(pair, broker):
    running = pair(BURN + 'app.http.get("/evil", function() burn(0.05) return "x" end)')
    port = Web(running).port
    peer = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    watched(broker, 1, lambda _: peer.sendall(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n" * 80))
    peer.close()


def test_many_connections_with_a_request_each(pair, broker):
    running = pair(BURN + 'app.http.get("/evil", function() burn(0.05) return "x" end)')
    port = Web(running).port
    peers = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(80)]

    def act(_):
        for peer in peers:
            peer.sendall(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n")

    watched(broker, 1, act)
    # All are answered.
    for peer in peers:
        assert peer.recv(100).startswith(b"HTTP/1.1 200")
        peer.close()


@pytest.mark.parametrize("form", ["table", "function"])
def test_websocket_messages(pair, broker, form):
    handler = {
        "table": "{ message = function(ws, data) burn(0.05) ws.send(data) end }",
        "function": """function(ws)
            while true do
                local data = ws.receive()
                if not data then return end
                burn(0.05)
                ws.send(data)
            end
        end""",
    }[form]
    running = pair(BURN + f'app.http.websocket("/evil", {handler})')
    with RawSocket(Web(running).port, "/evil") as peer:
        watched(broker, 1, lambda _: peer.send(b"".join(frame(TEXT, str(n).encode()) for n in range(80))))
        # In order, and the handler that its client drives is not ended for it: together they take eight budgets.
        for number in range(80):
            opcode, data, *_ = peer.receive()
            assert (opcode, data) == (TEXT, str(number).encode())


# MARK: - What a script does by itself

LOOPS = {
    "spawn in spawn": "local function f() app.spawn(f) end app.task(function() app.spawn(f) end)",
    "spawn and wait": "app.task(function() while true do app.spawn(function() end).wait() end end)",
    "wait_all": "app.task(function() while true do app.wait_all{ function() end } end end)",
    "sleep(0)": "app.task(function() while true do app.sleep(0) end end)",
    "sleep(1e-6)": "app.task(function() while true do app.sleep(1e-6) end end)",
    "work and sleep(0)": "app.task(function() while true do for i = 1, 1e5 do end app.sleep(0) end end)",
    "timers with work": "for i = 1, 500 do app.timer_task(0.001, function() burn(0.002) end) end",
    "empty timers": "for i = 1, 20000 do app.timer_task(0.001, function() end) end",
    "spawned work": """app.task(function()
        while true do
            local handles = {}
            for i = 1, 20 do handles[i] = function() burn(0.1) end end
            app.wait_all(handles)
        end
    end)""",
    "many tasks": "for i = 1, 20 do app.task(function() burn(0.3) end) end",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_script_does_without_an_end(pair, broker, loop):
    running = pair(BURN + 'app.listen("evil.ping", function() return { here = true } end)\n' + LOOPS[loop])
    watched(broker, 1.5)
    # Its own messages come in between as well.
    client = Client(broker.url)
    assert client.ask("evil.ping", timeout=PATIENCE) == {"here": True}
    client.close()
    # The stop is heard, and waits for nothing that goes on by itself.
    begin = time.monotonic()
    running.stop()
    assert time.monotonic() - begin < PATIENCE


@pytest.mark.parametrize("loop", ["spawn in spawn", "sleep(0)", "timers with work", "empty timers"])
def test_a_stop_within_its_time(pair, broker, loop):
    """Handlers that never end, too."""
    text = LOOPS[loop]
    if loop != "timers with work" and loop != "empty timers":
        text = text.replace("app.task(", 'app.listen("begin", ')
    running = pair(BURN + text, arguments=["--limits-cpu", "30"])
    client = Client(broker.url)
    client.publish("begin")
    client.flush()
    client.close()
    time.sleep(0.3)
    begin = time.monotonic()
    running.stop()
    assert time.monotonic() - begin < 1 + PATIENCE / 2


# MARK: - Budgets over many segments


def failure(client, subject, payload=b"{}"):
    return client.request(subject, payload, timeout=2 * PATIENCE).json


def test_short_stretches_of_a_handler_add_up(service, client):
    running = service(
        """
        app.listen("sleep", function() while true do for i = 1, 1e4 do end app.sleep(0) end end)
        app.listen("wait", function()
            while true do app.spawn(function() end).wait() for i = 1, 1e4 do end end
        end)
        app.listen("ok", function() return true end)
        """,
        options="limits = { cpu = 0.3 }",
    )
    for subject in ("sleep", "wait"):
        begin = time.monotonic()
        answer = failure(client, subject)
        assert answer["code"] == 504
        assert time.monotonic() - begin < PATIENCE
        assert client.ask("ok") is True
    running.wait_for(r"handler of sleep .* failed: .*test.lua:2: more than 0.3 s of CPU time")


def test_short_stretches_of_a_tick_and_a_hook_add_up(service):
    running = service(
        """
        local function spin() while true do for i = 1, 1e4 do end app.sleep(0) end end
        app.timer_task(60, { name = "spinner" }, spin)
        app.on_stop(spin)
        """,
        options="limits = { cpu = 0.2 }",
    )
    running.wait_for(r"timer spinner failed: .*more than 0.2 s of CPU time")
    running.stop()
    assert "on_stop" in running.output and "more than 0.2 s of CPU time" in running.output


def test_a_spawned_function_has_a_budget_of_its_own(service, client):
    """Also several of them together may take more than one."""
    service(
        BURN + """
        app.listen("fan", function()
            local list = {}
            for i = 1, 6 do list[i] = function() for j = 1, 4 do burn(0.03) app.sleep(0) end return i end end
            local results, errors = app.wait_all(list)
            return { results = results, failed = errors ~= nil }
        end)
        """,
        options="limits = { cpu = 0.2 }",
    )
    assert client.ask("fan", timeout=PATIENCE) == {"results": [1, 2, 3, 4, 5, 6], "failed": False}


@pytest.mark.parametrize(
    "loop",
    [
        "local function f() app.spawn(f) end app.spawn(f)",
        "local function f() for i = 1, 1e3 do end app.spawn(f) app.spawn(f) end app.spawn(f)",
        "local function f() app.spawn(f).wait() end app.spawn(f)",
    ],
)
def test_functions_that_spawn_each_other_are_ended(service, client, loop):
    running = service(
        f"""
        app.listen("begin", function() {loop} return {{ begun = true }} end)
        app.listen("ok", function() return true end)
        """,
        options="limits = { cpu = 0.1, memory = '64MB' }",
    )
    assert client.ask("begin", timeout=PATIENCE) == {"begun": True}
    # Where each waits for the next one, the last one's failure is a result of the one before.
    running.wait_for(
        r"spawned functions? failed: .*(limits.cpu_rate|not enough memory)|memory of the Lua state is used up", timeout=4 * PATIENCE
    )
    assert client.ask("ok", timeout=PATIENCE) is True

    def rests():
        before = cpu(running)
        time.sleep(0.5)
        return cpu(running) - before < 0.2

    wait_until(rests, "it is over")


def cpu(running):
    """CPU time of the program, in seconds."""
    fields = open(f"/proc/{running.process.pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_task_that_never_rests_is_ended(service, client):
    running = service(
        """
        app.task(function() while true do for i = 1, 1e4 do end app.sleep(0) end end)
        app.task(function() while true do app.wait_all{ function() for i = 1, 1e4 do end end } end end)
        app.task(function()
            while true do app.spawn(function() for i = 1, 1e4 do end end).wait() end
        end)
        app.listen("ok", function() return true end)
        """,
        options="limits = { cpu = 0.1, cpu_rate = 0.1 }",
    )
    for line in (2, 3):
        running.wait_for(rf"task \(.*test.lua:{line}\) failed: .*limits.cpu_rate", timeout=4 * PATIENCE)
    running.wait_for(r"(task|spawned function).* failed: .*limits.cpu_rate", timeout=4 * PATIENCE)
    assert client.ask("ok") is True


def test_a_task_that_rests_lives(service):
    running = service(
        BURN + """
        app.task(function()
            for i = 1, 40 do burn(0.01) app.sleep(0.05) end
            app.logger.info("worked for long")
        end)
        """,
        options="limits = { cpu = 0.05 }",
    )
    running.wait_for("worked for long")


def test_a_task_that_others_drive_lives(service, client):
    """It is as busy as those who answer it."""
    client.responder("echo", lambda message: b"1")
    running = service(
        BURN + """
        app.task(function()
            for i = 1, 60 do burn(0.02) assert(app.request("echo", i)) end
            app.logger.info("asked enough")
        end)
        """,
        options="limits = { cpu = 0.05, cpu_rate = 0.05 }",
    )
    running.wait_for("asked enough")


def test_spawns_that_find_no_memory_fail_together(service, client):
    running = service(
        """
        app.listen("fill", function()
            local ok, err = pcall(function()
                for i = 1, 200000 do app.spawn(function() app.sleep(60) end) end
            end)
            return { ok = ok }
        end)
        app.listen("ok", function() return true end)
        """,
        options="limits = { cpu = 5, memory = '64MB' }, shutdown_timeout = 1",
    )
    running.expected_exit = (0, 1)
    begin = cpu(running)
    client.ask("fill", timeout=2 * PATIENCE)
    running.wait_for(r"\d+ spawned functions failed: not enough memory")
    wait_until(lambda: "code" not in str(client.request("ok").text), "it answers again")
    assert cpu(running) - begin < 20


# MARK: - Who it is


def test_a_service_that_never_rests_is_told_by_name(start, nats_server, tmp_path):
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = start(
        nats_server.url,
        BURN + "for i = 1, 50 do app.timer_task(0.01, function() burn(0.002) end) end",
        name="greedy",
        env=control,
    )
    running.wait_for(r"greedy takes \d+ % of worker 0", timeout=PATIENCE + 10)
    time.sleep(3)
    assert running.output.count("greedy takes") == 1
    status = json.loads(panini("ps", "--json", env=control).stdout)[0]
    assert status["busy_percent"] >= 80 and status["busiest_worker"] == 0
    assert "% of 0" in panini("ps", env=control).stdout
