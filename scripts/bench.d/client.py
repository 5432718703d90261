"""The client benchmark: NATSClient beside nats.go, publishing and receiving 16-byte messages."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from harness import machine
from harness.processes import BenchError, Broker, Cores, Places, end, pinned

ROOT = Path(__file__).resolve().parents[2]
# What is compared: a name, the mode of the program in Swift, and that of the one in Go.
CASES = [
    ("publish", "publish", "publish"),
    ("receive, callback", "receive", "receive"),
    ("receive, AsyncSequence", "stream", "receive"),
]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench-client", add_help=False, usage="scripts/bench-client [options]; see --help")
    parser.add_argument("--runs", type=int, default=5, choices=range(1, 100), metavar="N")
    parser.add_argument("--messages", type=int, default=2_000_000, choices=range(1000, 100_000_001), metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


class Programs:
    def __init__(self, places: Places, cores: Cores, broker: Broker) -> None:
        self.swift = str(places.root / ".build" / "release" / "NATSClientBenchmark")
        self.go = str(places.tools / "client-go")
        self.counter = str(places.tools / "count.so")
        self.cores = cores
        self.environment = {**os.environ, "NATS_URL": broker.url}

    def run(self, program: str, mode: str, messages: int, counting: bool = False) -> dict:
        environment = {**self.environment, "LD_PRELOAD": self.counter} if counting else self.environment
        process = subprocess.Popen(
            pinned(self.cores.service, [program, mode, str(messages)]),
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment,
        )
        try:
            if mode != "publish":
                if process.stdout.readline() != "ready\n":
                    raise BenchError(f"{program} {mode} did not get ready")
                # A tenth more than asked for: the publisher warms up with it.
                source = pinned(self.cores.load, [self.go, "publish", str(-(-messages * 10 // 11))])
                if subprocess.run(source, env=self.environment, stdout=subprocess.DEVNULL, check=False).returncode:
                    raise BenchError("the publisher failed")
            output, _ = process.communicate(timeout=90)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{program} {mode} did not end") from error
        finally:
            end(process)
        if process.returncode:
            raise BenchError(f"{program} {mode} ended with {process.returncode}")
        return json.loads(output)


def median(runs: list[dict]) -> dict:
    return {
        "rate": statistics.median(run["messages"] / run["seconds"] for run in runs),
        "cpu_ns": statistics.median(run["cpu_ns"] / run["messages"] for run in runs),
    }


def table(results: dict) -> str:
    lines = ["| | Swift, messages/s | Go, messages/s | ratio | Swift, CPU ns | Go, CPU ns |", "|---|---:|---:|---:|---:|---:|"]
    for name, case in results.items():
        swift, go = case["swift"], case["go"]
        lines.append(
            f"| {name} | {swift['rate']:,.0f} | {go['rate']:,.0f} | {swift['rate'] / go['rate']:.2f} "
            f"| {swift['cpu_ns']:.0f} | {go['cpu_ns']:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    chosen = options()
    places = Places(ROOT, None)
    command = [str(ROOT / "scripts" / "bench.d" / "setup.sh"), "broker", "client"]
    if subprocess.run(command, check=False).returncode:
        raise BenchError("the benchmark could not be set up")
    places.logs.mkdir(parents=True, exist_ok=True)
    cores = Cores.choose()
    about = machine.describe(places, cores, [])
    about.update(machine.panini(places))
    about.update(machine.go(places))
    runs: dict[str, dict[str, list[dict]]] = {name: {"swift": [], "go": []} for name, _, _ in CASES}
    with Broker(places, cores) as broker:
        programs = Programs(places, cores, broker)
        for _ in range(chosen.runs):
            for name, swift, go in CASES:
                runs[name]["swift"].append(programs.run(programs.swift, swift, chosen.messages))
                runs[name]["go"].append(programs.run(programs.go, go, chosen.messages))
        # By itself, as counting costs time.
        counted = programs.run(programs.swift, "publish", chosen.messages, counting=True)
    results = {name: {peer: median(of) for peer, of in peers.items()} for name, peers in runs.items()}
    per_publish = counted["allocations"] / counted["messages"]
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": about, "medians": results, "runs": runs, "counted": counted}, indent=1) + "\n")
    for key, value in about.items():
        print(f"- {key}: {value}")
    print(f"\n{table(results)}\n")
    print(f"Allocations of {counted['messages']:,} publishes in Swift: {counted['allocations']:,} ({per_publish:.5f} each)")
    if not chosen.check:
        return 0
    slow = [name for name, case in results.items() if case["swift"]["rate"] < case["go"]["rate"] / 2]
    for name in slow:
        print(f"missed: {name} has less than half of the rate of nats.go")
    if per_publish >= 0.01:
        print("missed: publishing allocates")
    return 1 if slow or per_publish >= 0.01 else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
