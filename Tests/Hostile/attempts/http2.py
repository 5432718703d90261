"""HTTP/2: floods whose answers nobody reads, windows that stay closed, frames that no peer should send."""

import socket
import struct

from .rows import Must, Row, Send
from .wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2_PING, HEADERS, PREFACE, PRIORITY, PUSH, RESET, SETTINGS, WINDOW,
    h2, h2_get, h2_head, h2_settings, integer, literal,
)  # fmt: skip

HANDLERS = """
local big = ("0123456789"):rep(10000)
app.http.get("/big", function() return big end)
app.http.get("/small", function() return "small" end)
app.http.post("/echo", function(req) return panini.response{ body = req.body } end)
app.http.get("/endless", function() return panini.response{ stream = function(write) while write(big) do end end } end)
app.http.get("/wait", function() app.sleep(30) end)
"""
BUDGET = 'web_memory = "64MB"'
POST = b"\x83"
MB = 1 << 20
OPEN = PREFACE + h2_settings()
WIDE = PREFACE + h2_settings(window=0x7FFFFFFF) + h2(WINDOW, struct.pack(">I", 0x7FFF0000))


def row(name, attack, **more):
    return Row(f"http2.{name}", HANDLERS, web=True, attack=attack, **more)


def send(name, data, connections=1, seconds=1.2, **more):
    return row(name, Send(data, connections=connections, seconds=seconds), **more)


def flood(name, data, opening=OPEN, seconds=2, **more):
    """The same frames again and again; what is answered is not read."""

    def attack(a):
        connection = a.connect(receive=4096)
        a.push(connection, opening)
        a.flood(connection, data, seconds)

    return row(f"flood.{name}", attack, **more)


def streams(path, count, first=1):
    return b"".join(h2_get(path, first + 2 * n) for n in range(count))


def across_reads(a):
    """No read ends where a frame does."""
    connection = a.connect()
    connection.sendall(OPEN)
    a.straddle(connection, h2(77, b"x" * 1000, 255, 1))


def errors_with_open_streams(a):
    """A connection that ends for an error takes everything with it, the streams that are open included."""
    for _ in range(1500):
        if a.over.is_set():
            break
        connection = a.connect()
        connection.sendall(OPEN + h2(HEADERS, h2_head("/echo", POST), END_HEADERS, 1) + h2(DATA, b"x", 0, 0))
        a.read(connection, 2)
        connection.close()


def resets(a):
    """Rapid reset: streams that are ended as soon as they are begun."""
    connection = a.connect(receive=4096)
    a.push(connection, OPEN)
    data = b"".join(h2_get("/big", 1 + 2 * n) + h2(RESET, struct.pack(">I", 8), stream=1 + 2 * n) for n in range(100_000))
    a.push(connection, data, 4)


def leaves_behind_windows(a):
    """Clients that end their side and never can open the windows behind which their answers wait."""
    for _ in range(12):
        connection = a.connect()
        a.push(connection, PREFACE + h2_settings(window=0) + streams("/big", 99))
        a.read(connection, 0.3)
        connection.shutdown(socket.SHUT_WR)


def wrong(name, data, after=False):
    """The stream or the connection is ended, or the request refused; `after` others that are answered."""

    def attack(a):
        connection = a.connect()
        a.push(connection, data, 3)
        answer = a.read(connection, 0.6)
        kinds, statuses, at = set(), set(), 0
        while at + 9 <= len(answer):
            size = int.from_bytes(answer[at : at + 3], "big")
            kinds.add(answer[at + 3])
            if answer[at + 3] == HEADERS and size:
                statuses.add(answer[at + 9])
            at += 9 + size
        a.check(after or ANSWERED_200 not in statuses, "answered with 200")
        a.check(kinds & {RESET, GOAWAY} or (statuses and not after) or not connection_is_open(connection), f"nothing was said: {kinds}")

    return row(name, attack)


# `:status: 200` by its place in the static table.
ANSWERED_200 = 0x88


def connection_is_open(connection):
    connection.settimeout(2)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


def posts(count, body, end=False):
    data = b""
    for n in range(count):
        stream = 1 + 2 * n
        data += h2(HEADERS, h2_head("/echo", POST), END_HEADERS, stream)
        for at in range(0, len(body), 16384):
            data += h2(DATA, body[at : at + 16384], 0, stream)
        if end:
            data += h2(DATA, b"", END_STREAM, stream)
    return data


HPACK_BOMB = b"\x40" + integer(1, 7) + b"a" + integer(4000, 7) + b"x" * 4000

ROWS = [
    # ---- answers that nobody reads, windows that stay closed
    send("window.zero", PREFACE + h2_settings(window=0) + streams("/big", 99), 40, 3, options=BUDGET, must=Must(grow=130), quick=True),
    send("window.zero-streams", PREFACE + h2_settings(window=0) + streams("/endless", 99), 20, 3, options=BUDGET, must=Must(grow=130)),
    send("window.one-byte", PREFACE + h2_settings(window=1) + streams("/big", 99), 20, 3, options=BUDGET, must=Must(grow=130)),
    send("unread.wide-window", WIDE + streams("/big", 100), 20, 3, options=BUDGET, must=Must(grow=130)),
    send("unread.wide-window-streams", WIDE + streams("/endless", 100), 4, 3, options=BUDGET, must=Must(grow=130)),
    row("window.zero-and-left", leaves_behind_windows, quick=True),
    flood("requests", b"".join(h2_get("/big", 1 + 2 * n) for n in range(20_000)), WIDE, 2),
    # ---- what is never finished
    send("unfinished.bodies", OPEN + posts(90, b"x" * 640), 30, 2),
    send("unfinished.heads", OPEN + h2(HEADERS, h2_head("/small"), 0, 1), 300, 2),
    send("unfinished.requests-that-wait", OPEN + streams("/wait", 100), 20, 1.5, must=Must(exits=(0, 1))),
    row("unfinished.large-bodies", Send(OPEN + posts(2, b"x" * 32000), connections=200, seconds=2), options=BUDGET, must=Must(grow=130)),
    # ---- floods
    row("flood.rapid-reset", resets, quick=True),
    flood("errors-of-streams", b"".join(h2_get("/small", 1 + 2 * n, literal(b"X-Upper", b"y")) for n in range(5000))),
    flood("settings", h2_settings() * 5000),
    flood("settings-acks", h2(SETTINGS, b"", ACK) * 5000),
    flood("pings", h2(H2_PING, b"12345678") * 5000),
    flood("ping-acks", h2(H2_PING, b"12345678", ACK) * 5000),
    flood("priority", b"".join(h2(PRIORITY, struct.pack(">IB", 0, 1), stream=1 + 2 * n) for n in range(5000))),
    flood("window-updates", h2(WINDOW, struct.pack(">I", 1)) * 5000),
    flood("empty-data", h2(DATA, b"", 0, 1) * 5000, OPEN + h2(HEADERS, h2_head("/echo", POST), END_HEADERS, 1)),
    flood("padded-data", h2(DATA, b"\xff" + b"\0" * 255, 8, 1) * 5000, OPEN + h2(HEADERS, h2_head("/echo", POST), END_HEADERS, 1)),
    flood("empty-continuations", h2(CONTINUATION, b"", 0, 1) * 5000, OPEN + h2(HEADERS, h2_head("/small"), 0, 1)),
    flood("continuations", h2(CONTINUATION, literal(b"x", b"y" * 1000), 0, 1) * 500, OPEN + h2(HEADERS, h2_head("/small"), 0, 1)),
    flood("unknown-frames", h2(77, b"x" * 1000, 255, 1) * 1000),
    row("errors-with-open-streams", errors_with_open_streams, must=Must(grow=24, keep=16), quick=True),
    row("flood.frames-across-reads", across_reads, must=Must(grow=24, keep=16), quick=True),
    flood("resets-of-nothing", b"".join(h2(RESET, struct.pack(">I", 8), stream=1 + 2 * n) for n in range(5000))),
    # ---- HPACK
    wrong("hpack.bomb", OPEN + h2(HEADERS, h2_head("/small", extra=HPACK_BOMB + b"\xbe" * 12000), END_HEADERS | END_STREAM, 1)),
    wrong("hpack.bomb-on-many-streams", OPEN + h2(HEADERS, h2_head("/small", extra=HPACK_BOMB), END_HEADERS | END_STREAM, 1)
        + b"".join(h2(HEADERS, h2_head("/small", extra=b"\xbe" * 10000), END_HEADERS | END_STREAM, 3 + 2 * n) for n in range(90)), after=True),
    wrong("hpack.integer-overflow", OPEN + h2(HEADERS, b"\x82\x86\x04" + b"\x7f" + b"\xff" * 30, END_HEADERS | END_STREAM, 1)),
    wrong("hpack.table-size", OPEN + h2(HEADERS, b"\x3f" + b"\xff" * 4 + b"\x0f" + h2_head("/small"), END_HEADERS | END_STREAM, 1)),
    wrong("hpack.table-size-flood", OPEN + h2(HEADERS, (b"\x20\x3f\xe1\x1f") * 4000 + h2_head("/small"), END_HEADERS | END_STREAM, 1)),
    wrong("hpack.huffman-padding", OPEN + h2(HEADERS, b"\x82\x86\x04\x84\xff\xff\xff\xff\x01\x01a", END_HEADERS | END_STREAM, 1)),
    wrong("hpack.index-unknown", OPEN + h2(HEADERS, b"\xff\x80\x7f", END_HEADERS | END_STREAM, 1)),
    # ---- frames that are none
    wrong("frames.sixteen-megabytes", OPEN + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * MB),
    wrong("frames.first-is-data", PREFACE + h2(DATA, b"x", 0, 1)),
    wrong("frames.preface-broken", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + h2_settings()),
    wrong("frames.push", OPEN + h2(PUSH, struct.pack(">I", 2) + h2_head("/small"), END_HEADERS, 1)),
    wrong("frames.even-stream", OPEN + h2_get("/small", 2)),
    wrong("frames.stream-goes-back", OPEN + h2_get("/small", 9) + h2_get("/small", 3), after=True),
    wrong("frames.window-overflow", OPEN + h2(WINDOW, struct.pack(">I", 0x7FFFFFFF)) * 2),
    send("frames.window-nothing", OPEN + h2_get("/small", 1) + h2(WINDOW, struct.pack(">I", 0), stream=1)),
    wrong("frames.settings-odd", PREFACE + h2(SETTINGS, b"12345")),
    send("frames.goaway", OPEN + h2_get("/endless", 1) + h2(GOAWAY, struct.pack(">II", 0, 0)) * 100),
    wrong("frames.depends-on-itself", OPEN + h2(HEADERS, struct.pack(">IB", 1, 1) + h2_head("/small"), END_HEADERS | END_STREAM | 0x20, 1)),
    wrong("frames.path-with-line-break", OPEN + h2_get("/small\r\nX: y", 1)),
    wrong("frames.name-in-capitals", OPEN + h2_get("/small", 1, literal(b"X-Upper", b"y"))),
    wrong("frames.value-with-nul", OPEN + h2_get("/small", 1, literal(b"x", b"a\0b\r\n"))),
    wrong("frames.connection-field", OPEN + h2_get("/small", 1, literal(b"connection", b"close") + literal(b"transfer-encoding", b"chunked"))),
    wrong("frames.pseudo-late", OPEN + h2_get("/small", 1, literal(b"x", b"y") + literal(b":path", b"/big"))),
    send("frames.streams-beyond-the-most", OPEN + streams("/wait", 1000), must=Must(exits=(0, 1))),
]
