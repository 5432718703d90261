"""Entry of the benchmark harness: options, the order of the runs, and what happens with the results."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from harness import machine, report, results, targets
from harness.processes import BenchError, Broker, Cores, Places
from harness.peers import PEERS
from harness.run import Session
from harness.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]


def names(kind: str, known: list[str]):
    """An argument type: a comma-separated list of known names, in the order in which they are known."""

    def parse(text: str) -> list[str]:
        wanted = [part for part in text.split(",") if part]
        for name in wanted:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {kind} named {name}; there are {', '.join(known)}")
        return [name for name in known if name in wanted]

    return parse


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600")
    return value


def options() -> argparse.Namespace:
    workloads, peers = [w.name for w in WORKLOADS], [p.name for p in PEERS]
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False, usage="scripts/bench [options]; see --help")
    parser.add_argument("--only", type=names("workload", workloads), default=workloads)
    parser.add_argument("--peers", type=names("peer", peers), default=peers)
    parser.add_argument("--runs", type=int, default=3, choices=range(1, 100), metavar="N")
    parser.add_argument("--starts", type=int, default=10, choices=range(1, 1000), metavar="N")
    parser.add_argument("--seconds", type=positive, default=4)
    parser.add_argument("--warmup", type=positive, default=1)
    parser.add_argument("--panini", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def measure(chosen: argparse.Namespace) -> dict:
    places = Places(ROOT, chosen.panini)
    peers = [peer for peer in PEERS if peer.name in chosen.peers]
    workloads = [workload for workload in WORKLOADS if workload.name in chosen.only]
    places.set_up(peers)
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    about = machine.describe(places, cores, peers)
    with Broker(places, cores) as broker:
        session = Session(places, cores, broker, chosen)
        runs = session.run_all(workloads, peers)
    return results.summary(runs, about, chosen)


def main() -> int:
    chosen = options()
    if chosen.list:
        for workload in WORKLOADS:
            print(f"{workload.name:18} {workload.title}")
        return 0
    data = json.loads(chosen.source.read_text()) if chosen.source else measure(chosen)
    if chosen.json:
        chosen.json.write_text(json.dumps(data, indent=1) + "\n")
    print(report.text(data))
    if chosen.write_docs:
        report.write(ROOT / "docs" / "performance.md", data)
    if not chosen.check:
        return 0
    verdicts = targets.judge(data["medians"])
    print(targets.text(verdicts))
    if not verdicts:
        raise BenchError("nothing to check: the results hold no workload with a target for panini")
    return 0 if all(verdict.met for verdict in verdicts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
