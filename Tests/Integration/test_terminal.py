"""Programs at a terminal: what ends them when it is closed, and what SIGHUP means otherwise."""

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import termios
import time

import pytest

from harness import PATIENCE, PROGRAM, environment, free_port, is_readable, panini, script_text, wait_until

SCRIPT = script_text("""
    app.listen("hello", function() return { version = 1 } end)
    app.http.get("/", function() return "x" end)
    app.on_stop(function() app.logger.info("stopped in order") end)
""", "hello", "web_server = true, web_port = 0")


class Terminal:
    """A program whose session has a terminal of its own, as an emulator starts it."""

    def __init__(self, arguments, cwd, shell=None):
        self.output = ""
        self.master, slave = pty.openpty()

        def take_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        command = [str(a) for a in arguments]
        if shell:
            text = " ".join(command)
            command = ["bash", "-c", f"set -m; {shell.format(text)}"]
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment(), stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal, close_fds=True
        )
        os.close(slave)

    def wait_for(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.output)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in:\n{self.output}"
            if is_readable(self.master, min(left, 0.2)):
                self.output += os.read(self.master, 65536).decode(errors="replace")
        return match

    def close(self):
        """The window is closed."""
        os.close(self.master)
        self.master = None

    def end(self):
        if self.master is not None:
            os.close(self.master)
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def terminal(tmp_path):
    running = []

    def start(*arguments, **more):
        running.append(Terminal(arguments, tmp_path, **more))
        return running[-1]

    (tmp_path / "hello.lua").write_text(SCRIPT)
    yield start
    for one in running:
        one.end()


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def pid_of(terminal, tmp_path):
    """Of the program that a shell has started."""
    terminal.wait_for(r"\bready\b")
    text = (tmp_path / "pid").read_text()
    return int(text)




@pytest.mark.parametrize("command", ["dev", "run"])
def test_closing_the_terminal_stops(terminal, tmp_path, nats_server, command):
    port = free_port()
    place = ["--port", port] if command == "dev" else ["--server", nats_server.url]
    one = terminal(PROGRAM, command, "hello.lua", *place)
    web = int(one.wait_for(r"web server on http://127\.0\.0\.1:(\d+)")[1])
    one.wait_for(r"\bready\b")
    one.close()
    # It stops as it does for SIGTERM: in order, which the log files have.
    assert one.process.wait(PATIENCE) == 0
    assert is_free(web) and (command == "run" or is_free(port))
    assert "stopped in order" in (tmp_path / "logs" / "app.log").read_text()


def test_closing_the_terminal_stops_a_broker(terminal):
    port = free_port()
    one = terminal(PROGRAM, "broker", "--port", port)
    one.wait_for("listening on")
    one.close()
    assert one.process.wait(PATIENCE) == 0
    assert is_free(port)


def test_closing_the_terminal_ends_a_subscriber_and_a_test(terminal, tmp_path, nats_server):
    one = terminal(PROGRAM, "subscribe", "x", "--server", nats_server.url)
    one.wait_for("listening to x")
    one.close()
    one.process.wait(PATIENCE)
    (tmp_path / "hello_test.lua").write_text('test("waits", function(t) t.sleep(100) end)\n')
    one = terminal(PROGRAM, "test", "hello_test.lua", "--timeout", "200")
    one.wait_for("hello_test.lua")
    time.sleep(0.2)
    one.close()
    one.process.wait(PATIENCE)


@pytest.mark.parametrize("where", ["foreground", "background"])
def test_a_job_of_a_shell_stops_with_its_terminal(terminal, tmp_path, where):
    """The terminal's first process is the shell, which hands the end of it on to its jobs."""
    port = free_port()
    line = "{} & echo $! > pid; " + ("fg >/dev/null" if where == "foreground" else "trap 'kill -HUP $!; exit' HUP; wait; wait")
    one = terminal(PROGRAM, "dev", "hello.lua", "--port", port, shell=line)
    pid = pid_of(one, tmp_path)
    one.close()
    wait_until(lambda: not is_alive(pid), "the job has ended")
    assert is_free(port)


def test_a_hang_up_that_somebody_sends_reloads(terminal, tmp_path):
    """The terminal is still there: `kill -HUP` means what it means everywhere."""
    port = free_port()
    one = terminal(PROGRAM, "dev", "hello.lua", "--no-watch", "--port", port)
    one.wait_for(r"\bready\b")
    (tmp_path / "hello.lua").write_text(SCRIPT.replace("version = 1", "version = 2"))
    one.process.send_signal(signal.SIGHUP)
    one.wait_for(r"reload")
    wait_until(
        lambda: panini("request", "hello", "{}", "--server", f"nats://127.0.0.1:{port}").stdout == '{"version":2}\n', "the new version serves"
    )
    assert one.process.poll() is None
    one.close()
    assert one.process.wait(PATIENCE) == 0


def test_under_nohup_it_outlives_its_terminal(terminal, tmp_path):
    port = free_port()
    one = terminal("nohup", PROGRAM, "dev", "hello.lua", "--no-watch", "--port", port)
    log = tmp_path / "nohup.out"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), "it is ready")
    one.close()
    address = f"nats://127.0.0.1:{port}"
    for version in (2, 3):
        (tmp_path / "hello.lua").write_text(SCRIPT.replace("version = 1", f"version = {version}"))
        wait_until(lambda: panini("request", "hello", "{}", "--server", address).returncode == 0, "it serves")
        assert one.process.poll() is None
        one.process.send_signal(signal.SIGTERM if version == 3 else signal.SIGHUP)
    assert one.process.wait(PATIENCE) == 0


def test_under_nohup_a_broker_outlives_its_terminal(terminal, tmp_path):
    port = free_port()
    one = terminal("nohup", PROGRAM, "broker", "--port", port)
    log = tmp_path / "nohup.out"
    wait_until(lambda: log.exists() and "listening on" in log.read_text(), "it listens")
    one.close()
    time.sleep(0.5)
    assert one.process.poll() is None
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(PATIENCE) == 0


def test_without_a_terminal_a_hang_up_reloads(tmp_path):
    (tmp_path / "hello.lua").write_text(SCRIPT)
    port = free_port()
    log = open(tmp_path / "out", "w")
    process = subprocess.Popen(
        [PROGRAM, "dev", "hello.lua", "--no-watch", "--port", str(port)],
        cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )
    try:
        wait_until(lambda: "ready" in (tmp_path / "out").read_text(), "it is ready")
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload" in (tmp_path / "out").read_text(), "it reloads")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)
        log.close()


def test_a_second_hang_up_is_no_second_wish_to_end(terminal, tmp_path):
    (tmp_path / "hello.lua").write_text(script_text("""
        app.on_stop(function() app.sleep(0.5) app.logger.info("stopped in order") end)
    """, "hello"))
    one = terminal(PROGRAM, "dev", "hello.lua", "--port", free_port())
    one.wait_for(r"\bready\b")
    one.close()
    for _ in range(3):
        time.sleep(0.05)
        one.process.send_signal(signal.SIGHUP)
    assert one.process.wait(PATIENCE) == 0
    assert "stopped in order" in (tmp_path / "logs" / "app.log").read_text()
