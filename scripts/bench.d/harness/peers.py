"""Who is measured: the same service on each peer, and how it is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .processes import Places


@dataclass(frozen=True)
class Peer:
    name: str
    title: str
    part: str  # what setup.sh has to make
    command: Callable[[Places], list[str]]
    # The service API of Go differs from plain subscribers only where requests are answered.
    requests_only: bool = False


PEERS = [
    Peer("panini", "Panini", "panini", lambda p: [str(p.panini), "run", str(p.services / "service.lua")]),
    Peer(
        "original",
        "Original (Python)",
        "original",
        lambda p: [str(p.tools / "original" / "bin" / "python"), str(p.services / "original.py")],
    ),
    Peer("go", "Go, nats.go", "go", lambda p: [str(p.tools / "service-go")]),
    Peer("go-micro", "Go, service API", "go", lambda p: [str(p.tools / "service-go"), "-micro"], requests_only=True),
]
