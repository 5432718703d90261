"""app.http.nats_bridge from outside: browsers' side over WebSocket, the broker's side with nats-py."""

import contextlib
import json
import socket
import struct
import urllib.request

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness import PATIENCE, Client, wait_until
from rawsocket import BINARY, CLOSE, TEXT, RawSocket, frame
from test_http import WEB
from test_mistakes import refused
from test_websocket import Sockets, closing, memory_of, quick, sockets  # noqa: F401  the fixtures

BRIDGE = 'app.http.nats_bridge("/prices", { allow = { "prices.>", "news.{kind}", "exact" } })'


class Viewer:
    """A client of the bridge."""

    def __init__(self, web, path="/prices", **options):
        self.opening = web.open(path, **options)

    def __enter__(self):
        self.ws = self.opening.__enter__()
        return self

    def __exit__(self, *error):
        self.opening.__exit__(*error)

    def next(self):
        return json.loads(self.ws.recv(timeout=PATIENCE))

    def say(self, **command):
        self.ws.send(json.dumps(command))
        return self.next()

    def subscribe(self, *subjects):
        answer = self.say(action="subscribe", subjects=list(subjects))
        assert answer["success"] is True, answer
        return answer["message"]

    def refused(self, *subjects):
        answer = self.say(subjects=list(subjects))
        assert answer["success"] is False, answer
        return answer["message"]

    def unsubscribe(self, *subjects):
        answer = self.say(action="unsubscribe", subjects=list(subjects))
        assert answer["success"] is True, answer
        return answer["message"]

    def nothing_came(self):
        """Everything before the pong has been read: pongs keep their place among messages."""
        assert self.ws.ping().wait(PATIENCE)
        with pytest.raises(TimeoutError):
            self.ws.recv(timeout=0.05)


def test_messages_come_through(sockets, client):
    web, _ = sockets(BRIDGE)
    with Viewer(web) as viewer:
        assert viewer.subscribe("prices.tea") == "subscribed to prices.tea"
        client.publish("prices.tea", '{"price": 3.50, "list": [1, null]}')
        assert viewer.next() == {"subject": "prices.tea", "data": {"price": 3.5, "list": [1, None]}}
        for payload, data in [
            (b"12", 12), (b"null", None), (b'"text"', "text"), (b"plain text", "plain text"), (b"", None), ("grüße \"\\\n".encode(), "grüße \"\\\n"),
            (b"{broken", "{broken"), (b"01", "01"), (b"x" * 70_000, "x" * 70_000),
        ]:
            client.publish("prices.tea", payload)
            assert viewer.next() == {"subject": "prices.tea", "data": data}
        client.publish("prices.tea", b"\x00\xff\xfe")
        assert viewer.next() == {"subject": "prices.tea", "data": "AP/+", "encoding": "base64"}
        client.publish("prices.cup", b"1")
        client.publish("other", b"1")
        client.flush()
        viewer.nothing_came()
        # The default action; several subjects; patterns.
        assert viewer.say(subjects=["news.*", "exact"]) == {"success": True, "message": "subscribed to news.*, exact"}
        client.publish("news.local", b"1")
        client.publish("exact", b"2")
        assert [viewer.next() for _ in range(2)] == [{"subject": "news.local", "data": 1}, {"subject": "exact", "data": 2}]
        # Headers are no part of it, and replies are not sent.
        client.publish("exact", b"3", headers={"A": "b"}, reply="somewhere")
        assert viewer.next() == {"subject": "exact", "data": 3}


def test_one_clients_unsubscribe_is_its_own(sockets, client):
    web, _ = sockets(BRIDGE)
    with Viewer(web) as one, Viewer(web) as two, Viewer(web) as three:
        for viewer in (one, two, three):
            viewer.subscribe("prices.tea", "prices.cup")
        client.publish("prices.tea", b"1")
        assert [v.next()["data"] for v in (one, two, three)] == [1, 1, 1]
        assert one.unsubscribe("prices.tea") == "unsubscribed from prices.tea"
        client.publish("prices.tea", b"2")
        assert [v.next()["data"] for v in (two, three)] == [2, 2]
        one.nothing_came()
        client.publish("prices.cup", b"3")
        assert [v.next()["data"] for v in (one, two, three)] == [3, 3, 3]
        # One leaves without a word.
        two.ws.socket.close()
        client.publish("prices.tea", b"4")
        assert three.next()["data"] == 4
        # Again, and twice is once.
        one.subscribe("prices.tea")
        one.subscribe("prices.tea")
        client.publish("prices.tea", b"5")
        assert [v.next()["data"] for v in (one, three)] == [5, 5]
        one.nothing_came()
        answer = one.say(action="unsubscribe", subjects=["prices.milk"])
        assert answer == {"success": False, "message": "there is no subscription to prices.milk"}
        # Of several to be unsubscribed one that is not there: nothing is done.
        assert one.say(action="unsubscribe", subjects=["prices.tea", "prices.milk"])["success"] is False
        client.publish("prices.tea", b"6")
        assert [v.next()["data"] for v in (one, three)] == [6, 6]


def test_one_subscription_per_subject_at_the_broker(start, tmp_path, nats_server):
    """The broker itself is asked how many there are."""
    from harness import NATS_SERVER, Program, free_port

    port, monitor = free_port(), free_port()
    broker = Program([NATS_SERVER, "-a", "127.0.0.1", "-p", port, "-m", monitor])
    try:
        broker.wait_for("Server is ready")

        def subscriptions():
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/subsz?subs=1&limit=1000", timeout=PATIENCE) as answer:
                found = [s["subject"] for s in json.load(answer).get("subscriptions_list") or []]
            return sorted(s for s in found if s.startswith(("prices", "news")))

        web = Sockets(start(f"nats://127.0.0.1:{port}", BRIDGE, options=f"{WEB}, services = false"))
        with contextlib.ExitStack() as stack:
            viewers = [stack.enter_context(Viewer(web)) for _ in range(5)]
            for viewer in viewers:
                viewer.subscribe("prices.tea", "prices.>")
            assert subscriptions() == ["prices.>", "prices.tea"]
            for viewer in viewers[:4]:
                viewer.unsubscribe("prices.tea")
            assert subscriptions() == ["prices.>", "prices.tea"]
            viewers[4].unsubscribe("prices.tea")
            wait_until(lambda: subscriptions() == ["prices.>"], "the last one's end is the end")
        wait_until(lambda: subscriptions() == [], "clients that leave leave nothing")
    finally:
        broker.kill()


def test_permissions(sockets, client):
    web, running = sockets(BRIDGE)
    with Viewer(web) as viewer:
        for subject in (
            "secret", "prices", ">", "*", "*.tea", "news.a.b", "news.>", "exact.more", "pricesx.tea", "$SYS.>", "_INBOX.>", "PRICES.tea",
        ):
            assert viewer.refused(subject) == f"no permission for {subject}"
        for subject in ("", "a b", "prices..tea", ".prices", "prices.", "prices.>.x", "prices.\ttea", "prices.\u0000", "prices." + "x" * 2000):
            assert "is no subject" in viewer.refused(subject), subject
        # All or none.
        assert viewer.refused("prices.tea", "secret") == "no permission for secret"
        client.publish("prices.tea", b"1")
        client.flush()
        viewer.nothing_came()
        viewer.subscribe("prices.*", "prices.>", "prices.a.*.b")
        client.publish("prices.a.x.b", b"1")
        # As NATS has it: once for each subscription that matches.
        assert [viewer.next()["data"] for _ in range(2)] == [1, 1]
        viewer.nothing_came()


def test_commands_that_are_wrong_do_not_close(quick):
    web, _ = quick('app.http.nats_bridge("/prices", { allow = { "prices.>" }, max_subscriptions = 3, max_message = "1KB" })')
    with Viewer(web) as viewer:
        for text in ("", "{", "[]", "5", '"x"', "{}", '{"subjects": []}', '{"subjects": "prices.tea"}', '{"subjects": [5]}', '{"subjects": [null]}'):
            viewer.ws.send(text)
            answer = viewer.next()
            assert answer["success"] is False and answer["message"], text
        viewer.ws.send(b'{"subjects": ["prices.tea"]}')
        assert viewer.next()["success"] is False
        assert "unknown action" in viewer.say(action="publish", subjects=["prices.tea"])["message"]
        assert viewer.say(action=5, subjects=["prices.tea"])["success"] is False
        viewer.subscribe("prices.a", "prices.b")
        assert viewer.refused("prices.c", "prices.d") == "more than 3 subscriptions"
        viewer.subscribe("prices.c", "prices.a")
        viewer.unsubscribe("prices.a", "prices.b", "prices.c")
        viewer.subscribe("prices.d", "prices.e", "prices.f")
        viewer.ws.send("x" * 1025)
        assert closing(viewer.ws)[0] == 1009


def test_answers_keep_their_order(quick):
    """Commands that follow each other at once are answered one after another."""
    web, _ = quick(BRIDGE)
    with Viewer(web) as viewer:
        for n in range(50):
            viewer.ws.send(json.dumps({"subjects": [f"prices.n{n}"]}))
            viewer.ws.send(json.dumps({"action": "unsubscribe", "subjects": [f"prices.n{n}"]}))
        assert [viewer.next()["message"] for _ in range(100)] == [
            f"{what} prices.n{n}" for n in range(50) for what in ("subscribed to", "unsubscribed from")
        ]


def test_success_means_that_the_broker_has_it(sockets, client):
    web, _ = sockets(BRIDGE)
    with Viewer(web) as viewer:
        for n in range(30):
            viewer.subscribe(f"prices.x{n}")
            client.publish(f"prices.x{n}", str(n))
            assert viewer.next()["data"] == n


def test_a_slow_client_is_dropped(sockets, client):
    web, running = sockets('app.http.nats_bridge("/prices", { allow = { "prices.>" }, max_unsent = "256KB" })')
    with Viewer(web) as good:
        good.subscribe("prices.>")
        with web.raw("/prices") as slow:
            slow.send(frame(TEXT, b'{"subjects": ["prices.>"]}'))
            assert json.loads(slow.receive()[1])["success"] is True
            sent = 0
            while "too slowly" not in running.output:
                assert sent < 3000, running.output
                for _ in range(10):
                    client.publish("prices.big", b"x" * 20_000)
                    sent += 1
                client.flush()
                # The one that reads gets everything meanwhile.
                for _ in range(10):
                    assert len(good.next()["data"]) == 20_000
            running.wait_for(r"a client of the bridge /prices \(127\.0\.0\.1\) read too slowly and was dropped")
            # What waited at that moment is there, and the reason.
            frames = slow.rest()
            assert 0 < len(frames) <= sent and frames[-1][0] == CLOSE
            assert struct.unpack(">H", frames[-1][1][:2])[0] == 1008 and b"too slow" in frames[-1][1]
        client.publish("prices.tea", b"1")
        assert good.next()["data"] == 1
    assert memory_of(running.process.pid) < 200 << 20


def test_a_client_that_never_reads_again(sockets, client):
    """It is gone after a moment, and nothing of it is left."""
    web, running = sockets(
        'app.http.nats_bridge("/prices", { allow = { "prices.>" }, max_unsent = "64KB" }) app.http.get("/", function() return "x" end)',
        "web_max_connections = 2",
    )
    with web.raw("/prices") as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.send(frame(TEXT, b'{"subjects": ["prices.>"]}'))
        slow.receive()
        wait_until(lambda: client.publish("prices.big", b"x" * 50_000) or "too slowly" in running.output, "it is dropped")

        def free():
            # Both places are free again.
            with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE):
                return web.get("/").status == 200

        wait_until(free, "its place is free")


def test_the_broker_goes_and_comes(start, own_broker):
    running = start(own_broker.url, BRIDGE, options=f"{WEB}, reconnecting_time_sleep = 0.1")
    web = Sockets(running)
    with Viewer(web) as before, Viewer(web) as during:
        before.subscribe("prices.tea")
        own_broker.kill()
        running.wait_for("connection to the broker is lost")
        assert during.subscribe("prices.tea", "prices.cup") == "subscribed to prices.tea, prices.cup, as soon as the broker is there again"
        own_broker.start()
        running.wait_for("connected to the broker again")
        with contextlib.closing(Client(own_broker.url)) as client:
            client.publish("prices.tea", b"1")
            client.publish("prices.cup", b"2")
            client.flush()
            assert before.next() == {"subject": "prices.tea", "data": 1}
            assert [during.next()["data"] for _ in range(2)] == [1, 2]
            before.unsubscribe("prices.tea")
            client.publish("prices.tea", b"3")
            client.flush()
            assert during.next()["data"] == 3
            before.nothing_came()


def test_the_broker_denies(start, secure_server):
    server = secure_server("""
        authorization { users: [
            { user: limited, password: secret, permissions: { subscribe: ["prices.tea", "_INBOX.>"], publish: ">" } }
            { user: all, password: secret }
        ] }
    """)
    running = start(server.url("limited:secret"), 'app.http.nats_bridge("/prices", { allow = { "prices.>" } })', options=f"{WEB}, services = false")
    web = Sockets(running)
    with Viewer(web) as viewer:
        viewer.subscribe("prices.tea")
        assert viewer.refused("prices.cup") == "the broker denied prices.cup"
        running.wait_for("the broker denied the subscription to prices.cup, which a bridge permits")
        assert viewer.refused("prices.tea", "prices.cup") == "the broker denied prices.cup"
        with contextlib.closing(Client(server.url("all:secret"))) as client:
            client.publish("prices.tea", b"1")
            client.flush()
            assert viewer.next()["data"] == 1


def test_middlewares_and_origins(quick):
    web, _ = quick("""
        local token = { http_request = function(req, callback)
            if req.query.token ~= "right" then return nil, { code = 401, message = "who are you?" } end
            return callback(req)
        end }
        app.http.nats_bridge("/prices", { allow = { "prices.>" }, middlewares = { token } })
    """)
    with pytest.raises(InvalidStatus) as caught, Viewer(web):
        pass
    assert caught.value.response.status_code == 401
    with Viewer(web, "/prices?token=right") as viewer:
        viewer.subscribe("prices.tea")
    with pytest.raises(InvalidStatus) as caught, Viewer(web, "/prices?token=right", origin="https://evil.example"):
        pass
    assert caught.value.response.status_code == 403
    assert web.get("/prices").status == 426


def test_mistakes(check):
    def wrong(code, *texts):
        refused(check(code, options=WEB), "test.lua:2:", *texts)

    wrong('app.http.nats_bridge("/x")', "needs allow")
    wrong('app.http.nats_bridge("/x", {})', "needs allow")
    wrong('app.http.nats_bridge("/x", { allow = {} })', "needs allow")
    wrong('app.http.nats_bridge("/x", { allow = "prices" })', "allow must be a list of subjects")
    wrong('app.http.nats_bridge("/x", { allow = { 5 } })', "allow must be a list of texts")
    wrong('app.http.nats_bridge("/x", { allow = { "a..b" } })', "allow: subject")
    wrong('app.http.nats_bridge("/x", { allow = { "a" }, max_subscriptions = 0 })', "max_subscriptions must be a whole number")
    wrong('app.http.nats_bridge("/x", { allow = { "a" }, alow = { "a" } })', 'unknown option "alow"', "allow")


def test_an_untrusted_script_bridges_what_it_may_listen_to(check):
    script = 'app.http.nats_bridge("/x", { allow = { "prices.>" } })'
    refused(check(script, "--untrusted", options=WEB), "test.lua:2:", "may not listen to prices.>", "--allow-listen")
    refused(check(script, "--untrusted", "--allow-listen", "prices.*", options=WEB), "may not listen to prices.>")
    allowed = check(script, "--untrusted", "--allow-listen", "prices.>", options=WEB)
    assert allowed.returncode == 0, allowed.stderr


def test_stop(sockets, client):
    web, running = sockets(BRIDGE)
    with Viewer(web) as viewer:
        viewer.subscribe("prices.>")
        running.stop()
        assert closing(viewer.ws) == (1001, "the service is stopping")
    client.publish("prices.tea", b"1")


def test_many_clients_get_every_message(sockets, client):
    web, _ = sockets(BRIDGE)
    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(RawSocket(web.port, "/prices")) for _ in range(100)]
        for viewer in viewers:
            viewer.send(frame(TEXT, b'{"subjects": ["prices.>"]}'))
        for viewer in viewers:
            assert json.loads(viewer.receive()[1])["success"] is True
        for n in range(200):
            client.publish("prices.tea", str(n))
        # One that is sent by reference to all of them.
        client.publish("prices.big", b"x" * 100_000)
        client.flush()
        for viewer in viewers:
            assert [json.loads(viewer.receive()[1])["data"] for _ in range(200)] == list(range(200))
            assert len(json.loads(viewer.receive()[1])["data"]) == 100_000
