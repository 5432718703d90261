"""From single runs to medians, and the shape of the JSON file."""

from __future__ import annotations

import argparse
import statistics

METRICS = ("cpu_us", "rate", "p50_us", "p90_us", "p99_us", "cpu_ms", "resident_mib", "first_answer_ms", "bytes_per_message")


def medians(runs: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """workload → peer → metric → median over the rounds."""
    collected: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in runs:
        metrics = collected.setdefault(run["workload"], {}).setdefault(run["peer"], {})
        for name in METRICS:
            if name in run:
                metrics.setdefault(name, []).append(run[name])
    return {
        workload: {peer: {name: statistics.median(values) for name, values in metrics.items()} for peer, metrics in peers.items()}
        for workload, peers in collected.items()
    }


def summary(runs: list[dict], about: dict, chosen: argparse.Namespace) -> dict:
    settings = {"runs": chosen.runs, "starts": chosen.starts, "seconds": chosen.seconds, "warmup": chosen.warmup}
    return {"machine": about, "settings": settings, "medians": medians(runs), "runs": runs}
