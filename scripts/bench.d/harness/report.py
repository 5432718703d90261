"""The results as text for a terminal and as the generated part of docs/performance.md."""

from __future__ import annotations

from pathlib import Path

from .peers import PEERS
from .processes import BenchError
from .targets import TARGETS
from .workloads import WORKLOADS

BEGIN, END = "<!-- scripts/bench --write-docs: begin -->", "<!-- scripts/bench --write-docs: end -->"


def number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


class Results:
    def __init__(self, data: dict) -> None:
        self.medians = data["medians"]
        measured = {peer for peers in self.medians.values() for peer in peers}
        self.peers = [peer for peer in PEERS if peer.name in measured]

    def metric_table(self, metric: str, workloads: list, first: str, ratios: bool) -> list[str]:
        """Rows of workloads, columns of peers; with `ratios` how Panini stands to the others and what was promised."""
        ratios = ratios and any(peer.name == "panini" for peer in self.peers)
        others = [p for p in self.peers if p.name in ("original", "go")] if ratios else []
        header = [first] + [p.title for p in self.peers] + [f"of {p.title}" for p in others]
        rows = []
        for workload in workloads:
            values = {p: self.medians.get(workload.name, {}).get(p.name, {}).get(metric) for p in self.peers}
            if all(value is None for value in values.values()):
                continue
            row = [workload.title] + ["–" if values[p] is None else number(values[p]) for p in self.peers]
            ours = next((values[p] for p in self.peers if p.name == "panini"), None)
            for other in others:
                if ours is None or not values[other]:
                    row.append("–")
                    continue
                limit = next((t.limit for t in TARGETS if (t.workload, t.metric, t.against) == (workload.name, metric, other.name)), None)
                row.append(f"{ours / values[other]:.3f}" + (f" (target {limit:.2f})" if limit else ""))
            rows.append(row)
        return table(header, rows) if rows else []


def sections(data: dict) -> list[tuple[str, list[str]]]:
    results = Results(data)
    loads = [w for w in WORKLOADS if w.kind == "load"]
    requests = [w for w in loads if w.name.startswith("request")]
    single = [w for w in requests if w.name.endswith("-1")]
    idle = [w for w in WORKLOADS if w.kind == "idle"]
    start = [w for w in WORKLOADS if w.kind == "start"]
    all_sections = [
        ("CPU time of the service per message, µs", results.metric_table("cpu_us", loads, "Workload", True)),
        ("Messages per second", results.metric_table("rate", loads, "Workload", False)),
        ("Latency, median, µs", results.metric_table("p50_us", single + [w for w in requests if w not in single], "Workload", True)),
        ("Latency, 99th percentile, µs", results.metric_table("p99_us", requests, "Workload", False)),
        ("CPU time over five idle seconds, ms", results.metric_table("cpu_ms", idle, "", False)),
        ("Resident memory of the idle service, MiB", results.metric_table("resident_mib", idle, "", False)),
        ("Process start to first answer, ms", results.metric_table("first_answer_ms", start, "", False)),
    ]
    return [(title, lines) for title, lines in all_sections if lines]


def text(data: dict) -> str:
    parts = []
    for title, lines in sections(data):
        parts += ["", title, *lines]
    return "\n".join(parts)


def write(path: Path, data: dict) -> None:
    content = path.read_text()
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise BenchError(f"{path.name} must hold the lines {BEGIN} and {END} once each")
    about, settings = data["machine"], data["settings"]
    lines = [
        BEGIN, "",
        f"Measured on {about['date']}: medians of {settings['runs']} interleaved runs of {settings['seconds']:g} s each after"
        f" {settings['warmup']:g} s of warm-up ({settings['starts']} starts for the start time).", "",
        *[f"- {name}: {value}" for name, value in about.items() if name != "date"],
    ]
    for title, rows in sections(data):
        lines += ["", f"### {title}", "", *rows]
    before, rest = content.split(BEGIN)
    path.write_text(before + "\n".join([*lines, "", END]) + rest.split(END)[1])
