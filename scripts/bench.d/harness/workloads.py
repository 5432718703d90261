"""What is measured: one entry per workload, with the load generator's arguments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    kind: str  # "load" (a run of the load generator), "idle" or "start"
    arguments: tuple[str, ...] = ()


WORKLOADS = [
    Workload(
        "request-json",
        "JSON request: decoded, the reply encoded; 64 outstanding",
        "load",
        ("request", "--subject", "bench.echo", "--outstanding", "64"),
    ),
    Workload(
        "request-json-1",
        "JSON request, one outstanding",
        "load",
        ("request", "--subject", "bench.echo", "--outstanding", "1"),
    ),
    Workload(
        "request-raw",
        "Raw request: the bytes returned untouched; 64 outstanding",
        "load",
        ("request", "--subject", "bench.raw", "--outstanding", "64", "--echo"),
    ),
    Workload(
        "request-raw-1",
        "Raw request, one outstanding",
        "load",
        ("request", "--subject", "bench.raw", "--outstanding", "1", "--echo"),
    ),
    Workload("oneway-json", "One-way JSON, decoded", "load", ("publish", "--subject", "bench.sink.json")),
    Workload("oneway-raw", "One-way, 16 raw bytes", "load", ("publish", "--subject", "bench.sink.raw", "--size", "16")),
    Workload("emit-json", "Publishing by the service, JSON encoded each time", "load", ("emit", "--encoding", "json")),
    Workload("emit-raw", "Publishing by the service, 16 raw bytes", "load", ("emit", "--encoding", "raw")),
    Workload("idle", "Idle: CPU time over five seconds, resident memory", "idle"),
    Workload("start", "From exec to the first answer", "start", ("cold", "--subject", "bench.raw")),
]
