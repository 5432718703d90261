#!/usr/bin/env python3
"""CPU time of a service per request with different middlewares, interleaved; medians. Usage: measure.py PANINI [ROUNDS]

Needs the load generator and nats-server of scripts/bench, which has run once before.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
LOADGEN = ROOT / ".tools" / "bench" / "loadgen"
SERVER = ROOT / ".tools" / "venv" / "bin" / "nats-server"
SERVICE = pathlib.Path(__file__).with_name("service.lua")
REQUESTS = ["none", "lua", "lua4", "debug", "error", "handler"]
SENDS = ["none", "send"]


def on(core):
    return ["taskset", "-c", str(core)]


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"nats://127.0.0.1:{port}"
    broker = subprocess.Popen([*on(1), SERVER, "-p", str(port)], stderr=subprocess.DEVNULL)
    found = {}
    try:
        time.sleep(0.5)
        for _ in range(rounds):
            for mode, variants in (("request", REQUESTS), ("emit", SENDS)):
                for layers in variants:
                    found.setdefault((mode, layers), []).append(once(program, url, mode, layers))
    finally:
        broker.terminate()
        broker.wait()
    for (mode, layers), values in found.items():
        print(f"{mode:8} {layers:8} {statistics.median(values):.3f} us  {[round(v, 3) for v in values]}")


def once(program, url, mode, layers):
    service = subprocess.Popen(
        [*on(0), program, "run", SERVICE, "--server", url],
        env={**os.environ, "LAYERS": layers},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while "ready" not in service.stdout.readline():
            pass
        extra = ["--subject", "bench.raw", "--outstanding", "64", "--size", "16"] if mode == "request" else ["--encoding", "raw"]
        output = subprocess.run(
            [*on(1), LOADGEN, mode, "--url", url, "--pid", str(service.pid), "--warmup", "0.5", "--seconds", "2", *extra],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        result = json.loads(output)
        return result["cpu_us"]
    finally:
        service.terminate()
        service.wait()


main()
