"""WebSocket: pongs and messages that nobody reads, frames that no client should send."""

import struct

from rawsocket import CLOSE, CONTINUATION, PING, PONG

from .rows import Must, Row
from .wire import BINARY, TEXT, frame

HANDLERS = """
app.http.websocket("/ws", { message = function(ws, data, kind) ws.send_binary(data) end })
app.http.websocket("/slow", { max_queue = 8 }, { message = function(ws, data) app.sleep(0.05) end })
app.http.websocket("/loop", function(ws) while true do local data = ws.receive() if not data then return end ws.send_binary(data) end end)
app.http.websocket("/say", function(ws) local text = ("x"):rep(100000) while ws.send(text, { wait = false }) do app.sleep(0) end end)
app.http.websocket("/silent", function(ws) while ws.receive() do end end)
"""


def row(name, attack, **more):
    return Row(f"websocket.{name}", HANDLERS, web=True, attack=attack, **more)


def flood(name, data, path="/ws", seconds=1.5, sockets=1, **more):
    """The same frames again and again; nothing is read."""

    def attack(a):
        open_ones = [a.websocket(path) for _ in range(sockets)]
        for ws in open_ones:
            a.flood(ws.socket, data, seconds / sockets)
        a.sleep(0.3)

    return row(f"flood.{name}", attack, **more)


def closed(name, data, *codes, path="/ws"):
    """The connection is closed with one of the codes, or without one."""

    def attack(a):
        ws = a.websocket(path)
        a.push(ws.socket, data, 5)
        ws.socket.settimeout(6)
        try:
            frames = ws.rest()
        except (TimeoutError, OSError):
            frames = None
        a.check(frames is not None, "not closed")
        last = frames[-1] if frames else (None, b"")
        code = struct.unpack(">H", last[1][:2])[0] if last[0] == CLOSE and len(last[1]) > 1 else None
        a.check(code in codes, f"closed with {code}, not {codes}")

    return row(f"frames.{name}", attack)


def opened(count, path, data=b"", seconds=1.5):
    def attack(a):
        for _ in range(count):
            ws = a.websocket(path)
            if data:
                a.push(ws.socket, data, 1)
        a.sleep(seconds)

    return attack


def handshake(fields, *statuses):
    def attack(a):
        import re

        connection = a.connect()
        connection.sendall(("\r\n".join(["GET /ws HTTP/1.1", "Host: a", *fields, "", ""])).encode())
        answer = a.read(connection, 5, b"\r\n")
        found = re.match(rb"HTTP/1\.1 (\d+)", answer)
        a.check(found and int(found.group(1)) in statuses, f"answered {answer[:60]!r}")

    return attack


def across_reads(a):
    """No read ends where a frame does."""
    ws = a.websocket("/silent")
    a.straddle(ws.socket, frame(PONG))


def drip(a):
    """A frame of which a byte comes now and then."""
    for _ in range(20):
        a.push(a.websocket("/ws").socket, frame(TEXT, b"x" * 500_000)[:-1], 2)
    slow = a.websocket("/ws")
    for byte in frame(TEXT, b"x" * 40):
        slow.socket.sendall(bytes([byte]))
        a.sleep(0.03)


UPGRADE = ["Upgrade: websocket", "Connection: Upgrade"]
GOOD = [*UPGRADE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]

ROWS = [
    # ---- what nobody reads (6)
    flood("pings", frame(PING, b"x" * 125) * 500, quick=True),
    flood("pings-empty", frame(PING) * 2000),
    flood("pings-on-many", frame(PING, b"x" * 125) * 500, sockets=8),
    flood("pings-between-fragments", frame(TEXT, b"x", fin=False) + frame(PING, b"x" * 125) * 500 + frame(CONTINUATION, b"x")),
    flood("pings-of-a-function", frame(PING, b"x" * 125) * 500, "/silent"),
    flood("pongs", frame(PONG, b"x" * 125) * 500),
    flood("messages-echoed", frame(BINARY, b"x" * 60000) * 20),
    flood("messages-echoed-by-a-function", frame(BINARY, b"x" * 60000) * 20, "/loop"),
    flood("messages-tiny", frame(BINARY, b"x") * 5000),
    flood("messages-for-a-slow-one", frame(BINARY, b"x" * 100) * 5000, "/slow"),
    flood("messages-empty", frame(TEXT) * 5000, "/silent"),
    flood("fragments", frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 5000 + frame(CONTINUATION, b"x")),
    flood("fragments-empty", frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 5000 + frame(CONTINUATION, b"")),
    row("flood.frames-across-reads", across_reads, must=Must(grow=24, keep=16), quick=True),
    row("unread.what-it-says", opened(40, "/say", seconds=3), options='web_memory = "64MB"', must=Must(grow=130)),
    row("unread.large-echoes", opened(60, "/ws", frame(BINARY, b"x" * 900_000) * 3, 2), options='web_memory = "64MB"', must=Must(grow=130)),
    # ---- what is never finished
    row("unfinished.frames", opened(200, "/ws", frame(BINARY, b"x" * 900_000)[:-1], 1), options='web_memory = "64MB"', must=Must(grow=130)),
    row("unfinished.messages", opened(200, "/ws", frame(BINARY, b"x" * 450_000, fin=False) + frame(CONTINUATION, b"x" * 450_000, fin=False), 1),
        options='web_memory = "64MB"', must=Must(grow=130)),
    row("unfinished.drip", drip),
    row("connections.silent", opened(500, "/silent")),
    row("connections.opened-and-closed", lambda a: [a.websocket("/loop").socket.close() for _ in range(500)]),
    row("connections.closed-politely", lambda a: [a.push(a.websocket("/loop").socket, frame(CLOSE, b"\x03\xe8")) for _ in range(300)]),
    # ---- frames that are none
    closed("unmasked", frame(TEXT, b"x", masked=False), 1002),
    closed("reserved-bits", frame(TEXT, b"x", reserved=4), 1002),
    closed("reserved-code", frame(5, b"x"), 1002),
    closed("continuation-of-nothing", frame(CONTINUATION, b"x"), 1002),
    closed("text-inside-text", frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    closed("ping-in-fragments", frame(PING, b"x", fin=False), 1002),
    closed("ping-too-long", frame(PING, b"x" * 126), 1002),
    closed("length-not-shortest", frame(TEXT, b"x", form=8), 1002),
    closed("length-beyond-63-bits", b"\x82\xff" + b"\xff" * 8 + b"\0\0\0\0", 1002, 1009),
    closed("length-beyond-the-limit", b"\x82\xff" + struct.pack(">Q", 1 << 40) + b"\0\0\0\0", 1009),
    closed("fragments-beyond-the-limit", frame(BINARY, b"x" * 600_000, fin=False) + frame(CONTINUATION, b"x" * 600_000, fin=False), 1009),
    closed("text-that-is-none", frame(TEXT, b"\xff\xfe\xfd"), 1007),
    closed("text-surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
    closed("close-code-forbidden", frame(CLOSE, struct.pack(">H", 1005)), 1002),
    closed("close-of-one-byte", frame(CLOSE, b"x"), 1002),
    closed("close-flood", frame(CLOSE, b"\x03\xe8") * 50_000, 1000),
    # ---- handshakes
    row("handshake.no-key", handshake(UPGRADE + ["Sec-WebSocket-Version: 13"], 400)),
    row("handshake.old-version", handshake(UPGRADE + ["Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="], 400, 426)),
    row("handshake.foreign-origin", handshake(GOOD + ["Origin: http://evil.example"], 403)),
    row("handshake.null-origin", handshake(GOOD + ["Origin: null"], 403)),
    row("handshake.with-a-body", handshake(GOOD + ["Content-Length: 10"], 400, 101)),
    row("handshake.early-data", lambda a: [a.push(a.connect(), ("\r\n".join(["GET /ws HTTP/1.1", "Host: a", *GOOD, "", ""])).encode()
        + frame(PING, b"x" * 125) * 20000, 2) for _ in range(3)]),
]
