"""The runs, in the order that keeps the comparison fair: round by round, in each every peer in turn, each freshly started."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from .peers import Peer
from .processes import BenchError, Broker, Cores, Places, Service, pinned, tail
from .workloads import Workload

SAMPLE = (
    '{"key1":"value1","key2":2,"key3":3.0,"key4":[1,2,3,4],"key5":{"1":1,"2":2,"3":3,"4":4,"5":5},'
    '"key6":{"subkey1":"1","subkey2":2,"3":3,"4":4,"5":5},"key7":null}'
)
IDLE_SECONDS = 5


class Session:
    def __init__(self, places: Places, cores: Cores, broker: Broker, chosen: argparse.Namespace) -> None:
        self.places, self.cores, self.broker, self.chosen = places, cores, broker, chosen

    def run_all(self, workloads: list[Workload], peers: list[Peer]) -> list[dict]:
        for peer in peers:
            with Service(self.places, self.cores, self.broker, peer) as service:
                self.verify(service)
        runs = []
        for workload in workloads:
            rounds = self.chosen.starts if workload.kind == "start" else self.chosen.runs
            taking_part = [p for p in peers if not p.requests_only or workload.name.startswith("request")]
            for number in range(rounds):
                for peer in taking_part:
                    result = self.run_one(workload, peer)
                    runs.append({"workload": workload.name, "peer": peer.name, "round": number + 1, **result})
                    self.progress(runs[-1])
        return runs

    def run_one(self, workload: Workload, peer: Peer) -> dict:
        if workload.kind == "start":
            return self.start(workload, peer)
        with Service(self.places, self.cores, self.broker, peer) as service:
            if workload.kind == "idle":
                return self.idle(service)
            seconds = ("--warmup", str(self.chosen.warmup), "--seconds", str(self.chosen.seconds))
            return service.load(*workload.arguments, *seconds)

    def verify(self, service: Service) -> None:
        """A service that is fast because it does something else must not be measured."""
        name = service.peer.name
        if json.loads(service.ask("bench.echo", SAMPLE)) != json.loads(SAMPLE):
            raise BenchError(f"{name}: bench.echo does not answer the object it was sent")
        if service.ask("bench.raw", "not { json") != b"not { json":
            raise BenchError(f"{name}: bench.raw does not answer the bytes it was sent")
        service.ask("bench.reset", "{}")
        for subject, extra in (("bench.sink.json", ()), ("bench.sink.raw", ("--size", "16"))):
            service.load("publish", "--subject", subject, *extra, "--window", "1024", "--rate", "5000", "--warmup", "0", "--seconds", "0.2")
        for encoding, size in (("json", None), ("raw", 16)):
            result = service.load("emit", "--encoding", encoding, "--chunk", "100", "--warmup", "0", "--seconds", "0.05")
            if size and result["bytes_per_message"] != size:
                raise BenchError(f"{name}: bench.emit sent messages of {result['bytes_per_message']} bytes instead of {size}")
            if not size and not 150 <= result["bytes_per_message"] <= 200:
                raise BenchError(f"{name}: bench.emit did not send the sample object")

    def idle(self, service: Service) -> dict:
        time.sleep(1)
        before, started = service.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        used = service.cpu_seconds() - before
        return {
            "seconds": round(time.monotonic() - started, 3),
            "cpu_ms": round(used * 1e3, 3),
            "resident_mib": round(service.resident_bytes() / 2**20, 2),
        }

    def start(self, workload: Workload, peer: Peer) -> dict:
        log = self.places.logs / f"{peer.name}-start.log"
        service = Service(self.places, self.cores, self.broker, peer)
        command = [self.places.loadgen, *workload.arguments, "--cpu", str(self.cores.service), "--log", str(log)]
        done = subprocess.run(
            pinned(self.cores.load, [*command, "--", *peer.command(self.places)]),
            env=service.environment, cwd=self.places.tools, capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise BenchError(f"{peer.name}, start: {done.stderr.strip()}\n{tail(log)}")
        return json.loads(done.stdout)

    @staticmethod
    def progress(run: dict) -> None:
        shown = {
            "cpu_us": "{:.3f} µs CPU", "rate": "{:,.0f}/s", "p50_us": "p50 {:.0f} µs",
            "cpu_ms": "{:.1f} ms CPU", "resident_mib": "{:.1f} MiB", "first_answer_ms": "{:.1f} ms",
        }
        parts = [form.format(run[key]) for key, form in shown.items() if key in run]
        print(f"{run['workload']:15} {run['peer']:9} {run['round']:2}  {'  '.join(parts)}", file=sys.stderr, flush=True)
