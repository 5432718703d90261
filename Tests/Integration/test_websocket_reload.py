"""What becomes of WebSockets when their script is replaced."""

import signal

import pytest

from harness import PATIENCE
from test_bridge import Viewer
from test_http import WEB
from test_websocket import Sockets, closing, quick, sockets  # noqa: F401  the fixtures


class Reloaded(Sockets):
    """A service whose script the test exchanges."""

    def __init__(self, running):
        super().__init__(running)
        self.running = running
        self.version = 1

    def exchange(self, text, options=""):
        options = f"{WEB}, {options}" if options else WEB
        self.running.path.write_text(f'local app = panini.app{{ service_name = "test", {options} }}\n{text}')
        self.running.signal(signal.SIGHUP)
        self.version += 1
        self.running.wait_for(rf"test reloaded: version {self.version - 1} to {self.version}")


@pytest.fixture
def reloadable(sockets):  # noqa: F811
    def start(script, options=""):
        return Reloaded(sockets(script, options)[1])

    return start


VERSION = """
    app.http.websocket("/table", {
        open = function(ws, req) ws.context.v = "%(v)s" ws.send("open %(v)s " .. ws.id) end,
        message = function(ws, data)
            if data == "wait" then app.request("gate", {}) end
            ws.send("%(v)s " .. data .. " " .. tostring(ws.context.v))
        end,
        close = function(ws, code) app.publish("closed", { v = "%(v)s", code = code, id = ws.id }) end,
        %(more)s
    })
"""


def version(number, more=""):
    return VERSION % {"v": f"v{number}", "more": more}


RELOAD = 'reload = function(ws, req) ws.context.v = "again" ws.send("reload " .. ws.id .. " " .. req.path .. " " .. req.query.q .. " " .. req.headers.host) end,'


def test_functions_of_a_table_go_over(reloadable, client, gate):
    web = reloadable(version(1))
    closed = client.subscribe("closed")
    with web.open("/table?q=7") as idle, web.open("/table?q=8") as busy:
        number = idle.recv(timeout=PATIENCE).removeprefix("open v1 ")
        assert busy.recv(timeout=PATIENCE).startswith("open v1 ")
        idle.send("a")
        assert idle.recv(timeout=PATIENCE) == "v1 a v1"
        busy.send("wait")
        held = gate.arrived()
        busy.send("after")
        web.exchange(version(2, RELOAD))
        assert idle.recv(timeout=PATIENCE) == f"reload {number} /table 7 127.0.0.1:{web.port}"
        idle.send("b")
        assert idle.recv(timeout=PATIENCE) == "v2 b again"
        # What runs ends on the version it began on; what waited behind it is the new one's.
        gate.open(held)
        assert busy.recv(timeout=PATIENCE) == "v1 wait v1"
        assert busy.recv(timeout=PATIENCE).startswith("reload ")
        assert busy.recv(timeout=PATIENCE) == "v2 after again"
        # Without `reload` the next version just goes on.
        web.exchange(version(3))
        idle.send("c")
        assert idle.recv(timeout=PATIENCE) == "v3 c nil"
        with web.open("/table") as fresh:
            assert fresh.recv(timeout=PATIENCE).startswith("open v3 ")
            fresh.send("d")
            assert fresh.recv(timeout=PATIENCE) == "v3 d v3"
    ends = [m.json for m in closed.take(3)]
    assert {m["v"] for m in ends} == {"v3"} and {m["code"] for m in ends} == {1000}
    assert int(number) in {m["id"] for m in ends}
    web.running.stop()
    assert "traceback" not in web.running.output


def test_a_function_that_runs_is_followed_by_the_newest_version(reloadable, gate):
    """The version in between is gone by the time at which the function ends."""
    web = reloadable(version(1))
    with web.open("/table") as busy:
        assert busy.recv(timeout=PATIENCE).startswith("open v1 ")
        busy.send("wait")
        held = gate.arrived()
        for number in (2, 3, 4):
            web.exchange(version(number))
        busy.send("after")
        gate.open(held)
        assert busy.recv(timeout=PATIENCE) == "v1 wait v1"
        assert busy.recv(timeout=PATIENCE).startswith("v4 after")
    web.running.stop()


def test_a_function_that_is_ended_after_two_reloads(reloadable, gate):
    web = reloadable(version(1), "drain_timeout = 0.3")
    with web.open("/table") as busy:
        assert busy.recv(timeout=PATIENCE).startswith("open v1 ")
        busy.send("wait")
        gate.arrived()
        for number in (2, 3):
            web.exchange(version(number), "drain_timeout = 0.3")
        closing(busy)
    with web.open("/table") as fresh:
        assert fresh.recv(timeout=PATIENCE).startswith("open v3 ")
    web.running.stop()


def test_a_function_that_runs_may_have_no_follower(reloadable, gate):
    web = reloadable(version(1))
    with web.open("/table") as busy:
        assert busy.recv(timeout=PATIENCE).startswith("open v1 ")
        busy.send("wait")
        held = gate.arrived()
        web.exchange(version(2))
        web.exchange('app.listen("nothing", function() end)')
        gate.open(held)
        assert busy.recv(timeout=PATIENCE) == "v1 wait v1"
        busy.send("more")
        # Nobody else serves it: it stays where it is until its version's time is over.
        assert busy.recv(timeout=PATIENCE).startswith("v1 more")
    web.running.stop()


def test_nothing_is_lost_in_a_reload(reloadable):
    """Messages that come at the time of the switch are answered by one of the two, in order."""
    web = reloadable(version(0))
    with web.open("/table") as ws:
        ws.recv(timeout=PATIENCE)
        seen = []
        for n in range(1, 6):
            for m in range(100):
                ws.send(f"{n}.{m}")
            web.exchange(version(n))
            seen += [ws.recv(timeout=PATIENCE) for _ in range(100)]
        assert [s.split()[1] for s in seen] == [f"{n}.{m}" for n in range(1, 6) for m in range(100)]
        versions = [int(s[1]) for s in seen]
        assert versions == sorted(versions)
        ws.send("last")
        assert ws.recv(timeout=PATIENCE).startswith("v5 last")


FUNCTION = """
    app.http.websocket("/function", function(ws)
        ws.send("in %(v)s")
        while true do
            local data, err = ws.receive()
            if not data then
                app.publish("ended", { v = "%(v)s", code = err.code })
                return
            end
            if data == "leave" then return end
            ws.send("%(v)s " .. data)
        end
    end)
    app.on_stop(function(reason) app.publish("ended", { v = "%(v)s", reason = reason }) end)
"""


def test_a_function_stays_until_it_returns(reloadable, client):
    ended = client.subscribe("ended")
    web = reloadable(FUNCTION % {"v": "v1"})
    with web.open("/function") as old:
        assert old.recv(timeout=PATIENCE) == "in v1"
        web.exchange(FUNCTION % {"v": "v2"})
        with web.open("/function") as new:
            assert new.recv(timeout=PATIENCE) == "in v2"
            old.send("x")
            new.send("x")
            assert (old.recv(timeout=PATIENCE), new.recv(timeout=PATIENCE)) == ("v1 x", "v2 x")
            assert ended.empty_after(client)
            old.send("leave")
            assert closing(old) == (1000, "")
            # Then the old version has nothing left, and ends.
            assert ended.next().json == {"v": "v1", "reason": "reload"}
            new.send("y")
            assert new.recv(timeout=PATIENCE) == "v2 y"


def test_drain_timeout_closes_what_is_left(reloadable, client):
    ended = client.subscribe("ended")
    web = reloadable(
        FUNCTION % {"v": "v1"} + 'app.http.websocket("/gone", { close = function(ws, code) app.publish("ended", { v = "gone", code = code }) end })',
        "drain_timeout = 0.5",
    )
    with web.open("/function") as ws, web.open("/gone") as gone:
        assert ws.recv(timeout=PATIENCE) == "in v1"
        web.exchange('app.http.get("/", function() return "v2" end)', "drain_timeout = 0.5")
        assert web.get("/").text == "v2"
        assert ws.ping().wait(PATIENCE)
        assert closing(ws) == (1012, "the service was reloaded")
        assert closing(gone) == (1012, "the service was reloaded")
    seen = [ended.next().json for _ in range(3)]
    assert {"v": "v1", "code": 1012} in seen and {"v": "gone", "code": 1012} in seen
    assert seen[-1] == {"v": "v1", "reason": "reload"}


def test_another_form_of_handler_stays(reloadable, client):
    """From a table to a function there is no way over."""
    web = reloadable(version(1))
    with web.open("/table") as ws:
        ws.recv(timeout=PATIENCE)
        web.exchange('app.http.websocket("/table", function(ws) ws.send("function") end)')
        ws.send("x")
        assert ws.recv(timeout=PATIENCE) == "v1 x v1"
        with web.open("/table") as new:
            assert new.recv(timeout=PATIENCE) == "function"
        ws.send("y")
        assert ws.recv(timeout=PATIENCE) == "v1 y v1"


def test_limits_of_the_new_version_count(reloadable):
    web = reloadable('app.http.websocket("/t", { message = function(ws, data) ws.send("v1 " .. #data) end })')
    with web.open("/t") as ws:
        ws.send("x" * 2000)
        assert ws.recv(timeout=PATIENCE) == "v1 2000"
        web.exchange('app.http.websocket("/t", { max_message = 1000 }, { message = function(ws, data) ws.send("v2 " .. #data) end })')
        ws.send("x" * 1000)
        assert ws.recv(timeout=PATIENCE) == "v2 1000"
        ws.send("x" * 1001)
        assert closing(ws)[0] == 1009


def test_a_reload_that_fails_changes_nothing(reloadable):
    web = reloadable(version(1))
    with web.open("/table") as ws:
        ws.recv(timeout=PATIENCE)
        web.running.path.write_text("this is no Lua")
        web.running.signal(signal.SIGHUP)
        web.running.wait_for("was not reloaded")
        ws.send("x")
        assert ws.recv(timeout=PATIENCE) == "v1 x v1"


def test_a_bridge_goes_over(reloadable, client):
    web = reloadable('app.http.nats_bridge("/live", { allow = { "prices.>", "news.>" } })')
    with Viewer(web, "/live") as viewer:
        viewer.subscribe("prices.tea", "news.local")
        web.exchange('app.http.nats_bridge("/live", { allow = { "prices.>", "more.>" } })')
        assert viewer.next() == {"success": False, "message": "no permission for news.local any more"}
        client.publish("news.local", b"1")
        client.publish("prices.tea", b"2")
        client.flush()
        assert viewer.next() == {"subject": "prices.tea", "data": 2}
        viewer.subscribe("more.x")
        assert viewer.refused("news.local") == "no permission for news.local"
        # The old version had nothing left.
        web.exchange('app.http.nats_bridge("/live", { allow = { ">" } })', "drain_timeout = 0.3")
        viewer.subscribe("news.local")
        web.exchange('app.http.get("/", function() return "x" end)', "drain_timeout = 0.3")
        assert closing(viewer.ws) == (1012, "the service was reloaded")


def test_an_upgrade_that_waits_during_the_switch(reloadable, client, gate):
    """A middleware of the old version has let it pass; the connection is the new version's."""
    slow = """
        app.add_middleware{ http_request = function(req, callback)
            if req.query.slow then app.request("gate", {}) end
            return callback(req)
        end }
    """
    web = reloadable(slow + version(1))
    with web.raw("/", upgrade=False) as ws:
        ws.send(
            b"GET /table?slow=1&q=5 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        held = gate.arrived()
        web.exchange(version(2))
        gate.open(held)
        assert "101 Switching Protocols" in ws.head()
        opened = ws.receive()[1].decode()
        assert opened.startswith(("open v1 ", "open v2 "))
        from rawsocket import TEXT, frame

        ws.send(frame(TEXT, b"x"))
        assert ws.receive()[1].decode().startswith("v2 x")


def test_sync(reloadable):
    web = reloadable(version(1), 'app_strategy = "sync"')
    with web.open("/table") as ws:
        ws.recv(timeout=PATIENCE)
        for n in range(20):
            ws.send(str(n))
        web.exchange(version(2), 'app_strategy = "sync"')
        answers = [ws.recv(timeout=PATIENCE) for _ in range(20)]
        assert [a.split()[1] for a in answers] == [str(n) for n in range(20)]
        ws.send("x")
        assert ws.recv(timeout=PATIENCE).startswith("v2 x")


def test_workers(start, nats_server):
    """Each worker has its own connections, and a bridge its own subscriptions: every client gets every message once."""
    from contextlib import ExitStack, closing as closes

    from harness import Client

    script = version(1) + 'app.http.nats_bridge("/live", { allow = { "prices.>" } })'
    web = Reloaded(start(nats_server.url, script, options=WEB, arguments=["--workers", "2"]))
    with ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(web, "/live")) for _ in range(8)]
        tables = [stack.enter_context(web.open("/table?q=1")) for _ in range(8)]
        for viewer in viewers:
            viewer.subscribe("prices.tea")
        numbers = [ws.recv(timeout=PATIENCE).split()[-1] for ws in tables]
        assert len(set(numbers)) == 8
        client = stack.enter_context(closes(Client(nats_server.url)))
        client.publish("prices.tea", b"1")
        client.flush()
        for viewer in viewers:
            assert viewer.next()["data"] == 1
            viewer.nothing_came()
        web.exchange(version(2, RELOAD) + 'app.http.nats_bridge("/live", { allow = { "prices.>" } })')
        for ws in tables:
            assert ws.recv(timeout=PATIENCE).startswith("reload ")
            ws.send("x")
            assert ws.recv(timeout=PATIENCE).startswith("v2 x")
