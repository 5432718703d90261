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

# The target is a fifth more than the budget, and what the host does for one message: `scripts/test --hostile` asks for that,
# on a machine that does nothing else. The ordinary check only has to notice what does not end.
STRICT = bool(os.environ.get("PANINI_STRICT_TIMES"))
ALLOWED = BUDGET * 1.2 + 0.01 if STRICT else BUDGET * 3

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


class Neighbour:
    """Somebody who asks the service beside the attacker, all the time."""

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
                assert self.client.ask("ping", {"n": 1}, timeout=20) == {"n": 1}
            except Exception as error:
                self.failed.append(repr(error))
            self.times.append(time.monotonic() - begin)
            # Seldom enough not to be seen in what the attacks cost.
            time.sleep(0.01)

    def take_p99(self):
        times, self.times = sorted(self.times), []
        return times[int(len(times) * 0.99)]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, traceback):
        self.over.set()
        self.thread.join()
        self.client.close()


def test_every_attack_ends_within_its_budget_and_its_memory_and_nobody_notices(host, nats_server):
    running, client = host
    names = client.ask("attack.names")
    assert len(names) >= 80
    pid = running.process.pid
    before = memory(pid)
    slow, silent = [], []
    with Neighbour(nats_server.url) as neighbour:
        # What this machine takes for a ping while nothing else goes on.
        begin = thread_times(pid)
        time.sleep(1)
        ping = (thread_times(pid) - begin) / max(len(neighbour.times), 1)
        alone = neighbour.take_p99()
        for number, name in enumerate(names, 1):

            def attack():
                begin, asked = thread_times(pid), len(neighbour.times)
                try:
                    client.request(f"attack.{number}", b"{}", timeout=20)
                except Exception as error:
                    silent.append((name, repr(error)))
                return thread_times(pid) - begin - ping * (len(neighbour.times) - asked)

            used = attack()
            if used > ALLOWED:
                # Once more: what an attack before has left to be done may have come between.
                used = min(used, attack())
            assert running.running, f"{name} ended the program:\n{running.output}"
            # What it has spawned counts by itself.
            if used > ALLOWED and "spawn" not in name and "wait_all" not in name:
                slow.append((name, round(used, 3)))
            assert client.ask("ping", {"n": number}) == {"n": number}, name
        p99 = neighbour.take_p99()
    assert not silent
    assert not neighbour.failed
    if SANITIZED:
        return
    assert not slow, "\n".join(map(str, slow))
    assert p99 < ALLOWED + 2 * alone, (p99, alone)
    # What Lua holds is within the limit at any moment; beside that are buffers of the host, what `app.shared` keeps, and
    # pages that the C library has not given back yet. Measured: 53 MB more than at the start, over all attacks.
    assert memory(pid, "VmHWM") - before < 2 * LIMIT, (before, memory(pid, "VmHWM"))


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
