#!/usr/bin/env python3
"""What the web server promises beside speed: memory of ten thousand idle connections, and NATS while HTTP is saturated.

Usage: limits.py PANINI. With the Python of .tools/venv; fetches wrk as measure.py does. Exit code 1 when a promise is broken.
"""

import asyncio
import os
import pathlib
import re
import resource
import socket
import statistics
import subprocess
import sys
import time

import nats

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CONNECTIONS = 10_000
MOST_MEGABYTES = 300
MOST_RATIO = 10

sys.argv.append("-")  # measure.py measures when it is run; here its helpers are wanted.
source = (HERE / "measure.py").read_text().replace("\nmain()\n", "\n")
measure = {"__file__": str(HERE / "measure.py"), "__name__": "measure"}
exec(compile(source, "measure.py", "exec"), measure)  # noqa: S102


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def idle_connections(pid, port):
    """Megabytes before and with the connections, and seconds of CPU time for each second that they wait."""
    before = resident(pid)
    held = []
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        held.append(connection)
    with_them = resident(pid)
    ticks = measure["ticks"](pid)
    time.sleep(5)
    cpu = (measure["ticks"](pid) - ticks) / 5
    for connection in held:
        connection.close()
    return before, with_them, cpu


async def latency(url, count=3000):
    """The 99th percentile of requests one after another, in microseconds."""
    client = await nats.connect(url)
    for _ in range(200):
        await client.request("bench.ping", b"{}", timeout=30)
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await client.request("bench.ping", b"{}", timeout=30)
        taken.append((time.perf_counter() - begun) * 1e6)
    await client.close()
    return statistics.quantiles(taken, n=100)[98], statistics.median(taken)


def main():
    program = sys.argv[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 2000, max(CONNECTIONS + 2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    root = measure["set_up"]()
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"}
    broker_port, port = measure["free_port"](), measure["free_port"]()
    url = f"nats://127.0.0.1:{broker_port}"
    started = []

    def start(*command, **options):
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options))
        return started[-1]

    try:
        start(ROOT / ".tools/venv/bin/nats-server", "-p", str(broker_port))
        time.sleep(0.5)
        on = measure["on"]
        panini = start(
            *on(0), program, "run", HERE / "service.lua", "--server", url, "--web-port", str(port), "--web-idle-timeout", "600",
            "--web-max-connections", str(CONNECTIONS + 100),
        )  # fmt: skip
        time.sleep(1.5)
        before, with_them, cpu = idle_connections(panini.pid, port)
        print(f"{CONNECTIONS} idle connections: {with_them:.0f} MB resident, {with_them - before:.0f} more than before, {cpu * 1000:.0f} ms CPU a second")
        idle, idle_median = asyncio.run(latency(url))
        load = start(
            *on(1), root / "usr/bin/wrk", "-t1", "-c64", "-d60s", f"http://127.0.0.1:{port}/hello", env=environment
        )
        time.sleep(1)
        busy, busy_median = asyncio.run(latency(url))
        assert load.poll() is None, "the load ended before the measurement"
        print(
            f"NATS requests: p99 {idle:.0f} us idle, {busy:.0f} us while HTTP is saturated ({busy / idle:.1f} times); "
            f"medians {idle_median:.0f} and {busy_median:.0f} us"
        )
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
    broken = with_them > MOST_MEGABYTES or busy > MOST_RATIO * idle
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
