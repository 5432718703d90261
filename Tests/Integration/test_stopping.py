"""SIGTERM is heard, and the program ends within shutdown_timeout and a little, whatever runs."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import PROGRAM, Client, environment, free_port, panini, wait_until
from reloading import save

# The time that a stop may take beyond shutdown_timeout on a machine that does something else as well.
MARGIN = 12


def ends(running, seconds, code):
    """SIGTERM, and the exit code; `seconds` is the service's shutdown_timeout."""
    begun = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait(seconds + MARGIN) in (code if isinstance(code, tuple) else (code,)), running.output
    running.expected_exit = code
    return time.monotonic() - begun


def test_a_file_that_loops_while_it_loads(start, nats_server):
    running = start(nats_server.url, "while true do end", options="limits = { load = 600 }", ready=False)
    wait_until(lambda: busy(running), "the file runs")
    assert ends(running, 0, 0) < MARGIN


def busy(running, seconds=0.3):
    """Whether the program has taken so much CPU time."""
    fields = open(f"/proc/{running.process.pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > seconds


def test_a_file_that_holds_the_thread_that_loads_it(start, nats_server, tmp_path):
    """It does not load, and the program goes on without it."""
    os.mkfifo(tmp_path / "hold")
    running = start(
        nats_server.url,
        f'io.open("{tmp_path}/hold", "r")',
        options="limits = { load = 0.2 }",
        arguments=["--trust", "--wedged-after", "0.3"],
        ready=False,
    )
    assert running.wait() == 1
    assert "the file holds the thread that loads it, in a call that does not return" in running.output
    running.expected_exit = 1


def test_sigterm_while_a_file_holds_the_thread_that_loads_it(start, nats_server, tmp_path):
    os.mkfifo(tmp_path / "hold")
    running = start(nats_server.url, f'io.open("{tmp_path}/hold", "r")', arguments=["--trust"], ready=False)
    time.sleep(1)
    assert ends(running, 0, 0) < MARGIN


def test_a_reload_that_holds_its_thread_is_given_up_and_others_go_on(start, nats_server, tmp_path):
    os.mkfifo(tmp_path / "hold")
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = start(
        nats_server.url,
        'app.listen("ask", function() return 1 end)',
        options="limits = { load = 0.2 }",
        arguments=["--trust", "--wedged-after", "0.3"],
        env=control,
    )
    good = running.path.read_text()
    save(running.path, good + f'io.open("{tmp_path}/hold", "r")\n')
    reload = panini("reload", env=control)
    assert reload.returncode == 1 and "the file holds the thread that loads it" in reload.stderr
    save(running.path, good.replace("return 1", "return 2"))
    reload = panini("reload", env=control)
    assert reload.returncode == 0, reload.stderr
    client = Client(nats_server.url)
    assert client.ask("ask") == 2
    client.close()
    assert ends(running, 0, 0) < MARGIN


def test_on_stop_hooks_that_loop(start, nats_server):
    running = start(
        nats_server.url,
        "for i = 1, 3 do app.on_stop(function() while true do end end) end",
        options="limits = { cpu = 0.5 }, shutdown_timeout = 2",
    )
    ends(running, 2, (0, 1))


def test_on_stop_hooks_with_a_budget_larger_than_the_stop(start, nats_server):
    running = start(
        nats_server.url,
        "app.on_stop(function() while true do end end)",
        options="limits = { cpu = 3600 }, shutdown_timeout = 1",
    )
    ends(running, 1, 1)


def test_handlers_with_a_budget_larger_than_the_stop(start, nats_server):
    """Several wait for their turn: none of them runs on once the time is over."""
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        'app.listen("spin", function() while true do end end)',
        options="limits = { cpu = 3600 }, shutdown_timeout = 1",
        arguments=["--workers", "2"],
    )
    client.collect("spin", [b"{}"] * 20)
    wait_until(lambda: busy(running, 0.5), "it spins")
    ends(running, 1, 1)
    client.close()


def test_a_stop_whose_hook_never_comes_back(start, nats_server, tmp_path):
    os.mkfifo(tmp_path / "hold")
    running = start(
        nats_server.url,
        f'app.on_stop(function() io.open("{tmp_path}/hold", "r") end)',
        options="limits = { cpu = 0.1 }, shutdown_timeout = 1",
        arguments=["--trust", "--wedged-after", "0.3"],
    )
    ends(running, 1, 1)
    assert "a script holds worker-0: the stop does not wait for it any longer" in running.output


def test_sigterm_in_the_moment_a_worker_is_held(start, nats_server, tmp_path):
    """Nobody knows yet that it will not come back."""
    os.mkfifo(tmp_path / "hold")
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        f'app.listen("hold", function() io.open("{tmp_path}/hold", "r") end)',
        options="shutdown_timeout = 1",
        arguments=["--trust", "--workers", "2", "--wedged-after", "3600"],
    )
    client.collect("hold", [b"{}", b"{}"])
    time.sleep(0.5)
    ends(running, 1, 1)
    client.close()


def test_sigterm_while_a_worker_is_replaced(start, nats_server, tmp_path):
    """The start task of the new one waits."""
    os.mkfifo(tmp_path / "hold")
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        f"""
        app.on_start_task(function() if app.shared.incr("starts") > 1 then app.sleep(3600) end end)
        app.listen("hold", function() io.open("{tmp_path}/hold", "r") end)
        """,
        options="limits = { cpu = 0.1 }, shutdown_timeout = 1",
        arguments=["--trust", "--wedged-after", "0.3"],
    )
    client.collect("hold", [b"{}"])
    running.wait_for("worker-0 is replaced")
    time.sleep(0.5)
    ends(running, 1, 1)
    client.close()


def test_spawns_that_feed_themselves(start, nats_server):
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        """
        local function again() app.spawn(again) end
        app.listen("spin", function() app.spawn(again) end)
        """,
        options="shutdown_timeout = 1",
    )
    client.collect("spin", [b"{}"])
    wait_until(lambda: busy(running, 0.5), "it spins")
    ends(running, 1, (0, 1))
    client.close()


def test_a_reload_under_way(start, nats_server, tmp_path):
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = start(nats_server.url, 'app.listen("ask", function() return 1 end)', options="shutdown_timeout = 1", env=control)
    save(running.path, running.path.read_text() + "app.on_start_task(function() app.sleep(3600) end)\n")
    reload = threading.Thread(target=lambda: panini("reload", env=control))
    reload.start()
    time.sleep(0.5)
    ends(running, 1, 0)
    reload.join()


def test_no_broker_at_the_start(start):
    running = start(
        f"nats://127.0.0.1:{free_port()}", "", options="shutdown_timeout = 1, retry_on_start = true", ready=False
    )
    running.wait_for("no connection to the broker")
    ends(running, 1, 0)


def test_the_control_socket_is_flooded(start, nats_server, tmp_path):
    """So many connections that say nothing, or too much: questions are still answered, and the stop is heard."""
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
    running = start(nats_server.url, "", options="shutdown_timeout = 1", env=control)
    path = str(tmp_path / "control" / f"{running.process.pid}.sock")
    over = threading.Event()

    def flood():
        held = []
        while not over.is_set():
            try:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(1)
                connection.connect(path)
                connection.sendall(b"x" * 5000 if len(held) % 2 else b"{")
                held.append(connection)
            except OSError:
                time.sleep(0.01)
            if len(held) > 200:
                held.pop(0).close()

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        descriptors = len(os.listdir(f"/proc/{running.process.pid}/fd"))
        assert descriptors < 120, descriptors
        ends(running, 1, 0)
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("streams", ["stdout", "both"])
def test_nobody_reads_the_log(nats_server, tmp_path, streams):
    path = tmp_path / "test.lua"
    path.write_text(
        'local app = panini.app{ service_name = "test", shutdown_timeout = 1 }\n'
        "app.timer_task(0.001, function() app.logger.info(('x'):rep(2000)) end)\n"
    )
    other = subprocess.PIPE if streams == "both" else subprocess.DEVNULL
    process = subprocess.Popen(
        [PROGRAM, "run", str(path), "--server", nats_server.url, "--log-queue", "1MB"],
        env=environment(),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=other,
    )
    try:
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(1 + MARGIN) == 0
    finally:
        process.kill()
        process.wait()


def test_a_second_signal_ends_at_once_whatever_runs(start, nats_server, tmp_path):
    os.mkfifo(tmp_path / "hold")
    client = Client(nats_server.url)
    running = start(
        nats_server.url,
        f'app.listen("hold", function() io.open("{tmp_path}/hold", "r") end)',
        options="shutdown_timeout = 3600",
        arguments=["--trust", "--wedged-after", "3600"],
    )
    client.collect("hold", [b"{}"])
    time.sleep(0.3)
    running.signal(signal.SIGTERM)
    running.wait_for("once more to end at once")
    running.signal(signal.SIGTERM)
    assert running.wait(5) == 128 + signal.SIGTERM
    running.expected_exit = 128 + signal.SIGTERM
    client.close()


def test_nobody_reads_why_it_ended(nats_server, tmp_path):
    """The last line on standard error waits for a reader that does not read: the main thread ends the program."""
    path = tmp_path / "test.lua"
    path.write_text(
        'local app = panini.app{ service_name = "test", shutdown_timeout = 1, limits = { cpu = 3600 } }\n'
        "app.on_stop(function() while true do end end)\n"
    )
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(theirs, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(theirs, True)
    process = subprocess.Popen(
        [PROGRAM, "run", str(path), "--server", nats_server.url],
        env=environment(),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    try:
        for line in process.stdout:
            if b"ready" in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(1 + 10 + MARGIN) == 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(ours)
        os.close(theirs)
