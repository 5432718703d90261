"""HTTP/2 from outside, with curl, httpx and frames made by hand: the same handlers, limits and streams as over HTTP/1.1."""

import json
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import httpx
import pytest

from harness import PATIENCE, wait_until
from secure import Certificates
from test_http_malformed import exchange

SCRIPT = """
app.http.get("/hello", function(req) return "hello" end)
app.http.get("/seen", function(req) return { method = req.method, path = req.path, query = req.query, host = req.headers.host,
    cookies = req.cookies, address = req.remote_address } end)
app.http.post("/echo", function(req) return panini.response{ body = req.body } end)
app.http.post("/small", { max_body = 1000 }, function(req) return "taken" end)
app.http.get("/large", function(req) return string.rep("0123456789", 200000) end)
app.http.get("/nothing", function(req) return nil end)
app.http.get("/error", function(req) error("fault") end)
app.http.get("/slow", { timeout = 0.3 }, function(req) app.sleep(30) end)
app.http.get("/gate", function(req) app.request("gate", {}, { timeout = 60 }) return "through" end)
app.http.get("/stream", function(req) return panini.response{ stream = function(write)
    for i = 1, 100 do assert(write(string.rep("x", 10000))) end end } end)
app.http.get("/endless", function(req) return panini.response{ stream = function(write)
    local n = 0
    while write(string.rep("x", 10000)) do n = n + 1 app.publish("progress", { n = n }) end
    app.publish("ended", { n = n })
end } end)
app.http.get("/broken", function(req) return panini.response{ stream = function(write) write("part") error("broken") end } end)
app.http.get("/events", function(req) return panini.response{ events = function(send) for i = 1, 3 do send{ data = i } end end } end)
app.http.static("/files", "files")
app.listen("ping", function() return "pong" end)
"""
FILES = {"files/a.bin": "0123456789" * 100_000}
WEB = "web_server = true, web_port = 0"


@pytest.fixture
def served(service):
    """served(options) → (the port, the service), without TLS."""

    def start(options=""):
        running = service(SCRIPT, options=WEB + options, files=FILES)
        return int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", running.output).group(1)), running

    return start


@pytest.fixture
def secure(service, tmp_path):
    """The same with TLS: (the port, a certificate's file, the service)."""
    authority = Certificates(tmp_path / "certificates")
    certificate, key = authority.issue("localhost", "DNS:localhost", "serverAuth")

    def start(options=""):
        running = service(SCRIPT, options=f'{WEB}, web_tls = {{ cert_file = "{certificate}", key_file = "{key}" }}{options}', files=FILES)
        return int(re.search(r"web server on https://127\.0\.0\.1:(\d+)", running.output).group(1)), authority.ca, running

    return start


def curl(*arguments):
    result = subprocess.run(["curl", "-sS", "-m", str(PATIENCE), *map(str, arguments)], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_alpn_with_curl(secure):
    port, authority, _ = secure()
    common = ["--cacert", authority, "--resolve", f"localhost:{port}:127.0.0.1", "-w", "\\n%{http_version}"]
    assert curl(*common, "--http2", f"https://localhost:{port}/hello") == b"hello\n2"
    assert curl(*common, "--http1.1", f"https://localhost:{port}/hello") == b"hello\n1.1"


def test_it_can_be_switched_off(secure):
    port, authority, _ = secure(", web_http2 = false")
    common = ["--cacert", authority, "--resolve", f"localhost:{port}:127.0.0.1", "-w", "\\n%{http_version}"]
    assert curl(*common, "--http2", f"https://localhost:{port}/hello") == b"hello\n1.1"


def test_prior_knowledge_with_curl(served):
    port, _ = served()
    assert curl("--http2-prior-knowledge", "-w", "\\n%{http_version}", f"http://127.0.0.1:{port}/hello") == b"hello\n2"
    assert len(curl("--http2-prior-knowledge", f"http://127.0.0.1:{port}/large")) == 2_000_000
    data = b"z" * 1_000_000
    sent = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "--data-binary", "@-", f"http://127.0.0.1:{port}/echo"],
        input=data, capture_output=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert sent.stdout == data


@pytest.fixture
def web2(secure):
    """An httpx client that speaks HTTP/2."""
    clients = []

    def start(options=""):
        port, authority, running = secure(options)
        context = ssl.create_default_context(cafile=authority)
        client = httpx.Client(http1=False, http2=True, verify=context, base_url=f"https://localhost:{port}", timeout=PATIENCE)
        clients.append(client)
        return client, running

    yield start
    for client in clients:
        client.close()


def test_requests_and_answers(web2):
    client, _ = web2()
    answer = client.get("/hello")
    assert answer.http_version == "HTTP/2" and answer.text == "hello" and "connection" not in answer.headers and answer.headers["date"]
    seen = client.get("/seen?a=b", headers={"cookie": "x=1; y=2"}).json()
    assert seen["method"] == "GET" and seen["path"] == "/seen" and seen["query"] == {"a": "b"}
    assert seen["host"] == client.base_url.netloc.decode() and seen["cookies"] == {"x": "1", "y": "2"} and seen["address"] == "127.0.0.1"
    assert client.post("/echo", content=b"\0\xff" * 300_000).content == b"\0\xff" * 300_000
    assert client.get("/large").content == b"0123456789" * 200_000
    answer = client.get("/nothing")
    assert answer.status_code == 204 and "content-length" not in answer.headers
    answer = client.head("/hello")
    assert answer.headers["content-length"] == "5" and answer.content == b""
    assert client.get("/stream").content == b"x" * 1_000_000
    assert client.get("/events").text == "data: 1\n\ndata: 2\n\ndata: 3\n\n"
    answer = client.get("/hello" + "", headers={"accept-encoding": "gzip"})
    assert answer.text == "hello"
    assert client.get("/large", headers={"accept-encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert client.options("/hello").headers["allow"] == "GET, HEAD, OPTIONS"


def test_failures(web2):
    client, running = web2(", web_max_header_bytes = 2048")
    for path, status in (("/none", 404), ("/error", 500), ("/slow", 504)):
        answer = client.get(path)
        assert answer.status_code == status and answer.json()["code"] == status
    assert client.post("/hello").status_code == 405
    assert client.post("/small", content=b"x" * 1001).status_code == 413
    assert client.post("/small", content=b"x" * 1000).text == "taken"
    assert client.get("/hello", headers={"x": "y" * 3000}).status_code == 431
    assert client.get("/hello", headers={f"x-{i}": "y" for i in range(101)}).status_code == 431
    assert client.post("/echo", content=b"x", headers={"content-encoding": "br"}).status_code == 415
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/broken")
    assert client.get("/hello").text == "hello"


def test_files(web2):
    client, _ = web2()
    answer = client.get("/files/a.bin")
    assert len(answer.content) == 1_000_000 and answer.headers["content-length"] == "1000000"
    part = client.get("/files/a.bin", headers={"range": "bytes=500-999499"})
    assert part.status_code == 206 and part.content == (b"0123456789" * 100_000)[500:999_500]
    assert client.get("/files/a.bin", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert client.get("/files/a.bin", headers={"if-match": answer.headers["etag"]}).status_code == 200
    failed = client.get("/files/a.bin", headers={"if-match": '"x"', "range": "bytes=0-1"})
    assert failed.status_code == 412 and failed.json()["code"] == 412
    assert client.get("/files/a.bin", headers={"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}).status_code == 412
    assert client.get("/files/a.bin", headers={"range": "Bytes=0-1"}).content == b"01"
    head = client.head("/files/a.bin", headers={"range": "bytes=0-1"})
    assert head.status_code == 200 and head.headers["content-length"] == "1000000" and "content-range" not in head.headers


def test_the_access_log(web2):
    client, running = web2(", web_access_log = true")
    client.get("/hello?secret")
    running.wait_for("GET /hello 200")
    assert "secret" not in running.output


# ---- frames by hand

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PINGED, GOAWAY = 4, 6, 7


def raw_frame(kind, payload=b"", flags=0, stream=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Frames:
    """A connection without TLS whose frames the test makes."""

    def __init__(self, port, **settings):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.events = []
        self.closed = False
        self.flush()

    def flush(self):
        try:
            self.socket.sendall(self.h2.data_to_send())
        except OSError:
            self.closed = True

    def request(self, path, method="GET", end=True, extra=(), authority="x"):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":path", path), *([(":authority", authority)] if authority is not None else []), *extra]
        self.h2.send_headers(stream, fields, end_stream=end)
        self.flush()
        return stream

    def read(self, acknowledge=True):
        """Reads once; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, socket.timeout):
            data = b""
        if not data:
            self.closed = True
            return False
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.closed = True
            return False
        for event in events:
            if acknowledge and isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.events += events
        self.flush()
        return True

    def wait(self, kind, stream=None, acknowledge=True):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for event in self.events:
                if isinstance(event, kind) and (stream is None or event.stream_id == stream):
                    return event
            if not self.read(acknowledge):
                break
        raise AssertionError(f"no {kind.__name__} among {self.events}")

    def status(self, stream):
        event = self.wait(h2.events.ResponseReceived, stream)
        return int(dict(event.headers)[b":status"] if b":status" in dict(event.headers) else dict(event.headers)[":status"])

    def close(self):
        self.socket.close()


@pytest.fixture
def frames():
    made = []

    def connect(port):
        made.append(Frames(port))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def test_requests_overtake_each_other(served, frames, gate):
    port, _ = served()
    connection = frames(port)
    slow = connection.request("/gate")
    held = gate.arrived()
    fast = connection.request("/hello")
    connection.wait(h2.events.StreamEnded, fast)
    assert not [e for e in connection.events if isinstance(e, h2.events.ResponseReceived) and e.stream_id == slow]
    gate.open(held)
    connection.wait(h2.events.StreamEnded, slow)


def test_malformed_requests(served, frames):
    port, _ = served()
    connection = frames(port)
    for path, method, extra, status in (
        ("nothing", "GET", (), 400), ("/hello", "GET", (("host", "y"),), 400), ("/hello", "BREW", (), 501), ("/hello", "PURGE", (), 405), ("*", "GET", (), 400),
        ("/seen", "GET", (("cookie", "a=1"), ("cookie", "b=2")), 200),
    ):  # fmt: skip
        stream = connection.request(path, method, extra=extra)
        assert connection.status(stream) == status, (path, method)
    connection.wait(h2.events.StreamEnded, stream)
    body = b"".join(e.data for e in connection.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
    assert json.loads(body)["cookies"] == {"a": "1", "b": "2"}
    # What HTTP/2 forbids costs the stream, or the connection; never the service.
    connection.request("/hello", extra=(("connection", "close"),))
    other = frames(port)
    assert other.status(other.request("/hello")) == 200


def refused_below(connection, stream):
    """Whether a request has cost its stream or its connection, instead of being answered."""
    kinds = (h2.events.ResponseReceived, h2.events.StreamReset)
    while not (events := [e for e in connection.events if isinstance(e, kinds) and e.stream_id == stream]):
        if not connection.read():
            return True
    return isinstance(events[0], h2.events.StreamReset)


def test_targets_hosts_and_methods(served, frames):
    port, _ = served()
    for options, status, path, code in (
        ({"path": "*", "method": "OPTIONS"}, 204, None, None), ({"path": "*"}, 400, "target", "invalid"),
        ({"path": "http://x/hello"}, 400, "target", "invalid"), ({"path": "/hello", "authority": "a b"}, 400, "host", "invalid"),
        ({"path": "/hello", "authority": "a, b"}, 400, "host", "invalid"), ({"path": "/hello", "authority": "user@a"}, 400, "host", "invalid"),
        ({"path": "/hello", "authority": "a/b"}, 400, "host", "invalid"), ({"path": "/hello", "authority": None}, 400, "host", "missing"),
        ({"path": "/hello", "authority": None, "extra": (("host", "a b"),)}, 400, "host", "invalid"),
        ({"path": "/hello", "authority": None, "extra": (("host", "a"), ("host", "b"))}, 400, "host", "repeated"),
        ({"path": "/hello", "extra": (("host", "y"),)}, 400, "host", "repeated"), ({"path": "/hello", "extra": (("host", "x"),)}, 200, None, None),
        ({"path": "/hello", "authority": "[::1]:80"}, 200, None, None), ({"path": "/hello", "method": "hello"}, 501, "method", "unsupported"),
        ({"path": "/hello", "method": "X" * 65}, 501, "method", "unsupported"), ({"path": "/hello", "method": 'A"B'}, 400, "method", "invalid"),
        ({"path": "/seen?a=%FF"}, 400, None, None), ({"path": "/seen?a=%C3%A4"}, 200, None, None),
    ):  # fmt: skip
        connection = frames(port)
        stream = connection.request(**options)
        if path in ("host", "method") and refused_below(connection, stream):
            continue
        assert connection.status(stream) == status, options
        if not path:
            continue
        connection.wait(h2.events.StreamEnded, stream)
        body = b"".join(e.data for e in connection.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
        assert [(e["path"], e["code"]) for e in json.loads(body)["errors"]] == [(path, code)], options


@pytest.mark.parametrize("size", [1, 3, 13])
def test_the_first_bytes_may_come_in_pieces(served, frames, size):
    port, _ = served()
    connection = Frames.__new__(Frames)
    connection.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.h2.initiate_connection()
    connection.events, connection.closed = [], False
    data = connection.h2.data_to_send()
    for start in range(0, len(data), size):
        connection.socket.sendall(data[start : start + size])
        time.sleep(0.01)
    try:
        assert connection.status(connection.request("/hello")) == 200
    finally:
        connection.socket.close()


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100])
def test_what_only_begins_like_http2_ends(served, data):
    port, _ = served()
    assert b"HTTP/1.1" not in exchange(port, data, end=False)
    assert curl("--http2-prior-knowledge", f"http://127.0.0.1:{port}/hello") == b"hello"


def test_a_refused_upload_is_told_to_end(served, frames):
    port, _ = served()
    connection = frames(port)
    stream = connection.request("/small", "POST", end=False)
    connection.h2.send_data(stream, b"x" * 1001)
    connection.flush()
    assert connection.status(stream) == 413
    event = connection.wait(h2.events.StreamReset, stream)
    assert event.error_code == h2.errors.ErrorCodes.NO_ERROR
    assert connection.status(connection.request("/hello")) == 200


def test_expectations(served, frames):
    port, _ = served()
    connection = frames(port)
    stream = connection.request("/small", "POST", end=False, extra=(("expect", "100-continue"),))
    connection.wait(h2.events.InformationalResponseReceived, stream)
    connection.h2.send_data(stream, b"x", end_stream=True)
    connection.flush()
    assert connection.status(stream) == 200


def test_slow_readers_hold_their_stream_up(served, frames, client):
    port, _ = served(", web_idle_timeout = 2")
    progress, ended = client.subscribe("progress"), client.subscribe("ended")
    connection = frames(port)
    stream = connection.request("/endless")
    connection.wait(h2.events.DataReceived, stream, acknowledge=False)
    progress.next()
    # Nothing is acknowledged: the window fills up, and the handler waits; other streams go on.
    wait_until(lambda: quiet(progress, client), "the stream waits")
    assert len(progress) < 50
    connection.request("/seen")
    # Who takes nothing at all is given up.
    assert ended.next().json["n"] < 50


def quiet(inbox, client):
    seen = len(inbox)
    time.sleep(0.2)
    client.flush()
    return len(inbox) == seen


def test_a_client_that_resets_a_stream(served, frames, client):
    port, _ = served()
    ended = client.subscribe("ended")
    connection = frames(port)
    stream = connection.request("/endless")
    connection.wait(h2.events.DataReceived, stream)
    connection.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
    connection.flush()
    ended.next()
    assert connection.status(connection.request("/hello")) == 200


def test_the_limit_of_streams(served, frames):
    port, _ = served(", web_max_streams = 3")
    connection = frames(port)
    connection.wait(h2.events.RemoteSettingsChanged)
    assert connection.h2.remote_settings.max_concurrent_streams == 3
    # One more than allowed.
    connection.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    connection.h2.remote_settings.acknowledge()
    for _ in range(4):
        connection.request("/gate")
    wait_until(lambda: refused(connection), "the fourth is refused")
    other = frames(port)
    assert other.status(other.request("/hello")) == 200


def test_the_limit_of_streams_before_the_settings_are_confirmed(served):
    """What clients take for granted (100) works at once; more ends the connection, and nothing else."""
    port, _ = served()

    def opened(count):
        connection = Frames(port)
        # Nothing is read before everything is sent: no settings are confirmed.
        for _ in range(count):
            connection.request("/slow")
        return connection

    connection = opened(100)
    assert [connection.status(1 + 2 * n) for n in range(100)] == [504] * 100
    connection.close()
    connection = opened(101)
    event = connection.wait(h2.events.ConnectionTerminated)
    assert event.error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    connection.close()
    other = Frames(port)
    assert other.status(other.request("/hello")) == 200
    other.close()


def refused(connection):
    connection.read()
    return connection.closed or any(
        isinstance(e, (h2.events.StreamReset, h2.events.ConnectionTerminated)) for e in connection.events
    )


def upper_case(connection):
    return connection.request("/hello", extra=(("X-Upper", "case"),))


def connection_field(connection):
    return connection.request("/hello", extra=(("connection", "close"),))


def wrong_length(connection):
    stream = connection.request("/echo", "POST", end=False, extra=(("content-length", "5"),))
    connection.h2.send_data(stream, b"123", end_stream=True)
    return stream


def raw_behind(kind, payload):
    def send(connection):
        stream = connection.h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/slow"), (":authority", "x")]
        connection.h2.send_headers(stream, fields, end_stream=True)
        # At once: there is no response before.
        connection.socket.sendall(connection.h2.data_to_send() + raw_frame(kind, payload, stream=stream))
        return stream

    return send


# What is wrong with one stream, and the code by which that is reset (RFC 9113, sections 5.1, 6.9, 8.1 and 8.2).
STREAM_ERRORS = {
    "a name in upper case": (upper_case, h2.errors.ErrorCodes.PROTOCOL_ERROR),
    "a field of the connection": (connection_field, h2.errors.ErrorCodes.PROTOCOL_ERROR),
    "another content-length": (wrong_length, h2.errors.ErrorCodes.PROTOCOL_ERROR),
    "a window that grows by nothing": (raw_behind(8, bytes(4)), h2.errors.ErrorCodes.PROTOCOL_ERROR),
    "a window that grows too large": (raw_behind(8, b"\x7f\xff\xff\xff"), h2.errors.ErrorCodes.FLOW_CONTROL_ERROR),
    "DATA behind the end": (raw_behind(0, b"x"), h2.errors.ErrorCodes.STREAM_CLOSED),
}


@pytest.mark.parametrize("kind", STREAM_ERRORS)
def test_what_is_wrong_with_one_stream_resets_that_alone(served, frames, gate, kind):
    port, _ = served()
    connection = frames(port)
    waiting = connection.request("/gate")
    held = gate.arrived()
    send, code = STREAM_ERRORS[kind]
    broken = send(connection)
    connection.flush()
    assert connection.wait(h2.events.StreamReset, broken).error_code == code
    assert connection.status(connection.request("/hello")) == 200
    gate.open(held)
    connection.wait(h2.events.StreamEnded, waiting)
    assert connection.status(waiting) == 200
    assert not [e for e in connection.events if isinstance(e, h2.events.ConnectionTerminated)]


def test_many_errors_of_streams_end_the_connection(served, frames, client):
    port, running = served()
    connection = frames(port)
    for _ in range(200):
        connection.wait(h2.events.StreamReset, upper_case(connection))
        connection.events.clear()
    assert connection.status(connection.request("/hello")) == 200
    upper_case(connection)
    assert connection.wait(h2.events.ConnectionTerminated).error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    while connection.read():
        pass
    running.wait_for("the connection of 127.0.0.1 was closed: its client sent too many frames")
    assert client.request("ping").text == "pong"


def test_an_answer_whose_head_is_too_large_costs_its_stream_alone(service, frames):
    running = service(SCRIPT + """
        app.http.get("/head", function(req) return panini.response{ text = "ok", headers = { x = ("z"):rep(tonumber(req.query.n)) } } end)
        app.http.get("/flow", function(req) return panini.response{ headers = { x = ("z"):rep(40000) },
            stream = function(write) assert(not write("x")) end } end)
        """, options=WEB, files=FILES)
    connection = frames(int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", running.output).group(1)))
    waiting = connection.request("/slow")
    for path, status in (("/head?n=10000", 200), ("/head?n=40000", 500), ("/flow", 500), ("/hello", 200)):
        stream = connection.request(path)
        connection.wait(h2.events.StreamEnded, stream)
        assert connection.status(stream) == status, path
    assert connection.status(waiting) == 504


def test_rapid_resets_end_the_connection(served, frames, client):
    """CVE-2023-44487."""
    port, _ = served()
    connection = frames(port)
    for _ in range(1000):
        try:
            stream = connection.request("/gate")
            connection.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            connection.flush()
        except h2.exceptions.ProtocolError:
            break
        if connection.closed:
            break
    wait_until(lambda: refused(connection), "the connection is ended")
    assert client.request("ping").text == "pong"
    other = frames(port)
    assert other.status(other.request("/hello")) == 200


def test_header_bombs_end_the_connection(served, frames):
    port, _ = served()
    connection = frames(port)
    # One field in the table, named a thousand times: small on the wire, large when it is read.
    connection.h2.max_outbound_frame_size = 1 << 20
    stream = connection.h2.get_next_available_stream_id()
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/hello"), (":authority", "x")]
    connection.h2.send_headers(stream, fields + [("x-bomb", "y" * 2000)] * 1000, end_stream=True)
    connection.flush()
    wait_until(lambda: refused(connection) or answered(connection) == 431, "it is refused")
    other = frames(port)
    assert other.status(other.request("/hello")) == 200


def answered(connection):
    for event in connection.events:
        if isinstance(event, h2.events.ResponseReceived):
            return int({bytes(k, "ascii") if isinstance(k, str) else k: v for k, v in event.headers}[b":status"])
    return None


def test_idle_connections_and_slow_bodies(served, frames):
    port, _ = served(", web_idle_timeout = 0.5, web_body_timeout = 0.3")
    connection = frames(port)
    stream = connection.request("/echo", "POST", end=False)
    assert connection.status(stream) == 408
    event = connection.wait(h2.events.ConnectionTerminated)
    assert event.error_code == h2.errors.ErrorCodes.NO_ERROR
    while connection.read():
        pass


# What ends a connection, and the code by which it is told (RFC 9113, section 7).
VIOLATIONS = {
    "DATA of no stream": (raw_frame(0, b"x"), h2.errors.ErrorCodes.PROTOCOL_ERROR),
    "a frame that is too large": (raw_frame(0, b"x" * 20000, stream=1), h2.errors.ErrorCodes.FRAME_SIZE_ERROR),
    "a window that overflows": (raw_frame(8, b"\x7f\xff\xff\xff"), h2.errors.ErrorCodes.FLOW_CONTROL_ERROR),
    "headers that cannot be read": (raw_frame(1, b"\xff" * 20, flags=5, stream=1), h2.errors.ErrorCodes.COMPRESSION_ERROR),
}
# More than the server reads before it ends the connection.
MORE = raw_frame(PINGED, b"12345678") * 50_000


def goaway_in(data):
    """The error code of the GOAWAY among frames."""
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        if data[3] == GOAWAY:
            return int.from_bytes(data[13:17], "big")
        data = data[9 + size :]
    return None


def read_to_the_end(connection):
    data = b""
    while more := connection.recv(65536):
        data += more
    return data


@pytest.mark.parametrize("protocol", ["TCP", "TLS"])
@pytest.mark.parametrize("kind", VIOLATIONS)
def test_why_a_connection_ends_is_read_although_more_was_sent(served, secure, kind, protocol):
    """A socket that is closed while bytes wait in it is reset, and the peer loses what it had not read."""
    data, code = VIOLATIONS[kind]
    if protocol == "TCP":
        port, _ = served()
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    else:
        port, authority, _ = secure()
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2"])
        connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE), server_hostname="localhost")
    with connection:
        connection.sendall(PREFACE + raw_frame(SETTINGS) + data + MORE)
        time.sleep(0.2)
        assert goaway_in(read_to_the_end(connection)) == code


def test_a_connection_that_has_ended_is_not_kept_for_a_client_that_goes_on(served):
    port, running = served()
    data, _ = VIOLATIONS["DATA of no stream"]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(PREFACE + raw_frame(SETTINGS) + data)
        read_to_the_end(connection)
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < PATIENCE:
                connection.sendall(MORE)
                time.sleep(0.05)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(PREFACE + raw_frame(SETTINGS) + data)
        read_to_the_end(connection)
        begun = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        # Nobody waits for the client.
        assert time.monotonic() - begun < 2


def test_a_stop_finishes_what_was_asked(served, frames, gate):
    port, running = served()
    connection = frames(port)
    idle = frames(port)
    idle.wait(h2.events.RemoteSettingsChanged)
    stream = connection.request("/gate")
    held = [gate.arrived()]
    url = f"http://127.0.0.1:{port}/gate"
    asked = subprocess.Popen(["curl", "-sS", "--http2-prior-knowledge", url], stdout=subprocess.PIPE)
    held.append(gate.arrived())
    running.signal(signal.SIGTERM)
    event = connection.wait(h2.events.ConnectionTerminated)
    assert event.error_code == h2.errors.ErrorCodes.NO_ERROR and event.last_stream_id == stream
    idle.wait(h2.events.ConnectionTerminated)
    # h2 takes nothing after that any more; curl does.
    for one in held:
        gate.open(one)
    assert asked.communicate(timeout=PATIENCE)[0] == b"through" and asked.returncode == 0
    assert running.wait() == 0


def test_many_clients_at_once(served):
    port, _ = served()
    failures = []

    def ask():
        with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
            for _ in range(50):
                answer = client.get(f"http://127.0.0.1:{port}/seen?x=y")
                if answer.status_code != 200 or answer.json()["query"] != {"x": "y"}:
                    failures.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
