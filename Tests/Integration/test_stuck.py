"""Workers that a script holds in a call that nothing can interrupt: another one takes their place. The scripts are trusted, and
wait for a pipe that nobody writes to until the test does."""

import json
import os
import pathlib
import re
import socket
import struct
import threading
import time

import pytest

from harness import PATIENCE, Client, assert_error, free_port, panini, wait_until
from reloading import save

SCRIPT = """
local hold = panini.env("HOLD")
app.listen("hold", function(msg)
    local file = io.open(hold, "r")
    -- Nothing of this may be seen once the worker has lost its place.
    app.shared.incr("held")
    app.publish("held.out", "late")
    file:close()
    return { worker = panini.worker }
end)
app.listen("ask", function(msg) return { worker = panini.worker, held = app.shared.get("held") or 0, version = 1 } end)
app.listen("count", function(msg) return { count = app.shared.incr("count") } end)
"""


class Pipe:
    """What a script waits for."""

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(self.path)

    def release(self):
        """Lets one script go on that waits now."""
        with open(self.path, "w", encoding="utf-8"):
            pass


@pytest.fixture
def pipe(tmp_path):
    return Pipe(tmp_path / "hold")


@pytest.fixture
def stuck(service, pipe, tmp_path):
    """stuck(script, ...) → a running service whose listener `hold` holds its worker."""

    def begin(script=SCRIPT, arguments=(), env=None, **options):
        env = {"PANINI_CONTROL_DIR": str(tmp_path / "control"), "HOLD": pipe.path, **(env or {})}
        running = service(
            script,
            arguments=("--trust", "--wedged-after", "0.3", *arguments),
            env=env,
            **{"options": "limits = { cpu = 0.1 }", **options},
        )
        running.control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
        return running

    return begin


def status(running):
    result = panini("ps", "--json", env=running.control)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)[0]


def replaced(running, count=1):
    """Waits until so many workers were replaced; returns the status."""

    def look():
        now = status(running)
        return now if now["replaced_workers"] == count and now["stuck_workers"] == 0 else None

    return wait_until(look, f"{count} replaced")


def threads(running):
    """How many event loops the program has; others of its threads come with their first work."""
    names = []
    for task in pathlib.Path(f"/proc/{running.process.pid}/task").iterdir():
        try:
            names.append((task / "comm").read_text())
        except OSError:
            continue
    return sum(name.startswith("NIO-ELT") for name in names)


@pytest.mark.slow
def test_a_busy_worker_is_not_called_stuck(service, client, tmp_path):
    """One run may take longer than `panini ps` waits for an answer."""
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = service(
        'app.listen("spin", function() local over = panini.monotonic() + 3 while panini.monotonic() < over do end return 1 end)',
        options="limits = { cpu = 30 }",
        env=control,
    )
    running.control = control
    for _ in range(2):
        client.publish("spin", b"{}")
        wait_until(lambda: status(running)["busy_percent"] == 100, "it is busy")
        row = status(running)
        assert row["stuck_workers"] == 0 and row["connected"] is True, row
        wait_until(lambda: status(running)["busy_percent"] < 100, "it has calmed down")


@pytest.mark.parametrize("workers", [1, 2])
def test_another_worker_takes_the_place_and_the_old_one_has_no_effect(stuck, client, pipe, workers):
    late = client.subscribe("held.out")
    running = stuck(arguments=("--workers", str(workers)))
    before = threads(running)
    assert client.ask("count") == {"count": 1}
    inbox = client.collect("hold", [b"{}"])[0]
    match = running.wait_for(r"worker-(\d) is replaced: a script of test holds its thread")
    worker = int(match.group(1))
    running.wait_for(rf"test serves on worker-{worker} again: version 1, after \d+ ms")
    # One that begins anew has what the service has in common.
    seen = {client.ask("ask")["worker"] for _ in range(40)}
    assert seen == set(range(workers))
    assert client.ask("count") == {"count": 2}
    now = replaced(running)
    assert (now["workers"], now["given_up_threads"], now["connected"], now["state"]) == (workers, 1, True, "running")
    assert "running, 1 replaced" in panini("ps", env=running.control).stdout
    # It comes back: nothing of it is seen, and its thread ends.
    pipe.release()
    running.wait_for(rf"the thread that was worker-{worker} has come back")
    wait_until(lambda: threads(running) <= before, "the thread has ended")
    assert status(running)["given_up_threads"] == 0
    assert client.ask("ask")["held"] == 0
    assert len(inbox) == 0 and late.empty_after(client)
    reload = panini("reload", env=running.control)
    assert reload.returncode == 0, reload.stderr
    assert client.ask("ask")["version"] == 1
    running.stop()


def test_messages_of_the_burst_behind_the_one_that_holds_do_not_run(stuck, client, pipe):
    """What the old worker had read already, and what waits in its queues and timers, stays undone when it comes back."""
    running = stuck(
        SCRIPT
        + """
        app.listen("both", function(msg)
            if msg.data.hold then io.open(hold, "r"):close() end
            app.shared.incr("ran")
        end)
        app.timer_task(0.01, function() if panini.worker == 0 then app.shared.set("tick", app.shared.incr("ticks")) end end)
        app.listen("ran", function() return { ran = app.shared.get("ran") or 0 } end)
        """
    )
    for index in range(50):
        client.publish("both", json.dumps({"hold": index == 0}).encode())
    client.flush()
    running.wait_for(r"worker-0 is replaced")
    replaced(running)
    assert client.ask("ran") == {"ran": 0}
    pipe.release()
    running.wait_for(r"has come back: nothing of it has an effect")
    assert client.ask("ran") == {"ran": 0}


def test_neighbours_on_the_stuck_worker_go_on(start, broker, client, pipe, tmp_path):
    other = tmp_path / "other.lua"
    other.write_text('local app = panini.app{ service_name = "other" }\napp.listen("other.ask", function() return 7 end)\n')
    running = start(
        broker.url,
        SCRIPT,
        options="limits = { cpu = 0.1 }",
        arguments=(str(other), "--trust=test", "--wedged-after", "0.3"),
        env={"HOLD": pipe.path},
    )
    running.wait_for("other 0|other .* ready")
    assert client.ask("other.ask") == 7
    client.collect("hold", [b"{}"])
    running.wait_for(r"worker-0 is replaced")
    running.wait_for(r"other serves on worker-0 again")
    assert client.ask("other.ask") == 7
    pipe.release()


def test_a_script_that_holds_again_and_again_ends_the_program(stuck, client):
    running = stuck(arguments=("--wedged-most", "2"))
    for count in (1, 2):
        client.collect("hold", [b"{}"])
        assert replaced(running, count)["given_up_threads"] == count
    client.collect("hold", [b"{}"])
    running.wait_for("2 threads are held already: the program ends")
    assert running.wait() == 70
    running.expected_exit = 70


def test_nobody_is_replaced_with_a_bound_of_none(stuck, client):
    running = stuck(arguments=("--wedged-most", "0"))
    client.collect("hold", [b"{}"])
    assert running.wait() == 70
    running.expected_exit = 70


def test_the_new_worker_begins_as_at_a_start(stuck, client, pipe):
    running = stuck(
        SCRIPT
        + """
        local state = {}
        app.on_start_task(function() state.started = app.shared.incr("starts") end)
        app.task(function() state.task = true end)
        app.timer_task(0.02, function() state.ticks = (state.ticks or 0) + 1 end)
        app.listen("state", function() return state end)
        """
    )
    wait_until(lambda: client.ask("state").get("ticks", 0) > 2, "ticks")
    client.collect("hold", [b"{}"])
    replaced(running)
    state = wait_until(lambda: (s := client.ask("state")).get("ticks", 0) > 2 and s, "ticks on the new worker")
    assert state["started"] == 2 and state["task"] is True
    pipe.release()


def test_the_version_that_serves_is_started_again_whatever_the_file_holds(stuck, client, pipe):
    running = stuck()
    save(running.path, "this is no Lua")
    client.collect("hold", [b"{}"])
    replaced(running)
    assert client.ask("ask")["version"] == 1
    save(running.path, 'local app = panini.app{ service_name = "test" }\napp.listen("ask", function() return { version = 2 } end)\n')
    reload = panini("reload", env=running.control)
    assert reload.returncode == 0, reload.stderr
    assert client.ask("ask") == {"version": 2}
    pipe.release()


def test_a_start_that_fails_is_tried_again_and_a_reload_mends_it(stuck, client, pipe, tmp_path):
    gone = tmp_path / "gone"
    running = stuck(
        SCRIPT + f'app.on_start_task(function() assert(not io.open("{gone}")) end)\n',
    )
    gone.write_text("")
    client.collect("hold", [b"{}"])
    running.wait_for(r"test cannot be started on the worker that takes the place of worker-0: .*; again in 1 s")
    assert status(running)["stuck_workers"] == 1
    save(running.path, 'local app = panini.app{ service_name = "test" }\napp.listen("ask", function() return { version = 2 } end)\n')
    reload = panini("reload", env=running.control)
    assert reload.returncode == 0, reload.stderr
    wait_until(lambda: status(running)["stuck_workers"] == 0, "it serves")
    assert client.ask("ask") == {"version": 2}
    pipe.release()


def test_a_reload_under_way_is_made_when_the_worker_was_replaced(stuck, client, pipe):
    """The new version waits in its start task when a worker is lost."""
    running = stuck(arguments=("--workers", "2"))
    text = running.path.read_text().replace("version = 1", "version = 2")
    save(running.path, text + 'app.on_start_task(function() app.sleep(app.shared.incr("slow") < 3 and 3 or 0) end)\n')
    results = []
    reload = threading.Thread(target=lambda: results.append(panini("reload", env=running.control)))
    reload.start()
    time.sleep(0.5)
    client.collect("hold", [b"{}"])
    running.wait_for(r"worker-\d is replaced")
    reload.join(PATIENCE)
    assert results and results[0].returncode == 0, results
    replaced(running)
    assert {client.ask("ask")["version"] for _ in range(20)} == {2}
    assert {client.ask("ask")["worker"] for _ in range(40)} == {0, 1}
    pipe.release()


def test_the_services_protocol_goes_on_with_its_numbers(stuck, client, pipe):
    running = stuck(SCRIPT, options='limits = { cpu = 0.1 }, services = true, version = "1.2.3"')
    for _ in range(5):
        client.ask("ask")

    def stats():
        told = client.ask("$SRV.STATS.test")
        return told["id"], {e["name"]: e["num_requests"] for e in told["endpoints"]}

    identity, counts = stats()
    assert counts["ask"] == 5
    client.collect("hold", [b"{}"])
    replaced(running)
    client.ask("ask")
    assert stats() == (identity, {**counts, "ask": 6, "hold": 1})
    pipe.release()


# ---- the web server

WEB = (
    SCRIPT
    + """
app.http.get("/hold", function(req) io.open(hold, "r"):close() return "late" end)
app.http.get("/ask", function(req) return { worker = panini.worker } end)
app.http.websocket("/ws", function(ws) while true do local data = ws.receive() if not data then return end ws.send(data) end end)
"""
)


def get(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def read_answer(connection):
    connection.settimeout(PATIENCE)
    data = b""
    while b"}" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    return data


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_of_the_web_server_find_the_new_worker(stuck, pipe, workers):
    port = free_port()
    running = stuck(
        WEB,
        arguments=("--workers", str(workers)),
        options=f"limits = {{ cpu = 0.1 }}, web_server = true, web_port = {port}",
    )
    open_ones = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(8)]
    for connection in open_ones:
        get(connection, "/ask")
        assert b"200 OK" in read_answer(connection)
    holding = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    get(holding, "/hold")
    time.sleep(0.1)
    # What the system takes while the worker is held waits for whoever takes its place.
    queued = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(20)]
    for connection in queued:
        get(connection, "/ask")
    running.wait_for(r"worker-\d is replaced")
    for connection in queued:
        assert b"200 OK" in read_answer(connection)
    # The one that holds it, and the others of its worker, are told.
    holding.settimeout(PATIENCE)
    assert holding.recv(1000) == b""
    ended = 0
    for connection in open_ones:
        get(connection, "/ask") if workers == 2 else None
        try:
            data = read_answer(connection)
        except ConnectionError:
            data = b""
        ended += not data
    assert ended == 8 if workers == 1 else 1 <= ended + 1
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            get(connection, "/ask")
            assert b"200 OK" in read_answer(connection)
    pipe.release()
    running.wait_for(r"has come back")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            get(connection, "/ask")
            assert b"200 OK" in read_answer(connection)
    for connection in open_ones + queued + [holding]:
        connection.close()


def test_web_sockets_of_a_stuck_worker_are_closed(stuck, pipe):
    port = free_port()
    running = stuck(WEB, options=f"limits = {{ cpu = 0.1 }}, web_server = true, web_port = {port}")

    def open_socket():
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b"101" in connection.recv(4096)
        return connection

    def echo(connection):
        connection.sendall(struct.pack("!BB4s", 0x81, 0x80 | 2, b"\0\0\0\0") + b"hi")
        return connection.recv(100)

    first = open_socket()
    assert echo(first) == b"\x81\x02hi"
    holding = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    get(holding, "/hold")
    running.wait_for(r"worker-0 is replaced")
    assert first.recv(100) == b""
    second = open_socket()
    assert echo(second) == b"\x81\x02hi"
    pipe.release()
    for connection in (first, second, holding):
        connection.close()


def test_what_a_stuck_worker_was_asked_is_not_answered_twice(stuck, client, pipe):
    """With two workers, requests go on while one is lost and comes back: each has at most one answer."""
    running = stuck(arguments=("--workers", "2"))
    inboxes = client.collect("hold", [b"{}"])
    for _ in range(200):
        inboxes += client.collect("ask", [b"{}"])
        time.sleep(0.005)
    replaced(running)
    pipe.release()
    running.wait_for("has come back")
    client.flush()
    time.sleep(0.2)
    assert max(len(inbox) for inbox in inboxes) == 1
    assert len(inboxes[0]) == 0


def test_a_stop_while_a_thread_is_held(stuck, client):
    running = stuck(options="limits = { cpu = 0.1 }, shutdown_timeout = 3600")
    client.collect("hold", [b"{}"])
    replaced(running)
    begun = time.monotonic()
    running.stop(expect=1)
    assert time.monotonic() - begun < PATIENCE
    assert "a script holds the thread of worker-0 and could not be ended" in running.output
    running.expected_exit = 1


def test_a_worker_may_stay_as_it_is(stuck, client, pipe):
    running = stuck(arguments=("--wedged", "report"))
    client.collect("hold", [b"{}"])
    running.wait_for(r"is stuck: a script of test has held it")
    assert status(running)["stuck_workers"] == 1
    pipe.release()
    running.wait_for(r"has come back after")
    wait_until(lambda: status(running)["stuck_workers"] == 0, "it takes part again")
    assert client.ask("ask")["held"] == 1


def test_a_start_that_holds_its_worker_fails(stuck):
    running = stuck('app.on_start_task(function() io.open(panini.env("HOLD"), "r") end)\n', ready=False)
    assert running.wait() == 1
    assert "worker-0" in running.output
    running.expected_exit = 1
