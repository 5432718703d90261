#!/usr/bin/env python3
"""CPU time of the web server per request beside nginx with its Lua module and aiohttp, interleaved; medians, and the latency
wrk saw.

Usage: measure.py PANINI[,PANINI...] [ROUNDS]. Fetches wrk and nginx with apt-get download and aiohttp from PyPI into
.tools/bench/http, installs nothing. Several programs are compared with each other in the same run.
"""

import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent
TOOLS = ROOT / ".tools" / "bench" / "http"
PACKAGES = [
    "wrk", "nginx", "libnginx-mod-http-lua", "libnginx-mod-http-ndk", "libluajit2-5.1-2", "libluajit2-5.1-common", "lua-cjson",
    "lua-resty-core", "lua-resty-lrucache", "libpcre3",
]  # fmt: skip
WORKLOADS = {"hello": [], "echo": ["-s", str(HERE / "echo.lua")]}

CONFIGURATION = """
load_module {root}/usr/lib/nginx/modules/ndk_http_module.so;
load_module {root}/usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off; worker_processes 1; pid {tools}/nginx.pid; error_log {tools}/nginx.log; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {tools}/a; proxy_temp_path {tools}/b; fastcgi_temp_path {tools}/c;
    uwsgi_temp_path {tools}/d; scgi_temp_path {tools}/e;
    lua_package_path "{root}/usr/share/lua/5.1/?.lua;;";
    lua_package_cpath "{root}/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;;";
    init_by_lua_block {{ cjson = require "cjson" }}
    server {{
        listen 127.0.0.1:{port};
        location = /hello {{ default_type text/plain; content_by_lua_block {{ ngx.print("hello") }} }}
        location = /echo {{
            default_type application/json;
            content_by_lua_block {{ ngx.req.read_body() ngx.print(cjson.encode(cjson.decode(ngx.req.get_body_data()))) }}
        }}
    }}
}}
"""


def set_up():
    root = TOOLS / "root"
    if not (root / "usr/bin/wrk").exists():
        TOOLS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=TOOLS, check=True, stderr=subprocess.DEVNULL)
        for package in TOOLS.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True)
    if not (TOOLS / "venv" / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", TOOLS / "venv"], check=True)
        subprocess.run([TOOLS / "venv/bin/pip", "install", "--quiet", "aiohttp==3.14.5"], check=True)
        (TOOLS / "venv" / "done").touch()
    return root


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on(core):
    return ["taskset", "-c", str(core)]


def ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(root, environment, pid, port, workload):
    before = ticks(pid)
    output = subprocess.run(
        [*on(1), root / "usr/bin/wrk", "-t1", "-c64", "-d4s", "--latency", *WORKLOADS[workload], f"http://127.0.0.1:{port}/{workload}"],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "Non-2xx" not in output, output
    count = int(re.search(r"(\d+) requests in", output).group(1))
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms)", output).groups()
    return (ticks(pid) - before) / count * 1e6, float(p99) * (1000 if unit == "ms" else 1)


def main():
    programs, rounds = sys.argv[1].split(","), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    root = set_up()
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    broker_port, nginx_port, aiohttp_port = free_port(), free_port(), free_port()
    configuration = TOOLS / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    configuration.write_text(CONFIGURATION.format(root=root, tools=TOOLS, port=nginx_port, user=user))
    started = []

    def start(*command, **options):
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options))
        return started[-1]

    found = {}
    try:
        start(ROOT / ".tools/venv/bin/nats-server", "-p", str(broker_port))
        time.sleep(0.5)
        nginx = start(*on(0), root / "usr/sbin/nginx", "-c", configuration, "-p", TOOLS, env=environment)
        aiohttp = start(*on(0), TOOLS / "venv/bin/python", HERE / "aiohttp_service.py", str(aiohttp_port))
        peers = [["nginx", 0, nginx_port], ["aiohttp", aiohttp.pid, aiohttp_port]]
        for number, program in enumerate(programs, 1):
            port = free_port()
            broker = f"nats://127.0.0.1:{broker_port}"
            panini = start(*on(0), program, "run", HERE / "service.lua", "--server", broker, "--web-port", str(port))
            peers.append([f"panini{number}" if len(programs) > 1 else "panini", panini.pid, port])
        time.sleep(1.5)
        children = pathlib.Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split()
        peers[0][1] = children[0]
        for _ in range(rounds):
            for workload in WORKLOADS:
                for name, pid, port in peers:
                    found.setdefault((workload, name), []).append(load(root, environment, pid, port, workload))
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
    for (workload, name), values in sorted(found.items()):
        cpu, p99 = zip(*values)
        print(f"{workload:6} {name:7} {statistics.median(cpu):6.2f} us CPU  p99 {statistics.median(p99):6.0f} us  {[round(c, 1) for c in cpu]}")


main()
