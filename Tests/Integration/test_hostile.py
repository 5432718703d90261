"""The scripts of Tests/Hostile against a real host: all end in time, nobody else notices, nothing grows beyond its limit.

The attacker and a neighbour are services of one program, on one thread: the worst case. What an attack costs is measured
as CPU time of the program's threads, which a busy machine does not change; what the neighbour sees is a time on the wall.
"""

import importlib.util
import os
import pathlib
import re
import threading
import time

import pytest

from harness import PROGRAM, ROOT, Client, Service, panini, script_text, wait_until

HOSTILE = ROOT / "Tests" / "Hostile"
BUDGET = 0.1
LIMIT = 32 << 20

spec = importlib.util.spec_from_file_location("files", HOSTILE / "files.py")
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)

NEIGHBOUR = """
local app = panini.app{ service_name = "neighbour" }
app.listen("ping", function(msg) return { n = msg.data.n } end)
"""

# A fifth more than the budget, and what the host does for one message; its own code is slow in a debug build.
ALLOWED = BUDGET * 1.2 + 0.01 if "release" in PROGRAM else BUDGET * 2.5

# What docs/security.md says of what is known to remain: these must end, and are not timed.
KNOWN = {"ephemerons": "one step of Lua's collector goes over them again and again"}

# Open: unanswered behind all the others, answered at once when it runs alone. The neighbour must be served all the same.
UNANSWERED = {"listeners later"}

# Under a sanitizer everything takes longer, and has memory of its own.
SANITIZED = bool(os.environ.get("PANINI_SANITIZED"))


def thread_times(pid):
    """CPU time of the threads that run scripts, in seconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if "watchdog" not in (task / "comm").read_text() and "log" not in (task / "comm").read_text():
                total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def memory(pid, field="VmRSS"):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+)", text, re.M).group(1)) * 1024


@pytest.fixture
def host(start, nats_server, tmp_path):
    neighbour = tmp_path / "neighbour.lua"
    neighbour.write_text(NEIGHBOUR)
    running = start(
        nats_server.url,
        HOSTILE / "attacks.lua",
        arguments=[neighbour, "--log-queue", "1MB", "--log-level", "error"],
        ready=False,
    )
    client = Client(nats_server.url)

    def is_ready():
        try:
            return client.request("ping", b'{"n": 0}') and client.request("attack.names")
        except Exception:
            return False

    wait_until(is_ready, "both services answer")
    running.expected_exit = (0, 1)
    yield running, client
    client.close()


def test_every_attack_ends_within_its_budget_and_its_memory(host):
    running, client = host
    names = client.ask("attack.names")
    assert len(names) >= 80
    pid = running.process.pid
    before = memory(pid)
    slow, silent = [], []
    for number, name in enumerate(names, 1):
        begin = thread_times(pid)
        try:
            client.request(f"attack.{number}", b"{}", timeout=20)
        except Exception as error:
            silent.append((name, repr(error)))
        used = thread_times(pid) - begin
        if used > ALLOWED:
            # Once more: what an attack before has left to be done may have come between.
            begin = thread_times(pid)
            try:
                client.request(f"attack.{number}", b"{}", timeout=20)
            except Exception:
                pass
            used = min(used, thread_times(pid) - begin)
        assert running.running, f"{name} ended the program:\n{running.output}"
        # What it has spawned counts by itself.
        if used > ALLOWED and "spawn" not in name and name not in KNOWN and name not in UNANSWERED:
            slow.append((name, round(used, 3)))
        assert client.ask("ping", {"n": number}) == {"n": number}, name
    assert not [entry for entry in silent if entry[0] not in UNANSWERED]
    if not SANITIZED:
        assert not slow, "\n".join(map(str, slow))
        # The limit is one of what Lua holds. A string that grows lies in memory twice for a moment, and the C library keeps
        # what it was given for small blocks: measured 78 MB at a limit of 32 MB, over all attacks together.
        assert memory(pid, "VmHWM") - before < 3 * LIMIT, (before, memory(pid, "VmHWM"))


def test_a_neighbour_on_the_same_thread_waits_no_longer_than_a_budget(host, nats_server):
    running, client = host
    names = client.ask("attack.names")
    times = []
    over = threading.Event()
    steady = Client(nats_server.url)

    def load():
        while not over.is_set():
            begin = time.monotonic()
            steady.ask("ping", {"n": 1})
            times.append(time.monotonic() - begin)
            time.sleep(0.002)

    # What this machine takes for a ping while nothing else goes on.
    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(1)
    alone = sorted(times)[int(len(times) * 0.99)]
    times.clear()
    for number, name in enumerate(names, 1):
        if name in KNOWN:
            continue
        try:
            client.request(f"attack.{number}", b"{}", timeout=20)
        except Exception:
            pass
    over.set()
    thread.join()
    assert running.running
    p99 = sorted(times)[int(len(times) * 0.99)]
    if not SANITIZED:
        assert p99 < ALLOWED + 2 * alone, (p99, alone, len(times))
    steady.close()


@pytest.mark.parametrize("name", files.FILES)
def test_a_file_that_attacks_is_refused_or_loaded_in_order(name, tmp_path):
    text = files.FILES[name]
    path = tmp_path / "test.lua"
    path.write_text("local x = 1\n" if text is None else script_text(text))
    begin = time.monotonic()
    result = panini("check", path, "--limits-load", "0.3", "--limits-memory", "32MB", "--logger-files-path", tmp_path / "l")
    assert result.returncode in (0, 1), (result.returncode, result.stderr[-2000:])
    assert "Fatal error" not in result.stderr and "unprotected" not in result.stderr
    assert result.returncode == 0 or "test.lua" in result.stderr
    assert time.monotonic() - begin < 20
