"""The control socket: who may ask what, how much of it, and for how long."""

import os
import signal
import socket
import time

from harness import Client, panini


def test_control_connections_that_say_nothing_are_closed(start, nats_server, tmp_path):
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = start(nats_server.url, "", env=control)
    path = str(tmp_path / "control" / f"{running.process.pid}.sock")
    silent = []
    for _ in range(40):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(15)
        connection.connect(path)
        silent.append(connection)
    # The oldest give way to whoever asks.
    result = panini("ps", env=control)
    assert result.returncode == 0 and "running" in result.stdout
    for connection in silent:
        assert connection.recv(10) == b""
        connection.close()


def test_ps_is_quick_although_a_worker_is_held_and_a_program_stands_still(start, nats_server, tmp_path):
    os.mkfifo(tmp_path / "hold")
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        f'app.listen("hold", function() io.open("{tmp_path}/hold", "r") end)',
        arguments=["--trust", "--wedged-after", "3600"],
        options="shutdown_timeout = 1",
        env=control,
    )
    other = start(nats_server.url, "", name="other", env=control)
    client.collect("hold", [b"{}"])
    other.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        result = panini("ps", env=control)
        assert time.monotonic() - begun < 10
        assert "1 stuck" in result.stdout and f"the program {other.process.pid} does not answer" in result.stderr
    finally:
        other.signal(signal.SIGCONT)
    client.close()
    running.stop(expect=1)
    running.expected_exit = 1
