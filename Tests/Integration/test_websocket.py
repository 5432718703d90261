"""WebSocket routes from outside, with a client that is not ours."""

import contextlib
import json
import re
import signal
import socket
import ssl
import struct
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import PATIENCE, is_readable, panini, wait_until
from rawsocket import BINARY, CLOSE, PING, PONG, TEXT, RawSocket, close_frame, frame
from secure import Certificates
from test_http import WEB, Web, assert_failure
from test_mistakes import refused

ECHO = """
    app.http.websocket("/echo", function(ws, req)
        while true do
            local data, kind = ws.receive()
            if not data then return end
            if kind == "text" then assert(ws.send(data)) else assert(ws.send_binary(data)) end
        end
    end)
"""


class Sockets(Web):
    """A service with WebSocket routes."""

    def open(self, path, **options):
        options.setdefault("open_timeout", PATIENCE)
        options.setdefault("close_timeout", PATIENCE)
        options.setdefault("compression", None)
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    def raw(self, path, **options):
        return RawSocket(self.port, path, **options)


@pytest.fixture
def sockets(service):
    """sockets(script, options) → connections to a service with a web server, and the service."""

    def start(script, options="", **more):
        running = service(script, options=f"{WEB}, {options}" if options else WEB, **more)
        return Sockets(running), running

    return start


@pytest.fixture
def quick(start, nats_server):
    """The same on one broker: for what has nothing to do with it."""

    def start_sockets(script, options="", **more):
        running = start(nats_server.url, script, options=f"{WEB}, {options}" if options else WEB, **more)
        return Sockets(running), running

    return start_sockets


def closing(ws):
    """The code and reason that the server closes with; whatever comes before is left out."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            ws.recv(timeout=PATIENCE)
    received = caught.value.rcvd
    return (received.code, received.reason) if received else (1006, "")


# MARK: - The function form


def test_echo(sockets):
    web, _ = sockets(ECHO)
    with web.open("/echo") as ws:
        for message in ("hello", "", "κόσμε 😀", "x" * 200_000, b"", b"\x00\xff", bytes(70_000)):
            ws.send(message)
            assert ws.recv(timeout=PATIENCE) == message
        assert ws.ping().wait(PATIENCE)
        # The client sends fragments.
        ws.send(["one ", "two ", "three"])
        assert ws.recv(timeout=PATIENCE) == "one two three"


def test_receive_tells_kind_and_end(quick, nats_server):
    web, running = quick("""
        local ends = {}
        app.http.websocket("/in", function(ws)
            while true do
                local data, kind = ws.receive()
                if not data then
                    ends[#ends + 1] = { kind.code, kind.message, tostring(kind), select("#", ws.receive()), select(2, ws.receive()).code }
                    local sent, err = ws.send("late")
                    ends[#ends][6] = sent == nil and err.code
                    ends[#ends][7] = ws.close()
                    return
                end
                ws.send(kind .. " " .. #data)
            end
        end)
        app.http.get("/ends", function() return panini.array(ends) end)
    """)

    def end(expected):
        wait_until(lambda: len(web.get("/ends").json) == expected, f"{expected} ends")
        return web.get("/ends").json[-1]

    with web.open("/in") as ws:
        ws.send("text")
        assert ws.recv(timeout=PATIENCE) == "text 4"
        ws.send(b"bytes")
        assert ws.recv(timeout=PATIENCE) == "binary 5"
        ws.close(4001, "enough")
    assert end(1) == [4001, "enough", "enough", 2, 4001, 4001, False]
    with web.raw("/in") as ws:
        ws.send(close_frame())
        ws.rest()
    assert end(2) == [1005, "the connection is closed (1005)", "the connection is closed (1005)", 2, 1005, 1005, False]
    # The connection breaks, with and without the end of TCP being seen first.
    ws = web.raw("/in")
    ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.socket.close()
    assert end(3)[0] == 1006
    with web.raw("/in") as ws:
        ws.send(frame(TEXT, b"half a message")[:9])
        ws.socket.shutdown(socket.SHUT_WR)
        ws.rest()
    assert end(4)[0] == 1006
    for data, code in ((frame(TEXT, b"\xff"), 1007), (frame(3), 1002), (frame(TEXT, b"x" * (1 << 20) + b"x"), 1009)):
        with web.raw("/in") as ws:
            with contextlib.suppress(OSError):
                ws.send(data)
            assert ws.close_code() == code
        assert end(5 if code == 1007 else 6 if code == 1002 else 7)[0] == code
    assert "failed" not in running.output


def test_messages_that_came_before_the_end_are_received(quick):
    web, _ = quick("""
        local seen = {}
        app.http.websocket("/late", function(ws)
            app.sleep(0.3)
            local data, err
            repeat
                data, err = ws.receive()
                seen[#seen + 1] = data or err.code
            until not data
        end)
        app.http.get("/seen", function() return panini.array(seen) end)
    """)
    with web.open("/late") as ws:
        for n in range(5):
            ws.send(str(n))
        ws.close(1000)
    wait_until(lambda: len(web.get("/seen").json) == 6, "everything is seen")
    assert web.get("/seen").json == ["0", "1", "2", "3", "4", 1000]


def test_the_end_of_the_function_closes(quick):
    web, running = quick("""
        app.http.websocket("/done", function(ws) ws.send("bye") end)
        app.http.websocket("/fails", function(ws) ws.send("before") local t = nil; t.x = 1 end)
        app.http.websocket("/returns", function(ws) return nil, "no luck" end)
        app.http.websocket("/chosen", function(ws) error{ code = 4004, message = "no such room" } end)
        app.http.websocket("/closes", function(ws) ws.send("x") ws.close(3000, "grüße") app.sleep(0.1) end)
        app.http.websocket("/gone", function(ws) app.sleep(0.2) while true do assert(ws.send("more")) app.sleep(0.01) end end)
    """)
    for path, first, end in [
        ("/done", "bye", (1000, "")), ("/fails", "before", (1011, "internal error")), ("/returns", None, (1011, "internal error")),
        ("/chosen", None, (4004, "no such room")), ("/closes", "x", (3000, "grüße")),
    ]:
        with web.open(path) as ws:
            if first:
                assert ws.recv(timeout=PATIENCE) == first
            assert closing(ws) == end, path
    running.wait_for(r"handler of WEBSOCKET /fails \(.*test\.lua:3\) failed: .*attempt to index a nil value")
    assert "stack traceback" in running.output
    running.wait_for(r"handler of WEBSOCKET /returns .* failed: no luck")
    # A client that has gone is no fault.
    with web.open("/gone") as ws:
        ws.close()
    web.get("/nothing")
    time.sleep(0.5)
    assert "/gone" not in running.output and "/chosen" not in running.output


def test_debug_tells_the_client(quick):
    web, _ = quick('app.http.websocket("/fails", function(ws) error("told " .. ("x"):rep(200)) end)', "debug = true")
    with web.open("/fails") as ws:
        code, reason = closing(ws)
    assert code == 1011 and "told xxx" in reason and len(reason.encode()) <= 123


def test_the_request(quick):
    web, _ = quick("""
        app.http.websocket("/rooms/{room}/{rest...}", function(ws, req)
            ws.context.n = 1
            ws.send(panini.json.encode{
                room = req.params.room, rest = req.params.rest, q = req.query.q, list = req.query_all.q, agent = req.headers["X-Agent"],
                cookie = req.cookies.session, method = req.method, path = req.path, address = req.remote_address, body = req.body,
                id = math.type(ws.id), protocol = ws.protocol, n = ws.context.n, text = tostring(ws):match("^websocket %d+$") ~= nil,
                unknown = ws.nothing == nil, readonly = not pcall(function() ws.x = 1 end), same = ws.send == ws.send,
                meta = getmetatable(ws),
            })
            ws:send("colon")
        end)
    """)
    with web.open("/rooms/a%20b/c/d?q=1&q=2", additional_headers={"X-Agent": "test", "Cookie": "session=abc"}) as ws:
        assert json.loads(ws.recv(timeout=PATIENCE)) == {
            "room": "a b", "rest": "c/d", "q": "1", "list": ["1", "2"], "agent": "test", "cookie": "abc", "method": "GET",
            "path": "/rooms/a%20b/c/d", "address": "127.0.0.1", "body": "", "id": "integer", "n": 1, "text": True, "unknown": True,
            "readonly": True, "same": True, "meta": "panini.websocket",
        }
        assert ws.recv(timeout=PATIENCE) == "colon"


def test_numbers_are_unique(quick):
    web, _ = quick('app.http.websocket("/id", function(ws) ws.send(tostring(ws.id)) end)')
    seen = set()
    for _ in range(20):
        with web.open("/id") as ws:
            seen.add(ws.recv(timeout=PATIENCE))
    assert len(seen) == 20


def test_a_handler_waits_without_holding_anybody_up(sockets, client, gate):
    web, _ = sockets("""
        app.http.websocket("/ask", function(ws)
            while true do
                local data = ws.receive()
                if not data then return end
                local answer = app.request("gate", { n = data })
                ws.send(answer.text)
            end
        end)
        app.listen("now", function() return { ok = true } end)
    """)
    with web.open("/ask") as one, web.open("/ask") as two:
        one.send("1")
        first = gate.arrived()
        two.send("2")
        second = gate.arrived()
        assert client.ask("now") == {"ok": True}
        gate.open(second, b'{"text": "two"}')
        assert two.recv(timeout=PATIENCE) == "two"
        gate.open(first, b'{"text": "one"}')
        assert one.recv(timeout=PATIENCE) == "one"


def test_sending_from_elsewhere(sockets, client):
    """From a listener, a timer and a spawned function, also while the handler waits in receive."""
    web, _ = sockets("""
        local all = {}
        app.http.websocket("/feed", function(ws)
            all[ws.id] = ws
            app.spawn(function() app.sleep(0.05) ws.send("spawned") end)
            repeat until not ws.receive()
            all[ws.id] = nil
        end)
        app.listen("news", function(msg)
            local count = 0
            for _, ws in pairs(all) do
                assert(ws.send(msg.raw))
                count = count + 1
            end
            return count
        end)
        app.http.get("/count", function() local n = 0 for _ in pairs(all) do n = n + 1 end return n end)
    """)
    with web.open("/feed") as one, web.open("/feed") as two:
        assert {one.recv(timeout=PATIENCE), two.recv(timeout=PATIENCE)} == {"spawned"}
        for n in range(10):
            assert client.ask("news", {"n": n}) == 2
        for ws in (one, two):
            assert [json.loads(ws.recv(timeout=PATIENCE))["n"] for _ in range(10)] == list(range(10))
    wait_until(lambda: web.get("/count").json == 0, "the handlers end with their clients")
    assert client.ask("news", {}) == 0


def test_misuse_raises_at_the_scripts_line(quick):
    web, running = quick("""
        local calls = {
            { function(ws) ws.send({}) end, "ws.send: the message must be a string, not table; panini.json.encode" },
            { function(ws) ws.send(1) end, "must be a string, not number" },
            { function(ws) ws.send() end, "must be a string, not nothing" },
            { function(ws) ws.send("\\255") end, "not valid UTF-8; ws.send_binary" },
            { function(ws) ws.send("x", { wate = false }) end, 'unknown option "wate"' },
            { function(ws) ws.send("x", { wait = 5 }) end, 'option "wait" cannot be' },
            { function(ws) ws.close(1005) end, "ws.close: the code must be" },
            { function(ws) ws.close(999) end, "ws.close: the code must be" },
            { function(ws) ws.close(1000.5) end, "ws.close: the code must be" },
            { function(ws) ws.close("x") end, "ws.close: the code must be" },
            { function(ws) ws.close(1000, ("x"):rep(124)) end, "at most 123 bytes" },
            { function(ws) ws.close(1000, "\\255") end, "must be UTF-8" },
            { function(ws) table.sort({ 2, 1 }, function() ws.receive() end) end, "cannot wait here" },
            { function(ws)
                local spawned = app.spawn(function() return ws.receive() end)
                app.sleep(0)
                ws.receive()
            end, "another coroutine is waiting" },
        }
        app.http.websocket("/misuse", function(ws)
            for _, call in ipairs(calls) do
                local ok, err = pcall(call[1], ws)
                local place, text = tostring(err):match("^.-test%.lua:(%d+): (.*)$")
                assert(not ok and text and text:find(call[2], 1, true), err)
            end
            ws.send("all")
        end)
    """)
    with web.open("/misuse") as ws:
        assert ws.recv(timeout=PATIENCE) == "all", running.output


# MARK: - The table form

TABLE = """
    local log = {}
    app.http.websocket("/table", {
        open = function(ws, req) log[#log + 1] = "open " .. req.path ws.send("welcome") end,
        message = function(ws, data, kind)
            log[#log + 1] = kind .. " " .. data
            if data == "wait" then app.sleep(0.1) end
            if data == "fail" then error("as asked") end
            if data == "close" then ws.close(4000, "asked") end
            ws.send("got " .. data)
        end,
        close = function(ws, code, reason)
            log[#log + 1] = "close " .. code .. " " .. reason
            local ok, err = ws.send("late")
            log[#log + 1] = tostring(ok) .. " " .. err.code
        end,
    })
    app.http.get("/log", function() local all = log log = {} return panini.array(all) end)
"""


def test_a_table_of_functions(sockets):
    web, running = sockets(TABLE)

    def logged(count):
        seen = []

        def complete():
            seen.extend(web.get("/log").json)
            return len(seen) >= count

        wait_until(complete, f"{count} entries: {seen}")
        return seen

    with web.open("/table") as ws:
        assert ws.recv(timeout=PATIENCE) == "welcome"
        # One after another, though the first waits.
        ws.send("wait")
        ws.send("next")
        ws.send(b"bytes")
        assert [ws.recv(timeout=PATIENCE) for _ in range(3)] == ["got wait", "got next", "got bytes"]
        ws.close(1000, "done")
    assert logged(6) == ["open /table", "text wait", "text next", "binary bytes", "close 1000 done", "nil 1000"]
    with web.open("/table") as ws:
        ws.send("close")
        assert closing(ws) == (4000, "asked")
    assert logged(4) == ["open /table", "text close", "close 4000 asked", "nil 4000"]
    with web.open("/table") as ws:
        ws.send("fail")
        assert closing(ws) == (1011, "internal error")
    assert logged(4) == ["open /table", "text fail", "close 1011 internal error", "nil 1011"]
    running.wait_for(r"message of WEBSOCKET /table \(.*test\.lua:\d+\) failed: .*as asked")
    with web.raw("/table") as ws:
        ws.send(frame(TEXT, b"\xff"))
        assert ws.close_code() == 1007
    assert logged(3)[0:2] == ["open /table", "close 1007 the text is not valid UTF-8"]


def test_parts_of_a_table(quick):
    web, _ = quick("""
        local seen = {}
        app.http.websocket("/message", { message = function(ws, data) ws.send(data) end })
        app.http.websocket("/open", { open = function(ws) ws.send("hello") end })
        app.http.websocket("/close", { close = function(ws, code) seen[#seen + 1] = code end })
        app.http.websocket("/receives", { message = function(ws) ws.receive() end })
        app.http.get("/seen", function() return panini.array(seen) end)
    """)
    with web.open("/message") as ws:
        ws.send("x")
        assert ws.recv(timeout=PATIENCE) == "x"
    with web.open("/open") as ws:
        assert ws.recv(timeout=PATIENCE) == "hello"
        for _ in range(200):
            ws.send("nobody listens")
        assert ws.ping().wait(PATIENCE)
    with web.open("/close") as ws:
        ws.send("nobody listens")
    wait_until(lambda: web.get("/seen").json == [1000], "close was called")
    with web.open("/receives") as ws:
        ws.send("x")
        assert closing(ws)[0] == 1011


def test_time_limits_of_a_table(quick):
    web, running = quick(
        """
        app.http.websocket("/slow", { message = function(ws) app.sleep(30) end })
        app.http.websocket("/own", { timeout = 0.2 }, { message = function(ws) app.sleep(30) end })
        app.http.websocket("/function", function(ws) ws.send(tostring(ws.receive())) end)
        """,
        "handler_timeout = 0.5",
    )
    with web.open("/function") as patient:
        for path, seconds in (("/slow", "0.5"), ("/own", "0.2")):
            with web.open(path) as ws:
                ws.send("x")
                assert closing(ws) == (1011, "internal error")
            running.wait_for(rf"message of WEBSOCKET {path} \(.*\) took longer than {seconds} s and was ended")
        # A function's life is its connection's.
        time.sleep(0.7)
        patient.send("still there")
        assert patient.recv(timeout=PATIENCE) == "still there"


def test_sync(quick):
    """One at a time, also for messages of different connections."""
    web, _ = quick(
        """
        local running, most = 0, 0
        app.http.websocket("/one", {
            message = function(ws, data)
                running = running + 1
                most = math.max(most, running)
                app.sleep(0.02)
                running = running - 1
                ws.send(data .. " " .. most)
            end,
        })
        app.http.get("/most", function() return most end)
        """,
        'app_strategy = "sync"',
    )
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(web.open("/one")) for _ in range(4)]
        for n in range(3):
            for ws in clients:
                ws.send(str(n))
        for ws in clients:
            assert [ws.recv(timeout=PATIENCE) for _ in range(3)] == ["0 1", "1 1", "2 1"]
    assert web.get("/most").json == 1


# MARK: - Routes and the upgrade


def test_mistakes(check):
    def wrong(code, *texts):
        refused(check(code, options=WEB), "test.lua:2:", *texts)

    wrong('app.http.websocket("/x")', "app.http.websocket", "must be a function or a table of functions, not nothing")
    wrong('app.http.websocket("/x", { max_message = 1 }, 5)', "must be a function or a table of functions, not number")
    wrong('app.http.websocket("x", function() end)', 'a path begins with "/"')
    wrong('app.http.websocket("/x", { max_mesage = 1 }, function() end)', 'unknown option "max_mesage"', "max_message")
    wrong('app.http.websocket("/x", { max_message = "x" }, function() end)', "max_message")
    wrong('app.http.websocket("/x", { max_message = 0 }, function() end)', "max_message")
    wrong('app.http.websocket("/x", { max_queue = 0 }, function() end)', "max_queue must be a whole number")
    wrong('app.http.websocket("/x", { ping_interval = -1 }, function() end)', "ping_interval must be a number of seconds")
    wrong('app.http.websocket("/x", { idle_timeout = 0 }, function() end)', "idle_timeout must be a number of seconds")
    wrong('app.http.websocket("/x", { timeout = "x" }, function() end)', "timeout must be a number of seconds")
    wrong('app.http.websocket("/x", { origins = {} }, function() end)', "origins is empty")
    wrong('app.http.websocket("/x", { origins = { "shop.example" } }, function() end)', '"shop.example" is no origin')
    wrong('app.http.websocket("/x", { origins = { "https://shop.example/page" } }, function() end)', "is no origin")
    wrong('app.http.websocket("/x", { protocols = { "a b" } }, function() end)', "is no name of a subprotocol")
    wrong('app.http.websocket("/x", { mesage = function() end })', 'unknown function "mesage"', "message")
    wrong('app.http.websocket("/x", { message = 5 })', "message must be a function, not number")
    wrong('app.http.websocket("/x", {})', "has none of open, message, close and reload")
    wrong('app.http.websocket("/x", { middlewares = { { listen_any = function() end } } }, function() end)', "is for none of http_request")
    wrong('app.http.get("/x", function() end) app.http.websocket("/x", function() end)', "GET /x is there already")
    refused(check('app.http.websocket("/x", function() end)'), "test.lua:2:", "web_server = true")
    refused(check('app.http.websocket("/x", function() end)', options=f'{WEB}, app_strategy = "sync"'), "test.lua:2:", "the handler is a table")


def test_check_lists_them(check):
    result = check("""
        app.http.websocket("/chat/{room}", function() end)
        app.http.nats_bridge("/prices", { allow = { "prices.>", "news.{kind}" } })
    """, "--json", options=WEB)
    assert json.loads(result.stdout)["routes"] == [
        {"method": "WEBSOCKET", "path": "/chat/{room}"},
        {"method": "WEBSOCKET", "path": "/prices", "subjects": ["prices.>", "news.*"]},
    ]
    text = check('app.http.nats_bridge("/prices", { allow = { "prices.>" } })', options=WEB).stdout
    assert "serves WEBSOCKET /prices  (bridge to prices.>)" in text


def test_requests_that_are_no_upgrade(quick):
    web, _ = quick(ECHO)
    answer = web.get("/echo")
    assert_failure(answer, 426, "this is a WebSocket")
    assert answer.headers["upgrade"] == "websocket" and "upgrade" in answer.headers.get_all("connection")
    assert web.ask("HEAD", "/echo").status == 426
    answer = web.ask("POST", "/echo", "x")
    assert_failure(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert web.ask("OPTIONS", "/echo").status == 204
    assert_failure(web.get("/echo/"), 404)
    with pytest.raises(InvalidStatus) as caught, web.open("/nothing"):
        pass
    assert caught.value.response.status_code == 404
    good = {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for change, status in [
        ({"Sec-WebSocket-Version": "8"}, 426), ({"Sec-WebSocket-Version": None}, 426), ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": None}, 400), ({"Connection": "keep-alive"}, 400), ({"Upgrade": "h2c"}, 426), ({"Content-Length": "3"}, 400),
        ({"Transfer-Encoding": "chunked"}, 400),
    ]:
        headers = {k: v for k, v in {**good, **change}.items() if v}
        answer = web.ask("GET", "/echo", headers=headers)
        assert answer.status == status, (change, answer)
        if change.get("Sec-WebSocket-Version", "") != "":
            assert answer.headers["sec-websocket-version"] == "13"
    # The key alone decides about 101.
    with web.raw("/echo", headers=["Origin: http://127.0.0.1:1"]) as ws:
        assert ws.handshake.status == 403
    # An upgrade to something that is no such route is a plain request, and the connection ends with its answer.
    with web.raw("/nothing", early=frame(TEXT, b"x")) as ws:
        assert ws.handshake.status == 404 and ws.handshake.headers["connection"] == "close"


def test_pipelined_behind_a_request(quick):
    web, _ = quick(ECHO + '\napp.http.get("/slow", function() app.sleep(0.2) return "slow" end)')
    with web.raw("/", upgrade=False) as ws:
        ws.send(
            b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame(TEXT, b"early")
        )
        assert "200 OK" in ws.head()
        assert ws._take(4) == b"slow"
        head = ws.head()
        assert "101 Switching Protocols" in head and "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert ws.receive() == (TEXT, b"early")


EARLY = """
    app.http.websocket("/function", function(ws)
        while true do
            local data = ws.receive()
            if not data then return end
            ws.send(data)
        end
    end)
    local echo = { message = function(ws, data) ws.send(data) end, close = function(ws, code) app.publish("closed", { code = code }) end }
    app.http.websocket("/table", echo)
    app.http.websocket("/opening", { message = echo.message, close = echo.close, open = function(ws) app.sleep(0.05) end })
    app.http.websocket("/behind", { middlewares = { { http_request = function(req, callback) app.sleep(0.05) return callback(req) end } } }, echo)
    app.http.websocket("/refusing", { middlewares = { { http_request = function() app.sleep(0.05) return panini.response{ status = 403 } end } } }, echo)
    app.http.nats_bridge("/bridge", { allow = { "prices.>" } })
"""


def upgrade(path):
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("path", ["/function", "/table", "/opening", "/behind"])
def test_frames_in_the_packet_of_the_upgrade(quick, path):
    web, _ = quick(EARLY)
    texts = [b"one", b"two" * 100, b"x" * 70_000, b"four"]
    frames = b"".join(frame(TEXT, text) for text in texts) + frame(PING, b"p")
    for cut in (len(frames), 5, 100, 0):
        # All of them, a part of one, none with the request; the others behind it.
        with web.raw(path, upgrade=False) as ws:
            ws.send(upgrade(path) + frames[:cut])
            if cut < len(frames):
                time.sleep(0.02)
                ws.send(frames[cut:])
            assert "101 Switching Protocols" in ws.head()
            received = [ws.receive() for _ in range(5)]
            assert [r for r in received if r[0] == TEXT] == [(TEXT, text) for text in texts]
            assert (PONG, b"p") in received
            ws.send(frame(TEXT, b"later"))
            assert ws.receive() == (TEXT, b"later")


@pytest.mark.parametrize("path", ["/function", "/table", "/opening", "/behind", "/bridge"])
def test_an_end_in_the_packet_of_the_upgrade(quick, path):
    """A close frame, or one that is none: the connection ends as it does later, and nothing of it is left."""
    web, running = quick(EARLY)
    for data, code in ((close_frame(1000), 1000), (frame(TEXT, b"x", masked=False), 1002), (frame(TEXT, b"\xff"), 1007)):
        with web.raw(path, upgrade=False) as ws:
            ws.send(upgrade(path) + data)
            assert "101 Switching Protocols" in ws.head()
            kind, payload = ws.receive()
            assert kind == CLOSE and payload[:2] == struct.pack(">H", code)
    # The service stops at once, as no connection is left.
    running.stop()


def test_a_bridge_reads_what_came_with_the_upgrade(quick):
    web, _ = quick(EARLY)
    with web.raw("/bridge", upgrade=False) as ws:
        command = json.dumps({"action": "subscribe", "subjects": ["prices.tea"]}).encode()
        ws.send(upgrade("/bridge") + frame(TEXT, command) + frame(TEXT, b"nonsense"))
        assert "101 Switching Protocols" in ws.head()
        assert json.loads(ws.receive()[1])["success"] is True
        assert json.loads(ws.receive()[1])["success"] is False
        ws.send(frame(TEXT, json.dumps({"action": "unsubscribe", "subjects": ["prices.tea"]}).encode()))
        assert json.loads(ws.receive()[1])["success"] is True


def test_a_query_that_is_no_text_is_the_clients_fault(quick):
    web, running = quick('app.http.websocket("/ws", function(ws, req) ws.send(req.query.a) end)')
    with web.raw("/ws?a=%C3%A4") as ws:
        assert ws.receive() == (TEXT, "\u00e4".encode())
    with web.raw("/ws?a=%FF") as ws:
        kind, payload = ws.receive()
        assert kind == CLOSE and payload[:2] == struct.pack(">H", 1008) and b"UTF-8" in payload
    assert "ERROR" not in running.output


def test_frames_behind_a_refused_upgrade_end_the_connection(quick):
    web, _ = quick(EARLY)
    for path, status in (("/refusing", 403), ("/nothing", 404)):
        with web.raw(path, upgrade=False) as ws:
            ws.send(upgrade(path) + frame(TEXT, b"x" * 1000) * 5)
            head = ws.head()
            assert f"HTTP/1.1 {status}" in head and "connection: close" in head
            while ws._more():
                pass
    # And there is a bound for what waits.
    with web.raw("/behind", upgrade=False) as ws:
        with contextlib.suppress(OSError):
            ws.send(upgrade("/behind") + frame(BINARY, b"x" * 1_000_000))
            while ws._more():
                pass


def test_an_upgrade_behind_many_requests(quick):
    """Reading was held up for what waits; the WebSocket reads on."""
    web, _ = quick(EARLY + '\napp.http.get("/slow", function() app.sleep(0.01) return "slow" end)')
    head = b"GET /slow HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 900 + b"\r\n\r\n"
    with web.raw("/table", upgrade=False) as ws:
        ws.send(head * 120 + upgrade("/table"))
        for _ in range(120):
            assert "200 OK" in ws.head()
            assert ws._take(4) == b"slow"
        assert "101 Switching Protocols" in ws.head()
        ws.send(frame(TEXT, b"late"))
        assert ws.receive() == (TEXT, b"late")


def test_origins(quick):
    web, _ = quick("""
        local function handler(ws) ws.send("in") end
        app.http.websocket("/self", handler)
        app.http.websocket("/some", { origins = { "https://shop.example", "self" } }, handler)
        app.http.websocket("/any", { origins = { "*" } }, handler)
    """)

    def status(path, origin):
        with web.raw(path, headers=[f"Origin: {origin}"] if origin else []) as ws:
            return ws.handshake.status

    own = f"http://127.0.0.1:{web.port}"
    assert [status("/self", o) for o in (None, own, "https://shop.example", "null")] == [101, 101, 403, 403]
    assert [status("/some", o) for o in (None, own, "https://shop.example", "https://shop.example.org")] == [101, 101, 101, 403]
    assert [status("/any", o) for o in (None, own, "https://evil.example", "null")] == [101, 101, 101, 101]


def test_subprotocols(quick):
    web, _ = quick("""
        app.http.websocket("/v", { protocols = { "chat.v1", "chat.v2" } }, function(ws) ws.send(tostring(ws.protocol)) end)
    """)
    with web.open("/v", subprotocols=["chat.v3", "chat.v2", "chat.v1"]) as ws:
        assert ws.subprotocol == "chat.v2" and ws.recv(timeout=PATIENCE) == "chat.v2"
    with web.open("/v") as ws:
        assert ws.subprotocol is None and ws.recv(timeout=PATIENCE) == "nil"


def test_middlewares(sockets):
    web, running = sockets("""
        local order = {}
        app.add_middleware{ http_request = function(req, callback)
            order[#order + 1] = "outer"
            if req.query.token == "wrong" then return nil, { code = 401, message = "no" } end
            if req.query.token == "teapot" then return panini.response{ status = 418, text = "tea" } end
            req.context.user = req.query.user
            local answer = callback(req)
            if req.query.cookie then answer.headers = { ["set-cookie"] = "a=1", ["sec-websocket-accept"] = "x" } end
            return answer
        end }
        local slow = { http_request = function(req, callback)
            order[#order + 1] = "own"
            app.sleep(0.1)
            if req.query.raise then error("raised") end
            return callback(req)
        end }
        app.http.websocket("/in", { middlewares = { slow } }, function(ws, req) ws.send(req.context.user .. " " .. table.concat(order, " ")) end)
        app.http.websocket("/table", { open = function(ws, req) ws.send(req.context.user) end })
    """)
    with web.open("/in?user=ada") as ws:
        assert ws.recv(timeout=PATIENCE) == "ada outer own"
    with web.open("/table?user=bob") as ws:
        assert ws.recv(timeout=PATIENCE) == "bob"
    for query, status in (("token=wrong", 401), ("token=teapot", 418), ("raise=1", 500)):
        with pytest.raises(InvalidStatus) as caught, web.open(f"/in?{query}"):
            pass
        assert caught.value.response.status_code == status
    running.wait_for("raised")
    with web.raw("/in?user=ada&cookie=1") as ws:
        assert ws.handshake.status == 101 and ws.handshake.headers["set-cookie"] == "a=1"
    # A client that has gone before the middlewares were done.
    ws = web.raw("/", upgrade=False)
    ws.send(b"GET /in?user=x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    ws.socket.close()
    time.sleep(0.3)
    assert web.get("/in").status == 426


def test_bytes_before_the_answer_have_a_limit(quick):
    web, _ = quick("""
        local slow = { http_request = function(req, callback) app.sleep(2) return callback(req) end }
        app.http.websocket("/slow", { middlewares = { slow } }, function(ws) end)
    """)
    ws = web.raw("/", upgrade=False)
    ws.send(b"GET /slow HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    begun = time.monotonic()
    with pytest.raises(OSError):
        for _ in range(2000):
            ws.send(b"x" * 65536)
    assert time.monotonic() - begun < 1.5
    ws.socket.close()


def test_tls(start, nats_server, tmp_path):
    authority = Certificates(tmp_path / "certificates")
    certificate, key = authority.issue("localhost", "DNS:localhost", "serverAuth")
    running = start(
        nats_server.url, ECHO, options=f'{WEB}, web_tls = {{ cert_file = "{certificate}", key_file = "{key}" }}'
    )
    running.wait_for("web server on https")
    port = int(re.search(r"web server on https://127\.0\.0\.1:(\d+)", running.output).group(1))
    context = ssl.create_default_context(cafile=authority.ca)
    with connect(
        f"wss://localhost:{port}/echo", ssl=context, origin=f"https://localhost:{port}", compression=None, open_timeout=PATIENCE
    ) as ws:
        for message in ("hello", b"\0" * 300_000, "x" * 70_000):
            ws.send(message)
            assert ws.recv(timeout=PATIENCE) == message
        ws.close(1000)
        assert ws.close_code == 1000
    with (
        pytest.raises(InvalidStatus),
        connect(f"wss://localhost:{port}/echo", ssl=context, origin=f"http://localhost:{port}", open_timeout=PATIENCE),
    ):
        pass


# MARK: - Limits


def test_connections_count(quick):
    web, _ = quick(ECHO, "web_max_connections = 3")

    def opened(held):
        try:
            held.enter_context(web.open("/echo"))
            return True
        except (InvalidStatus, ConnectionClosed):
            # Refused; the library may hear of it before it has said anything.
            return False

    with contextlib.ExitStack() as held:
        # The one that asked whether the server is there may not have gone yet.
        for _ in range(3):
            wait_until(lambda: opened(held), "a place is free")
        with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as raw:
            assert raw.recv(65536).startswith(b"HTTP/1.1 503 ")
    with contextlib.ExitStack() as held:
        wait_until(lambda: opened(held), "a place is free again")


def test_a_client_that_is_gone_when_it_is_upgraded(quick):
    """It has reset the connection behind the request before: the answer 101 meets that, and nobody may wait for it then."""
    web, running = quick("""
        app.http.get("/", function(req) return "hello" end)
        app.http.websocket("/ws", function(ws) while ws.receive() do end end)
    """)
    first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    upgrade = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as raw:
            raw.sendall(first + upgrade[:40])
            # Until the first answer is there, which is left unread: closing resets the connection.
            is_readable(raw, PATIENCE)
            raw.sendall(upgrade[40:] + frame(TEXT, b"x"))
    begun = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert time.monotonic() - begun < 10


def test_a_handler_that_is_slow_holds_the_client_back(quick):
    """At most max_queue messages wait; then the socket is left alone, and nothing is lost."""
    web, running = quick("""
        local go
        app.http.websocket("/slow", { max_queue = 4, max_message = "1MB" }, function(ws)
            while not go do app.sleep(0.02) end
            local count, bytes = 0, 0
            while true do
                local data = ws.receive()
                if data == "end" then break end
                count, bytes = count + 1, bytes + #data
            end
            ws.send(count .. " " .. bytes)
        end)
        app.http.get("/go", function() go = true return collectgarbage("count") end)
    """)
    message = frame(TEXT, b"x" * 100_000)
    with web.raw("/slow") as ws:
        sent = 0
        ws.socket.settimeout(0.5)
        # Socket buffers of this machine take a few megabytes.
        with pytest.raises(TimeoutError):
            for _ in range(2000):
                ws.send(message)
                sent += 1
        resident = memory_of(running.process.pid)
        assert resident < 150 << 20, resident
        # The rest of the frame that was cut.
        assert sent < 500
        web.get("/go")
    # Once more, with everything received.
    with web.raw("/slow") as ws:
        def feed():
            for _ in range(300):
                ws.send(message)
            ws.send(frame(TEXT, b"end"))

        feeder = threading.Thread(target=feed)
        feeder.start()
        assert ws.receive() == (TEXT, b"300 30000000")
        feeder.join()


def memory_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) << 10


def test_a_client_that_is_slow_holds_the_sender_back(quick):
    """Only the coroutine that sends waits; the others go on."""
    web, running = quick("""
        local sent, done = 0, false
        app.http.websocket("/flood", function(ws)
            for n = 1, 400 do
                assert(ws.send(("%06d"):format(n) .. ("x"):rep(100000)))
                sent = n
            end
            done = true
            ws.receive()
        end)
        app.http.get("/sent", function() return { sent = sent, done = done } end)
    """)
    with web.raw("/flood") as ws:
        ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        last = -1

        def settled():
            nonlocal last
            before, last = last, web.get("/sent").json["sent"]
            return last > 0 and before == last

        def twice():
            time.sleep(0.2)
            return settled()

        wait_until(twice, "the sender waits")
        assert last < 300 and not web.get("/sent").json["done"]
        for n in range(1, 401):
            opcode, payload = ws.receive()
            assert opcode == TEXT and payload[:6] == b"%06d" % n
        wait_until(lambda: web.get("/sent").json["done"], "the sender is done")


def test_what_is_unsent_has_a_limit(quick):
    """Many coroutines that send to one slow client: each waits with one message, until too much waits."""
    web, _ = quick("""
        local results = {}
        app.http.websocket("/many", { max_unsent = "2MB" }, function(ws)
            for n = 1, 200 do
                app.spawn(function()
                    local ok, err = ws.send(("x"):rep(100000))
                    results[tostring(ok and "sent" or err.code)] = (results[tostring(ok and "sent" or err.code)] or 0) + 1
                end)
            end
            ws.receive()
        end)
        app.http.get("/results", function() return results end)
    """)
    with web.raw("/many") as ws:
        wait_until(lambda: web.get("/results").json.get("too_slow", 0) > 0, "some are refused")
        refused_count = web.get("/results").json["too_slow"]
        time.sleep(0.2)
        assert web.get("/results").json["too_slow"] == refused_count
        for _ in range(200 - refused_count):
            assert len(ws.receive()[1]) == 100_000
        wait_until(lambda: web.get("/results").json.get("sent") == 200 - refused_count, "the others have sent")


def test_sending_without_waiting(quick):
    """For broadcasts: nobody waits for a slow client, and what waits for it has the same limit."""
    web, _ = quick("""
        local result
        app.http.websocket("/many", { max_unsent = "1MB" }, function(ws)
            local sent, ok, err = -1, nil, nil
            local begun = panini.monotonic()
            repeat
                ok, err = ws.send_binary(("x"):rep(100000), { wait = false })
                sent = sent + 1
            until err or sent == 1000
            result = { sent = sent, code = err and err.code, quick = panini.monotonic() - begun < 5 }
            ws.receive()
            ws.send_binary("end")
        end)
        app.http.get("/result", function() return result or {} end)
    """)
    with web.raw("/many") as ws:
        # Nothing is read meanwhile.
        wait_until(lambda: web.get("/result").json, "the sender is done")
        result = web.get("/result").json
        assert result["code"] == "too_slow" and result["quick"] and 10 < result["sent"] < 1000, result
        for _ in range(result["sent"]):
            assert len(ws.receive()[1]) == 100_000
        ws.send(frame(TEXT, b"go on"))
        assert ws.receive()[1] == b"end"


def test_pings_and_silence(quick):
    web, _ = quick("""
        local ends = {}
        local options = { ping_interval = 0.1, idle_timeout = 0.6 }
        app.http.websocket("/quiet", options, function(ws)
            local data, err = ws.receive()
            ends[#ends + 1] = { err.code, err.message }
        end)
        app.http.websocket("/never", { ping_interval = false, idle_timeout = 0.4 }, function(ws) ws.receive() end)
        app.http.get("/ends", function() return panini.array(ends) end)
    """)
    # One that answers stays, however long it says nothing.
    with web.open("/quiet") as good:
        # One that does not is given up.
        with web.raw("/quiet") as ws:
            begun = time.monotonic()
            frames = ws.rest()
            assert {f[0] for f in frames[:-1]} == {PING} and len(frames) >= 4
            assert frames[-1][0] == CLOSE and struct.unpack(">H", frames[-1][1][:2])[0] == 1011
            assert 0.5 < time.monotonic() - begun < PATIENCE
        assert web.get("/ends").json == [[1006, "the peer did not answer"]]
        time.sleep(0.8)
        assert good.ping().wait(PATIENCE)
        # Any frame counts as a sign of life.
        with web.raw("/quiet") as ws:
            for _ in range(10):
                ws.send(frame(PONG))
                time.sleep(0.1)
            assert all(f[0] == PING for f in [ws.receive()])
    with web.raw("/never") as ws:
        assert [f[0] for f in ws.rest()] == [CLOSE]


def test_a_close_frame_that_is_not_answered(quick):
    web, _ = quick("""
        app.http.websocket("/close", function(ws) ws.close(4000) end)
        app.http.get("/", function() return "x" end)
    """, "web_max_connections = 1")
    begun = time.monotonic()
    with web.raw("/close") as ws:
        assert ws.receive() == (CLOSE, struct.pack(">H", 4000))
        assert ws.receive() is None
        assert 4 < time.monotonic() - begun < PATIENCE
    wait_until(lambda: web.get("/").status == 200, "its place is free")


@pytest.mark.slow
def test_a_close_frame_waits_behind_what_was_sent(quick):
    """A client that takes its time gets everything before the end, however long that takes it."""
    web, _ = quick("""
        app.http.websocket("/large", { max_unsent = "64MB" }, function(ws)
            app.spawn(function() ws.send_binary(("x"):rep(24 << 20)) end)
            app.sleep(0)
        end)
    """)
    with web.raw("/large") as ws:
        ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        begun, taken = time.monotonic(), 0
        while taken < (24 << 20):
            taken += len(ws._take(1 << 20))
            time.sleep(0.35)
        assert time.monotonic() - begun > 7
        assert ws._take(10) is not None and ws.close_code() == 1000


# MARK: - The end


def test_stop(sockets):
    web, running = sockets("""
        app.http.websocket("/function", function(ws)
            local data, err = ws.receive()
            app.sleep(0.3)
            app.publish("ended", { how = "function", code = err.code })
        end)
        app.http.websocket("/table", {
            message = function(ws, data) ws.send("begun") app.sleep(0.3) app.publish("ended", { how = "message", data = data }) end,
            close = function(ws, code, reason) app.sleep(0.1) app.publish("ended", { how = "close", code = code, reason = reason }) end,
        })
        app.on_stop(function() app.publish("ended", { how = "on_stop" }) end)
    """)
    with contextlib.closing(__import__("harness").Client(running.arguments[running.arguments.index("--server") + 1])) as client:
        ended = client.subscribe("ended")
        with web.open("/function") as one, web.open("/table") as two, web.open("/table") as three:
            two.send("x")
            assert two.recv(timeout=PATIENCE) == "begun"
            running.stop()
            for ws in (one, two, three):
                assert closing(ws) == (1001, "the service is stopping")
        seen = [m.json for m in ended.take(5)]
    assert seen[-1] == {"how": "on_stop"}
    assert {"how": "function", "code": 1001} in seen and {"how": "message", "data": "x"} in seen
    assert sum(m == {"how": "close", "code": 1001, "reason": "the service is stopping"} for m in seen) == 2
    assert "traceback" not in running.output


def test_stop_has_a_limit(quick):
    web, running = quick(
        """
        app.http.websocket("/stays", function(ws) ws.send("in") app.sleep(60) end)
        """,
        "shutdown_timeout = 0.5",
    )
    with web.open("/stays") as ws:
        assert ws.recv(timeout=PATIENCE) == "in"
        running.stop(expect=1)
        assert closing(ws)[0] == 1001


def test_a_client_that_ignores_the_stop(quick):
    web, running = quick(ECHO)
    with web.raw("/echo") as ws:
        begun = time.monotonic()
        running.stop()
        assert time.monotonic() - begun < PATIENCE
        assert ws.receive()[0] == CLOSE and ws.receive() is None


def test_the_access_log(quick):
    web, running = quick(ECHO, "web_access_log = true")
    with web.open("/echo?secret=1") as ws:
        ws.close()
    running.wait_for(r"GET /echo 101")
    assert "secret" not in running.output


def test_killed_in_the_middle_of_a_message(quick):
    """Many clients that vanish at every point of a message cost nobody anything, and leave nothing."""
    web, running = quick(ECHO + """
        app.http.get("/memory", function() for _ = 1, 200000 do local t = {} end return math.floor(collectgarbage("count")) end)
    """)
    whole = frame(TEXT, b"x" * 300)
    before = web.get("/memory").json
    for cut in range(0, len(whole), 7):
        ws = web.raw("/echo")
        ws.send(whole[:cut])
        if cut % 2:
            ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.socket.close()
    with web.open("/echo") as ws:
        ws.send("x")
        assert ws.recv(timeout=PATIENCE) == "x"
    wait_until(lambda: web.get("/memory").json < before + 200, "what the clients held is free")
    assert "failed" not in running.output
