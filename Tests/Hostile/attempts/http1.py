"""HTTP/1: answers that nobody reads, bodies that never end, requests that no parser should take."""

import gzip
import os
import resource
import socket
import time

from .rows import FINE, Must, Row, Send
from .wire import get, post

HANDLERS = """
local big = ("0123456789"):rep(10000)
app.http.get("/big", function() return big end)
app.http.get("/small", function() return { ok = true } end)
app.http.post("/echo", function(req) return panini.response{ body = req.body } end)
app.http.post("/json", function(req) return type(req.json()) end)
app.http.post("/form", { max_body = "2MB" }, function(req) local n = 0 for _ in pairs(req.form()) do n = n + 1 end return { n = n } end)
app.http.get("/seen", function(req) local n = 0 for _ in pairs(req.query) do n = n + 1 end for _ in pairs(req.cookies) do n = n + 1 end return { n = n } end)
app.http.get("/endless", function() return panini.response{ stream = function(write) while write(big) do end end } end)
app.http.get("/rest/{path...}", function(req) return req.params.path end)
app.http.static("/files", "files")
"""
FILES = {"files/large.bin": b"0123456789" * 2_000_000, "files/a.txt": b"text", "private.txt": b"not served"}
# A server that is to hold no more than this for its peers.
BUDGET = 'web_memory = "64MB"'
BAD = 400
# Where a connection may as well be closed without a word.
WORDLESS = (400, 408, 413, 414, 431, 501, 505, None)


def row(name, attack, **more):
    return Row(f"http1.{name}", HANDLERS, web=True, files=FILES, attack=attack, **more)


def malformed(name, data, status=BAD, **more):
    """The answer has to be this, the service goes on."""
    return row(f"malformed.{name}", Send(data, status=status), **more)


def unread(name, request, times, **more):
    return row(f"unread.{name}", Send(request * times, seconds=2), **more)


def unfinished(count, head, body, seconds=2):
    def attack(a):
        for _ in range(count):
            connection = a.connect()
            a.push(connection, head + body, 2)
        a.sleep(seconds)

    return attack


def drip(head, piece, every, seconds, most):
    """A sender that is never quite done; the server must end it within `most` seconds."""

    def attack(a):
        connection = a.connect()
        connection.sendall(head)
        began = time.monotonic()
        while time.monotonic() - began < seconds and not a.over.is_set():
            try:
                connection.sendall(piece)
            except OSError:
                return
            connection.settimeout(every)
            try:
                if not connection.recv(1 << 16):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
        a.check(time.monotonic() - began < most, f"still there after {most} s")

    return attack


def descriptors_taken(files, count):
    """More idle clients than the program may have files open: it keeps what it needs itself."""

    def attack(a):
        resource.prlimit(a.pid, resource.RLIMIT_NOFILE, (files, files))
        for _ in range(count):
            a.connect()
        a.sleep(1)
        taken = len(os.listdir(f"/proc/{a.pid}/fd"))
        a.check(taken <= files - 64, f"{taken} of {files} descriptors are taken")
        a.check(a.ask("alive"), "no answer with all clients there")

    return attack


def opened_and_closed(count, data=b""):
    def attack(a):
        for _ in range(count):
            if a.over.is_set():
                return
            connection = socket.create_connection(("127.0.0.1", a.port), timeout=5)
            if data:
                connection.sendall(data)
            connection.close()

    return attack


def held(count, data=b"", seconds=2):
    def attack(a):
        for _ in range(count):
            connection = a.connect()
            if data:
                connection.sendall(data)
        a.sleep(seconds)

    return attack


def exchanged(request, *wanted, seconds=5):
    """Every status that comes back is one of those, and at least one comes."""

    def attack(a):
        import re

        answer = a.exchange(request, seconds)
        found = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
        a.check(found and set(found) <= set(wanted), f"answered {found or answer[:80]}")

    return attack


def nowhere(path):
    """Nothing but what lies in the folder is served."""

    def attack(a):
        answer = a.exchange(get(path, "Connection: close"))
        a.check(b"not served" not in answer and b"root:" not in answer and b"panini.app" not in answer, f"served: {answer[-100:]!r}")

    return attack


def multipart(parts, boundary=b"b", end=True):
    body = b"".join(b"--%s\r\n%s" % (boundary, part) for part in parts) + (b"--%s--\r\n" % boundary if end else b"")
    return post("/form", body, f"Content-Type: multipart/form-data; boundary={boundary.decode()}")


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PACKED = "Content-Encoding: gzip"
MB = 1 << 20

ROWS = [
    # ---- answers that nobody reads (2)
    unread("pipelined-large", get("/big"), 29000, quick=True),
    unread("pipelined-small", get("/small"), 300_000),
    unread("pipelined-404", get("/nowhere"), 300_000),
    unread("pipelined-405", b"PUT /big HTTP/1.1\r\nHost: a\r\n\r\n", 300_000),
    unread("pipelined-head", b"HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n", 300_000),
    unread("pipelined-options", b"OPTIONS /big HTTP/1.1\r\nHost: a\r\n\r\n", 300_000),
    unread("pipelined-posts", post("/echo", b"x" * 10000), 8000),
    unread("pipelined-expect", b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 200_000),
    unread("pipelined-files", get("/files/large.bin"), 2000),
    unread("pipelined-ranges", get("/files/large.bin", "Range: bytes=0-99999"), 20000),
    unread("pipelined-packed", get("/big", "Accept-Encoding: gzip"), 20000),
    unread("stream", get("/endless"), 1),
    row("unread.many-connections", Send(get("/big") * 500, connections=60, seconds=3), options=BUDGET, must=Must(grow=130, keep=60)),
    row("unread.many-files", Send(get("/files/large.bin") * 3, connections=100, seconds=2), options=BUDGET, must=Must(grow=130, keep=60)),
    row("unread.many-streams", Send(get("/endless"), connections=100, seconds=2), options=BUDGET, must=Must(grow=130, keep=60)),
    # ---- what is never finished (9)
    row("unfinished.bodies", unfinished(300, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x" * 999_999), options=BUDGET,
        must=Must(grow=130), quick=True),
    row("unfinished.chunks", unfinished(300, CHUNKED, b"e0000\r\n" + b"x" * 0xE0000), options=BUDGET, must=Must(grow=130, keep=60)),
    row("unfinished.heads", unfinished(1500, b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: " + b"x" * 14000), options=BUDGET, must=Must(grow=130, keep=60)),
    row("unfinished.tiny-chunks", unfinished(20, CHUNKED, b"1\r\nx\r\n" * 40_000), options=BUDGET, must=Must(grow=130, keep=60)),
    row("unfinished.packed", unfinished(100, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5000\r\n\r\n",
        gzip.compress(b"x" * MB)[:-10]), options=BUDGET, must=Must(grow=130, keep=60)),
    row("unfinished.upgrades", unfinished(200, b"GET /alive HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", b"X: " + b"x" * 12000)),
    row("drip.head", drip(b"GET / HTTP/1.1\r\n", b"X: y\r\n", 0.3, 8, 6), options="web_header_timeout = 2"),
    row("drip.body", drip(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"x", 0.3, 8, 6), options="web_body_timeout = 2"),
    row("drip.chunks", drip(CHUNKED, b"1\r\nx\r\n", 0.3, 8, 6), options="web_body_timeout = 2"),
    row("drip.blank-lines", drip(b"", b"\r\n", 0.3, 8, 6), options="web_header_timeout = 2, web_idle_timeout = 2"),
    row("drip.trailers", drip(CHUNKED + b"0\r\n", b"X: y\r\n", 0.3, 8, 6), options="web_body_timeout = 2"),
    # ---- connections
    row("connections.silent", held(800)),
    row("connections.all-descriptors", descriptors_taken(256, 600)),
    row("connections.opened-and-closed", opened_and_closed(3000)),
    row("connections.asked-and-closed", opened_and_closed(1500, get("/big"))),
    row("connections.half-asked-and-closed", opened_and_closed(2000, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")),
    row("connections.beyond-the-most", held(300, get("/small")), options="web_max_connections = 100", must=Must(alive=False)),
    # ---- requests that are none
    malformed("two-lengths", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", quick=True),
    malformed("length-and-chunks", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    malformed("length-negative", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
    malformed("length-plus", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
    malformed("length-beyond-64-bits", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\nx", (400, 413)),
    malformed("chunk-beyond-64-bits", CHUNKED + b"10000000000000001\r\nx", (400, 413)),
    malformed("chunk-size-empty", CHUNKED + b"\r\nx\r\n"),
    malformed("chunk-extension-long", CHUNKED + b"1;" + b"x" * MB + b"\r\n", WORDLESS),
    malformed("chunked-twice", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    malformed("chunked-not-last", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", (400, 501)),
    malformed("coding-hidden", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    malformed("name-with-blank", b"GET /small HTTP/1.1\r\nHost : a\r\n\r\n"),
    malformed("name-with-nul", b"GET /small HTTP/1.1\r\nHost: a\r\nX\0Y: z\r\n\r\n"),
    malformed("value-with-nul", b"GET /small HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    malformed("value-with-return", b"GET /small HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    malformed("folded", b"GET /small HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    malformed("two-hosts", b"GET /small HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    malformed("host-list", b"GET /small HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    malformed("no-host", b"GET /small HTTP/1.1\r\n\r\n"),
    malformed("version", b"GET /small HTTP/9.9\r\nHost: a\r\n\r\n", (400, 505)),
    malformed("target-with-control", b"GET /sm\x01all HTTP/1.1\r\nHost: a\r\n\r\n"),
    malformed("head-of-a-megabyte", get("/small", "X: " + "x" * MB), (400, 431), must=Must(grow=60)),
    malformed("ten-thousand-fields", get("/small", *["a: b"] * 10_000), (400, 431)),
    malformed("target-of-a-megabyte", get("/" + "x" * MB), (400, 414, 431)),
    malformed("method-of-a-megabyte", b"G" * MB + b" / HTTP/1.1\r\n\r\n", (400, 431, 501)),
    malformed("absolute-target", b"GET http://a/small HTTP/1.1\r\nHost: a\r\n\r\n", FINE),
    malformed("trailers-long", CHUNKED + b"0\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n", (400, 431)),
    malformed("trailers-many", CHUNKED + b"0\r\n" + b"X: y\r\n" * 8000 + b"\r\n", (400, 431)),
    malformed("random-bytes", bytes(range(256)) * 4000, WORDLESS),
    malformed("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, WORDLESS),
    row("smuggled.second-request", exchanged(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /small HTTP/1.1\r\nHost: a\r\n\r\n", 400)),
    # ---- bodies
    row("body.gzip-bomb", Send(post("/echo", gzip.compress(b"\0" * (200 * MB)), PACKED), status=413)),
    row("body.gzip-of-empty-members", Send(post("/echo", gzip.compress(b"") * 30000, PACKED), status=(200, 400, 413))),
    row("body.gzip-truncated", Send(post("/echo", gzip.compress(b"x" * 1000)[:-20], PACKED), status=(400, 408))),
    row("body.gzip-nested", Send(post("/echo", gzip.compress(gzip.compress(b"x" * MB)), "Content-Encoding: gzip, gzip"), status=(400, 413, 415, 501))),
    row("body.json-depth", Send(post("/json", b"[" * 900_000), status=400)),
    row("body.json-digits", Send(post("/json", b"1" * 900_000), status=(200, 400))),
    row("body.json-equal-keys", Send(post("/json", b"{" + b'"a":1,' * 100_000 + b'"a":1}'), status=(200, 400)), must=Must(grow=80, keep=80)),
    row("body.too-large", Send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n", status=413)),
    row("multipart.thousand-and-one", Send(multipart([b'Content-Disposition: form-data; name="a"\r\n\r\nx\r\n'] * 1001), status=(400, 413))),
    row("multipart.heads-of-size", Send(multipart([b'Content-Disposition: form-data; name="a"' + b'; x="y"' * 1100 + b"\r\n\r\nx\r\n"] * 120) * 8, connections=2),
        cpu=0.1, must=Must(lines=200), quick=True),
    row("multipart.heads-of-escapes", Send(multipart([b'Content-Disposition: form-data; name="' + b'\\"' * 3900 + b'"\r\n\r\nx\r\n'] * 120) * 8), cpu=0.1),
    row("multipart.returns", Send(multipart([b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"\r\n" * 400_000 + b"\r\n"]), status=(200, 400)), cpu=0.1),
    row("multipart.almost-boundaries", Send(multipart([b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"\r\n--" * 200_000 + b"\r\n"]), status=(200, 400)), cpu=0.1),
    row("multipart.no-end", Send(multipart([b"x" * 900_000], end=False), status=(200, 400))),
    row("multipart.boundary-long", Send(post("/form", b"x" * 1000, "Content-Type: multipart/form-data; boundary=" + "b" * 5000), status=(200, 400, 415, 431))),
    row("form.pairs", Send(post("/form", b"a=b&" * 200_000, "Content-Type: application/x-www-form-urlencoded"), status=(200, 400, 413, 504))),
    row("query.pairs", Send(get("/seen?" + "&" * 7000 + "a=%41" * 1000), status=(200, 400))),
    row("cookies.pairs", Send(get("/seen", "Cookie: " + "a=b; " * 3000), status=(200, 400))),
    row("ranges.thousand", Send(get("/files/large.bin", "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(1500))), status=(200, 206, 400, 416))),
    row("ranges.overflow", Send(get("/files/a.txt", "Range: bytes=99999999999999999999-"), status=(200, 416))),
    # ---- files
    row("files.dots", nowhere("/files/../private.txt")),
    row("files.escaped-dots", nowhere("/files/%2e%2e/private.txt")),
    row("files.escaped-slash", nowhere("/files/..%2fprivate.txt")),
    row("files.nul", nowhere("/files/a.txt%00/../../private.txt")),
    row("files.overlong", nowhere("/files/%c0%ae%c0%ae/private.txt")),
    row("files.absolute", nowhere("/files//etc/passwd")),
    row("files.script", nowhere("/files/../evil.lua")),
    # ---- the log
    row("log.access-injection", Send(get("/rest/%0d%0a2026%20ERROR%20forged%1b%5b31m%c2%9b%e2%80%ae", "User-Agent: \x1b[31mx"), status=(200, 400)),
        options="web_access_log = true"),
    row("log.flood-of-errors", Send(post("/json", b"{broken") * 3000, connections=2), must=Must(lines=200, kilobytes=200)),
]
