"""Processes the harness starts: where their programs are, on which core they run, how they are ended.

Every process is ended by its own handle; nothing is looked up by name.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .peers import Peer


class BenchError(Exception):
    """The measurement cannot go on; the text is the one line a user sees."""


class Places:
    """The paths of one run."""

    def __init__(self, root: Path, panini: Path | None) -> None:
        self.root = root
        self.tools = root / ".tools" / "bench"
        self.services = root / "scripts" / "bench.d" / "services"
        self.logs = self.tools / "logs"
        self.given = panini is not None
        self.panini = panini.resolve() if panini else root / ".build" / "release" / "panini"

    def set_up(self, peers: list[Peer]) -> None:
        parts = ["broker", "loadgen"] + sorted({peer.part for peer in peers})
        if self.given and "panini" in parts:
            parts.remove("panini")
            if not os.access(self.panini, os.X_OK):
                raise BenchError(f"--panini: no program at {self.panini}")
        command = [str(self.root / "scripts" / "bench.d" / "setup.sh"), *parts]
        if subprocess.run(command, check=False).returncode:
            raise BenchError("the benchmark could not be set up")
        self.logs.mkdir(parents=True, exist_ok=True)

    @property
    def loadgen(self) -> str:
        return str(self.tools / "loadgen")


@dataclass(frozen=True)
class Cores:
    """The service has a core to itself; broker and load generator share the other."""

    service: int
    load: int

    @staticmethod
    def choose() -> Cores:
        available = sorted(os.sched_getaffinity(0))
        if len(available) < 2:
            print("warning: one core only: the service shares it with broker and generator", file=sys.stderr)
        return Cores(available[0], available[1 % len(available)])


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def end(process: subprocess.Popen, seconds: float = 10) -> int:
    """SIGTERM, then SIGKILL; returns the exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class Broker:
    """A real nats-server on a free port of the loopback address."""

    def __init__(self, places: Places, cores: Cores) -> None:
        self.places, self.cores = places, cores
        self.log = places.logs / "nats-server.log"

    def __enter__(self) -> Broker:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        command = [str(self.places.tools / "nats-server"), "--addr", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(pinned(self.cores.load, command), stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        end(self.process)
        raise BenchError(f"nats-server did not start:\n{tail(self.log)}")

    def __exit__(self, *_: object) -> None:
        end(self.process)


class Service:
    """One peer's service, started afresh and pinned; ready when its last subject answers."""

    def __init__(self, places: Places, cores: Cores, broker: Broker, peer: Peer) -> None:
        self.places, self.cores, self.broker, self.peer = places, cores, broker, peer
        self.log = places.logs / f"{peer.name}.log"

    def __enter__(self) -> Service:
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                pinned(self.cores.service, self.peer.command(self.places)),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.places.tools, env=self.environment,
            )
        try:
            self.wait_until_ready()
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "NATS_URL": self.broker.url}

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchError(f"{self.peer.name} ended with {self.process.returncode}:\n{tail(self.log)}")
            command = self.command("ask", "--subject", "bench.emit", "--payload", '{"n":0,"mode":"raw"}', "--seconds", "2")
            if not subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode:
                return
            time.sleep(0.05)
        raise BenchError(f"{self.peer.name} does not answer bench.emit:\n{tail(self.log)}")

    def command(self, *arguments: str) -> list[str]:
        return pinned(self.cores.load, [self.places.loadgen, *arguments])

    def load(self, *arguments: str) -> dict:
        """One run of the load generator; its JSON object."""
        done = subprocess.run(
            self.command(*arguments, "--pid", str(self.pid)), env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{self.peer.name}, {' '.join(arguments)}: {done.stderr.strip()}\n{tail(self.log)}")
        return json.loads(done.stdout)

    def ask(self, subject: str, payload: str) -> bytes:
        command = self.command("ask", "--subject", subject, "--payload", payload, "--seconds", "5")
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        if done.returncode:
            raise BenchError(f"{self.peer.name}: {done.stderr.decode().strip()}")
        return done.stdout

    def cpu_seconds(self) -> float:
        # The process's CPU clock as Linux numbers it: all threads, ended ones included, in nanoseconds.
        return time.clock_gettime((~self.pid << 3) | 2)

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BenchError(f"no VmRSS for process {self.pid}")
