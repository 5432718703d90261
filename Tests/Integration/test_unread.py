"""Bytes that wait for a peer: clients that do not read, do not finish what they send, or do both by the hundred. What the program
holds for them is measured from outside, as resident memory."""

import contextlib
import glob
import json
import os
import re
import signal
import socket
import struct
import threading
import time

import h2.events
import h2.exceptions
import h2.settings
import pytest

from harness import PATIENCE, panini, wait_until
from rawsocket import BINARY, PING, PONG, TEXT, RawSocket, frame
from test_http2 import Frames

SCRIPT = """
app.http.get("/big", function(req) return ("0123456789"):rep(10000) end)
app.http.get("/small", function(req) return { ok = true } end)
app.http.get("/later", function(req) app.sleep(0.001) return ("0123456789"):rep(1000) end)
app.http.get("/moved", function(req) return panini.response{ status = 302, headers = { location = "/small" } } end)
app.http.get("/fails", function(req) error{ code = 400, message = ("x"):rep(1000) } end)
app.http.post("/take", function(req) return { bytes = #req.body } end)
app.http.post("/echo", function(req) return panini.response{ body = req.body } end)
app.http.get("/stream", function(req) return panini.response{ stream = function(write)
    while write(("x"):rep(10000)) do end end } end)
app.http.get("/events", function(req) return panini.response{ events = function(send)
    while send{ data = ("x"):rep(1000) } do end end } end)
local open_streams = 0
app.http.get("/counted", function(req) return panini.response{ stream = function(write)
    open_streams = open_streams + 1
    while write(("x"):rep(100000)) do end
    open_streams = open_streams - 1 end } end)
app.http.get("/many", function(req) return panini.response{ stream = function(write)
    local piece, spawned = ("x"):rep(3000000), {}
    for i = 1, 40 do spawned[i] = app.spawn(function() return select(2, write(piece)) end) end
    local results = {}
    for _, handle in ipairs(spawned) do
        local err = handle.wait()
        results[#results + 1] = err and err.code or "written"
    end
    table.sort(results)
    write(results[1] .. " " .. results[40]) end } end)
app.listen("open", function(msg) return { open = open_streams } end)
app.http.websocket("/ws", { max_message = "2MB" }, { message = function(ws, text) ws.send(text) end })
app.http.websocket("/quiet", { max_message = "2MB" }, { message = function(ws, text) end })
app.http.nats_bridge("/bridge", { allow = { "news.>" } })
app.http.static("/files", "files")
"""
FILES = {"files/a.bin": "0123456789" * 100_000}
MB = 1 << 20
# What the tests themselves need: buffers of the allocator, of Lua and of a first request of each kind.
ALLOWANCE = 24 * MB
# How long a program may take until it rests: it first answers what the system's buffers have room for.
REST = max(90, 6 * PATIENCE)


class Web:
    def __init__(self, running, control):
        self.process = running.process
        self.running = running
        self.control = control
        self.port = int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", running.output).group(1))

    @property
    def memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) << 10

    @property
    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def busy(self):
        """The seconds in which its threads have run, or waited for a processor: one that others starve does not rest."""
        total = 0
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                ran, waited, _ = file.read().split()
                total += int(ran) + int(waited)
        return total / 1e9

    def rests(self):
        """Whether it does next to nothing for a moment, although clients go on sending."""
        before, begun = self.busy, time.monotonic()
        time.sleep(0.5)
        return self.busy - before < 0.1 * (time.monotonic() - begun)

    def status(self):
        """What `panini ps --json` says of it."""
        return json.loads(panini("ps", "--json", env=self.control).stdout)[0]

    def ask(self, path="/small"):
        """The status of a small request of a client that does nothing wrong."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while more := client.recv(65536):
                data += more
        return int(data.split(b" ", 2)[1])


@pytest.fixture
def clients():
    """A list of clients that are closed when the test ends."""
    made = []
    yield made
    for client in made:
        client.close()


@pytest.fixture
def web(service, tmp_path):
    """web(options) → the program, warm."""

    def start(options="", script=SCRIPT):
        control = {"PANINI_CONTROL_DIR": str(tmp_path / "control")}
        options = "web_server = true, web_port = 0" + options
        instance = Web(service(script, options=options, files=FILES, env=control), control)
        for path in ("/small", "/big", "/files/a.bin"):
            assert instance.ask(path) == 200
        return instance

    return start


class Flood:
    """A client that sends the same for as long as it is taken, and reads nothing."""

    def __init__(self, port, data, before=b"", connect=None):
        if connect:
            self.socket = connect()
        else:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(0.2)
        self.sent = 0
        self.ended = False
        self.failed = False
        self.data = data * max(1, 65536 // len(data))
        self.socket.sendall(before)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        rest = memoryview(self.data)
        while not self.ended:
            try:
                count = self.socket.send(rest)
            except TimeoutError:
                continue
            except OSError:
                self.failed = True
                return
            self.sent += count
            rest = rest[count:] or memoryview(self.data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()
        self.socket.close()


def request(path, method="GET", extra="", body=""):
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{extra}\r\n{body}".encode()


PIPELINED = {
    "a large answer": request("/big"),
    "a small answer": request("/small"),
    "an answer that takes a moment": request("/later"),
    "HEAD": request("/big", "HEAD"),
    "nothing there": request("/nothing"),
    "a wrong method": request("/take"),
    "a redirect": request("/moved"),
    "an error": request("/fails"),
    "the server as a whole": request("*", "OPTIONS"),
    "a file": request("/files/a.bin"),
    "no file": request("/files/none"),
    "a file that is not newer": request("/files/a.bin", extra="If-None-Match: *\r\n"),
    "a part of a file": request("/files/a.bin", extra="Range: bytes=0-9999\r\n"),
    "a stream": request("/stream"),
    "events": request("/events"),
    "a body": request("/echo", "POST", "Content-Length: 20000\r\n", "x" * 20000),
    "a body that is asked for": request("/take", "POST", "Content-Length: 1\r\nExpect: 100-continue\r\n", "x"),
    "a compressed answer": request("/big", extra="Accept-Encoding: gzip\r\n"),
}


@pytest.mark.parametrize("kind", PIPELINED)
def test_requests_wait_until_their_answers_are_read(web, kind):
    program = web()
    before = program.memory
    with Flood(program.port, PIPELINED[kind]) as flood:
        wait_until(program.rests, "the server stops to read", REST)
        assert program.memory - before < ALLOWANCE
        assert not flood.failed
        assert program.ask() == 200


def test_who_reads_again_gets_all_answers_in_order(web):
    program = web()
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as client:
        count = 300
        sender = threading.Thread(target=client.sendall, args=(b"".join(request(f"/nothing?{n}") + request("/big") for n in range(count)),))
        sender.start()
        time.sleep(0.5)
        data, expected = b"", b"0123456789" * 10000
        for _ in range(count):
            for status, body in ((b"404", None), (b"200", expected)):
                while b"\r\n\r\n" not in data:
                    data += client.recv(1 << 20)
                head, data = data.split(b"\r\n\r\n", 1)
                assert head.split(b" ")[1] == status
                length = int(re.search(rb"content-length: (\d+)", head).group(1))
                while len(data) < length:
                    data += client.recv(1 << 20)
                assert body is None or data[:length] == body
                data = data[length:]
        sender.join()
        assert data == b""


def test_what_came_before_the_end_is_answered_when_it_is_read(web):
    program = web()
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as client:
        client.sendall(request("/big") * 100)
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        size = 0
        while more := client.recv(1 << 20):
            size += len(more)
        assert size > 100 * 100000


def test_who_takes_nothing_is_given_up(web):
    program = web(", web_idle_timeout = 1")
    with Flood(program.port, request("/big")) as flood:
        wait_until(lambda: flood.failed, "the connection ends")


def test_only_the_newest_pong_waits(web):
    program = web()
    ws = RawSocket(program.port, "/ws")
    before = program.memory
    with Flood(program.port, b"".join(frame(PING, bytes([n]) * 125) for n in range(100)), connect=lambda: ws.socket) as flood:
        wait_until(lambda: flood.sent > 40 * MB or flood.failed, "pings are sent", REST)
        assert program.memory - before < ALLOWANCE
        assert program.ask() == 200
        flood.ended = True
        flood.thread.join()
        if flood.failed:
            return
        ws.socket.settimeout(PATIENCE)
        # The one under way may be cut: its rest is sent, then one more, whose pong is the last.
        rest = flood.sent % len(flood.data)
        reader = threading.Thread(target=ws.socket.sendall, args=(flood.data[rest:] + frame(PING, b"last"),))
        reader.start()
        while True:
            received = ws.receive()
            assert received[0] == PONG
            if received[1] == b"last":
                break
        reader.join()


def test_each_ping_of_a_client_that_reads_is_answered(web):
    program = web()
    with RawSocket(program.port, "/ws") as ws:
        for n in range(100):
            ws.send(frame(PING, b"%d" % n))
        assert [ws.receive() for _ in range(100)] == [(PONG, b"%d" % n) for n in range(100)]


def test_echoes_that_nobody_reads(web):
    program = web()
    ws = RawSocket(program.port, "/ws")
    before = program.memory
    with Flood(program.port, frame(TEXT, b"x" * 100_000), connect=lambda: ws.socket):
        wait_until(program.rests, "the server stops to read", REST)
        assert program.memory - before < ALLOWANCE
        assert program.ask() == 200


def test_a_bridge_client_that_does_not_read(web, client):
    program = web()
    slow, quick = RawSocket(program.port, "/bridge"), RawSocket(program.port, "/bridge")
    for ws in (slow, quick):
        ws.send(frame(TEXT, b'{"action":"subscribe","subjects":["news.>"]}'))
        assert json.loads(ws.receive()[1])["success"]
    before = program.memory
    with slow, quick:
        for n in range(120):
            client.publish("news.a", json.dumps(f"{n:06}" + "x" * 500_000).encode())
            client.flush()
            assert f"{n:06}".encode() in quick.receive()[1][:100]
        # max_unsent of its route.
        assert program.memory - before < ALLOWANCE + 20 * MB


# MARK: HTTP/2


class Windowless(Frames):
    """A client that lets nobody send it any bytes of bodies."""

    def __init__(self, port):
        super().__init__(port)
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self.flush()
        # Its settings count from here on.
        self.wait(h2.events.SettingsAcknowledged)
        self.socket.settimeout(PATIENCE)

    def ask(self, path, count, **options):
        for _ in range(count):
            if self.closed:
                return
            self.request(path, **options)


@pytest.mark.parametrize("path", ["/big", "/later", "/files/a.bin", "/stream"])
def test_http2_answers_behind_closed_windows(web, clients, path):
    program = web(', web_memory = "32MB"')
    before = program.memory
    # Each stream's handler has memory of its own in Lua.
    count = 10 if path == "/stream" else 40
    clients += [Windowless(program.port) for _ in range(count)]
    for client in clients:
        client.ask(path, 99)
    wait_until(program.rests, "the server rests", REST)
    assert program.memory - before < 32 * MB + ALLOWANCE
    assert program.status()["web_bytes"] <= 32 * MB
    assert program.ask() == 200
    for client in clients:
        client.close()
    wait_until(lambda: program.status()["web_bytes"] < MB, "nothing is held")
    wait_until(lambda: program.memory - before < ALLOWANCE, "the memory is given back", REST)


def test_http2_answers_come_when_the_window_opens(web, clients):
    program = web()
    client = Windowless(program.port)
    clients.append(client)
    client.ask("/big", 60)
    time.sleep(0.5)
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    client.flush()
    deadline = time.monotonic() + PATIENCE
    while sum(isinstance(event, h2.events.StreamEnded) for event in client.events) < 60:
        assert time.monotonic() < deadline and client.read()
    sizes = {}
    for event in client.events:
        if isinstance(event, h2.events.DataReceived):
            sizes[event.stream_id] = sizes.get(event.stream_id, 0) + len(event.data)
    assert len(sizes) == 60 and set(sizes.values()) == {100_000}


def test_http2_clients_that_take_nothing_are_given_up(web, clients):
    program = web(", web_idle_timeout = 1")
    client = Windowless(program.port)
    clients.append(client)
    client.ask("/small", 20)
    wait_until(lambda: program.status()["web_bytes"] == 0, "nothing is held")
    ended = (h2.events.StreamReset, h2.events.ConnectionTerminated)
    wait_until(lambda: not client.read() or sum(isinstance(event, ended) for event in client.events) >= 20, "the streams end")


@pytest.mark.parametrize("end", ["half of the connection", "all of it"])
def test_http2_windows_of_a_client_that_has_left_are_not_waited_for(web, clients, end):
    """It can open none of them any more. web_idle_timeout, which is longer than the test waits, was what ended it."""
    program = web(", web_idle_timeout = 600")
    client = Windowless(program.port)
    clients.append(client)
    # With more than 1 MB behind the windows the others wait for their turn.
    count = 8 if end == "all of it" else 20
    client.ask("/big", count)
    heads = h2.events.ResponseReceived
    wait_until(lambda: sum(isinstance(e, heads) for e in client.events) >= 8 or client.read() and False, "the heads are there")
    wait_until(lambda: program.status()["web_bytes"] > MB // 2, "what waits is counted")
    if end == "all of it":
        # Nothing is unread: this is no reset.
        client.close()
    else:
        client.socket.shutdown(socket.SHUT_WR)
        while client.read():
            pass
        assert sum(isinstance(event, h2.events.StreamReset) for event in client.events) == count
    wait_until(lambda: program.status()["web_bytes"] == 0, "nothing is held")


def test_http2_requests_that_come_while_the_socket_fills(web, clients):
    """Their streams begin while the connection is not read; they are served all the same."""
    program = web(script=SCRIPT + """
        app.http.get("/wide", function(req) return panini.response{ text = "ok", headers = { ["x-wide"] = ("x"):rep(8000) } } end)
        """)
    client = Frames(program.port)
    clients.append(client)
    client.wait(h2.events.SettingsAcknowledged)
    streams = []
    for _ in range(40):
        streams.append(client.h2.get_next_available_stream_id())
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/wide"), (":authority", "x")]
        client.h2.send_headers(streams[-1], fields, end_stream=True)
    # In one read: the heads of the first answers fill what the server gives to the socket.
    client.flush()
    for stream in streams:
        client.wait(h2.events.StreamEnded, stream)
        assert client.status(stream) == 200


@pytest.mark.parametrize("kind", ["ping", "settings", "refused"])
def test_http2_acknowledgements_that_nobody_reads(web, kind):
    program = web()
    client = Frames(program.port)
    before = program.memory
    if kind == "ping":
        data = struct.pack(">BHBBI", 0, 8, 6, 0, 0) + b"12345678"
    elif kind == "settings":
        data = struct.pack(">BHBBI", 0, 0, 4, 0, 0)
    else:
        # GET http x /nothing, by HPACK's own table.
        block = b"\x82\x86\x04\x08/nothing\x01\x01x"
        data = b"".join(struct.pack(">BHBBI", 0, len(block), 1, 5, stream) + block for stream in range(1, 40001, 2))
    with Flood(program.port, data, connect=lambda: client.socket) as flood:
        # Either it is not read any more, or it was told to go.
        wait_until(lambda: flood.failed or program.rests(), "the server stops to read", REST)
        assert program.memory - before < ALLOWANCE
        assert program.ask() == 200


def test_an_http2_connection_has_a_bound_of_its_own(web):
    program = web(', web_connection_memory = "2MB", web_max_body = "1MB"')
    client = Frames(program.port)
    try:
        for _ in range(10):
            stream = client.request("/take", "POST", end=False)
            for _ in range(100):
                while client.h2.local_flow_control_window(stream) < 9000:
                    assert client.read()
                client.h2.send_data(stream, b"x" * 9000)
                client.flush()
    except (AssertionError, h2.exceptions.ProtocolError):
        pass  # It has ended meanwhile.
    wait_until(lambda: client.closed or not client.read(), "the connection ends")
    assert any(isinstance(event, h2.events.ConnectionTerminated) for event in client.events)
    assert program.status()["shed_connections"] == 1
    assert program.running.output.count("web_connection_memory") == 1
    assert program.ask() == 200


def test_requests_behind_closed_windows_end_with_a_stop(web):
    """Those that wait for room are not begun for the room that the end makes: their script has gone by then."""
    program = web(", shutdown_timeout = 1", script=SCRIPT + """
        app.http.get("/huge", function(req) return ("0123456789"):rep(100000) end)
        """)
    client = Windowless(program.port)
    client.ask("/huge", 20)
    wait_until(lambda: program.status()["web_bytes"] > MB, "answers wait")
    program.running.expected_exit = (0, 1)
    program.running.signal(signal.SIGTERM)
    assert program.running.wait() in (0, 1), program.running.output


def test_requests_that_wait_do_not_begin_when_their_client_goes(web, client):
    program = web(script=SCRIPT + """
        local begun = 0
        app.http.get("/huge", function(req) begun = begun + 1 return ("0123456789"):rep(100000) end)
        app.listen("begun", function() return { begun = begun } end)
        """)
    # Once as the client leaves, once as it breaks the protocol.
    for ends in (lambda one: one.close(), lambda one: one.socket.sendall(struct.pack(">BHBBI", 0, 1, 0, 0, 0) + b"x")):
        before = client.ask("begun")["begun"]
        one = Windowless(program.port)
        one.ask("/huge", 40)
        wait_until(program.rests, "the server rests", REST)
        begun = client.ask("begun")["begun"] - before
        assert 0 < begun < 40
        ends(one)
        wait_until(lambda: program.status()["web_bytes"] == 0, "nothing is held")
        wait_until(program.rests, "the server rests", REST)
        assert client.ask("begun")["begun"] - before == begun
        one.close()


def test_what_a_window_holds_back_is_dropped_with_its_connection(web, clients):
    """NIO's handler keeps it for as long as the channel is there, and the channel lingers."""
    program = web(script=SCRIPT + """
        app.http.get("/huge", function(req) return ("0123456789"):rep(100000) end)
        """)
    before = program.memory
    for _ in range(60):
        client = Windowless(program.port)
        clients.append(client)
        client.request("/huge")
        # DATA of no stream, when the answer is there.
        wait_until(lambda: any(isinstance(event, h2.events.ResponseReceived) for event in client.events) or not client.read(), "an answer")
        client.socket.sendall(struct.pack(">BHBBI", 0, 1, 0, 0, 0) + b"x")
    assert program.memory - before < ALLOWANCE
    assert program.status()["web_bytes"] < 2 * MB


def test_nothing_is_left_of_clients_that_break_the_protocol_and_go(web):
    """A read that a reset breaks off has no end: NIO's handler kept the streams that wait for it, and they the handler."""
    program = web(', web_memory = "64MB"', script=SCRIPT + """
        app.http.get("/huge", function(req) return ("0123456789"):rep(100000) end)
        """)
    before = program.memory
    ask = b"\x82\x86\x04\x05/huge\x01\x01x"
    frames = [(4, 0, 0, b""), (1, 5, 1, ask), (0, 0, 0, b"x")]
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(
        struct.pack(">BHBBI", 0, len(payload), kind, flags, stream) + payload for kind, flags, stream, payload in frames
    )
    for _ in range(9):
        made = [socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) for _ in range(100)]
        for one in made:
            one.sendall(data)
        time.sleep(0.3)
        for one in made:
            one.close()
        time.sleep(0.5)
    wait_until(lambda: program.memory - before < 2 * ALLOWANCE, "the memory is given back", REST)
    assert program.ask() == 200


# MARK: The budget of all connections


def unfinished(program, data):
    """A connection that lacks the last byte of what it sends."""
    connection = socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE)
    try:
        connection.sendall(data)
    except OSError:
        pass  # The server has refused it while it was sent.
    return connection


BODIES = {
    "by length": request("/take", "POST", f"Content-Length: {MB}\r\n", "x" * (MB - 1)),
    "in chunks": request("/take", "POST", "Transfer-Encoding: chunked\r\n", f"{MB - 9:x}\r\n" + "x" * (MB - 10)),
}


@pytest.mark.parametrize("kind", [*BODIES, "a WebSocket's message"])
def test_bodies_that_lack_their_last_byte(web, clients, kind):
    program = web(', web_memory = "32MB"')
    before = program.memory
    held = clients
    if kind in BODIES:
        for _ in range(200):
            held.append(unfinished(program, BODIES[kind]))
    else:
        data = frame(BINARY, b"x" * MB)[:-1]
        for _ in range(200):
            ws = RawSocket(program.port, "/quiet")
            try:
                ws.send(data)
            except OSError:
                pass
            held.append(ws.socket)
    wait_until(program.rests, "everything is read", REST)
    # A buffer that grows lies in memory twice for a moment.
    assert program.memory - before < 32 * MB + ALLOWANCE
    status = program.status()
    assert 0 < status["web_bytes"] <= 32 * MB and status["shed_connections"] >= 150
    # One line, and one that counts.
    assert program.running.output.count("web_memory") == 1
    assert program.ask() == 200
    for connection in held:
        connection.close()
    wait_until(lambda: program.status()["web_bytes"] < MB, "nothing is held")
    wait_until(lambda: program.memory - before < ALLOWANCE, "the memory is given back", REST)


def test_the_worst_goes_first_and_is_told(web):
    program = web(', web_memory = "8MB", web_max_body = "16MB"')
    small = [unfinished(program, request("/take", "POST", "Content-Length: 100000\r\n", "x" * 99999)) for _ in range(10)]
    wait_until(lambda: program.status()["web_bytes"] > 10 * 65536, "they are there")
    with unfinished(program, request("/take", "POST", f"Content-Length: {12 * MB}\r\n", "x" * (12 * MB - 1))) as worst:
        answer = b""
        while more := worst.recv(65536):
            answer += more
        assert answer.split(b" ")[1] in (b"413", b"503")
        assert b'"success":false' in answer
    for connection in small:
        connection.sendall(b"x")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.close()
    assert program.status()["shed_connections"] == 1


def test_unread_answers_count_like_bodies(web, clients):
    program = web(
        ', web_memory = "8MB"',
        script=SCRIPT + """
        app.http.get("/huge", function(req) return ("0123456789"):rep(200000) end)
        """,
    )
    before = program.memory
    for _ in range(40):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", program.port))
        client.sendall(request("/huge") * 5)
        clients.append(client)
    wait_until(program.rests, "the server rests", REST)
    assert program.memory - before < 8 * MB + ALLOWANCE
    assert program.status()["web_bytes"] <= 8 * MB
    assert program.ask() == 200


def test_services_and_workers_share_the_memory(start, broker, tmp_path):
    control = {"PANINI_CONTROL_DIR": str(tmp_path / "control"), "PANINI_WEB_MEMORY": "16MB"}
    running = start(broker.url, SCRIPT, options="web_server = true, web_port = 0", files=FILES, env=control, arguments=["--workers", "2"])
    program = Web(running, control)
    before = program.memory
    held = [unfinished(program, BODIES["by length"]) for _ in range(60)]
    wait_until(program.rests, "everything is read", REST)
    assert program.memory - before < 16 * MB + ALLOWANCE
    status = program.status()
    assert status["web_bytes"] <= 16 * MB and status["shed_connections"] >= 35
    for connection in held:
        connection.close()


def test_streams_end_with_clients_that_leave(web, client):
    """A connection that is closed has room again before it says so: a stream must not go on writing into that for its whole budget."""
    program = web()
    for _ in range(2):
        left = []
        for _ in range(60):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", program.port))
            one.sendall(request("/counted"))
            left.append(one)
        wait_until(lambda: client.ask("open")["open"] == 60, "all streams run")
        time.sleep(0.3)
        begun, cpu = time.monotonic(), program.cpu
        for one in left:
            one.shutdown(socket.SHUT_RDWR)
            one.close()
        wait_until(lambda: client.ask("open")["open"] == 0, "all streams have ended")
        assert program.cpu - cpu < 5, (program.cpu - cpu, time.monotonic() - begun)
    assert "too much CPU" not in program.running.output


def test_a_stream_whose_own_write_meets_the_end(web, client):
    """The write that learns of a reset tells of the end before its function waits: who waited then would wait for good, and so would
    a stop."""
    program = web(', limits = { cpu = 30 }', script=SCRIPT + """
        app.http.get("/busy", function(req) return panini.response{ stream = function(write)
            write("on")
            -- The loop sees nothing of the client in the meantime.
            local ok, err
            repeat
                local begun = os.clock()
                while os.clock() - begun < 0.05 do end
                ok, err = write("on")
            until not ok
            app.publish("ended", { code = err.code })
        end } end)
        """)
    ended = client.subscribe("ended")
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.sendall(request("/busy"))
        assert one.recv(65536)
    assert ended.next().json == {"code": "closed"}
    begun = time.monotonic()
    program.running.signal(signal.SIGTERM)
    assert program.running.wait() == 0
    assert time.monotonic() - begun < 10


def read_whole(port, path, pause):
    """The decoded body of a chunked answer to a client that begins to read late."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
        one.sendall(request(path, extra="Connection: close\r\n"))
        time.sleep(pause)
        data = b""
        while more := one.recv(1 << 20):
            data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    body = b""
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def test_all_who_wait_to_write_to_a_stream_go_on(web):
    program = web()
    body = read_whole(program.port, "/many", 1)
    # Beyond web_connection_memory it is refused, and nobody is forgotten: 64 MB have room for 22 of them.
    assert body.endswith(b"too_slow written"), body[-40:]
    pieces = body.removesuffix(b"too_slow written")
    assert len(pieces) % 3_000_000 == 0 and 10 <= len(pieces) // 3_000_000 < 40


def test_what_waits_in_a_stream_is_bounded(web):
    program = web(", web_connection_memory = \"8MB\"")
    before = program.memory
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as one:
        one.sendall(request("/many"))
        time.sleep(2)
        assert program.memory - before < 40 * MB, (before, program.memory)
