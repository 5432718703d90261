"""Runs rows of Tests/Hostile/siege: a program for each, a neighbour that is asked all the time, and what was measured.

A row is ended from outside when the neighbour has not been answered for HANG seconds, when its course takes too long, or when
the program grows beyond all bounds: nothing here waits without a limit, and a row that hangs is named.
"""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from harness import NATS_SERVER, PATIENCE, PROGRAM, Program, _prepare_child, environment, free_port, wait_until
from siege_attack import COURSE, SANITIZED, SECRET, SLOWER, Attack, Failed, Requester, delay_of, status_of
from siege_broker import Impostor

# After siege_attack, which knows where they are.
from attempts import all_rows
from attempts.rows import FINE, Ask, Burst, Send, Watch

__all__ = ["Measured", "Siege", "all_rows"]

# Times are promised on a machine that does nothing else: `scripts/test --hostile` asks for that.
STRICT = bool(os.environ.get("PANINI_STRICT_TIMES"))

# Seconds that the program may take to stop, and that the neighbour may wait before the row is ended.
SHUTDOWN = 3
HANG = (6 if STRICT else 10) * SLOWER
READY = max(15, PATIENCE / 2)
# The machine is not to be brought down by a row that fails: so many MB.
ENOUGH = 2500
TICK = 0.02

NEIGHBOUR = """
local app = panini.app{{ service_name = "good", logger_required = true{servers} }}
app.listen("good.ping", function(msg) return {{ n = msg.data.n }} end)
"""

OPTIONS = '{{ service_name = "evil", limits = {{ cpu = {cpu}, memory = "{memory}MB" }}{options} }}'
PRELUDE = """
local app = panini.app{app}
local function on(name, f, options)
    if options then return app.listen("evil." .. name, options, f) end
    return app.listen("evil." .. name, f)
end
local function forever() while true do end end
"""
ALIVE = """
do on("alive", function() return { alive = true } end) end
"""
ALIVE_WEB = """
app.http.get("/alive", function() return "alive" end)
"""


class Neighbour:
    """The process of siege_neighbour.py, and what it has said."""

    def __init__(self, port, subject="good.ping"):
        self.process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("siege_neighbour.py")), str(port), subject],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=_prepare_child,
        )  # fmt: skip
        self.sent = {}
        self.waits = []
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            kind, number, moment = line.split()
            with self.lock:
                if kind == "p":
                    self.sent[int(number)] = float(moment)
                elif (began := self.sent.pop(int(number), None)) is not None:
                    self.waits.append((began, float(moment) - began))

    def forget(self):
        """What was before does not count, answered or not."""
        with self.lock:
            self.sent.clear()
            self.waits.clear()

    def oldest(self):
        """For how long the oldest request has been waiting."""
        with self.lock:
            return time.monotonic() - min(self.sent.values()) if self.sent else 0

    def take(self):
        """All waits since `forget`, those that are not over included."""
        now = time.monotonic()
        with self.lock:
            return sorted([wait for _, wait in self.waits] + [now - began for began in self.sent.values()])

    def answered(self):
        with self.lock:
            return len(self.waits)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE)
        self.process.stdout.close()


@dataclass
class Measured:
    """What a row has cost."""

    name: str
    grown: float = 0
    kept: float = 0
    longest: float = 0
    p99: float = 0
    lines: int = 0
    kilobytes: float = 0
    stopped: float = 0
    # What others on this machine took away meanwhile, in seconds.
    delayed: float = 0
    seconds: float = 0
    failures: list = field(default_factory=list)
    # Those of them that a slow machine could have made.
    slow: list = field(default_factory=list)

    @property
    def text(self):
        said = " ".join("; ".join(self.failures).split()) or "ok"
        return (
            f"{self.name:52} {self.grown:7.0f} {self.kept:7.0f} {self.longest * 1000:8.0f} {self.p99 * 1000:8.0f}"
            f" {self.lines:6} {self.stopped:6.2f} {self.seconds:6.1f}  {said}"
        )

    HEAD = f"{'row':52} {'grown':>7} {'kept':>7} {'longest':>8} {'p99':>8} {'lines':>6} {'stop':>6} {'took':>6}  (MB, MB, ms, ms, , s, s)"


class Siege:
    """The broker and the neighbour of a run, and what all rows have cost."""

    def __init__(self, folder, table=None):
        self.folder = pathlib.Path(folder)
        # A row is written when it is over, so that a long run can be watched.
        self.table = open(table, "w", encoding="utf-8", buffering=1) if table else None
        self.say(Measured.HEAD)
        self.broker_port = free_port()
        self.broker = Program([NATS_SERVER, "-a", "127.0.0.1", "-p", self.broker_port])
        wait_until(self._broker_answers, "the broker listens")
        self.neighbour = Neighbour(self.broker_port)
        self.results = []
        self.rows = 0

    def _broker_answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.broker_port), timeout=5) as connection:
            return connection.recv(5) == b"INFO "

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.broker_port}"

    def environment(self, folder):
        return environment(PANINI_CONTROL_DIR=str(folder / "control"), SIEGE_SECRET=SECRET)

    def close(self):
        self.neighbour.stop()
        self.broker.kill()
        if self.table:
            self.table.close()

    # One row.

    def run(self, row):
        """Runs it, once more when the neighbour has waited too long and nothing else was wrong: others may load the machine."""
        measured = self._run(row)
        if measured.failures and measured.failures == measured.slow:
            measured = self._run(row)
        self.results.append(measured)
        self.say(measured.text)
        return measured

    def _run(self, row):
        measured = Measured(row.name)
        self.rows += 1
        folder = self.folder / str(self.rows)
        folder.mkdir()
        began = time.monotonic()
        try:
            if row.program == "load":
                self._load(row, folder, measured)
            else:
                self._siege(row, folder, measured)
        except Failed as failure:
            measured.failures.append(str(failure))
        except Exception as error:
            measured.failures.append(f"the runner failed: {error!r}")
        measured.seconds = time.monotonic() - began
        return measured

    def say(self, text):
        if self.table:
            print(text, file=self.table)

    def _script(self, row, servers=""):
        options = f", {row.options}" if row.options else ""
        if row.web:
            options += ", web_server = true, web_port = 0"
        if servers:
            options += f", servers = {{ '{servers}' }}, reconnecting_time_sleep = 0.05"
        app = row.own_app or OPTIONS.format(cpu=row.cpu, memory=row.memory, options=options)
        head = PRELUDE.replace("{app}", app)
        return head + ALIVE + (ALIVE_WEB if row.web else "") + row.script

    def _load(self, row, folder, measured):
        """A file that attacks while it is loaded."""
        (folder / "evil.lua").write_text(self._script(row))
        program = Program(
            [PROGRAM, "check", "evil.lua", "--limits-load", str(row.cpu), *row.flags], cwd=folder, env=self.environment(folder)
        )
        before, peak = time.monotonic(), 0
        while program.running and time.monotonic() - before < COURSE:
            with contextlib.suppress(OSError):
                peak = max(peak, status_of(program.process.pid)[1])
            time.sleep(TICK)
        if program.running:
            program.kill()
            raise Failed("hangs while it is loaded")
        code = program.wait()
        if code not in (0, 1):
            raise Failed(f"ended with {code}")
        measured.grown, measured.longest = peak, time.monotonic() - before
        if not SANITIZED and peak > row.must.grow + row.memory:
            measured.failures.append(f"grew to {peak:.0f} MB")

    def _start(self, row, folder, impostor):
        env = self.environment(folder)
        if row.program == "broker":
            return Program([PROGRAM, "broker", "--port", free_port(), *row.flags], cwd=folder, env=env)
        for name, content in row.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if impostor:
            # Each has a broker of its own: an address on the command line would be both's.
            (folder / "evil.lua").write_text(self._script(row, f"nats://127.0.0.1:{impostor.port}"))
            (folder / "good.lua").write_text(NEIGHBOUR.format(servers=f", servers = {{ '{self.url}' }}"))
        else:
            (folder / "evil.lua").write_text(self._script(row))
            (folder / "good.lua").write_text(NEIGHBOUR.format(servers=""))
            env["NATS_URL"] = self.url
        return Program(
            [PROGRAM, "run", "evil.lua", "good.lua", "--shutdown-timeout", SHUTDOWN, "--log-queue", "1MB", *row.flags], cwd=folder, env=env
        )

    def _siege(self, row, folder, measured):
        impostor = Impostor(row.speaks) if row.speaks else None
        program = self._start(row, folder, impostor)
        neighbour = self.neighbour
        attack = None
        try:
            port = self._wait_until_ready(row, program)
            if row.program == "broker":
                neighbour = Neighbour(port, "-")
            attack = Attack(self, row, program, folder, port, impostor)
            self._measure(row, program, neighbour, attack, measured)
        finally:
            if attack:
                attack.close()
            if impostor:
                impostor.close()
            if neighbour is not self.neighbour:
                neighbour.stop()
            program.kill()
            (folder / "output.txt").write_text(program.output)

    def _wait_until_ready(self, row, program):
        try:
            if row.program == "broker":
                port = int(program.arguments[program.arguments.index("--port") + 1])
                wait_until(lambda: self._answers(port), "the embedded broker listens")
                return port
            if row.speaks:
                # It may never be ready: that is what some of them are for.
                with contextlib.suppress(AssertionError):
                    program.wait_for(r"\bevil \S+ is ready", 0.7)
            else:
                said = program.wait_for(r"\bevil \S+ is ready|ERROR +panini: evil.lua:.*", READY)
                if "ERROR" in said.group():
                    raise Failed(f"does not load: {said.group()}")
            program.wait_for(r"\bgood\b.* is ready", READY)
            found = re.search(r"evil: web server on http://127\.0\.0\.1:(\d+)", program.output)
        except AssertionError as error:
            raise Failed(f"not ready: {str(error)[-600:]}") from None
        return int(found.group(1)) if found else 0

    @staticmethod
    def _answers(port):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(5) == b"INFO "

    def _measure(self, row, program, neighbour, attack, measured):
        pid = program.process.pid
        neighbour.forget()
        try:
            wait_until(lambda: neighbour.answered() > 3, "the neighbour is answered", HANG)
        except AssertionError:
            raise Failed(f"the neighbour is not answered within {HANG} s of the start") from None
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
        before, _ = status_of(pid)
        delay = delay_of(pid)
        seen, size = len(program.lines), len(program.output)
        neighbour.forget()
        if attack.impostor:
            attack.impostor.begun.set()
        peak = self._watched(attack, program, neighbour, before)
        if not program.running:
            raise Failed(f"the program ended with {program.wait()}: {program.output[-300:]!r}")
        # What has begun by now counts as well.
        time.sleep(0.1)
        waits = neighbour.take()
        measured.delayed = delay_of(pid) - delay
        measured.longest, measured.p99 = waits[-1], waits[int(len(waits) * 0.99)]
        attack.requester.close()
        self._after(row, program, neighbour, attack, measured, before, max(peak, status_of(pid)[1]))
        measured.lines = len(program.lines) - seen
        output = program.output
        measured.kilobytes = (len(output) - size) / 1024
        self._end(row, program, measured)
        self._judge(row, measured)
        # Everything that was ever said.
        said = program.output
        if SECRET in said:
            measured.failures.append("the secret is in the log")
        if forged := re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", said):
            measured.failures.append(f"a control character in the log: {forged.group()!r}")
        for sign in ("Fatal error", "AddressSanitizer", "runtime error:", "unprotected error"):
            if sign in said:
                measured.failures.append(f"{sign} in the log")

    def _watched(self, attack, program, neighbour, before):
        """Runs the course beside a watch that ends it; returns the largest RSS that was seen."""
        outcome = []
        course = threading.Thread(target=self._course, args=(attack, outcome), daemon=True)
        began, peak, why = time.monotonic(), before, None
        course.start()
        while course.is_alive():
            course.join(TICK)
            with contextlib.suppress(OSError, ValueError):
                peak = max(peak, status_of(attack.pid)[0])
            if not program.running:
                why = "ended"
            elif neighbour.oldest() > HANG:
                why = f"the neighbour has waited for {HANG} s: the worker hangs"
            elif time.monotonic() - began > COURSE:
                why = f"not over after {COURSE} s"
            elif peak - before > ENOUGH and not SANITIZED:
                why = f"grew by {peak - before:.0f} MB and was ended"
            if why:
                attack.over.set()
                break
        if why and why != "ended":
            program.kill()
        attack.abort()
        course.join(5)
        if why and why != "ended":
            raise Failed(why)
        if outcome:
            raise outcome[0]
        return peak

    @staticmethod
    def _course(attack, outcome):
        try:
            steps = attack.row.attack
            if callable(steps):
                steps(attack)
                return
            for step in steps if isinstance(steps, tuple) else (steps,):
                match step:
                    case Ask():
                        for _ in range(step.times):
                            attack.ask_for(step)
                    case Burst():
                        attack.burst(step)
                    case Send():
                        attack.send(step)
                    case Watch():
                        attack.sleep(step.seconds)
                    case _:
                        step(attack)
        except Failed as failure:
            outcome.append(failure)
        except Exception as error:
            outcome.append(Failed(f"the course failed: {error!r}"))

    def _after(self, row, program, neighbour, attack, measured, before, peak):
        """When whoever attacked has gone: the memory comes back, the service answers."""
        pid = program.process.pid
        attack.open.close()
        if attack.impostor:
            attack.impostor.close()
        measured.grown = peak - before
        deadline = time.monotonic() + 4
        while True:
            measured.kept = status_of(pid)[0] - before
            if measured.kept <= row.must.keep or SANITIZED or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        # What was lost with a worker that was replaced is not answered any more: those that ask now are.
        neighbour.forget()
        try:
            wait_until(lambda: neighbour.answered() > 3, "the neighbour is answered", HANG)
        except AssertionError:
            raise Failed("the neighbour is not answered any more") from None
        if row.must.alive:
            self._must_answer(row, attack)

    def _must_answer(self, row, attack):
        if row.program == "broker":
            requester = Requester(attack.port)
            answer = requester.ask("nobody", timeout=HANG)
            requester.close()
            if not answer or answer.code != 503:
                raise Failed("the broker does not answer any more")
            return
        if not row.speaks:
            deadline = time.monotonic() + 2 * HANG
            answer = None
            while time.monotonic() < deadline and not (answer and answer.code == FINE):
                answer = attack.requester.ask("evil.alive", timeout=HANG)
                time.sleep(0.02)
            if not answer or answer.code != FINE:
                raise Failed(f"the service does not answer any more: {answer}")
        if row.web:
            deadline = time.monotonic() + 2 * HANG
            status = None
            while time.monotonic() < deadline and status != FINE:
                status = attack.get("/alive", HANG)
            if status != FINE:
                raise Failed(f"the web server does not answer any more: {status}")

    def _end(self, row, program, measured):
        began = time.monotonic()
        program.signal(signal.SIGTERM)
        try:
            code = program.process.wait(SHUTDOWN + 5 * SLOWER)
        except subprocess.TimeoutExpired:
            program.kill()
            raise Failed("SIGTERM is not heard within shutdown_timeout") from None
        measured.stopped = time.monotonic() - began
        # All that it has said.
        program.wait()
        if measured.stopped > SHUTDOWN + (1 if STRICT else 3 * SLOWER):
            measured.failures.append(f"it took {measured.stopped:.1f} s to stop, with shutdown_timeout {SHUTDOWN}")
        if code not in row.must.exits:
            raise Failed(f"ended with {code} instead of {row.must.exits}")

    def _judge(self, row, measured):
        must, failures = row.must, measured.failures
        if measured.lines > must.lines:
            failures.append(f"{measured.lines} lines logged, allowed {must.lines}")
        if measured.kilobytes > must.kilobytes:
            failures.append(f"{measured.kilobytes:.0f} KB logged, allowed {must.kilobytes}")
        if SANITIZED:
            return
        if measured.grown > must.grow:
            failures.append(f"grew by {measured.grown:.0f} MB, allowed {must.grow:.0f}")
        if measured.kept > must.keep:
            failures.append(f"kept {measured.kept:.0f} MB, allowed {must.keep:.0f}")
        if must.budgets is None:
            return
        longest, p99 = must.budgets * row.cpu, row.cpu + 0.03
        if not STRICT:
            # What lies beside it may be a build.
            longest, p99 = longest + 1 + measured.delayed, p99 + 1 + measured.delayed
        if measured.longest > longest:
            measured.slow.append(f"the neighbour waited {measured.longest:.2f} s, allowed {longest:.2f}")
        elif measured.p99 > p99:
            measured.slow.append(f"the neighbour's p99 was {measured.p99:.3f} s, allowed {p99:.3f}")
        failures += measured.slow
