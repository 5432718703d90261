"""WebSocket's protocol, frame by frame, over raw sockets (RFC 6455). The cases follow the groups of Autobahn's test suite
(1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closing, 9 sizes, 10 fragmentation by the sender),
whose program runs on Python 2 only."""

import re
import struct
import time

import pytest

from harness import PATIENCE, Service, script_text
from rawsocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, close_frame, frame

SCRIPT = """
local function echo(ws)
    while true do
        local data, kind = ws.receive()
        if not data then return end
        if kind == "text" then ws.send(data) else ws.send_binary(data) end
    end
end
app.http.websocket("/", { max_message = "17MB" }, echo)
app.http.websocket("/small", { max_message = 1000 }, echo)
app.http.websocket("/table", { max_message = "17MB" }, {
    message = function(ws, data, kind)
        if kind == "text" then ws.send(data) else ws.send_binary(data) end
    end,
})
"""
OPTIONS = "web_server = true, web_port = 0"


@pytest.fixture(scope="module")
def port(tmp_path_factory, nats_server):
    folder = tmp_path_factory.mktemp("frames")
    path = folder / "frames.lua"
    path.write_text(script_text(SCRIPT, "frames", OPTIONS))
    running = Service(path, nats_server.url)
    yield int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", running.output).group(1))
    running.stop()
    running.kill()
    assert "failed" not in running.output


def in_pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def outcome(port, pieces, path="/", pause=0):
    """Sends pieces, closes when nothing is closed by the server, and gives what came back: frames, and the close code."""
    with RawSocket(port, path) as ws:
        for piece in pieces:
            try:
                ws.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
            if pause:
                time.sleep(pause)
        frames = ws.rest()
        assert frames and frames[-1][0] == CLOSE, frames
        payload = frames.pop()[1]
        return frames, struct.unpack(">H", payload[:2])[0] if payload else None


DONE = close_frame(1000)

# Name, what is sent, what comes back before the close frame, and its code.
FINE = [
    # 1: every form of the length, text and binary.
    *[
        (f"1 {kind} of {size}", frame(opcode, b"*" * size) + DONE, [(opcode, b"*" * size)], 1000)
        for kind, opcode in (("text", TEXT), ("binary", BINARY))
        for size in (0, 125, 126, 127, 128, 65535, 65536)
    ],
    ("1 binary of every byte", frame(BINARY, bytes(range(256))) + DONE, [(BINARY, bytes(range(256)))], 1000),
    # 2: pings.
    ("2 ping without payload", frame(PING) + DONE, [(PONG, b"")], 1000),
    ("2 ping with text", frame(PING, b"Hello, world!") + DONE, [(PONG, b"Hello, world!")], 1000),
    ("2 ping with bytes", frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff") + DONE, [(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")], 1000),
    ("2 ping of 125", frame(PING, b"\xfe" * 125) + DONE, [(PONG, b"\xfe" * 125)], 1000),
    ("2 unasked pong", frame(PONG) + DONE, [], 1000),
    ("2 unasked pong with payload", frame(PONG, b"unasked") + DONE, [], 1000),
    ("2 pong, ping", frame(PONG, b"unasked") + frame(PING, b"asked") + DONE, [(PONG, b"asked")], 1000),
    ("2 ten pings", b"".join(frame(PING, b"p%d" % n) for n in range(10)) + DONE, [(PONG, b"p%d" % n) for n in range(10)], 1000),
    # 5: fragments.
    ("5 two fragments", frame(TEXT, b"one ", fin=False) + frame(CONTINUATION, b"two") + DONE, [(TEXT, b"one two")], 1000),
    (
        "5 ping between",
        frame(TEXT, b"one ", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"two") + DONE,
        [(PONG, b"p"), (TEXT, b"one two")],
        1000,
    ),
    (
        "5 five fragments with pings",
        b"".join(frame(TEXT if n == 0 else CONTINUATION, b"f%d," % n, fin=n == 4) + frame(PING, b"%d" % n) for n in range(5)) + DONE,
        [(PONG, b"0"), (PONG, b"1"), (PONG, b"2"), (PONG, b"3"), (TEXT, b"f0,f1,f2,f3,f4,"), (PONG, b"4")],
        1000,
    ),
    ("5 empty fragments", frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION) + DONE, [(TEXT, b"")], 1000),
    ("5 empty, full, empty", frame(BINARY, fin=False) + frame(CONTINUATION, b"x", fin=False) + frame(CONTINUATION) + DONE, [(BINARY, b"x")], 1000),
    (
        "5 two fragmented messages",
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(BINARY, b"c", fin=False) + frame(CONTINUATION, b"d") + DONE,
        [(TEXT, b"ab"), (BINARY, b"cd")],
        1000,
    ),
    # 6: valid UTF-8.
    *[
        (f"6 {name}", frame(TEXT, text) + DONE, [(TEXT, text)], 1000)
        for name, text in [
            ("Greek", "κόσμε".encode()),
            ("ends of the ranges", "\u0000\u007f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff".encode()),
            ("around the surrogates", "\ud7ff\ue000\ufffd".encode()),
            ("non-characters", "\ufffe\uffff\U0001fffe\U0010ffff".encode()),
            ("byte order mark", "\ufeffx".encode()),
        ]
    ],
    ("6 in three fragments", frame(TEXT, "Hello-µ@ßöä".encode(), fin=False) + frame(CONTINUATION, "üàá-UTF-8!!".encode(), fin=False) + frame(CONTINUATION) + DONE, [(TEXT, "Hello-µ@ßöäüàá-UTF-8!!".encode())], 1000),
    (
        "6 a byte per fragment",
        frame(TEXT, fin=False) + b"".join(frame(CONTINUATION, bytes([b]), fin=False) for b in "κόσμε😀".encode()) + frame(CONTINUATION) + DONE,
        [(TEXT, "κόσμε😀".encode())],
        1000,
    ),
    ("6 anything is binary", frame(BINARY, b"\xff\xc0\x80") + DONE, [(BINARY, b"\xff\xc0\x80")], 1000),
    # 7: closing.
    ("7 close at once", DONE, [], 1000),
    ("7 close without a code", close_frame(), [], None),
    ("7 close twice", DONE + DONE, [], 1000),
    ("7 ping after close", DONE + frame(PING, b"late"), [], 1000),
    ("7 text after close", DONE + frame(TEXT, b"late"), [], 1000),
    ("7 close inside a message", frame(TEXT, b"half", fin=False) + DONE, [], 1000),
    ("7 reason of 123 bytes", close_frame(1000, b"*" * 123), [], 1000),
    *[(f"7 code {code}", close_frame(code), [], code) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)],
]

BAD_TEXTS = {
    "surrogate": b"\xce\xba\xed\xa0\x80edited", "overlong slash": b"\xc0\xaf", "overlong nul": b"\xe0\x80\x80", "overlong 4": b"\xf0\x82\x82\xac",
    "beyond the last": b"\xf4\x90\x80\x80", "five bytes": b"\xf8\x88\x80\x80\x80", "six bytes": b"\xfc\x84\x80\x80\x80\x80", "lone tail": b"\x80",
    "tails": b"\x80\xbf\x80", "cut two": b"\xc3", "cut three": b"\xe1\xbd", "cut four": b"\xf0\x9f\x98", "cut, then text": b"\xe1\xbdx",
    "fe": b"\xfe", "ff": b"\xff", "long, wrong at the end": b"a" * 1000 + b"\xff", "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "lead after lead": b"\xc3\xc3\xa4",
}

WRONG = [
    ("2 ping of 126", frame(PING, b"\xfe" * 126, form=2), 1002),
    *[(f"3 reserved {bits}", frame(TEXT, b"x", reserved=bits), 1002) for bits in range(1, 8)],
    *[(f"3 ping with reserved {bits}", frame(PING, b"x", reserved=bits), 1002) for bits in (1, 2, 4)],
    ("3 close with reserved", frame(CLOSE, reserved=7), 1002),
    *[(f"4 opcode {opcode}", frame(opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    ("4 empty opcode 3", frame(3), 1002),
    ("5 fragmented ping", frame(PING, b"x", fin=False), 1002),
    ("5 fragmented pong", frame(PONG, b"x", fin=False), 1002),
    ("5 fragmented close", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    ("5 continuation first", frame(CONTINUATION, b"x"), 1002),
    ("5 open continuation first", frame(CONTINUATION, b"x", fin=False), 1002),
    ("5 text inside text", frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    ("5 binary inside text", frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), 1002),
    *[(f"6 {name}", frame(TEXT, text), 1007) for name, text in BAD_TEXTS.items()],
    ("6 wrong in the first fragment", frame(TEXT, b"\xff", fin=False), 1007),
    ("6 cut at the last fragment", frame(TEXT, b"\xe1", fin=False) + frame(CONTINUATION, b"\xbd"), 1007),
    ("7 half a code", frame(CLOSE, b"\x03"), 1002),
    ("7 reason that is no text", close_frame(1000, b"\xff"), 1007),
    ("7 close of 126", frame(CLOSE, b"\x03\xe8" + b"*" * 124, form=2), 1002),
    *[(f"7 code {code}", close_frame(code), 1002) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)],
    ("no mask", frame(TEXT, b"x", masked=False), 1002),
    ("ping without mask", frame(PING, masked=False), 1002),
    ("close without mask", frame(CLOSE, masked=False), 1002),
    ("long form of 5", frame(TEXT, b"xxxxx", form=2), 1002),
    ("longest form of 5", frame(TEXT, b"xxxxx", form=8), 1002),
    ("longest form of 300", frame(TEXT, b"x" * 300, form=8), 1002),
    ("length with its highest bit", b"\x82\xff\x80" + b"\0" * 11, 1002),
    ("huge length", b"\x82\xff\x7f" + b"\xff" * 7, 1009),
    ("huge length, unmasked", b"\x82\x7f\x7f" + b"\xff" * 7, 1002),
    ("HTTP again", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1002),
]


def test_there_are_enough_cases():
    assert len(FINE) > 50 and len(WRONG) > 60


@pytest.mark.parametrize("path", ["/", "/table"])
@pytest.mark.parametrize("case", FINE, ids=lambda c: c[0])
def test_what_is_right(port, case, path):
    _, data, expected, code = case
    assert outcome(port, [data], path) == (expected, code)


@pytest.mark.parametrize("case", [c for c in FINE if len(c[1]) < 400], ids=lambda c: c[0])
def test_byte_by_byte(port, case):
    _, data, expected, code = case
    assert outcome(port, in_pieces(data, 1)) == (expected, code)


@pytest.mark.parametrize("case", WRONG, ids=lambda c: c[0])
def test_what_is_wrong(port, case):
    _, data, code = case
    # What comes before is answered, what comes after is not.
    assert outcome(port, [frame(TEXT, b"before") + data + frame(TEXT, b"after")]) == ([(TEXT, b"before")], code)
    assert outcome(port, in_pieces(frame(TEXT, b"before") + data + frame(TEXT, b"after"), 1)) == ([(TEXT, b"before")], code)


def test_a_bad_text_is_found_before_its_end(port):
    """6.4: the message is not over, the frame is not, and it is wrong already."""
    with RawSocket(port) as ws:
        ws.send(frame(TEXT, "κόσμε".encode() + b"\xf4\x90" + b"\x80" * 1000)[:40])
        assert ws.close_code() == 1007


def test_a_connection_survives_its_neighbours_mistakes(port):
    with RawSocket(port) as good:
        for _, data, _ in WRONG[:10]:
            with RawSocket(port) as bad:
                bad.send(data)
                bad.rest()
        good.send(frame(TEXT, b"still here"))
        assert good.receive() == (TEXT, b"still here")


@pytest.mark.parametrize("size", [1 << 16, 1 << 18, 1 << 20, 4 << 20, 16 << 20])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_sizes(port, size, opcode):
    """9.1 and 9.2: one frame."""
    data = b"*" * size
    with RawSocket(port) as ws:
        ws.send(frame(opcode, data))
        assert ws.receive() == (opcode, data)
        ws.send(DONE)
        assert ws.close_code() == 1000


@pytest.mark.parametrize("piece", [64, 256, 1 << 10, 1 << 14, 1 << 18])
def test_sizes_in_fragments(port, piece):
    """9.3 and 9.4: four megabytes in fragments; the answer of the server comes whole."""
    data = b"*" * ((1 << 20) if piece < 1024 else (4 << 20))
    parts = in_pieces(data, piece)
    with RawSocket(port) as ws:
        ws.send(b"".join(frame(CONTINUATION if n else TEXT, part, fin=n == len(parts) - 1) for n, part in enumerate(parts)))
        assert ws.receive() == (TEXT, data)


@pytest.mark.parametrize("piece", [64, 999, 4096])
def test_a_frame_in_pieces(port, piece):
    """9.5 and 9.6: a frame cut by the network."""
    data = b"*" * (1 << 18)
    with RawSocket(port) as ws:
        for part in in_pieces(frame(BINARY, data), piece):
            ws.send(part)
        assert ws.receive() == (BINARY, data)


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096])
def test_many_messages(port, size):
    """9.7 and 9.8: a thousand messages, answered in order."""
    messages = [(b"%04d" % n + b"*" * size)[:max(size, 4)] for n in range(1000)]
    with RawSocket(port) as ws:
        ws.send(b"".join(frame(TEXT, m) for m in messages))
        assert [ws.receive() for _ in messages] == [(TEXT, m) for m in messages]


def test_too_big(port):
    for data in (frame(TEXT, b"x" * 1001), frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 401)):
        assert outcome(port, [data], "/small") == ([], 1009)
    # The head says so; nothing of the message is waited for.
    assert outcome(port, [frame(TEXT, b"x" * 1001)[:4]], "/small") == ([], 1009)
    assert outcome(port, [frame(TEXT, b"x" * 1000) + DONE], "/small") == ([(TEXT, b"x" * 1000)], 1000)


def test_frames_behind_the_request(port):
    """A client should wait for 101; what it says before is not lost."""
    with RawSocket(port, early=frame(TEXT, b"early") + frame(PING, b"p")) as ws:
        received = {ws.receive(), ws.receive()}
        assert received == {(TEXT, b"early"), (PONG, b"p")}
        ws.send(frame(TEXT, b"later"))
        assert ws.receive() == (TEXT, b"later")


def test_an_end_without_a_close_frame(port):
    with RawSocket(port) as ws:
        ws.send(frame(TEXT, b"x") + frame(TEXT, b"half", fin=False))
        assert ws.receive() == (TEXT, b"x")
        ws.socket.shutdown(1)
        assert ws.rest() == []


def test_the_server_ends_tcp_first(port):
    """7.1.1: after both close frames it is the server that ends the connection, at once."""
    with RawSocket(port) as ws:
        begun = time.monotonic()
        ws.send(DONE)
        assert ws.rest() == [(CLOSE, struct.pack(">H", 1000))]
        assert time.monotonic() - begun < PATIENCE / 2
