"""What the course of a row can do: requests, bursts, raw bytes to a web server, other commands of the same user."""

import contextlib
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from harness import PATIENCE, PROGRAM, ROOT
from rawsocket import RawSocket

sys.path.insert(0, str(ROOT / "Tests" / "Hostile"))
from attempts.rows import FINE, SOME, WHATEVER  # noqa: E402

# Under a sanitizer everything takes longer, and has memory of its own: there a row has to be survived, and answered.
SANITIZED = bool(os.environ.get("PANINI_SANITIZED"))
SLOWER = 6 if SANITIZED else 1
# How long a course may take.
COURSE = 25 * SLOWER

# In the environment of every program that is besieged; no answer and no log may have it.
SECRET = f"SIEGE-SECRET-{secrets.token_hex(12)}"


class Failed(Exception):
    """The row is red; the text says why."""


def status_of(pid):
    """RSS and its peak, in MB."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+)", text, re.MULTILINE))
    return int(found.get("VmRSS", 0)) / 1024, int(found.get("VmHWM", 0)) / 1024


def delay_of(pid):
    """For how long the program's threads were ready to run and others ran instead, in seconds: the one that waited longest."""
    longest = 0
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, IndexError):
                longest = max(longest, int((task / "schedstat").read_text().split()[1]) / 1e9)
    return longest


@dataclass
class Answer:
    code: int
    payload: bytes


class Requester:
    """Requests over a socket, one after another; nothing of it is the program's own."""

    def __init__(self, port):
        self.port = port
        self.inbox = f"siege.{os.getpid()}.{secrets.token_hex(4)}"
        self.number = 0
        self.connection = None
        self.buffer = b""

    def _open(self):
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        self.buffer = b""
        self.send(
            b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
            + f"SUB {self.inbox}.* 1\r\n".encode()
        )

    def send(self, data):
        if not self.connection:
            self._open()
        self.connection.sendall(data)

    def publish(self, subject, payload=b"{}", times=1, reply=""):
        to = f"{subject} {reply}" if reply else subject
        self.send((f"PUB {to} {len(payload)}\r\n".encode() + payload + b"\r\n") * times)

    def ask(self, subject, payload=b"{}", timeout=None):
        """The answer, or None when none came in time."""
        self.number += 1
        inbox = f"{self.inbox}.{self.number}"
        self.publish(subject, payload, reply=inbox)
        deadline = time.monotonic() + (timeout or PATIENCE)
        while True:
            message = self._message(deadline)
            if message is None:
                self.close()
                return None
            if message[0] == inbox.encode():
                head, body = message[1], message[2]
                code = re.search(rb"^Nats-Service-Error-Code: (\d+)", head, re.MULTILINE) or re.match(rb"NATS/1.0 (\d+)", head)
                return Answer(int(code.group(1)) if code else FINE, body)

    def _message(self, deadline):
        """The next message as (subject, headers, payload)."""
        while True:
            line = self._until(deadline)
            if line is None:
                return None
            fields = line.split(b" ")
            if fields[0] == b"PING":
                self.send(b"PONG\r\n")
            elif fields[0] in (b"MSG", b"HMSG"):
                size = int(fields[-1])
                heads = int(fields[-2]) if fields[0] == b"HMSG" else 0
                body = self._bytes(size + 2, deadline)
                return None if body is None else (fields[1], body[:heads], body[heads:-2])

    def message_with_reply(self, deadline):
        """The reply subject of the next message that has one; None when none comes in time."""
        while (line := self._until(deadline)) is not None:
            fields = line.split(b" ")
            if fields[0] == b"PING":
                self.send(b"PONG\r\n")
            elif fields[0] in (b"MSG", b"HMSG"):
                if self._bytes(int(fields[-1]) + 2, deadline) is None:
                    return None
                if len(fields) == (5 if fields[0] == b"MSG" else 6):
                    return fields[3]
        return None

    def _more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.connection.settimeout(left)
        try:
            data = self.connection.recv(1 << 16)
        except OSError:
            return False
        self.connection.settimeout(PATIENCE)
        self.buffer += data
        return bool(data)

    def _until(self, deadline):
        while b"\r\n" not in self.buffer:
            if not self._more(deadline):
                return None
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _bytes(self, count, deadline):
        while len(self.buffer) < count:
            if not self._more(deadline):
                return None
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Attack:
    """What the course of a row can do."""

    def __init__(self, siege, row, program, folder, port, impostor):
        self.siege = siege
        self.row = row
        self.program = program
        self.folder = folder
        self.port = port
        self.impostor = impostor
        self.broker_port = port if row.program == "broker" else siege.broker_port
        self.requester = Requester(self.broker_port)
        self.open = contextlib.ExitStack()
        self.over = threading.Event()

    @property
    def pid(self):
        return self.program.process.pid

    @property
    def rss(self):
        return status_of(self.pid)[0]

    def fail(self, text):
        raise Failed(text)

    def check(self, condition, text):
        if not condition:
            raise Failed(text() if callable(text) else text)

    # Over the broker.

    def ask(self, name, payload=b"{}", timeout=None):
        return self.requester.ask(f"evil.{name}", payload, timeout or COURSE)

    def ask_for(self, step):
        answer = self.ask(step.name, step.payload)
        if step.code == WHATEVER:
            return
        self.check(answer, f"no answer to {step.name}")
        wanted = step.code if isinstance(step.code, tuple | set) else (step.code,)
        self.check(
            SOME in wanted or answer.code in wanted, lambda: f"{step.name}: {answer.code} instead of {step.code}: {answer.payload[:200]!r}"
        )
        self.check(SECRET.encode() not in answer.payload, f"the secret was given away by {step.name}")

    def burst(self, step):
        reply = f"{self.requester.inbox}.burst"
        self.requester.send(
            b"".join(
                f"PUB evil.{step.names[n % len(step.names)]} {reply} {len(step.payload)}\r\n".encode() + step.payload + b"\r\n"
                for n in range(step.times)
            )
        )
        self.sleep(step.seconds)

    # Over the web server, or the embedded broker.

    def connect(self, port=None, receive=None):
        """A connection that is closed when the course has ended."""
        connection = socket.socket()
        if receive:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", port or self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open.callback(connection.close)
        return connection

    def websocket(self, path="/ws", **options):
        ws = RawSocket(self.port, path, **options)
        self.open.callback(ws.socket.close)
        return ws

    def push(self, connection, data, seconds=None):
        """Sends as much as the other side takes in the time; returns how much that was."""
        deadline = time.monotonic() + (seconds or COURSE)
        view, sent = memoryview(data), 0
        with contextlib.suppress(OSError):
            while sent < len(view) and not self.over.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                connection.settimeout(min(left, 1))
                try:
                    sent += connection.send(view[sent : sent + (1 << 18)])
                except TimeoutError:
                    continue
            connection.settimeout(PATIENCE)
        return sent

    def straddle(self, connection, data, pieces=900, size=65536):
        """The same data again and again, in pieces of which each is read alone and ends in the middle of the data."""
        middle = len(data) // 2
        piece = data[middle:] + data * (size // len(data)) + data[:middle]
        connection.sendall(data[:middle])
        for _ in range(pieces):
            if self.over.is_set():
                break
            self.push(connection, piece, 2)
            time.sleep(0.002)

    def flood(self, connection, data, seconds):
        """The same data again and again for so long."""
        deadline, sent = time.monotonic() + seconds, 0
        while (left := deadline - time.monotonic()) > 0 and not self.over.is_set():
            count = self.push(connection, data, left)
            sent += count
            if count < len(data):
                break
        return sent

    def exchange(self, data, seconds=None):
        """Everything that comes back for some bytes, until the other side closes or the time is over."""
        connection = self.connect()
        self.push(connection, data)
        return self.read(connection, seconds or 5)

    def read(self, connection, seconds, until=None):
        deadline, answer = time.monotonic() + seconds, b""
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0 and not (until and until in answer):
                connection.settimeout(left)
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
        return answer

    def send(self, step):
        connections = [self.connect(receive=4096 if step.status is None else None) for _ in range(step.connections)]
        threads = []
        for number, connection in enumerate(connections):
            data = step.data(number) if callable(step.data) else step.data
            thread = threading.Thread(target=self.push, args=(connection, data, step.seconds + 1), daemon=True)
            thread.start()
            threads.append(thread)
        if step.status is None:
            self.sleep(step.seconds)
        else:
            answer = self.read(connections[0], COURSE, b"\r\n")
            found = re.match(rb"HTTP/1\.1 (\d+)", answer)
            wanted = step.status if isinstance(step.status, tuple | set) else (step.status,)
            self.check((int(found.group(1)) if found else None) in wanted, lambda: f"answered {answer[:100]!r}, not {step.status}")
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)

    def get(self, path, timeout=5):
        """The status of a request on a connection of its own; None when there is no answer."""
        try:
            connection = self.connect()
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            answer = self.read(connection, timeout)
        except OSError:
            return None
        found = re.match(rb"HTTP/1\.1 (\d+)", answer)
        return int(found.group(1)) if found else None

    # The program.

    def sleep(self, seconds):
        self.over.wait(seconds)

    def panini(self, *arguments, timeout=None):
        """Another command of the same user; (exit code, output)."""
        try:
            result = subprocess.run(
                [PROGRAM, *arguments], env=self.siege.environment(self.folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=timeout or COURSE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"panini {' '.join(arguments)} does not come back") from None
        return result.returncode, result.stdout.decode("utf-8", "replace")

    @property
    def control(self):
        return str(self.folder / "control" / f"{self.pid}.sock")

    def call_control(self, data=b'{"command":"ps"}\n', read=True, timeout=5):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(self.control)
        self.open.callback(connection.close)
        connection.sendall(data)
        return self.read(connection, timeout) if read else connection

    def reload(self):
        self.program.signal(signal.SIGHUP)

    def abort(self):
        """Whatever the course still waits for does not come any more."""
        self.over.set()
        connection = self.requester.connection
        with contextlib.suppress(OSError, AttributeError):
            connection.shutdown(socket.SHUT_RDWR)
        self.open.close()

    def close(self):
        self.over.set()
        self.requester.close()
        self.open.close()
