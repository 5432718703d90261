"""The machine and the versions of everything that took part, for the record."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .processes import Cores, Places

if TYPE_CHECKING:
    from .peers import Peer


def output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout.strip()
    except OSError:
        return ""


def field(name: str, text: str) -> str:
    """The value of the first "name : value" line."""
    return found(rf"(?m)^{name}\s*:\s*(.+)$", text)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match.group(1).strip() if match else "unknown"


def describe(places: Places, cores: Cores, peers: list[Peer]) -> dict[str, str]:
    cpu = Path("/proc/cpuinfo").read_text()
    memory = int(field("MemTotal", Path("/proc/meminfo").read_text()).split()[0]) / 2**20
    about = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "CPU": f"{field('model name', cpu)} (family {field('cpu family', cpu)}, model {field('model', cpu)})",
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "kernel": platform.release(),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "pinning": f"service on core {cores.service}, broker and generator on core {cores.load}",
        "nats-server": found(r"v([\d.]+)", output(str(places.tools / "nats-server"), "--version")),
    }
    for part in dict.fromkeys(peer.part for peer in peers):
        about.update({"panini": panini, "original": original, "go": go}[part](places))
    return about


def panini(places: Places) -> dict[str, str]:
    commit = output("git", "-C", str(places.root), "rev-parse", "--short", "HEAD") or "unknown"
    if output("git", "-C", str(places.root), "status", "--porcelain", "--", "Sources", "Package.swift"):
        commit += " with changes"
    return {
        "Panini": f"commit {commit}",
        "Swift": found(r"Swift version ([\d.]+)", output("swift", "--version")),
        "Lua": output("pkg-config", "--modversion", "lua5.4") or "unknown",
    }


def original(places: Places) -> dict[str, str]:
    python = str(places.tools / "original" / "bin" / "python")
    code = "import importlib.metadata as m; print(m.version('panini'), m.version('nats-py'), m.version('ujson'))"
    versions = (output(python, "-c", code).split() + ["unknown"] * 3)[:3]
    interpreter = output(python, "--version")
    return {"Original": f"panini {versions[0]} on {interpreter} with nats-py {versions[1]}, ujson {versions[2]}"}


def go(places: Places) -> dict[str, str]:
    source = Path("/usr/share/gocode/src/github.com/nats-io/nats.go/nats.go")
    client = found(r'Version\s*=\s*"([^"]+)"', source.read_text()) if source.exists() else "unknown"
    version = found(r"go version go([\d.]+)", output(str(places.tools / "go" / "bin" / "go"), "version"))
    return {"Go": f"{version} with nats.go {client}"}
