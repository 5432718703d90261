"""Malformed requests over raw sockets: each is refused with its status, or answered as the protocol says, and costs nobody
else anything (RFC 9112)."""

import re
import socket

import pytest

from harness import PATIENCE

SCRIPT = """
app.http.get("/hello", function(req) return "hello" end)
app.http.post("/echo", function(req) return req.body end)
app.http.get("/rest/{path...}", function(req) return req.params.path end)
"""
OPTIONS = "web_server = true, web_port = 0, web_max_body = 1000, web_max_header_bytes = 2048"


def exchange(port, data, end=True):
    """Everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            answer += part
        return answer


def statuses(answer):
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.fixture(scope="module")
def port(tmp_path_factory, nats_server):
    from harness import Service, script_text

    folder = tmp_path_factory.mktemp("http")
    path = folder / "web.lua"
    path.write_text(script_text(SCRIPT, "web", OPTIONS))
    running = Service(path, nats_server.url)
    yield int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", running.output).group(1))
    running.stop()
    running.kill()


GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"

# Name, bytes, the statuses of the answers in order; a set where one of several is right.
CASES = [
    ("plain", GET + b"\r\n", [200]),
    ("http 1.0", b"GET /hello HTTP/1.0\r\n\r\n", [200]),
    ("http 1.0 with a body", b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", [200]),
    ("absolute target", b"GET http://x/hello HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    ("empty lines before a request", b"\r\n\r\n" + GET + b"\r\n", [200]),
    ("pipelined", (GET + b"\r\n") * 5, [200] * 5),
    ("pipelined with bodies", (POST + b"Content-Length: 2\r\n\r\nhi") * 3, [200] * 3),
    ("connection close ends a pipeline", GET + b"Connection: close\r\n\r\n" + GET + b"\r\n", [200]),
    ("good before bad", GET + b"\r\n" + b"BAD\r\n\r\n", [200, 400]),
    ("good before bad bytes", GET + b"\r\n" + b"\x00\x01\x02\r\n\r\n", [200, 400]),
    ("chunked", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [200]),
    ("chunked with an extension", POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n", [200]),
    ("chunked with a trailer", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", [200]),
    ("chunked in capitals", POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [200]),
    ("an upgrade that is not offered", GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n", [200]),
    ("an upgrade with a body", POST + b"Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n\r\nhi", [200]),
    ("an upgrade without its connection", GET + b"Upgrade: foo\r\n\r\n", [200]),
    ("connect", b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
    ("no request", b"", []),
    ("half a request line", b"GET /hel", [400]),
    ("half a head", GET, [400]),
    ("half a body", POST + b"Content-Length: 10\r\n\r\nhi", [400]),
    ("rubbish", b"rubbish\r\n\r\n", [400]),
    ("nothing but spaces", b"   \r\n\r\n", [400]),
    ("no version", b"GET /hello\r\n\r\n", [400]),
    ("http 0.9 version", b"GET /hello HTTP/0.9\r\nHost: x\r\n\r\n", {400, 505}),
    ("http 2.0 version", b"GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", {400, 505}),
    ("http 1.2 version", b"GET /hello HTTP/1.2\r\nHost: x\r\n\r\n", {400, 505}),
    ("another preface", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    ("version in small letters", b"GET /hello http/1.1\r\nHost: x\r\n\r\n", [400]),
    ("another protocol", b"GET /hello RTSP/1.0\r\nHost: x\r\n\r\n", [400]),
    ("a third protocol", b"SOURCE /hello ICE/1.0\r\nHost: x\r\n\r\n", [400]),
    ("no digits in the version", b"GET /hello HTTP/x.y\r\nHost: x\r\n\r\n", [400]),
    ("method in small letters", b"get /hello HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
    ("unknown method", b"BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
    ("method with a bad sign", b"G\x01T /hello HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    ("space in the target", b"GET /hel lo HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    ("tab in the target", b"GET /hel\tlo HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    ("zero byte in the target", b"GET /hel\x00lo HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    ("relative target", b"GET hello HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    ("fragment in the target", b"GET /hello#x HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}),
    ("no host", b"GET /hello HTTP/1.1\r\n\r\n", [400]),
    ("two hosts", b"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", [400]),
    ("bare line feeds", b"GET /hello HTTP/1.1\nHost: x\n\n", [400]),
    ("bare line feed in the head", GET + b"A: b\nC: d\r\n\r\n", [400]),
    ("bare carriage return", GET + b"A: b\rC: d\r\n\r\n", [400]),
    ("space before the colon", GET + b"A : b\r\n\r\n", [400]),
    ("space before a name", b"GET /hello HTTP/1.1\r\n Host: x\r\n\r\n", [400]),
    ("obs-fold", GET + b"A: b\r\n c\r\n\r\n", [400]),
    ("obs-fold with a tab", GET + b"A: b\r\n\tc\r\n\r\n", [400]),
    ("no colon", GET + b"nonsense\r\n\r\n", [400]),
    ("empty name", GET + b": b\r\n\r\n", [400]),
    ("bad sign in a name", GET + b"A(b: c\r\n\r\n", [400]),
    ("zero byte in a name", GET + b"A\x00: c\r\n\r\n", [400]),
    ("zero byte in a value", GET + b"A: b\x00c\r\n\r\n", [400]),
    ("control byte in a value", GET + b"A: b\x01c\r\n\r\n", [400]),
    ("delete byte in a value", GET + b"A: b\x7fc\r\n\r\n", [400]),
    ("both lengths", POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [400]),
    ("both lengths, the other way", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [400]),
    ("two different lengths", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", [400]),
    ("two equal lengths", POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", [400]),
    ("a list of lengths", POST + b"Content-Length: 2, 2\r\n\r\nhi", [400]),
    ("negative length", POST + b"Content-Length: -1\r\n\r\n", [400]),
    ("length with a plus", POST + b"Content-Length: +2\r\n\r\nhi", [400]),
    ("length in hexadecimal", POST + b"Content-Length: 0x2\r\n\r\nhi", [400]),
    ("empty length", POST + b"Content-Length: \r\n\r\nhi", [400]),
    ("huge length", POST + b"Content-Length: 99999999999999999999999\r\n\r\nhi", {400, 413}),
    ("length over the limit", POST + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001, [413]),
    ("length at the limit", POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000, [200]),
    ("chunks over the limit", POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n200\r\n" + b"x" * 512 + b"\r\n0\r\n\r\n", [413]),
    ("transfer-encoding gzip", POST + b"Transfer-Encoding: gzip\r\n\r\nhi", {400, 501}),
    ("transfer-encoding gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("transfer-encoding chunked twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("two transfer-encodings", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", {400, 501}),
    ("transfer-encoding with a bad sign", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("transfer-encoding xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("transfer-encoding in http 1.0", b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    ("bad chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", [400]),
    ("negative chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n", [400]),
    ("huge chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi", {400, 413}),
    ("chunk size with 0x", POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", [400]),
    ("chunk longer than its size", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhip\r\n0\r\n\r\n", [400]),
    ("chunk without its line feed", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n", [400]),
    ("bare line feed after a chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", [400]),
    ("space before a chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\n 2\r\nhi\r\n0\r\n\r\n", [400]),
    ("no end of chunks", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", [400]),
    ("head over the limit", GET + b"A: " + b"x" * 3000 + b"\r\n\r\n", [431]),
    ("many headers", GET + b"".join(b"A%d: b\r\n" % i for i in range(200)) + b"\r\n", [431]),
    ("target over the limit", b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {431, 414}),
    ("head that never ends", GET + b"".join(b"A%d: %s\r\n" % (i, b"x" * 60) for i in range(20000)), [431]),
    ("target that never ends", b"GET /" + b"x" * 2_000_000, {431, 414, 400}),
    ("unknown expectation", POST + b"Expect: 200-maybe\r\nContent-Length: 2\r\n\r\nhi", [417]),
    ("a tls hello", bytes.fromhex("16030100a5010000a10303") + b"\x00" * 160, [400]),
    ("a nats greeting", b'CONNECT {"verbose":false}\r\nPING\r\n', [400]),
    ("percent rubbish", b"GET /rest/%zz HTTP/1.1\r\nHost: x\r\n\r\n", {200, 400}),
    ("dots", b"GET /rest/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {200, 404}),
]


@pytest.mark.parametrize("data, expected", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_malformed_request(port, data, expected):
    answer = exchange(port, data)
    found = statuses(answer)
    assert b"\x00" not in answer
    if isinstance(expected, set):
        assert len(found) == 1 and found[0] in expected, answer
    else:
        assert found == expected, answer
    # Nobody else has noticed.
    assert statuses(exchange(port, GET + b"\r\n")) == [200]


def test_there_are_enough():
    assert len(CASES) >= 60


def test_a_refusal_closes_and_nothing_behind_it_is_answered(port):
    hidden = GET + b"\r\n"
    for data in (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
        GET + b"A : b\r\n\r\n" + hidden,
        POST + b"Content-Length: 5000\r\n\r\n" + hidden,
    ):
        answer = exchange(port, data, end=False)
        assert len(statuses(answer)) == 1 and b"connection: close" in answer.lower()


def test_what_is_asked_after_an_upgrade_is_not_left_without_an_answer(port):
    # The connection is closed, so that the client asks again on another one.
    for offer in (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Upgrade: h2c\r\n"):
        answer = exchange(port, GET + offer + b"\r\n" + GET + b"\r\n", end=False)
        assert statuses(answer) == [200] and b"connection: close" in answer
