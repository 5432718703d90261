"""Descriptors: clients of the web server take those that are for clients, and the program keeps what it needs itself."""

import contextlib
import http.server
import os
import resource
import socket
import threading
import time

import pytest

from harness import PATIENCE, Broker, Client, panini, wait_until
from test_http import WEB, Web
from test_turns import cpu

FILES = 256
SERVICE = """
app.http.get("/alive", function() return "alive" end)
app.listen("ping", function() return "pong" end)
app.listen("fetch", function(msg) return app.http.fetch(msg.data.url, { timeout = 5 }).status end)
"""


class Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def elsewhere():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def limit(running, files):
    """What `ulimit -n` does, for a program that runs."""
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (files, FILES))


def descriptors(running):
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def busy(running, seconds=2):
    """The part of the time that the program spends on the processor."""
    before = cpu(running)
    time.sleep(seconds)
    return (cpu(running) - before) / seconds


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:

        def connect_many(port, count):
            for _ in range(count):
                stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)))

        connect_many.end = stack.close
        yield connect_many


def test_idle_clients_leave_the_program_what_it_needs(start, tmp_path, elsewhere, connect):
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    broker = Broker("nats-server").start()
    try:
        running = start(broker.url, SERVICE, options=WEB, arguments=["--reconnecting-time-sleep", "0.2"], env=control)
        web = Web(running)
        limit(running, FILES)
        connect(web.port, FILES + 200)
        running.wait_for(f"web server closed a new connection: of the {FILES} files that the program may have open, all but the 64")
        # One more is there for a moment: the one that is being closed.
        assert descriptors(running) <= FILES - 63
        assert busy(running) < 0.3
        # Whoever is connected already is served, and so are those of the same user, other servers, and the broker.
        client = Client(broker.url)
        assert client.request("ping", b"{}", timeout=PATIENCE).text == "pong"
        assert client.ask("fetch", {"url": elsewhere}, timeout=PATIENCE) == 204
        assert panini("ps", env=control).returncode == 0
        assert panini("reload", env=control).returncode == 0
        client.close()
        broker.stop()
        broker.start()
        client = Client(broker.url)

        def answers():
            with contextlib.suppress(Exception):
                return client.request("ping", b"{}", timeout=1).text == "pong"

        wait_until(answers, "the service is back at the broker")
        client.close()
        connect.end()
        wait_until(lambda: descriptors(running) < 64, "the clients' descriptors are free")
        assert web.get("/alive").status == 200
        assert running.output.count("web server closed a new connection") <= 2
        running.stop()
    finally:
        broker.kill()


def test_a_listener_that_gets_no_descriptor_waits(start, nats_server, connect):
    running = start(nats_server.url, SERVICE, options=WEB)
    web = Web(running)
    # There are more already than there may be: no socket can be accepted.
    limit(running, 8)
    connect(web.port, 5)
    running.wait_for("web server cannot accept connections: Too many open files")
    assert busy(running) < 0.3
    limit(running, FILES)
    assert web.get("/alive").status == 200
    assert running.output.count("cannot accept connections") == 1


def test_the_embedded_broker_waits_as_well(connect):
    broker = Broker("embedded").start()
    try:
        resource.prlimit(broker.program.process.pid, resource.RLIMIT_NOFILE, (4, FILES))
        connect(broker.port, 5)
        broker.program.wait_for("cannot accept connections: Too many open files")
        assert busy(broker.program) < 0.3
        resource.prlimit(broker.program.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        wait_until(broker._answers, "the broker takes clients again")
        broker.stop()
    finally:
        broker.kill()


def test_the_soft_limit_is_raised(start, nats_server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # As many as the test's own process has, and some more.
    few = max(FILES, len(os.listdir("/proc/self/fd")) + 64)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(few, hard - 1), hard))
    try:
        running = start(nats_server.url, "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_clients_beyond_the_most_do_not_stay(start, nats_server, connect):
    running = start(nats_server.url, SERVICE, options=f"{WEB}, web_max_connections = 1")
    web = Web(running)
    before = descriptors(running)
    # They neither read nor hang up.
    connect(web.port, 30)
    wait_until(lambda: descriptors(running) <= before + 1, "those who were refused are gone")
