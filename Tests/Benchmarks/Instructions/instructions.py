#!/usr/bin/env python3
"""Usage: instructions.py [--runs N] [--kinds raw,json,raw-request,json-request,hello] PROGRAM...

Counts the instructions that a `panini` program spends on a message, with valgrind's callgrind: the same program, run with
few messages and with many; the difference, divided by the messages between, is the cost of one. Other load on the machine
changes nothing of it. Several programs take turns, so that two versions are compared in one go.

  raw           a one-way message of 16 bytes, to a handler that does nothing
  json          a one-way message of 158 bytes, of which a field is read
  raw-request   a request of 16 bytes, answered with them; one at a time
  json-request  a request of 158 bytes, answered with the object encoded anew; one at a time
  hello         GET of a route that answers "hello", over one connection; one at a time

Needs valgrind, and nats-server in PATH or in PANINI_NATS_SERVER. `strip -g` of a copy of the program makes it start sooner.
Exit codes: 0, or 1 when a run fails.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
JSON = (
    b'{"key1":"value1","key2":2,"key3":3.0,"key4":[1,2,3,4],"key5":{"1":1,"2":2,"3":3,"4":4,"5":5},'
    b'"key6":{"subkey1":"1","subkey2":2,"3":3,"4":4,"5":5},"key7":null}'
)
RAW = b"0123456789abcdef"
KINDS = ["raw", "json", "raw-request", "json-request", "hello"]
FEW, MANY = 1000, 6000
# One-way messages go in bursts of this many, each acknowledged before the next.
BURST = 50
PATIENCE = 120


class Client:
    """A connection to nats-server that counts what it gets, byte by byte: nothing of it varies from run to run."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self._until(rb"INFO .*\r\n")
        self.socket.sendall(b'CONNECT {"verbose":false}\r\nSUB _r 1\r\nPING\r\n')
        self._until(rb"PONG\r\n")

    def _until(self, pattern):
        while not (match := re.search(pattern, self.rest)):
            data = self.socket.recv(1 << 16)
            if not data:
                raise RuntimeError("the broker has closed the connection")
            self.rest += data
        self.rest = self.rest[match.end() :]

    def publish(self, subject, payload, count):
        message = b"PUB %s %d\r\n%s\r\n" % (subject, len(payload), payload)
        self.socket.sendall(message * count)

    def request(self, subject, payload):
        self.socket.sendall(b"PUB %s _r %d\r\n%s\r\n" % (subject, len(payload), payload))
        self._until(rb"MSG _r 1 \d+\r\n[^\r]*\r\n")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def http(port, count):
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        for _ in range(count):
            connection.sendall(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"hello"):
                data = connection.recv(4096)
                if not data:
                    raise RuntimeError("the web server has closed the connection")
                answer += data


def drive(kind, count, broker, web):
    client = Client(broker)
    if kind == "hello":
        return http(web, count)
    payload = JSON if kind.startswith("json") else RAW
    if kind.endswith("request"):
        for _ in range(count):
            client.request(b"i.%s.request" % kind.split("-")[0].encode(), payload)
        return None
    for _ in range(count // BURST):
        client.publish(b"i.%s" % kind.encode(), payload, BURST)
        # The service has them when it answers what came behind them.
        client.request(b"i.raw.request", RAW)
    return None


def instructions(program, kind, count, broker, folder):
    """All instructions of one run."""
    web = free_port()
    out = folder / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, "run", HERE / "service.lua"]
    command += ["--server", f"nats://127.0.0.1:{broker}", "--web-port", str(web), "--log-level", "warning"]
    environment = {**os.environ, "PANINI_CONTROL_DIR": str(folder)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as service:
        try:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", web), 1):
                        break
                except OSError:
                    if time.monotonic() > end or service.poll() is not None:
                        raise RuntimeError(f"{program} did not start") from None
                    time.sleep(0.1)
            drive(kind, count, broker, web)
            service.send_signal(signal.SIGTERM)
            said = service.communicate(timeout=PATIENCE)[1].decode()
        finally:
            if service.poll() is None:
                service.kill()
    found = re.search(r"Collected : (\d+)", said)
    if not found:
        raise RuntimeError(f"callgrind has not counted:\n{said[-2000:]}")
    return int(found[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    server = os.environ.get("PANINI_NATS_SERVER") or shutil.which("nats-server")
    for tool in [server, shutil.which("valgrind")]:
        if not tool:
            sys.exit("instructions.py: needs valgrind and nats-server")
    programs = [str(pathlib.Path(program).resolve()) for program in arguments.programs]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        broker = free_port()
        with subprocess.Popen([server, "-a", "127.0.0.1", "-p", str(broker)], stderr=subprocess.DEVNULL) as nats:
            try:
                time.sleep(0.5)
                print(f"{'':14}" + "".join(f"{pathlib.Path(program).name:>24}" for program in arguments.programs))
                for kind in kinds:
                    costs = {program: [] for program in programs}
                    for _ in range(arguments.runs):
                        for program in programs:
                            few = instructions(program, kind, FEW, broker, folder)
                            many = instructions(program, kind, MANY, broker, folder)
                            costs[program].append((many - few) / (MANY - FEW))
                    medians = [statistics.median(costs[program]) for program in programs]
                    line = "".join(
                        f"{median:>15,.0f} {100 * (median / medians[0] - 1):>+6.2f} %" for median in medians
                    )
                    print(f"{kind:14}{line}", flush=True)
            finally:
                nats.terminate()


if __name__ == "__main__":
    main()
