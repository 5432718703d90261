"""What Panini has to reach, and whether it did: the one table of targets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    workload: str
    metric: str
    limit: float  # a factor of the peer's median, or an absolute value when there is no peer
    against: str | None = None


TARGETS = [
    Target("request-json", "cpu_us", 0.20, "original"),
    Target("request-json", "cpu_us", 0.40, "go"),
    Target("oneway-json", "cpu_us", 0.14, "original"),
    Target("oneway-json", "cpu_us", 0.21, "go"),
    Target("oneway-raw", "cpu_us", 1.00, "go"),
    Target("request-raw", "cpu_us", 1.00, "go"),
    Target("emit-json", "cpu_us", 0.42, "go"),
    Target("request-json-1", "p50_us", 1.00, "go"),
    Target("idle", "cpu_ms", 1.0),
    Target("idle", "resident_mib", 25.0),
    Target("start", "first_answer_ms", 50.0),
]

UNITS = {"cpu_us": "µs CPU per message", "p50_us": "µs p50", "cpu_ms": "ms CPU in 5 s", "resident_mib": "MiB", "first_answer_ms": "ms"}


@dataclass(frozen=True)
class Verdict:
    target: Target
    value: float
    allowed: float

    @property
    def met(self) -> bool:
        return self.value <= self.allowed


def judge(medians: dict) -> list[Verdict]:
    """A verdict for every target whose workload and peer were measured."""
    verdicts = []
    for target in TARGETS:
        measured = medians.get(target.workload, {})
        ours = measured.get("panini")
        theirs = measured.get(target.against) if target.against else None
        if ours is None or (target.against and theirs is None):
            continue
        allowed = target.limit * theirs[target.metric] if theirs else target.limit
        verdicts.append(Verdict(target, ours[target.metric], allowed))
    return verdicts


def text(verdicts: list[Verdict]) -> str:
    lines = ["targets:"]
    for verdict in verdicts:
        target = verdict.target
        limit = f"{target.limit:g} of {target.against}" if target.against else f"{target.limit:g}"
        lines.append(
            f"  {'met   ' if verdict.met else 'MISSED'} {target.workload:15} {verdict.value:10.3f}"
            f"  at most {verdict.allowed:10.3f} ({limit}) {UNITS[target.metric]}"
        )
    return "\n".join(lines)
