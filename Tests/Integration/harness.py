"""What the tests drive: brokers, services and clients as real processes and connections.

Black box: nothing here knows more of the program than its command line, its output and what goes over the
wire. nats-py is the client, so that no mistake of ours can hide on both ends. Waiting is always polling with a
deadline, and deadlines are generous: they only matter when something is broken.
"""

import asyncio
import ctypes
import itertools
import json
import os
import pathlib
import queue
import re
import select
import signal
import socket
import subprocess
import textwrap
import threading
import time

import nats
import nats.errors

# One number for everything that should happen soon; a busy machine of two cores may take a while.
PATIENCE = float(os.environ.get("PANINI_TEST_PATIENCE", "30"))

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("PANINI_BIN") or str(ROOT / ".build" / "release" / "panini")
NATS_SERVER = os.environ.get("PANINI_NATS_SERVER") or str(ROOT / ".tools" / "venv" / "bin" / "nats-server")


def wait_until(condition, what, timeout=None):
    """Polls until the condition holds and returns its value; fails with `what` at the deadline."""
    deadline = time.monotonic() + (timeout or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout or PATIENCE} s: {what}")
        time.sleep(0.01)


def is_readable(file, timeout):
    """Waits so many seconds for something to read. Not select(): it takes no descriptor above 1023, and a run has many."""
    ready = select.poll()
    ready.register(file, select.POLLIN)
    return bool(ready.poll(timeout * 1000))


# Below the ports that the system gives to connections: one that a program has left for a restart is nobody else's by then. Each
# process of tests begins somewhere else, as several run at once.
_PORTS = range(10_000, 32_000)
_ports = itertools.count(os.getpid() * 7919)


def free_port():
    while True:
        port = _PORTS[next(_ports) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def environment(**changes):
    """The environment of every started program: none of ours leaks in."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PANINI_") and k != "NATS_URL"}
    env["NO_COLOR"] = "1"
    env.update(changes)
    return env


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _prepare_child():
    """Runs in the child before the program begins."""
    # A shell starts background jobs with SIGINT ignored, and so are their children born.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Tests that are killed themselves leave nothing behind either. Programs are started by the main thread only.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A started program whose output is collected line by line."""

    started = []

    def __init__(self, arguments, cwd=None, env=None, stdin=subprocess.DEVNULL):
        self.arguments = [str(a) for a in arguments]
        self.lines = []
        self._condition = threading.Condition()
        self.process = subprocess.Popen(
            self.arguments,
            cwd=cwd,
            env=env or environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_prepare_child,
        )
        Program.started.append(self.process)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        # In pieces: a program that says a lot shares the machine with who reads it.
        rest = b""
        while piece := self.process.stdout.read1(1 << 18):
            whole, end, rest = (rest + piece).rpartition(b"\n")
            if end:
                self._add(whole.decode("utf-8", "replace").split("\n"))
        self._add([rest.decode("utf-8", "replace"), None] if rest else [None])

    def _add(self, lines):
        with self._condition:
            self.lines += lines
            self._condition.notify_all()

    @property
    def output(self):
        with self._condition:
            return "\n".join(line for line in self.lines if line is not None)

    def wait_for(self, pattern, timeout=None):
        """Waits for a line that matches, and returns the match."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + (timeout or PATIENCE)
        seen = 0
        with self._condition:
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if line is None:
                        code = self.process.wait()
                        raise AssertionError(f"ended with {code} before a line like {pattern!r}:\n{self._text()}")
                    match = expression.search(line)
                    if match:
                        return match
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no line like {pattern!r} in:\n{self._text()}")
                self._condition.wait(left)

    def _text(self):
        return "\n".join(line for line in self.lines if line is not None)

    @property
    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=None):
        """Waits for the end and returns the exit code; everything it said is in `output` then."""
        try:
            code = self.process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.arguments}\n{self.output}") from None
        self._reader.join(PATIENCE)
        return code

    def kill(self):
        if self.running:
            self.process.kill()
        self.process.wait()

    @classmethod
    def end_all(cls):
        """Ends what still runs, each by its id; returns its arguments. Reaps the others."""
        left = [process for process in cls.started if process.poll() is None]
        for process in left:
            process.kill()
            process.wait()
        cls.started.clear()
        return [process.args for process in left]

    def assert_nothing_left(self):
        """Nothing of the program's own process group outlives it."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return
        raise AssertionError(f"a process of {self.arguments} is left")


class Broker:
    """A broker of one of the two kinds, on a port of its own that it keeps over restarts."""

    def __init__(self, kind, max_payload=None):
        self.kind = kind
        self.port = free_port()
        self.max_payload = max_payload
        self.program = None
        self._config = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self, tmp_path=None):
        if self.kind == "nats-server":
            arguments = [NATS_SERVER, "-a", "127.0.0.1", "-p", self.port]
            if self.max_payload:
                self._config = pathlib.Path(tmp_path or ".") / f"broker-{self.port}.conf"
                self._config.write_text(f"max_payload: {self.max_payload}\n")
                arguments += ["-c", self._config]
        else:
            assert not self.max_payload
            arguments = [PROGRAM, "broker", "--port", self.port]
        self.program = Program(arguments)
        wait_until(self._answers, f"{self.kind} listens on {self.port}: {self.program.output}")
        return self

    def _answers(self):
        if not self.program.running:
            raise AssertionError(f"{self.kind} ended: {self.program.output}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False

    def stop(self):
        """Ends it in order; the embedded one must then end with 0."""
        self.program.signal(signal.SIGTERM)
        code = self.program.wait()
        if self.kind == "embedded":
            assert code == 0, self.program.output

    def kill(self):
        self.program.kill()


class Reply:
    """What came back, or in: subject, payload, headers."""

    def __init__(self, message):
        self.subject = message.subject
        self.reply = message.reply
        self.payload = message.data
        self.headers = dict(message.headers or {})

    @property
    def json(self):
        return json.loads(self.payload)

    @property
    def text(self):
        return self.payload.decode()

    def __repr__(self):
        return f"<{self.subject} {self.headers or ''} {self.payload!r}>"


class Inbox:
    """The messages of one subscription, in order."""

    def __init__(self, client, subject):
        self.client = client
        self.subject = subject
        self.queue = queue.Queue()
        self.subscription = None

    def next(self, timeout=None):
        try:
            return self.queue.get(timeout=timeout or PATIENCE)
        except queue.Empty:
            raise AssertionError(f"nothing came on {self.subject}") from None

    def take(self, count, timeout=None):
        return [self.next(timeout) for _ in range(count)]

    def __len__(self):
        return self.queue.qsize()

    def empty_after(self, client):
        """True when nothing is there after everything sent before has surely been delivered."""
        client.flush()
        return self.queue.empty()


class NoResponders(Exception):
    """The broker said that nobody listens."""


class Client:
    """nats-py on a thread of its own, with calls that block: tests stay plain functions."""

    def __init__(self, url, **options):
        self.url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.errors = []

        async def on_error(error):
            self.errors.append(error)

        options.setdefault("allow_reconnect", False)
        options.setdefault("connect_timeout", PATIENCE)
        self.nc = self.run(nats.connect(url, error_cb=on_error, **options))

    def run(self, coroutine, timeout=None):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout or 4 * PATIENCE)

    def publish(self, subject, payload=b"", headers=None, reply=""):
        self.run(self.nc.publish(subject, _bytes(payload), headers=headers, reply=reply))

    def flush(self):
        self.run(self.nc.flush(timeout=PATIENCE))

    def request(self, subject, payload=b"", headers=None, timeout=None):
        async def go():
            return await self.nc.request(subject, _bytes(payload), timeout=timeout or PATIENCE, headers=headers)

        try:
            return Reply(self.run(go()))
        except nats.errors.NoRespondersError:
            raise NoResponders(subject) from None

    def ask(self, subject, value=None, **options):
        """A request with a JSON payload whose JSON answer is returned; an error reply fails the test."""
        payload = b"" if value is None else json.dumps(value).encode()
        reply = self.request(subject, payload, **options)
        assert "Nats-Service-Error" not in reply.headers, reply
        return reply.json

    def subscribe(self, subject, queue=""):
        inbox = Inbox(self, subject)

        async def put(message):
            inbox.queue.put(Reply(message))

        inbox.subscription = self.run(self.nc.subscribe(subject, queue=queue, cb=put))
        self.flush()
        return inbox

    def responder(self, subject, function):
        """Answers requests: function(Reply) → payload, or (payload, headers), or None for silence."""

        async def answer(message):
            result = function(Reply(message))
            if result is None:
                return
            payload, headers = result if isinstance(result, tuple) else (result, None)
            await self.nc.publish(message.reply, _bytes(payload), headers=headers)

        self.run(self.nc.subscribe(subject, cb=answer))
        self.flush()

    def collect(self, subject, payloads, headers=None):
        """Sends many requests at once on one inbox per request; returns the inboxes in order."""
        inboxes = []
        for payload in payloads:
            reply_to = self.nc.new_inbox()
            inboxes.append(self.subscribe(reply_to))
            self.publish(subject, payload, headers=headers, reply=reply_to)
        self.flush()
        return inboxes

    def close(self):
        try:
            self.run(self.nc.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)


class Gate:
    """Holds handlers of a service at a point of the test's choosing: they wait in `app.request`."""

    def __init__(self, client, subject="gate"):
        self.client = client
        self.inbox = client.subscribe(subject)

    def arrived(self, timeout=None):
        """Waits for the next handler at the gate."""
        return self.inbox.next(timeout)

    def open(self, held, payload=b"{}"):
        self.client.publish(held.reply, payload)
        self.client.flush()


class Service(Program):
    """`panini run FILE` against a broker, ready to be used, and ended in order."""

    def __init__(self, path, url, arguments=(), env=None, ready=True):
        self.path = pathlib.Path(path)
        super().__init__(
            [PROGRAM, "run", self.path, "--server", url, *arguments],
            cwd=self.path.parent,
            env=environment(**(env or {})),
        )
        self.expected_exit = 0
        if ready:
            self.wait_for(r"\bready\b")

    def stop(self, number=signal.SIGTERM, expect=None):
        """Asks it to stop and checks how it ended."""
        if self.running:
            self.signal(number)
        expected = self.expected_exit if expect is None else expect
        code = self.wait()
        accepted = expected if isinstance(expected, (tuple, set, list)) else (expected,)
        assert code in accepted, f"exit code {code} instead of {expected}:\n{self.output}"
        self.assert_nothing_left()


def script_text(text, name="test", options=""):
    """A complete script: text without an app of its own gets one on line 1, so its body starts at line 2."""
    text = textwrap.dedent(text).strip("\n") + "\n"
    if "panini.app" in text:
        return text
    extra = f", {options}" if options else ""
    return f'local app = panini.app{{ service_name = "{name}"{extra} }}\n{text}'


def panini(*arguments, cwd=None, stdin=None, env=None, timeout=None):
    """Runs the program to its end."""
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(**(env or {})),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout or 4 * PATIENCE,
        check=False,
    )


class RawConnection:
    """The NATS protocol by hand, for what no client would send."""

    def __init__(self, broker):
        self.socket = socket.create_connection(("127.0.0.1", broker.port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")
        self.info = json.loads(self.line().removeprefix("INFO "))

    def connect(self, **options):
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "test", **options}
        self.send(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
        self.until("PONG")
        return self

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def until(self, prefix):
        while True:
            line = self.line()
            if line.startswith(prefix):
                return line
            if line == "":
                raise AssertionError(f"closed before {prefix}")

    def ping(self):
        self.send(b"PING\r\n")
        self.until("PONG")

    def message(self):
        """The next MSG or HMSG: (line, headers block, payload)."""
        line, block, payload = self.message_of_bytes()
        return line.decode(), block, payload

    def message_of_bytes(self):
        """The same, for subjects of any bytes."""
        while True:
            line = self.file.readline().rstrip(b"\r\n")
            if line == b"PING":
                self.send(b"PONG\r\n")
                continue
            fields = line.split(b" ")
            if fields[0] == b"MSG":
                size, header_size = int(fields[-1]), 0
            elif fields[0] == b"HMSG":
                size, header_size = int(fields[-1]), int(fields[-2])
            else:
                raise AssertionError(f"unexpected: {line!r}")
            block = self.file.read(size)
            assert self.file.read(2) == b"\r\n"
            return line, block[:header_size], block[header_size:]

    def closed(self):
        """Whether the other side closes the connection (after whatever it still says)."""
        self.socket.settimeout(PATIENCE)
        try:
            return self.file.read() is not None
        except ConnectionError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()


def _bytes(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value).encode()


def assert_error(reply, code, text=None):
    """An error reply as the contract has it: both headers and the JSON body agree."""
    assert reply.headers.get("Nats-Service-Error-Code") == str(code), reply
    body = reply.json
    assert body["success"] is False
    assert body["code"] == code
    assert isinstance(body["error"], str) and body["error"]
    assert reply.headers["Nats-Service-Error"]
    if text is not None:
        assert text in body["error"], reply
        assert text in reply.headers["Nats-Service-Error"], reply
    return body
